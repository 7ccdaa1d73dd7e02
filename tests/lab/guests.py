# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's guests: real Debian systems with VMware-shaped faults, each as a VMware source of another kind.

Every guest prints a line `LAB ...` on its console once it is up: root, swap, mounts, the name and address of its card, failed units.
"""

from __future__ import annotations

import os
import shutil
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from base import base_tar
from disk import MIB, Tree, data_disk, fill_esp, grub_bios, run, tree

MAC = "00:50:56:3a:bb:cc"
NIC = "ens192"
BY_PATH = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part"
SECOND = "/dev/disk/by-path/pci-0000:13:00.0-scsi-0:0:0:0-part1"
ESP_ID = "7A3B-19C2"
GRUB = "normal configfile linux search search_fs_uuid echo serial terminal test ls"
REPORT = r"""#!/bin/sh
name=$(ls /sys/class/net | grep -v '^lo$' | head -n1)
for second in $(seq 40); do
  addr=$(ip -4 -o addr show dev "$name" | awk '{print $4; exit}')
  [ -z "$addr" ] || break
  sleep 1
done
swap=$(tail -n +2 /proc/swaps | wc -l)
data=$(cat /srv/proof 2>/dev/null || echo none)
failed=$(systemctl --failed --no-legend | wc -l)
drv=$(readlink -f /sys/class/net/$name/device/driver | sed 's,.*/,,')
tools=$(test -e /usr/bin/vmtoolsd && echo yes || echo no)
root=$(findmnt -no SOURCE,FSTYPE / | tr -s ' ' ,)
dpkg=$(dpkg --audit | wc -l)
echo "LAB root=$root swap=$swap data=$data nic=$name addr=${addr:-none} driver=$drv failed=$failed tools=$tools dpkg=$dpkg END" >/dev/ttyS0
"""


@dataclass(frozen=True)
class Guest:
    """A recipe: how it is built, how it boots, which source it becomes, what its unrepaired boot shows on virtio."""

    name: str
    build: Callable[[Tree], None]
    package: Callable[[list[Path], Path], list[Path]]
    firmware: str
    second_disk: bool
    fault: str
    swap: int
    size: str = "3G"


def build(guest: Guest, folder: Path) -> list[Path]:
    """Make the guest's source in `folder`; returns what to name in migrate_source."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "raw"
    with tree(raw, guest.size) as disk:
        guest.build(disk)
    disks = [raw]
    if guest.second_disk:
        disks.append(folder / "raw2")
        data_disk(disks[1], "lab-data")
    sources = guest.package(disks, folder)
    for disk_ in disks:
        disk_.unlink(missing_ok=True)
    return sources


# -- what all guests share ---------------------------------------------------------------------------------------------------------


def _unpack(disk: Tree, cache: Path | None = None) -> str:
    tar = base_tar(cache or Path(__file__).resolve().parents[2] / "build" / "lab")
    run("tar", "-C", disk.root, "-xf", tar, "--numeric-owner", "--xattrs")
    disk.write("/etc/hostname", "labguest\n")
    disk.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 labguest\n")
    disk.write("/usr/local/sbin/lab-report", REPORT, 0o755)
    disk.write(
        "/etc/systemd/system/lab-report.service",
        "[Unit]\nAfter=multi-user.target network-online.target getty.target\nWants=network-online.target\n"
        "[Service]\nType=oneshot\nExecStart=/usr/local/sbin/lab-report\n[Install]\n"
        "WantedBy=multi-user.target\n",
    )
    disk.write(
        "/etc/udev/rules.d/70-persistent-net.rules",
        f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="vmxnet3", ATTR{{address}}=="{MAC}", ATTR{{type}}=="1", NAME="{NIC}"\n',
    )
    for bind in ("proc", "sys", "dev"):
        disk.mount(f"/{bind}", f"/{bind}", "--bind")
    disk.sh(
        "systemctl enable lab-report.service; systemctl disable apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service 2>/dev/null || true"
    )
    return sorted(os.listdir(disk.root / "lib/modules"))[-1]


