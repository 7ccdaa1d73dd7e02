# SPDX-License-Identifier: GPL-3.0-or-later
"""From attached disks to a mounted guest: find its devices, choose its root, mount what its fstab says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Callable, Mapping, Optional, Sequence

from ..core.errors import UnsupportedGuest
from . import multipath, parttable
from .device_names import letters
from .model import BlockDevice, Mount
from .offline import OfflineGuest
from .protocol import exists, normalise, text
from .resolver import DeviceTable, Use

_OCTAL = re.compile(rb"\\(?!000)([0-3][0-7]{2})")
ROOT_TYPES = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs")
_SUBVOLUMES = ("@", "@rootfs", "root", "rootfs", "@root")
_DEPLOYMENTS = "/ostree/deploy"


def discover(guest: OfflineGuest, keys: Mapping[str, str]) -> list[BlockDevice]:
    """Fill the device table: partitions, arrays, LVM and opened LUKS devices, whichever lies on which. Returns LUKS devices that no key opened."""
    devices: list[BlockDevice] = []
    for number in range(len(guest.places)):
        devices += _disk_devices(guest, number)
    if any(device.fstype == "linux_raid_member" for device in devices):
        devices += [_array(guest, name, devices) for name in guest.handle.list_md_devices()]
    tried: set[str] = set()
    locked: list[BlockDevice] = []
    while True:
        known = {device.name for device in devices}
        grouped = any(device.fstype == "LVM2_member" for device in devices)
        found = [device for device in _volumes(guest, devices) if device.name not in known] if grouped else []
        for device in (device for device in devices if device.fstype == "crypto_LUKS" and device.name not in tried):
            tried.add(device.name)
            if _unlock(guest, device, keys):
                name = f"/dev/mapper/luks-{device.uuid}"
                found.append(probe(guest, BlockDevice(name, aliases=(name,), kind="crypt", parents=(device.name,))))
            else:
                locked.append(device)
        if not found:
            break
        devices += found
    guest.table = DeviceTable(guest.places, devices)
    return locked


def read_table(guest: OfflineGuest, disk: str) -> parttable.Table:
    """The partition table of a disk as it is now."""
    return parttable.parse(lambda offset, size: guest.read_device(disk, offset, size))


def _disk_devices(guest: OfflineGuest, number: int) -> list[BlockDevice]:
    disk = f"/dev/sd{letters(number)}"
    table = guest.tables[f"disk{number}"] = read_table(guest, disk)
    if not table.partitions:
        return [probe(guest, BlockDevice(disk, disk=number, size=guest.handle.blockdev_getsize64(disk), kind="disk"))]
    return [
        probe(
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


def probe(guest: OfflineGuest, device: BlockDevice) -> BlockDevice:
    """A device with what blkid finds on it."""
    try:
        tags = guest.handle.blkid(device.name)
    except RuntimeError:  # nothing recognised on it
        return device
    return replace(device, fstype=tags.get("TYPE", ""), uuid=tags.get("UUID", ""), label=tags.get("LABEL", ""))


def _array(guest: OfflineGuest, name: str, devices: Sequence[BlockDevice]) -> BlockDevice:
    """An md array under every name that a guest may use for it: /dev/md0, /dev/md/0, /dev/md/root, its UUID."""
    detail = guest.handle.md_detail(name)
    uuid, title = detail.get("uuid", ""), detail.get("name", "").rpartition(":")[2]
    aliases = [name, f"/dev/disk/by-id/md-uuid-{uuid}", f"/dev/disk/by-id/md-name-{detail.get('name', '')}"]
    aliases += [f"/dev/md/{title}", f"/dev/md{title}"] if title else []
    digits = uuid.replace(":", "")
    members = tuple(device.name for device in devices if digits and device.uuid.replace("-", "") == digits)
    return probe(guest, BlockDevice(name, aliases=tuple(aliases), kind=detail.get("level", "raid"), parents=members))


def _volumes(guest: OfflineGuest, devices: Sequence[BlockDevice]) -> list[BlockDevice]:
    found = []
    for name in guest.handle.lvs():
        group, volume = name.split("/")[2:4]
        dashed = f"{group.replace('-', '--')}-{volume.replace('-', '--')}"
        members = set(guest.handle.vgpvuuids(group))
        parents = tuple(device.name for device in devices if device.uuid in members)
        aliases = (name, f"/dev/mapper/{dashed}", f"/dev/disk/by-id/dm-name-{dashed}")
        found.append(probe(guest, BlockDevice(name, aliases=aliases, kind="lvm", parents=parents)))
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


def find_root(guest: OfflineGuest, choice: str = "") -> Optional[BlockDevice]:
    """Mount the root file system; its tables then tell what the guest's names mean. None when no disk holds a Linux root.

    `choice` names the root where there are several. Raises UnsupportedGuest when there are and it names none of them.
    """
    found: list[tuple[BlockDevice, str]] = []
    for device in guest.table.devices:
        if device.fstype not in ROOT_TYPES:
            continue
        for subvolume in _candidates(device):
            if _try_root(guest, device, subvolume):
                found.append((device, subvolume))
                break
    if choice:
        wanted = guest.device(choice)
        found = [pair for pair in found if wanted is not None and pair[0].name == wanted.name]
    if not found and not choice:
        return None
    if len(found) != 1:
        names = [f"{device.name} (UUID={device.uuid})" for device, dummy in found]
        raise UnsupportedGuest(
            f"Several root file systems were found: {', '.join(names)}." if found else f"{choice} is not a root file system of this VM.",
            "Say which one is migrated: migrate_root (root of the modules), as a device or UUID=...",
            found=names,
        )
    root, guest.subvolume = found[0]
    _mount(guest, root, guest.subvolume, "/")
    learn(guest, root, ())
    return root


def learn(guest: OfflineGuest, root: BlockDevice, more: Sequence[Use]) -> None:
    """Tell the device table what fstab, crypttab and `more` call the devices, and which names multipath and crypttab give."""
    guest.table.learn([*_uses(guest), *more], root)
    for fields in _table(guest, "/etc/crypttab"):
        container = guest.device(fields[1])
        if container is not None:
            guest.table.alias(f"/dev/mapper/{fields[0]}", f"/dev/mapper/luks-{container.uuid}")
    said = [text(guest, path) or "" for path in ("/etc/multipath/bindings", "/etc/multipath/wwids", "/etc/multipath.conf")]
    for name, wwid in multipath.names(*said):
        guest.table.multipath(name, wwid)


def _candidates(device: BlockDevice) -> tuple[str, ...]:
    return ("", *_SUBVOLUMES) if device.fstype == "btrfs" else ("",)


def deployed(guest: OfflineGuest) -> tuple[str, ...]:
    """The file systems with deployments of ostree: the root of such a system is a directory in them. Source: ostree's manual, "Deployments"."""
    return tuple(
        device.name
        for device in guest.table.devices
        if device.fstype in ROOT_TYPES
        and any(_holds(guest, device, subvolume, lambda: exists(guest, _DEPLOYMENTS)) for subvolume in _candidates(device))
    )


