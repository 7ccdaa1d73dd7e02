# SPDX-License-Identifier: GPL-3.0-or-later
"""The static proof holds for a repaired guest, and taking away any one link breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures import GRUB_MBR, INITRD, KVER, MODULES, ROOT, SWAP, facts, guest, tables
from fixtures import initramfs as image

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import Table
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio, proof
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.proof import prove


def repaired(firmware="bios"):
    made = guest(firmware)
    apply(made, make_plan(made, facts(made, firmware), Options()))
    return made


def verdict(made, firmware="bios", tables_=None):
    return prove(made, facts(made, firmware), tables_ or tables(firmware))


def swap(path, old, new):
    """A mutation that replaces text; it must really change something."""

    def mutate(made):
        content = made.files[path]
        assert old.encode() in content
        made.files[path] = content.replace(old.encode(), new.encode())

    return mutate


def drop(path):
    return lambda made: made.files.pop(path)


def put(path, data):
    return lambda made: made.files.__setitem__(path, data)


GRUB = "/boot/grub/grub.cfg"
COMMON = {
    "the menu is gone": drop(GRUB),
    "the menu has no entry": swap(GRUB, " linux ", " echo "),
    "the menu searches another file system": swap(GRUB, ROOT.uuid + "\n", "99999999-1111-4111-8111-111111111111\n"),
    "the kernel is gone": drop(f"/boot/vmlinuz-{KVER}"),
    "the kernel is not a kernel": put(f"/boot/vmlinuz-{KVER}", b"not a kernel" * 100),
    "the entry starts a kernel that is not there": swap(GRUB, f"vmlinuz-{KVER}", "vmlinuz-9.9"),
    "the initramfs is gone": drop(INITRD),
    "the initramfs is truncated": lambda made: made.files.__setitem__(INITRD, made.files[INITRD][:-600]),
    "the initramfs has no init": put(INITRD, b"070701" + b"0" * 5),
    "the initramfs lacks virtio_blk": put(INITRD, image("ext4", "virtio", "virtio_ring", "virtio_pci")),
    "the initramfs lacks virtio_pci": put(INITRD, image("ext4", "virtio", "virtio_ring", "virtio_blk")),
    "the initramfs lacks what virtio_blk needs": put(INITRD, image("ext4", "virtio", "virtio_pci", "virtio_blk")),
    "the initramfs lacks the root file system": put(INITRD, image("virtio", "virtio_ring", "virtio_pci", "virtio_blk")),
    "the initramfs waits for a resume device": put(
        INITRD, image("ext4", "virtio", "virtio_ring", "virtio_pci", "virtio_blk", resume="/dev/sda1")
    ),
    "root is by an unstable name": swap(GRUB, f"root=UUID={ROOT.uuid}", "root=/dev/sda2"),
    "root is another device": swap(GRUB, f"root=UUID={ROOT.uuid}", f"root=UUID={SWAP.uuid}"),
    "root is missing": swap(GRUB, f"root=UUID={ROOT.uuid}", ""),
    "resume is dead": swap(GRUB, f"resume=UUID={SWAP.uuid}", "resume=UUID=99999999-2222-4222-8222-222222222222"),
    "fstab is gone": drop("/etc/fstab"),
    "fstab names a device that is not there": swap("/etc/fstab", SWAP.uuid, "99999999-2222-4222-8222-222222222222"),
    "fstab names an unstable device": swap("/etc/fstab", f"UUID={SWAP.uuid}", "/dev/sda1"),
    "fstab names another file system": swap("/etc/fstab", " ext4  errors", " xfs  errors"),
    "crypttab names an unstable device": swap("/etc/crypttab", "UUID=44444444-4444-4444-8444-444444444444", "/dev/sda4"),
    "a mount unit names an unstable device": swap(
        "/etc/systemd/system/data.mount", "/dev/disk/by-uuid/33333333-3333-4333-8333-333333333333", "/dev/sdb1"
    ),
    "the card's name is not pinned": drop("/etc/systemd/network/10-hyper2kvm-ens192.link"),
    "the card's name is pinned to another MAC": swap(
        "/etc/systemd/network/10-hyper2kvm-ens192.link", "00:50:56:3a:bb:cc", "00:50:56:00:00:01"
    ),
    "a profile is for a card that is not there": swap("/etc/network/interfaces", "ens192", "ens224"),
    "the kernel's module index is gone": drop(f"{MODULES}/modules.dep"),
}
UEFI = {
    "the fallback loader is gone": drop("/boot/efi/EFI/BOOT/BOOTX64.EFI"),
    "the fallback loader is not a program": put("/boot/efi/EFI/BOOT/BOOTX64.EFI", b"MZ nothing"),
    "the stub searches another file system": swap("/boot/efi/EFI/debian/grub.cfg", ROOT.uuid, "99999999-1111-4111-8111-111111111111"),
}


@pytest.mark.parametrize("kind", ["lvm", "crypt", "raid1", "raid10"])
def test_a_root_on_something_needs_what_puts_it_together(kind):
    """The drivers are there, and the program that uses them is not."""
    made = repaired()
    held = facts(made)
    proof = prove(made, replace(held, root_stack=(kind, "part")), tables())
    assert [check.name for check in proof.failures() if check.name == "initramfs.tool"] == ["initramfs.tool"]


NM = "/etc/NetworkManager/system-connections/"
KEYFILE = "[connection]\nid=x\nuuid=9\ntype=ethernet\ninterface-name=ens160\n\n[ipv4]\nmethod=auto\n"
STALE = {
    "a profile of a NIC that is gone": {NM + "ens160.nmconnection": KEYFILE},
    "a copy that an editor has left": {NM + "ens192.nmconnection.bak": KEYFILE},
    "a profile of another MAC": {
        NM + "old.nmconnection": KEYFILE.replace("interface-name=ens160\n", "") + "\n[ethernet]\nmac-address=00:50:56:99:99:99\n"
    },
    "a profile that nothing starts": {"/etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nONBOOT=no\nBOOTPROTO=dhcp\n"},
    "a rule for a MAC that is gone": {
        "/etc/udev/rules.d/71-old.rules": 'SUBSYSTEM=="net", ATTR{address}=="00:50:56:99:99:99", NAME="eth0"\n'
    },
}


@pytest.mark.parametrize("case", STALE)
def test_what_is_left_of_other_nics_refuses_nobody(case):
    made = repaired()
    for path, content in STALE[case].items():
        made.files[path] = content.encode()
    assert verdict(made).holds


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_repaired_guest_is_proved(firmware):
    proof = verdict(repaired(firmware), firmware)
    assert proof.holds, proof.failures()
    assert {"firmware.loader", "kernel.image", "initramfs.driver", "cmdline.root", "fstab.device", "network.profile"} <= {
        check.name for check in proof.checks
    }


def test_an_unrepaired_guest_is_not():
    assert {"initramfs.driver", "cmdline.root", "fstab.device"} <= {check.name for check in verdict(guest()).failures()}


@pytest.mark.parametrize("mutate", COMMON.values(), ids=COMMON.keys())
def test_taking_away_any_link_breaks_it(mutate):
    made = repaired()
    mutate(made)
    assert not verdict(made).holds


@pytest.mark.parametrize("mutate", UEFI.values(), ids=UEFI.keys())
def test_taking_away_any_uefi_link_breaks_it(mutate):
    made = repaired("uefi")
    mutate(made)
    assert not verdict(made, "uefi").holds


@pytest.mark.parametrize("code", [bytes(440), GRUB_MBR[:0x5C] + bytes(8) + GRUB_MBR[0x64:]], ids=["none", "pointing nowhere"])
def test_bios_needs_boot_code_that_leads_somewhere(code):
    assert not verdict(repaired(), tables_={"disk0": Table("mbr", (), code)}).holds


def test_bios_needs_the_core_image_behind_the_boot_code():
    made = repaired()
    made.raw["disk0"] = bytes(2048)
    assert not verdict(made).holds


EXTRA = {
    "/dev/sdb2": BlockDevice("/dev/sdb2", "ntfs", "1234ABCD", label="DATA DISK", disk=1, part=2),
    "/dev/sdb3": BlockDevice("/dev/sdb3", "iso9660", "2020-01-01", label="X", disk=1, part=3),
}
# an entry of fstab (and of crypttab), and whether a boot goes on with it
ENTRIES = {
    "swap with a random key": ("/dev/mapper/cryptswap1 none swap sw 0 0", "cryptswap1 UUID={swap} /dev/urandom swap,offset=1024", True),
    "swap in memory": ("/dev/zram0 none swap defaults,pri=100 0 0", "", True),
    "a disk of the network": ("UUID=12345678-0000-4000-8000-000000000005 /iscsi xfs _netdev 0 0", "", True),
    "a disk that is asked for when it is used": ("UUID=12345678-0000-4000-8000-000000000005 /d xfs x-systemd.automount 0 0", "", True),
    "stratis": ("/dev/stratis/pool/fs /s xfs defaults 0 0", "", True),
    "vdo": ("/dev/mapper/vdo0 /s xfs defaults 0 0", "", True),
    "a drive": ("/dev/sr0 /cd iso9660 ro 0 0", "", True),
    "a label with a blank": ("LABEL=DATA\\040DISK /d ntfs defaults 0 0", "", True),
    "another name of the type": ("UUID=1234ABCD /d ntfs-3g defaults 0 0", "", True),
    "one of several types": ("LABEL=X /d udf,iso9660 ro 0 0", "", True),
    "a wrong type": ("UUID=1234ABCD /d xfs defaults 0 0", "", False),
    "a disk that is not there": ("UUID=12345678-0000-4000-8000-000000000005 /d xfs defaults 0 0", "", False),
    "a name of the old hardware": ("/dev/sdb2 /d ntfs defaults 0 0", "", False),
    "a volume that is not there": ("/dev/mapper/vg-data /d xfs defaults 0 0", "", False),
    "a volume of a disk that is not there": (
        "/dev/mapper/data /d xfs defaults 0 0",
        "data UUID=99999999-0000-4000-8000-000000000005 none luks",
        False,
    ),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_a_table_is_asked_for_what_the_boot_needs_and_no_more(case):
    entry, crypt, holds = ENTRIES[case]
    made = repaired()
    made.files["/etc/fstab"] += f"{entry}\n".encode()
    made.files["/etc/crypttab"] = crypt.format(swap=SWAP.uuid).encode() + b"\n"
    made.names.update(EXTRA)
    assert verdict(made).holds == holds


def test_a_guest_without_fstab_is_no_fault():
    """systemd-fstab-generator(8) makes nothing of a file that is not there; / is mounted by the kernel's command line."""
    made = guest()
    made.files.pop("/etc/fstab")
    apply(made, make_plan(made, facts(made), Options()))
    (check,) = [check for check in verdict(made).checks if check.name == "fstab.root"]
    assert check.passed and "no fstab" in check.detail and verdict(made).holds