def _ifupdown(disk: Tree) -> None:
    disk.write("/etc/network/interfaces", f"auto lo\niface lo inet loopback\n\n# the LAN\nallow-hotplug {NIC}\niface {NIC} inet dhcp\n")


def _networkd(disk: Tree) -> None:
    disk.write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
    disk.write("/etc/systemd/network/20-lan.network", f"[Match]\nName={NIC}\n\n[Network]\nDHCP=yes\n")
    disk.sh("systemctl enable systemd-networkd.service")


def _initramfs_tools(disk: Tree, kernel: str, modules: str, compress: str, resume: str) -> None:
    """An initramfs with VMware's storage drivers only, as MODULES=dep makes on VMware's hardware."""
    disk.write("/etc/initramfs-tools/conf.d/driver-policy", "MODULES=list\n")
    disk.write("/etc/initramfs-tools/conf.d/compress", f"COMPRESS={compress}\n")
    disk.write("/etc/initramfs-tools/modules", f"vmw_pvscsi\nmptspi\nsd_mod\n{modules}")
    if resume:
        disk.write("/etc/initramfs-tools/conf.d/resume", f"RESUME={resume}\n")
    disk.sh(f"update-initramfs -u -k {kernel}")


def _grub_config(disk: Tree, kernel: str, prefix: str, uuid_: str, cmdline: str) -> None:
    disk.write(
        "/etc/default/grub",
        f'GRUB_DEFAULT=0\nGRUB_TIMEOUT=1\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
        f'GRUB_CMDLINE_LINUX="{cmdline}"\nGRUB_TERMINAL="serial console"\n',
    )
    disk.write("/boot/grub/device.map", "(hd0) /dev/disk/by-id/scsi-36000c29d8f1b2c0aa1b2c3d4e5f60718\n")
    disk.write(
        "/boot/grub/grub.cfg",
        f"serial --unit=0 --speed=115200\nterminal_output serial console\nset timeout=1\nset root='hd0,msdos2'\n"
        f'menuentry "Debian GNU/Linux" {{\n\tsearch --no-floppy --fs-uuid --set=root {uuid_}\n'
        f"\tlinux {prefix}/vmlinuz-{kernel} {cmdline}\n\tinitrd {prefix}/initrd.img-{kernel}\n}}\n",
    )


def _console(root: str, *rest: str) -> str:
    return " ".join([f"root={root}", "ro", *rest, "console=tty0", "console=ttyS0,115200"])


# -- the guests ----------------------------------------------------------------------------------------------------------------------