def _try_root(guest: OfflineGuest, device: BlockDevice, subvolume: str) -> bool:
    return _holds(
        guest,
        device,
        subvolume,
        lambda: (
            exists(guest, "/etc")
            and (exists(guest, "/etc/fstab") or exists(guest, "/etc/os-release"))
            and (exists(guest, "/sbin") or exists(guest, "/usr/sbin") or exists(guest, "/usr/bin"))
        ),
    )


def _holds(guest: OfflineGuest, device: BlockDevice, subvolume: str, what: Callable[[], bool]) -> bool:
    """Whether a file system can be mounted and has something, which is asked while it is the root."""
    try:
        _mount(guest, device, subvolume, "/")
    except RuntimeError:
        return False
    try:
        return what()
    finally:
        guest.handle.umount("/")
        guest.forget()


def _mount(guest: OfflineGuest, device: BlockDevice, subvolume: str, path: str) -> None:
    # Of a disk and its clone XFS refuses the second, which has the same UUID; it is mounted as it is, and keeps it.
    options = ",".join([*([f"subvol={subvolume}"] if subvolume else []), *(["nouuid"] if device.fstype == "xfs" else [])])
    if options:
        guest.handle.mount_options(options, device.name, path)
    else:
        guest.handle.mount(device.name, path)
    guest.forget()


def _table(guest: OfflineGuest, path: str) -> list[list[str]]:
    """The fields of every entry of at least two in a table."""
    lines = (line.split() for line in (text(guest, path) or "").splitlines())
    return [fields for fields in lines if len(fields) >= 2 and not fields[0].startswith("#")]


def _uses(guest: OfflineGuest) -> list[Use]:
    uses = [
        Use(fields[0], fields[1], fields[2], tuple(fields[3].split(",")) if len(fields) > 3 else ())
        for fields in _table(guest, "/etc/fstab")
        if len(fields) >= 3
    ]
    return uses + [Use(fields[1], "", "crypto_LUKS") for fields in _table(guest, "/etc/crypttab")]


def place(mount_point: str) -> str:
    """The path that an entry of fstab is mounted on: with the bytes that it spells by octal numbers (libmount's unmangle), and below the root if
    relative, as systemd-fstab-generator takes it there. Empty for a word that is no path.
    """
    if "/" not in mount_point:
        return ""
    raw = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), mount_point.encode("utf-8", "surrogateescape"))
    return normalise(raw.decode("utf-8", "surrogateescape"))


def mount_all(guest: OfflineGuest, root: BlockDevice) -> None:
    """Mount every local file system of fstab where the guest has it, parents first; what fails is listed in `unmounted`."""
    mounts, failed = [Mount(root.name, "/", guest.subvolume and f"subvol={guest.subvolume}")], []
    entries = sorted(((place(use.mount_point), use) for use in _uses(guest)), key=lambda entry: entry[0].count("/"))
    for path, use in entries:
        device = guest.device(use.spec) if path not in ("", "/") else None
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