def test_a_mount_point_that_is_no_path_stops_no_boot():
    made = repaired()
    made.files["/etc/fstab"] += b"UUID=99999999-0000-4000-8000-000000000005 data ext4 defaults 0 2\n"
    assert verdict(made).holds
    made.files["/etc/fstab"] += b"UUID=99999999-0000-4000-8000-000000000005 srv/data ext4 defaults 0 2\n"
    assert not verdict(made).holds


def test_a_root_that_the_boot_entry_alone_mounts_is_one():
    made = repaired()
    made.files["/etc/fstab"] = b"".join(line for line in made.files["/etc/fstab"].splitlines(keepends=True) if b"/ ext4" not in line)
    assert verdict(made).holds


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ("resume=none", True),
        ("resume=", True),
        ("resume=UUID=12345678-0000-4000-8000-000000000005", False),
        ("cryptroot=source=UUID={root},target=x", True),
        ("cryptroot=target=x,source=UUID=12345678-0000-4000-8000-000000000005", False),
        ("rd.luks.key=/k:UUID={root}:UUID={swap}", True),
        ("rd.luks.key=/k:UUID=12345678-0000-4000-8000-000000000005:UUID={swap}", False),
    ],
)
def test_a_word_of_the_default_entry_is_asked_for_the_device_that_it_names(words, holds):
    made = repaired()
    menu = made.files["/boot/grub/grub.cfg"]
    at = f"root=UUID={ROOT.uuid}"
    assert at.encode() in menu
    made.files["/boot/grub/grub.cfg"] = menu.replace(at.encode(), f"{at} {words.format(root=ROOT.uuid, swap=SWAP.uuid)}".encode())
    assert verdict(made).holds == holds


