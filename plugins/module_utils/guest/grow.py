# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the space of enlarged disks to the guest: partitions before anything is mounted, then what lies on them, up to the file system.

Sources: guestfs(3); resize2fs(8), xfs_growfs(8), btrfs-filesystem(8), ntfsresize(8), lvextend(8); cryptsetup(8): a mapping has the size
that its device has when it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ..core.concern import BLOCKER, Concern
from .assemble import probe, read_table
from .device_names import letters
from .layout import EXTENDED, GROWABLE, LOGICAL, PRIMARY, Growth, Part, decide
from .model import BlockDevice
from .offline import OfflineGuest
from .parttable import SECTOR, Partition, Table

_EXT = ("ext2", "ext3", "ext4")


@dataclass(frozen=True)
class Grown:
    """What became of a disk: `said` are the steps, `refused` is why it did not go on. `device` is what lies at its end."""

    disk: int
    device: str = ""
    said: tuple[str, ...] = ()
    refused: str = ""

    @property
    def concern(self) -> Optional[Concern]:
        if not self.refused:
            return None
        return Concern(
            "grow.refused",
            BLOCKER,
            f"The space that disk {self.disk} gets cannot be used: {self.refused}.",
            "Grow it in the guest after the migration and accept grow.refused, or migrate without migrate_grow.",
        )


def partitions(guest: OfflineGuest, disks: Sequence[int]) -> list[Grown]:
    """Grow the partition at the end of each disk, while nothing is mounted yet; NTFS too, which is never grown while it is mounted."""
    guest.handle.vg_activate_all(False)
    grown = [_partition(guest, number) for number in disks]
    guest.handle.lvm_scan(True)
    return grown


def contents(guest: OfflineGuest, grown: Sequence[Grown]) -> list[Grown]:
    """Grow what lies on the partitions: volume groups, one volume in each, file systems."""
    return [_content(guest, one) if one.device else one for one in grown]


def _partition(guest: OfflineGuest, number: int) -> Grown:
    handle, disk = guest.handle, f"/dev/sd{letters(number)}"
    table = read_table(guest, disk)
    if not table.scheme:
        return _ntfs(handle, Grown(number, disk), _content_of(guest, disk))
    if table.scheme == "gpt":
        handle.part_expand_gpt(disk)
    parts = [_part(guest, disk, part, table) for part in table.partitions]
    if table.extended is not None:
        parts.append(Part(table.extended.number, table.extended.start, table.extended.start + table.extended.size, kind=EXTENDED))
    growth = decide(table.scheme, parts, handle.blockdev_getsize64(disk))
    if isinstance(growth, str):
        return Grown(number, refused=growth)
    if growth is None:
        return Grown(number)
    old = next(part for part in parts if part.number == growth.number)
    _lay_out(handle, disk, growth, table)
    said = [f"partition {old.number} of disk {number}: {_size(old.end - old.start)} -> {_size(growth.end - old.start)}"]
    if growth.swap:
        said.append(f"swap area of partition {growth.swap} made anew at the end of disk {number}")
    return _ntfs(handle, Grown(number, f"{disk}{old.number}", tuple(said)), old.content)


def _part(guest: OfflineGuest, disk: str, part: Partition, table: Table) -> Part:
    kind = LOGICAL if _is_logical(part.number, table) else PRIMARY
    return Part(part.number, part.start, part.start + part.size, _content_of(guest, f"{disk}{part.number}"), kind, part.type)


def _is_logical(number: int, table: Table) -> bool:
    return table.scheme == "mbr" and number > 4


def _content_of(guest: OfflineGuest, device: str) -> str:
    return probe(guest, BlockDevice(device)).fstype


