# SPDX-License-Identifier: GPL-3.0-or-later
"""A complete Debian guest in memory with VMware-shaped faults, and the pieces to vary it."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from functools import partial

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Kernel, Mount, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import ESP, Partition, Table
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import newc, tools
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.inspect import inspect

KVER = "6.1.0-1-amd64"
MODULES = f"/usr/lib/modules/{KVER}"
INITRD = f"/boot/initrd.img-{KVER}"
MAC = "00:50:56:3a:bb:cc"
BY_PATH = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part"

ROOT = BlockDevice("/dev/sda2", "ext4", "11111111-1111-4111-8111-111111111111", disk=0, part=2)
SWAP = BlockDevice("/dev/sda1", "swap", "22222222-2222-4222-8222-222222222222", disk=0, part=1)
DATA = BlockDevice("/dev/sdb1", "ext4", "33333333-3333-4333-8333-333333333333", disk=1, part=1)
EFI = BlockDevice("/dev/sda3", "vfat", "7A3B-19C2", disk=0, part=3)
LUKS = BlockDevice("/dev/sda4", "crypto_LUKS", "44444444-4444-4444-8444-444444444444", disk=0, part=4)

DEVICES = {f"{BY_PATH}2": ROOT, "/dev/sda2": ROOT, "/dev/sda1": SWAP, "/dev/sdb1": DATA, "/dev/sda3": EFI, "/dev/sda4": LUKS}
DRIVERS = {
    "virtio": "kernel/drivers/virtio/virtio.ko",
    "virtio_ring": "kernel/drivers/virtio/virtio_ring.ko",
    "virtio_pci": "kernel/drivers/virtio/virtio_pci.ko",
    "virtio_blk": "kernel/drivers/block/virtio_blk.ko",
    "virtio_scsi": "kernel/drivers/scsi/virtio_scsi.ko",
    "virtio_net": "kernel/drivers/net/virtio_net.ko",
    "ext4": "kernel/fs/ext4/ext4.ko",
    "vmw_pvscsi": "kernel/drivers/scsi/vmw_pvscsi.ko",
}
DEP = "".join(
    f"{path}:{'' if name in ('virtio', 'virtio_ring', 'ext4', 'vmw_pvscsi') else ' ' + DRIVERS['virtio'] + ' ' + DRIVERS['virtio_ring']}\n"
    for name, path in DRIVERS.items()
)
KERNEL_IMAGE = bytes(0x202) + b"HdrS" + bytes(64)
EFI_IMAGE = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H", 0x8664) + bytes(16)
GRUB_MBR = bytes(0x5C) + struct.pack("<Q", 1) + bytes(200) + b"GRUB " + bytes(440 - 0x5C - 8 - 205)


def initramfs(*modules: str, resume: str = "", compress=partial(gzip.compress, mtime=0)) -> bytes:
    """An initramfs-tools image with some modules and their index; the same ones give the same bytes, whenever it is made."""
    base = f"usr/lib/modules/{KVER}"
    members = [
        ("init", b"#!/bin/sh\n"),
        ("conf/modules", b"ext4\n"),
        (f"{base}/modules.dep", b"".join(DRIVERS[name].encode() + b":\n" for name in modules)),
    ]
    members += [(f"{base}/{DRIVERS[name]}", b"\x7fELF" + name.encode()) for name in modules]
    if resume:
        members.append(("conf/conf.d/resume", f"RESUME={resume}\n".encode()))
    return compress(newc.write(members))


def files(firmware: str = "bios") -> dict[str, str | bytes | Stat]:
    """Every file of the faulty guest."""
    cmdline = "root=/dev/sda2 ro resume=/dev/sda1 quiet console=ttyS0,115200"
    found: dict[str, str | bytes | Stat] = {
        "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
        "/etc/hostname": "web01\n",
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/bin/sh": b"\x7fELF" + bytes(14) + struct.pack("<H", 0x3E) + bytes(40),
        "/etc/fstab": f"# made by the installer\n{BY_PATH}2\t/ ext4  errors=remount-ro 0 1 # keep\n/dev/sda1 none swap sw 0 0\n"
        f"/dev/sdb1 /srv ext4 defaults 0 2\n",
        "/etc/crypttab": "# <target> <source>\nvault  /dev/sda4\tnone  luks\n",
        "/etc/default/grub": f'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="{cmdline}"\n',
        "/boot/grub/device.map": "(hd0) /dev/disk/by-id/scsi-36000c29\n",
        "/boot/grub/grub.cfg": (
            "set root='hd0,msdos2'\n"
            f"menuentry 'Debian' {{\n search --no-floppy --fs-uuid --set=root {ROOT.uuid}\n"
            f" linux /boot/vmlinuz-{KVER} {cmdline}\n initrd /boot/initrd.img-{KVER}\n}}\n"
        ),
        f"/boot/vmlinuz-{KVER}": KERNEL_IMAGE,
        INITRD: initramfs("ext4", "vmw_pvscsi", resume="/dev/sda1"),
        **{f"{MODULES}/{path}": b"\x7fELF" + name.encode() for name, path in DRIVERS.items()},
        f"{MODULES}/modules.dep": DEP,
        f"{MODULES}/modules.dep.bin": b"binary index",
        f"{MODULES}/modules.builtin": "kernel/drivers/base/dm_mod.ko\n",
        "/lib": Stat("link", target="usr/lib"),
        "/usr/sbin/update-initramfs": "#!/bin/sh\n",
        "/etc/initramfs-tools/modules": "vmw_pvscsi\n",
        "/etc/initramfs-tools/conf.d/resume": "RESUME=/dev/sda1\n",
        "/etc/network/interfaces": "auto lo\niface lo inet loopback\n\nallow-hotplug ens192\niface ens192 inet dhcp\n",
        "/usr/lib/systemd/network/99-default.link": "[Match]\nOriginalName=*\n",
        "/etc/udev/rules.d/70-persistent-net.rules": f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{MAC}", NAME="ens192"\n',
        "/etc/systemd/system/data.mount": "[Mount]\nWhat=/dev/sdb1\nWhere=/data\n",
        **dpkg(),
    }
    if firmware == "uefi":
        found["/boot/efi/EFI/debian/grubx64.efi"] = EFI_IMAGE
        found["/boot/efi/EFI/debian/grub.cfg"] = (
            f"search.fs_uuid {ROOT.uuid} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
        )
    return found


def dpkg() -> dict[str, str | bytes | Stat]:
    return {
        "/var/lib/dpkg/status": (
            "Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n"
            "Package: open-vm-tools\nStatus: install ok installed\nVersion: 12\nDepends: libc6\n\n"
            "Package: sed\nStatus: install ok installed\nVersion: 4.9\n\n"
        ),
        "/var/lib/dpkg/info/bash.list": "/.\n/usr\n/usr/bin\n/usr/bin/bash\n",
        "/var/lib/dpkg/info/open-vm-tools.list": "/.\n/lib\n/lib/systemd\n/lib/systemd/system\n/lib/systemd/system/open-vm-tools.service\n/usr\n/usr/bin\n"
        "/usr/bin/vmtoolsd\n/etc\n/etc/vmware-tools\n/etc/vmware-tools/tools.conf\n",
        "/var/lib/dpkg/info/open-vm-tools.postinst": "#!/bin/sh\n",
        "/usr/bin/bash": b"bash",
        "/usr/bin/vmtoolsd": b"vmtoolsd",
        "/usr/lib/systemd/system/open-vm-tools.service": "[Service]\n",
        "/usr/lib/systemd/system/ssh.service": "[Service]\n",
        "/etc/vmware-tools/tools.conf": "[logging]\n",
        "/etc/systemd/system/multi-user.target.wants/open-vm-tools.service": Stat(
            "link", target="/lib/systemd/system/open-vm-tools.service"
        ),
    }


def guest(firmware: str = "bios", **overrides: str | bytes | Stat | None) -> MemoryGuest:
    content = {**files(firmware), **{path: value for path, value in overrides.items() if value is not None}}
    return MemoryGuest(content, DEVICES, {"disk0": bytes(512) + b"core" * 128})


def facts(made: MemoryGuest, firmware: str = "bios") -> GuestFacts:
    found = inspect(made, ROOT, "", (Mount("/dev/sda2", "/"),), firmware, ())
    return replace(found, interfaces=(("ens192", MAC),), tools=tools.present(made))


def tables(firmware: str = "bios") -> dict[str, Table]:
    parts = (Partition(2, 1 << 20, 1 << 30, "83", "aa-02"), Partition(3, 1 << 31, 1 << 20, ESP, "aa-03"))
    return {"disk0": Table("mbr" if firmware == "bios" else "gpt", parts, GRUB_MBR if firmware == "bios" else bytes(440))}


def kernel() -> Kernel:
    return Kernel(KVER, f"/boot/vmlinuz-{KVER}", INITRD, MODULES)
