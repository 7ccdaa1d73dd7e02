# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's guests: real Debian systems with VMware-shaped faults, each as a VMware source of another kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import recipes_boot
import recipes_layout
import recipes_names
import recipes_ostree
import sources
from disk import Tree, data_disk, tree
from parts import MAC, MACS, NIC, NIC2


@dataclass(frozen=True)
class Guest:
    """A recipe: how it is built, how it boots, which source it becomes, what its unrepaired boot shows on virtio.

    `second_disk` is a data disk behind or before the system's, "member" or "clone" when the recipe makes the second disk itself, or "".
    `nics` and `profiles` are what the guest must say of its cards, as regular expressions, `more` what its /etc/lab-more must say; `variables` go to the
    playbook.
    """

    name: str
    words: str
    build: Callable[[Tree], None]
    package: Callable[[list[Path], Path], list[Path]]
    firmware: str
    second_disk: str
    fault: str
    swap: int = 1
    nics: str = rf"{NIC}=10\.0\.2\.15/24"
    profiles: str = rf"{NIC}={NIC},"
    interfaces: tuple[tuple[str, str], ...] = ((NIC, MAC),)
    kernel: str = r"\S+"
    variables: Mapping[str, object] = field(default_factory=dict)
    agent: bool = False
    size: str = "3G"
    more: str = ""

    @property
    def report(self) -> str:
        """The line the repaired guest itself prints about its state."""
        data = "lab-data" if self.second_disk in ("behind", "before", "clone") else "none"
        return (
            rf"LAB root=\S+ swap={self.swap} data={data} nics={self.nics} drivers=virtio_net, profiles={self.profiles}"
            rf" kernel={self.kernel} failed=0 tools=no dpkg=0{self.more} END"
        )


def build(guest: Guest, folder: Path) -> list[Path]:
    """Make the guest's source in `folder`; returns what to name in migrate_source."""
    folder.mkdir(parents=True, exist_ok=True)
    raw, other = folder / "raw", folder / "raw2"
    with tree(raw, guest.size) as disk:
        guest.build(disk)
    if guest.second_disk in ("behind", "before"):
        data_disk(other, "lab-data")
    disks = {"": [raw], "before": [other, raw]}.get(guest.second_disk, [raw, other])
    made = guest.package(disks, folder)
    for disk_ in disks:
        disk_.unlink(missing_ok=True)
    return made


_NO_ROOT = "initramfs_shell"
GUESTS = {
    guest.name: guest
    for guest in (
        Guest("bios", "BIOS, MBR, ext4, by-path; chain of 3 VMDKs, second disk on a second controller (.vmx)",
              recipes_boot.bios, sources.vmdk_chain, "bios", "behind", _NO_ROOT),
        Guest("uefi-lvm", "UEFI, GPT, ESP, /boot, LVM root and swap; no EFI/BOOT; second disk as /dev/sdb1 (VMDKs)",
              recipes_boot.uefi_lvm, sources.plain, "uefi", "behind", "no_boot_device"),
        Guest("btrfs", "BIOS on GPT, btrfs subvolumes, xz initramfs, systemd-networkd; gets the guest agent offline (OVA)",
              recipes_boot.btrfs, sources.ova, "bios", "", _NO_ROOT, profiles=r"20-lan\.network,", agent=True),
        Guest("dracut", "BIOS, dracut hostonly without virtio, lz4 initramfs (split VMDK)",
              recipes_boot.dracut, sources.split, "bios", "", "device_wait"),
        Guest("systemd-boot", "UEFI, systemd-boot, BLS entry and kernel on the ESP (OVF folder)",
              recipes_boot.systemd_boot, sources.ovf_folder, "uefi", "", _NO_ROOT, profiles=r"20-lan\.network,"),
        Guest("luks-lvm", "LUKS with LVM in it, crypttab by /dev/sda2, an initramfs with the card's driver; netplan by MAC, a static address (VMDK)",
              recipes_layout.luks_lvm, sources.plain, "bios", "", _NO_ROOT,
              nics=rf"{NIC}=192\.168\.77\.10/24", profiles=r"10-netplan-lan\.network,",
              variables={"migrate_luks_keys": {"all": recipes_layout.PASSPHRASE}}),
        Guest("raid1", "md RAID 1 root, mdadm.conf with DEVICE /dev/sda1; ifupdown: a static bond of two cards and a VLAN (.vmx)",
              recipes_layout.raid1, sources.vmx(2), "bios", "member", _NO_ROOT,
              nics=r"bond0=192\.168\.77\.20/24,bond0\.10=192\.168\.10\.20/24", profiles=r"bond0\.10=bond0\.10,bond0=bond0,",
              interfaces=((NIC, MACS[0]), (NIC2, MACS[1]))),
        Guest("usr-split", "the data disk comes first, the system is /dev/sdb; /usr of its own; systemd-networkd, static (.vmx)",
              recipes_layout.usr_split, sources.vmx(1), "bios", "before", _NO_ROOT,
              nics=rf"{NIC}=192\.168\.77\.30/24", profiles=r"20-lan\.network,"),
        Guest("nm-two", "NetworkManager, two static cards, one bound by name, one by MAC; two kernels, the older the default (.vmx)",
              recipes_layout.nm_two, sources.vmx(2), "bios", "", _NO_ROOT,
              nics=rf"{NIC}=192\.168\.77\.40/24,{NIC2}=192\.168\.88\.40/24", profiles=rf"Backup:{NIC2},LAN:{NIC},",
              interfaces=((NIC, MACS[0]), (NIC2, MACS[1])), kernel=r"6\.1\.0-47-amd64"),
        Guest("slots", "four static cards (ifupdown, net.ifnames=0) in slots of another order than MACs; LVM, lvm.conf accepts /dev/sda only (.vmx)",
              recipes_names.slots, sources.vmx(4, sources.MIXED_SLOTS), "bios", "", _NO_ROOT,
              nics=",".join(rf"eth{number}=192\.168\.{90 + number}\.10/24" for number in range(4)),
              profiles="".join(f"eth{number}=eth{number}," for number in range(4)),
              interfaces=tuple((f"eth{recipes_names.COUNTED.index(mac)}", mac) for mac in MACS),
              more="".join(f" eth{number}={mac}" for number, mac in enumerate(recipes_names.COUNTED))),
        Guest("twins", "two NVMe name spaces, the root XFS and a clone with its UUID that is mounted nouuid, all by /dev/nvme0n... (.vmx)",
              recipes_names.twins, sources.vmx(1, bus="nvme"), "bios", "clone", _NO_ROOT, more=" which=original,clone",
              variables={"migrate_root": "/dev/nvme0n1p2"}),
        Guest("fips", "dracut with fips=1 boot=/dev/sda1, where it checks the kernel before it goes on; the root by UUID (split VMDK)",
              recipes_names.fips, sources.split, "bios", "", "FIPS integrity test failed", more=" fips=1 checked=1"),
    )
}  # fmt: skip

# What is copied as it is.
COPIED = {
    guest.name: guest
    for guest in (
        Guest("ostree", "a deployment of ostree, whose root is a directory; /boot by /dev/sda1, an initramfs with all drivers (.vmx)",
              recipes_ostree.ostree, sources.vmx(1), "bios", "", "", size="4G"),
    )
}  # fmt: skip


if __name__ == "__main__":
    import sys

    print("\n".join(str(path) for path in build({**GUESTS, **COPIED}[sys.argv[1]], Path(sys.argv[2]))))