def _lay_out(handle: Any, disk: str, growth: Growth, table: Table) -> None:
    """Write the new table: what is behind the partition is taken away, it grows, and what was behind it comes back."""
    swap = table.get(growth.swap)
    again = _Swap(handle, disk, swap, table) if swap is not None else None
    if swap is not None:
        handle.part_del(disk, swap.number)
    if growth.moved:
        handle.part_del(disk, growth.container)
    elif growth.container:
        handle.part_resize(disk, growth.container, growth.container_end // SECTOR - 1)
    handle.part_resize(disk, growth.number, growth.end // SECTOR - 1)
    if growth.moved and table.extended is not None:
        handle.part_add(disk, EXTENDED, growth.end // SECTOR, growth.container_end // SECTOR - 1)
        handle.part_set_mbr_id(disk, growth.container, int(table.extended.type, 16))
    if again is not None:
        again.make(growth)


class _Swap:
    """A swap area with everything that it is known by, to be made anew elsewhere on its disk. It holds nothing else while a guest is off."""

    def __init__(self, handle: Any, disk: str, part: Partition, table: Table) -> None:
        self._handle, self._disk, self._part, self._table = handle, disk, part, table
        self._tags = handle.blkid(f"{disk}{part.number}")
        self._attributes = handle.part_get_gpt_attributes(disk, part.number) if table.scheme == "gpt" else 0

    def make(self, growth: Growth) -> None:
        handle, disk, part = self._handle, self._disk, self._part
        kind = LOGICAL if _is_logical(part.number, self._table) else PRIMARY
        handle.part_add(disk, kind, growth.swap_start // SECTOR, growth.swap_end // SECTOR - 1)
        if self._table.scheme == "gpt":
            handle.part_set_gpt_type(disk, part.number, part.type)
            handle.part_set_gpt_guid(disk, part.number, part.uuid)
            handle.part_set_gpt_attributes(disk, part.number, self._attributes)
            if part.label:
                handle.part_set_name(disk, part.number, part.label)
        else:
            handle.part_set_mbr_id(disk, part.number, int(part.type, 16))
        known = {option: self._tags[tag] for option, tag in (("uuid", "UUID"), ("label", "LABEL")) if tag in self._tags}
        handle.mkswap(f"{disk}{part.number}", **known)


def _ntfs(handle: Any, grown: Grown, content: str) -> Grown:
    if content != "ntfs":
        return grown
    try:
        handle.ntfsresize(grown.device)
    except RuntimeError as error:
        return Grown(grown.disk, "", grown.said, f"its NTFS wants chkdsk /f at the source first ({str(error).splitlines()[-1]})")
    return Grown(grown.disk, "", (*grown.said, f"ntfs of disk {grown.disk} fills it"))


def _content(guest: OfflineGuest, grown: Grown) -> Grown:
    device = next((device for device in guest.devices() if device.name == grown.device), None)
    said, refused = _fill(guest, device) if device is not None else ((), "what lies at its end is not known")
    return Grown(grown.disk, grown.device, (*grown.said, *said), refused)


def _fill(guest: OfflineGuest, device: BlockDevice) -> tuple[tuple[str, ...], str]:
    """Let what lies on a device fill it, all the way up. Returns the steps, and why they end early."""
    above = [other for other in guest.devices() if device.name in other.parents]
    if device.fstype == "crypto_LUKS":
        return _fill(guest, above[0]) if above else ((), f"the encryption of {device.name} was not opened")
    if device.fstype == "LVM2_member":
        return _fill_group(guest, device, above)
    if device.fstype not in GROWABLE:
        return (), f"{device.name} holds {device.fstype or 'an unknown kind of data'}, which does not grow"
    return _fill_system(guest, device)


def _fill_group(guest: OfflineGuest, device: BlockDevice, volumes: Sequence[BlockDevice]) -> tuple[tuple[str, ...], str]:
    """The group takes the device; the volume of the root takes what is free, or the only one that can grow."""
    guest.handle.pvresize(device.name)
    root = next((mount.device for mount in guest.mounts if mount.path == "/"), "")
    able = [volume for volume in volumes if volume.fstype in (*_EXT, "xfs", "btrfs")]  # an open mapping does not follow its volume
    wanted = [volume for volume in able if volume.name == root] or able
    if len(wanted) != 1:
        names = ", ".join(volume.name for volume in wanted) or "none"
        return (), f"the root is not on the volume group of {device.name}, and not exactly one of its volumes can grow ({names})"
    volume = wanted[0]
    before = guest.handle.blockdev_getsize64(volume.name)
    try:
        guest.handle.lvresize_free(volume.name, 100)
    except RuntimeError as error:
        return (), f"LVM does not extend {volume.name} ({str(error).splitlines()[-1].strip()})"
    after = guest.handle.blockdev_getsize64(volume.name)
    said, refused = _fill(guest, volume)
    return (f"volume {volume.name}: {_size(before)} -> {_size(after)}", *said), refused


def _fill_system(guest: OfflineGuest, device: BlockDevice) -> tuple[tuple[str, ...], str]:
    path = next((mount.path for mount in guest.mounts if mount.device == device.name), "")
    before = _total(guest, path) if path else 0
    if device.fstype in _EXT:
        if not path:
            guest.handle.e2fsck(device.name, correct=True)
        guest.handle.resize2fs(device.name)
    elif not path:
        return (), f"the {device.fstype} on {device.name} grows only while it is mounted, and the guest's fstab does not mount it"
    elif device.fstype == "xfs":
        guest.handle.xfs_growfs(path)
    else:
        guest.handle.btrfs_filesystem_resize(path)
    after = _total(guest, path) if path else 0
    if path and after <= before:
        return (), f"the {device.fstype} of {path} stayed at {_size(before)}"
    return (f"{device.fstype} of {path}: {_size(before)} -> {_size(after)}" if path else f"{device.fstype} on {device.name} fills it",), ""


def _total(guest: OfflineGuest, path: str) -> int:
    info = guest.handle.statvfs(path)
    return int(info["blocks"] * info["frsize"])


def _size(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"