# what is added to the menu, and whether the boot of the default entry goes on
OTHERS = {
    "an entry of a kernel that is gone": "menuentry 'old' {{\n linux /boot/vmlinuz-5.0.0-gone root=UUID={root} ro\n initrd /boot/initrd.img-5.0.0-gone\n}}\n",
    "another system": "menuentry 'CentOS (on /dev/sdb1)' {{\n search --no-floppy --fs-uuid --set=root d0000000-0000-4000-8000-000000000005\n"
    " linux /boot/vmlinuz-3.10.0 root=UUID=d0000000-0000-4000-8000-000000000005 ro\n}}\n",
    "the same kernel on another disk": "menuentry 'Debian (on /dev/sdb1)' {{\n search --no-floppy --fs-uuid --set=root d0000000-0000-4000-8000-000000000005\n"
    f" linux /boot/vmlinuz-{KVER} root=UUID=d0000000-0000-4000-8000-000000000005 ro\n}}}}\n",
    "a chain to Windows": "menuentry 'Windows' {{\n search --no-floppy --fs-uuid --set=root 4A7B-19C3\n chainloader /EFI/Microsoft/Boot/bootmgfw.efi\n}}\n",
    "iPXE": "menuentry 'iPXE' {{\n linux16 /boot/ipxe.lkrn\n}}\n",
    "an image of a rescue system": "menuentry 'GRML' {{\n loopback loop /boot/grml.iso\n linux (loop)/boot/vmlinuz findiso=/boot/grml.iso\n}}\n",
}