def _bios(disk: Tree) -> None:
    disk.partition("label: dos\n2048,524288,S\n,,L,*\n")
    root_id, swap_id = str(uuid.uuid4()), str(uuid.uuid4())
    disk.mkfs(disk.place(1), "mkswap", "-U", swap_id)
    disk.mount(disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id), "/")
    kernel = _unpack(disk)
    _ifupdown(disk)
    disk.write(
        "/etc/fstab",
        f"# made by the installer\n{BY_PATH}2\t/     ext4  errors=remount-ro 0 1  # root\n/dev/sda1 none swap sw 0 0\n{SECOND} /srv ext4 defaults 0 2\n",
    )
    _initramfs_tools(disk, kernel, "ext4\n", "gzip", "/dev/sda1")
    _grub_config(disk, kernel, "/boot", root_id, _console("/dev/sda2", "resume=/dev/sda1"))
    grub_bios(disk, "(hd0,msdos2)/boot/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)


def _uefi_lvm(disk: Tree) -> None:
    disk.partition("label: gpt\n2048,262144,U\n,524288,L\n,,E6D6D379-F507-44C2-A23C-238F2A3DF928\n")
    disk.mkfs(disk.place(1), "mkfs.vfat", "-F32", "-i", ESP_ID.replace("-", ""))
    boot_id, root_id = str(uuid.uuid4()), str(uuid.uuid4())
    boot = disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", boot_id)
    start, size = disk.place(3)
    volumes = _lvm(disk, size)
    root = disk.mkfs((start + MIB, volumes["root"]), "mkfs.ext4", "-q", "-U", root_id)
    disk.mount(root, "/")
    disk.mount(boot, "/boot")
    kernel = _unpack(disk)
    _ifupdown(disk)
    disk.write(
        "/etc/fstab",
        f"/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n{BY_PATH}2 /boot ext4 defaults 0 2\n"
        f"/dev/sda1 /boot/efi vfat umask=0077 0 1\n/dev/mapper/vg0-swap none swap sw 0 0\n"
        f"/dev/sdb1 /srv ext4 defaults 0 2\n",
    )
    disk.write(
        "/etc/lvm/devices/system.devices",
        "VERSION=1.1.1\nIDTYPE=sys_wwid IDNAME=naa.6000c29d8f1b2c0aa1b2c3d4e5f60718 DEVNAME=/dev/sda3 PVID=none PART=3\n",
    )
    _initramfs_tools(disk, kernel, "ext4\ndm_mod\n", "zstd", "/dev/mapper/vg0-swap")
    _grub_config(disk, kernel, "", boot_id, _console("/dev/mapper/vg0-root", "resume=/dev/mapper/vg0-swap"))
    # Without EFI/BOOT: the boot entry is in the NVRAM that stays behind.
    esp = disk.root / "boot/efi"
    (esp / "EFI/debian").mkdir(parents=True)
    (esp / "EFI/debian/grub.cfg").write_text(f"search.fs_uuid {boot_id} root\nset prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n")
    shutil.copytree(disk.root / "usr/lib/grub/x86_64-efi", disk.root / "boot/grub/x86_64-efi")
    disk.sh(f"grub-mkimage -O x86_64-efi -p /EFI/debian -o /boot/efi/EFI/debian/grubx64.efi part_gpt ext2 fat {GRUB}")
    fill_esp(disk, 1, esp)
    run("fstrim", disk.root)
    run("fstrim", disk.root / "boot")


def _lvm(disk: Tree, size: int) -> dict[str, int]:
    """vg0 with root and swap on partition 3, made in an appliance; linear volumes start 1 MiB into the partition."""
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    handle.set_backend_settings(["force_tcg"])
    handle.add_drive_opts(str(disk.image), format="raw", cachemode="unsafe")
    handle.launch()
    handle.pvcreate("/dev/sda3")
    handle.vgcreate("vg0", ["/dev/sda3"])
    handle.lvcreate("root", "vg0", size // MIB - 260)
    handle.lvcreate("swap", "vg0", 200)
    handle.mkswap("/dev/vg0/swap")
    sizes = {"root": handle.blockdev_getsize64("/dev/vg0/root")}
    handle.shutdown()
    handle.close()
    return sizes


def _btrfs(disk: Tree) -> None:
    disk.partition("label: gpt\n2048,2048,21686148-6449-6E6F-744E-656564454649\n,524288,S\n,,L\n")
    root_id = str(uuid.uuid4())
    disk.mkfs(disk.place(2), "mkswap")
    device = disk.mkfs(disk.place(3), "mkfs.btrfs", "-q", "-U", root_id)
    run("mount", device, disk.root)
    for subvolume in ("@", "@home", "@log"):
        run("btrfs", "subvolume", "create", disk.root / subvolume)
    run("umount", disk.root)
    disk.mount(device, "/", "-o", "subvol=@")
    disk.mount(device, "/home", "-o", "subvol=@home")
    disk.mount(device, "/var/log", "-o", "subvol=@log")
    kernel = _unpack(disk)
    _networkd(disk)
    lines = "".join(
        f"{BY_PATH}3 {point} btrfs subvol={name} 0 0\n" for point, name in (("/", "@"), ("/home", "@home"), ("/var/log", "@log"))
    )
    disk.write("/etc/fstab", lines + f"{BY_PATH}2 none swap sw 0 0\n")
    _initramfs_tools(disk, kernel, "btrfs\n", "xz", "")
    _grub_config(disk, kernel, "/@/boot", root_id, _console("/dev/sda3", "rootflags=subvol=@"))
    grub_bios(disk, "(hd0,gpt3)/@/boot/grub", "part_gpt btrfs", 2048)
    run("fstrim", disk.root)


def _dracut(disk: Tree) -> None:
    disk.partition("label: dos\n2048,524288,S\n,,L,*\n")
    root_id = str(uuid.uuid4())
    disk.mkfs(disk.place(1), "mkswap")
    disk.mount(disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id), "/")
    kernel = _unpack(disk)
    _ifupdown(disk)
    disk.sh("dpkg --purge --force-depends initramfs-tools initramfs-tools-core")
    disk.write("/etc/fstab", f"{BY_PATH}2 / ext4 errors=remount-ro 0 1\n/dev/sda1 none swap sw 0 0\n")
    disk.write(
        "/etc/dracut.conf.d/lab.conf",
        'hostonly="yes"\nhostonly_cmdline="no"\ncompress="lz4"\nfilesystems+=" ext4 "\n'
        'add_drivers+=" vmw_pvscsi mptspi sd_mod "\nomit_drivers+=" virtio virtio_blk virtio_scsi virtio_pci "\n',
    )
    disk.sh(f"dracut -f --kver {kernel} /boot/initrd.img-{kernel}")
    _grub_config(disk, kernel, "/boot", root_id, _console("/dev/sda2", "resume=/dev/sda1"))
    grub_bios(disk, "(hd0,msdos2)/boot/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)


def _systemd_boot(disk: Tree) -> None:
    disk.partition("label: gpt\n2048,262144,U\n,524288,S\n,,L\n")
    disk.mkfs(disk.place(1), "mkfs.vfat", "-F32", "-i", ESP_ID.replace("-", ""))
    disk.mkfs(disk.place(2), "mkswap")
    disk.mount(disk.mkfs(disk.place(3), "mkfs.ext4", "-q"), "/")
    kernel = _unpack(disk)
    _networkd(disk)
    disk.write(
        "/etc/fstab", f"{BY_PATH}3 / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot/efi vfat umask=0077 0 1\n{BY_PATH}2 none swap sw 0 0\n"
    )
    _initramfs_tools(disk, kernel, "ext4\n", "gzip", "")
    machine = uuid.uuid4().hex
    cmdline = _console("/dev/sda3")
    disk.write("/etc/machine-id", machine + "\n")
    disk.write("/etc/kernel/cmdline", cmdline + "\n")
    esp = disk.root / "boot/efi"
    loader = disk.root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    for path in ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"):
        (esp / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(loader, esp / path)
    home = esp / machine / kernel
    home.mkdir(parents=True)
    (esp / "loader/entries").mkdir(parents=True)
    (esp / "loader/loader.conf").write_text("timeout 1\ndefault *\n")
    shutil.copyfile(disk.root / f"boot/vmlinuz-{kernel}", home / "linux")
    shutil.copyfile(disk.root / f"boot/initrd.img-{kernel}", home / "initrd")
    (esp / f"loader/entries/{machine}-{kernel}.conf").write_text(
        f"title Debian GNU/Linux 12\nversion {kernel}\nmachine-id {machine}\noptions {cmdline}\n"
        f"linux /{machine}/{kernel}/linux\ninitrd /{machine}/{kernel}/initrd\n"
    )
    fill_esp(disk, 1, esp)
    run("fstrim", disk.root)


# -- the sources ---------------------------------------------------------------------------------------------------------------------


def _convert(source: Path, dest: Path, subformat: str) -> Path:
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", source, dest)
    return dest


def _vmdk_chain(disks: list[Path], folder: Path) -> list[Path]:
    """A base with two snapshots (real CIDs), the newest written to; a plain second disk; and the .vmx over them."""
    _convert(disks[0], folder / "web01.vmdk", "monolithicSparse")
    for parent, child in (("web01.vmdk", "web01-000001.vmdk"), ("web01-000001.vmdk", "web01-000002.vmdk")):
        run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child, cwd=folder)
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x5a 2900M 64k", folder / "web01-000002.vmdk")
    _convert(disks[1], folder / "web01_1.vmdk", "monolithicFlat")
    (folder / "web01.vmx").write_text(
        '.encoding = "UTF-8"\ndisplayName = "web01"\nguestOS = "debian12-64"\nmemSize = "1024"\nnumvcpus = "2"\nfirmware = "bios"\n'
        'scsi0.present = "TRUE"\nscsi0.virtualDev = "pvscsi"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "web01-000002.vmdk"\n'
        'scsi1.present = "TRUE"\nscsi1:0.present = "TRUE"\nscsi1:0.fileName = "web01_1.vmdk"\n'
        f'ethernet0.present = "TRUE"\nethernet0.virtualDev = "vmxnet3"\nethernet0.networkName = "VM Network"\n'
        f'ethernet0.addressType = "static"\nethernet0.address = "{MAC}"\nethernet0.pciSlotNumber = "192"\n'
    )
    return [folder / "web01.vmx"]


def _plain(disks: list[Path], folder: Path) -> list[Path]:
    return [_convert(disk, folder / f"db01_{number}.vmdk", "monolithicSparse") for number, disk in enumerate(disks)]


def _ova(disks: list[Path], folder: Path) -> list[Path]:
    path = _convert(disks[0], folder / "app01-disk1.vmdk", "streamOptimized")
    ovf = folder / "app01.ovf"
    ovf.write_text(_ovf("app01", path, "bios"))
    (folder / "app01.mf").write_text("".join(f"SHA256({file.name})= {run('sha256sum', file).split()[0]}\n" for file in (ovf, path)))
    run("tar", "--format=ustar", "-cf", "app01.ova", "app01.ovf", "app01.mf", path.name, cwd=folder)
    for file in (ovf, path, folder / "app01.mf"):
        file.unlink()
    return [folder / "app01.ova"]


def _split(disks: list[Path], folder: Path) -> list[Path]:
    return [_convert(disks[0], folder / "old01.vmdk", "twoGbMaxExtentSparse")]


def _ovf_folder(disks: list[Path], folder: Path) -> list[Path]:
    path = _convert(disks[0], folder / "new01-disk1.vmdk", "streamOptimized")
    (folder / "new01.ovf").write_text(_ovf("new01", path, "efi"))
    (folder / "new01.mf").write_text(f"SHA512({path.name})= {run('sha512sum', path).split()[0]}\n")
    return [folder / "new01.ovf"]


def _ovf(name: str, disk: Path, firmware: str) -> str:
    with open(disk, "rb") as file:
        sectors = struct.unpack_from("<Q", file.read(512), 12)[0]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:id="file1" ovf:href="{disk.name}" ovf:size="{disk.stat().st_size}"/></References>
 <DiskSection><Info>Disks</Info><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{sectors}" ovf:capacityAllocationUnits="byte * 2^9"/></DiskSection>
 <VirtualSystem ovf:id="{name}"><Info>A VM</Info><Name>{name}</Name>
  <VirtualHardwareSection><Info>Hardware</Info>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1024</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
    <rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>7</rasd:AddressOnParent><rasd:Connection>VM Network</rasd:Connection>
    <rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""


GUESTS = {
    guest.name: guest
    for guest in (
        Guest("bios", _bios, _vmdk_chain, "bios", True, "initramfs_shell", 1),
        Guest("uefi-lvm", _uefi_lvm, _plain, "uefi", True, "no_boot_device", 1),
        Guest("btrfs", _btrfs, _ova, "bios", False, "initramfs_shell", 1),
        Guest("dracut", _dracut, _split, "bios", False, "device_wait", 1),
        Guest("systemd-boot", _systemd_boot, _ovf_folder, "uefi", False, "initramfs_shell", 1),
    )
}


if __name__ == "__main__":
    import sys

    print("\n".join(str(path) for path in build(GUESTS[sys.argv[1]], Path(sys.argv[2]))))
