# SPDX-License-Identifier: GPL-3.0-or-later
"""From attached disks to a mounted guest: find its devices, choose its root, mount what its fstab says."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping

from ..core.errors import UnsupportedGuest
from . import parttable
from .model import BlockDevice, Mount
from .offline import OfflineGuest, letters
from .protocol import exists, text
from .resolver import DeviceTable, Use

_ROOT_TYPES = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs")
_SUBVOLUMES = ("@", "@rootfs", "root", "rootfs", "@root")


def discover(guest: OfflineGuest, keys: Mapping[str, str]) -> list[BlockDevice]:
    """Fill the device table: partitions, LVM, arrays, opened LUKS devices. Returns LUKS devices that no key opened."""
    devices: list[BlockDevice] = []
    for number in range(len(guest.places)):
        devices += _disk_devices(guest, number)
    locked = [device for device in devices if device.fstype == "crypto_LUKS"]
    opened = [device for device in locked if _unlock(guest, device, keys)]
    types = {device.fstype for device in devices}
    if "linux_raid_member" in types:
        devices += [_probe(guest, BlockDevice(name, aliases=(name,))) for name in guest.handle.list_md_devices()]
    if opened or "LVM2_member" in types:
        devices += _volumes(guest)
    devices += [
        _probe(guest, BlockDevice(f"/dev/mapper/luks-{device.uuid}", aliases=(f"/dev/mapper/luks-{device.uuid}",))) for device in opened
    ]
    guest.table = DeviceTable(guest.places, devices)
    return [device for device in locked if device not in opened]


def _disk_devices(guest: OfflineGuest, number: int) -> list[BlockDevice]:
    disk = f"/dev/sd{letters(number)}"
    table = parttable.parse(lambda offset, size: guest.read_device(disk, offset, size))
    guest.tables[f"disk{number}"] = table
    if not table.partitions:
        return [_probe(guest, BlockDevice(disk, disk=number, size=guest.handle.blockdev_getsize64(disk)))]
    return [
        _probe(
            guest,
            BlockDevice(
                f"{disk}{part.number}",
                disk=number,
                part=part.number,
                size=part.size,
                partuuid=part.uuid,
                partlabel=part.label,
                parttype=part.type,
            ),
        )
        for part in table.partitions
    ]


def _probe(guest: OfflineGuest, device: BlockDevice) -> BlockDevice:
    try:
        tags = guest.handle.blkid(device.name)
    except RuntimeError:  # nothing recognised on it
        return device
    return replace(device, fstype=tags.get("TYPE", ""), uuid=tags.get("UUID", ""), label=tags.get("LABEL", ""))


def _volumes(guest: OfflineGuest) -> list[BlockDevice]:
    found = []
    for name in guest.handle.lvs():
        group, volume = name.split("/")[2:4]
        mapped = f"/dev/mapper/{group.replace('-', '--')}-{volume.replace('-', '--')}"
        found.append(_probe(guest, BlockDevice(name, aliases=(name, mapped, f"/dev/disk/by-id/dm-name-{mapped[12:]}"))))
    return found


def _unlock(guest: OfflineGuest, device: BlockDevice, keys: Mapping[str, str]) -> bool:
    for key in filter(None, (keys.get(device.uuid), keys.get("all"))):
        try:
            guest.handle.cryptsetup_open(device.name, key, f"luks-{device.uuid}")
            guest.handle.lvm_scan(True)
            return True
        except RuntimeError:
            continue
    return False


def find_root(guest: OfflineGuest) -> BlockDevice:
    """Mount the root file system; its fstab then tells the device table what the guest's names mean.

    Raises UnsupportedGuest when there is none, or several and nothing to choose by.
    """
    found: list[tuple[BlockDevice, str]] = []
    for device in guest.table.devices:
        if device.fstype not in _ROOT_TYPES:
            continue
        for subvolume in _candidates(device):
            if _try_root(guest, device, subvolume):
                found.append((device, subvolume))
                break
    if not found:
        kinds = sorted({device.fstype for device in guest.table.devices if device.fstype}) or ["nothing"]
        raise UnsupportedGuest(
            f"No Linux root file system was found; the disks hold {', '.join(kinds)}.",
            "Check that all disks of the VM are given, and the keys of encrypted ones (migrate_luks_keys).",
            found=kinds,
        )
    if len(found) > 1:
        raise UnsupportedGuest(
            f"Several root file systems were found: {', '.join(device.name for device, dummy in found)}.",
            "Migrate the VM with the disks of one system at a time.",
            found=[device.name for device, dummy in found],
        )
    root, guest.subvolume = found[0]
    _mount(guest, root, guest.subvolume, "/")
    guest.table.learn(_uses(guest), root)
    return root


def _candidates(device: BlockDevice) -> tuple[str, ...]:
    return ("", *_SUBVOLUMES) if device.fstype == "btrfs" else ("",)


def _try_root(guest: OfflineGuest, device: BlockDevice, subvolume: str) -> bool:
    try:
        _mount(guest, device, subvolume, "/")
    except RuntimeError:
        return False
    try:
        return (
            exists(guest, "/etc")
            and (exists(guest, "/etc/fstab") or exists(guest, "/etc/os-release"))
            and (exists(guest, "/sbin") or exists(guest, "/usr/sbin") or exists(guest, "/usr/bin"))
        )
    finally:
        guest.handle.umount("/")
        guest.forget()


def _mount(guest: OfflineGuest, device: BlockDevice, subvolume: str, path: str) -> None:
    options = f"subvol={subvolume}" if subvolume else ""
    if options:
        guest.handle.mount_options(options, device.name, path)
    else:
        guest.handle.mount(device.name, path)
    guest.forget()


def _uses(guest: OfflineGuest) -> list[Use]:
    uses = []
    for line in (text(guest, "/etc/fstab") or "").splitlines():
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            uses.append(Use(fields[0], fields[1], fields[2], tuple(fields[3].split(",")) if len(fields) > 3 else ()))
    for line in (text(guest, "/etc/crypttab") or "").splitlines():
        fields = line.split()
        if len(fields) >= 2 and not fields[0].startswith("#"):
            uses.append(Use(fields[1], "", "crypto_LUKS"))
    return uses


def mount_all(guest: OfflineGuest, root: BlockDevice) -> None:
    """Mount every local file system of fstab where the guest has it, parents first; what fails is listed in `unmounted`."""
    mounts, failed = [Mount(root.name, "/", guest.subvolume and f"subvol={guest.subvolume}")], []
    entries = sorted(
        (use for use in _uses(guest) if use.mount_point.startswith("/") and use.mount_point != "/"),
        key=lambda use: use.mount_point.count("/"),
    )
    for use in entries:
        device = guest.device(use.spec)
        path = use.mount_point.replace("\\040", " ")
        if device is None or device.fstype in ("swap", "", "crypto_LUKS") or "bind" in use.options or "rbind" in use.options:
            continue
        subvolume = next((option[7:] for option in use.options if option.startswith("subvol=")), "")
        try:
            if not guest.handle.is_dir(path):
                guest.handle.mkdir_p(path)
            _mount(guest, device, subvolume, path)
            mounts.append(Mount(device.name, path, subvolume and f"subvol={subvolume}"))
        except RuntimeError:
            failed.append(path)
    guest.mounts, guest.unmounted = tuple(mounts), tuple(failed)