@pytest.mark.parametrize("case", OTHERS)
def test_entries_that_do_not_start_by_themselves_refuse_nobody(case):
    made = repaired()
    made.files["/boot/grub/grub.cfg"] += OTHERS[case].format(root=ROOT.uuid).encode()
    assert verdict(made).holds


def test_the_default_entry_is_asked_wherever_it_stands():
    made = repaired()
    menu = made.files["/boot/grub/grub.cfg"]
    made.files["/boot/grub/grub.cfg"] = OTHERS["an entry of a kernel that is gone"].format(root=ROOT.uuid).encode() + menu
    assert not verdict(made).holds


def test_a_rule_for_a_nic_that_is_gone_refuses_nobody():
    made = repaired()
    made.files["/etc/udev/rules.d/75-old.rules"] = b'SUBSYSTEM=="net", ATTR{address}=="00:50:56:00:00:01", NAME="ens192"\n'
    assert verdict(made).holds


@pytest.mark.parametrize(
    ("fstype", "inside", "holds"), [("ext3", "ext3", True), ("ext3", "ext4", True), ("ext2", "ext2", True), ("ext4", "ext3", False)]
)
def test_of_the_drivers_of_a_file_system_one_is_enough(fstype, inside, holds):
    made = guest("bios")
    kernel = facts(made).kernels[-1]
    made.files[f"{kernel.modules}/modules.dep"] += b"kernel/fs/ext2/ext2.ko:\nkernel/fs/ext3/ext3.ko:\n"
    inner = cpio.Image(0, {f"lib/modules/{KVER}/kernel/fs/{inside}.ko"})
    root = BlockDevice("/dev/sda2", fstype)
    (driver,) = proof._of_root(made, kernel, root, inner)
    assert (driver == inside) == holds
