# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes of a Windows system: which holds it, which hold its boot files, and what keeps them from being written."""

from __future__ import annotations

import contextlib
import struct
from typing import Optional

from ..core.concern import BLOCKER, WARNING, Findings
from ..core.errors import UnsupportedGuest
from ..guest import parttable
from ..guest.model import BlockDevice, Mount
from ..guest.offline import OfflineGuest
from ..guest.protocol import Guest
from . import bitlocker, paths, reparse
from .paths import VOLUME

_ROOTS = ("Windows", "WINNT")
_LDM = ("42", "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad")
_STORAGE_SPACES = ("e75caf8f-f680-4cee-afa3-b001e56efc2d",)
_HIBERNATED = b"hibr"
_DIRTY = 0x0001


def system_root(guest: Guest) -> Optional[str]:
    """The Windows directory on the mounted system volume: that with a SYSTEM hive."""
    for name in _ROOTS:
        found = paths.find(guest, f"{VOLUME}/{name}/System32/config/SYSTEM")
        if found is not None:
            return "/".join(found.split("/")[:3])
    return None


def find(guest: OfflineGuest, choice: str, findings: Findings) -> Optional[BlockDevice]:
    """Mount the system volume read-only below /c and return it; None where there is not Windows. `choice` as in migrate_root.

    What is on the disks and cannot be opened becomes a concern.
    """
    _report_encrypted(guest, findings)
    guest.handle.mkmountpoint(VOLUME)
    found: list[BlockDevice] = []
    for device in (device for device in guest.devices() if device.fstype in ("ntfs", "vfat")):
        try:
            guest.handle.mount_ro(device.name, VOLUME)
        except RuntimeError:
            continue
        guest.forget()
        if system_root(guest) is not None:
            found.append(device)
        reparse.deduplicated(guest, device.name, findings)
        guest.handle.umount(VOLUME)
        guest.forget()
    _report_disks(guest, bool(found), findings)
    wanted = guest.device(choice) if choice else None
    if choice:
        found = [device for device in found if wanted is not None and device.name == wanted.name]
    if len(found) > 1:
        names = [f"{device.name} (UUID={device.uuid})" for device in found]
        raise UnsupportedGuest(
            f"Several Windows systems were found: {', '.join(names)}.",
            "Say which one is migrated: migrate_root (root of the modules), as a device or UUID=...",
            found=names,
        )
    if not found:
        with contextlib.suppress(RuntimeError):
            guest.handle.rmmountpoint(VOLUME)
        return None
    return found[0]


def _report_encrypted(guest: OfflineGuest, findings: Findings) -> None:
    locked = [device for device in guest.devices() if bitlocker.encrypted(guest, device)]
    open_ = [device.name for device in locked if bitlocker.suspended(guest, device)]
    closed = [device.name for device in locked if device.name not in open_]
    if closed:
        findings.add(
            "windows.bitlocker",
            BLOCKER,
            f"BitLocker encrypts {', '.join(closed)}; nothing on it can be read or repaired.",
            "Decrypt it in Windows (manage-bde -off C:) before the migration.",
        )
    if open_:
        findings.add(
            "windows.bitlocker",
            BLOCKER,
            f"BitLocker encrypts {', '.join(open_)}, and is suspended there, not yet on, or being taken off: its key lies open on the disk, but the"
            " data are encrypted all the same; nothing on it can be read or repaired.",
            "Suspending is not enough: decrypt it in Windows (manage-bde -off C:), and wait until manage-bde -status says Fully Decrypted.",
        )


def _report_disks(guest: OfflineGuest, known: bool, findings: Findings) -> None:
    """`known`: whether a Windows was found; where none was, its system is likely on what cannot be opened."""
    severity = WARNING if known else BLOCKER
    for code, types, what, rest in (
        ("windows.dynamic-disk", _LDM, "a dynamic disk", "Give every disk of the VM; look at Disk Management after the first start."),
        (
            "windows.storage-spaces",
            _STORAGE_SPACES,
            "of a storage pool (Storage Spaces)",
            "Give every disk of the pool; look at it after the first start.",
        ),
    ):
        names = [name for name, table in guest.tables.items() if any(part.type in types for part in table.partitions)]
        if names:
            findings.add(
                code,
                severity,
                f"{', '.join(names)} is {what}: volumes on it that no partition names cannot be looked at"
                f"{'' if known else ', and no Windows was found beside it: nothing is repaired'}.",
                rest
                if known
                else f"Move Windows to a basic disk at the source (a backup and its restore); or accept {code}, which copies the disks as they are.",
            )


def mount(guest: OfflineGuest, root: BlockDevice) -> None:
    """Mount the system volume and the volumes with boot files, read-only."""
    guest.handle.mount_ro(root.name, VOLUME)
    mounts, failed = [Mount(root.name, VOLUME)], []
    for device, path in _boot_volumes(guest, root):
        try:
            guest.handle.mkmountpoint(path)
            guest.handle.mount_ro(device.name, path)
            mounts.append(Mount(device.name, path))
        except RuntimeError:
            failed.append(path)
    guest.mounts, guest.unmounted = tuple(mounts), tuple(failed)
    guest.in_place = True
    guest.forget()


def mount_writable(guest: OfflineGuest, discard: bool) -> None:
    """Mount what is mounted again for writing. `discard`: the operator accepts that a saved session is lost.

    The option `permissions` makes new files writable by administrators alone. Raises UnsupportedGuest where a volume stays read-only:
    the mount itself falls back to that without a word.
    """
    for mounted in guest.mounts:
        guest.handle.umount(mounted.path)
        device = guest.device(mounted.device)
        if mounted.path == VOLUME and device is not None and device.fstype == "ntfs":
            guest.handle.mount_options("permissions,remove_hiberfile" if discard else "permissions", mounted.device, VOLUME)
        else:
            guest.handle.mount(mounted.device, mounted.path)
        probe = f"{mounted.path}/hyper2kvm.probe"
        try:
            guest.handle.touch(probe)
            guest.handle.rm(probe)
        except RuntimeError as error:
            raise UnsupportedGuest(
                f"{mounted.device} can only be mounted read-only.",
                "Check it at the source (chkdsk /f), shut Windows down with shutdown /s /t 0, and copy again.",
            ) from error
    guest.forget()


def _boot_volumes(guest: OfflineGuest, root: BlockDevice) -> list[tuple[BlockDevice, str]]:
    """EFI system partitions as /efi, /efi1, ..., active partitions that are not the system's as /boot, /boot1, ..."""
    volumes: list[tuple[BlockDevice, str]] = []
    for device in guest.devices():
        table = guest.tables.get(f"disk{device.disk}") if device.disk is not None else None
        part = table.get(device.part) if table is not None and device.part is not None else None
        if part is None or device.name == root.name or device.fstype not in ("vfat", "ntfs"):
            continue
        kind = "/efi" if part.type in (parttable.ESP, "ef") else "/boot" if part.active else ""
        if kind:
            number = sum(path.startswith(kind) for dummy, path in volumes)
            volumes.append((device, f"{kind}{number or ''}"))
    return volumes


def hibernated(guest: OfflineGuest) -> bool:
    """Whether the mounted system volume holds a saved session, of hibernation or Fast Startup."""
    path = paths.find(guest, f"{VOLUME}/hiberfil.sys")
    return path is not None and bytes(guest.handle.pread(path, 4, 0)).lower() == _HIBERNATED


def dirty(guest: Guest, device: str) -> bool:
    """Whether NTFS says that it wants to be checked: the dirty flag of $Volume, file record 3 of the master file table.

    Source: the documentation of ntfs-3g (layout.h) and Microsoft, "NTFS attribute types".
    """
    boot = guest.read_device(device, 0, 512)
    if len(boot) < 512 or boot[3:7] != b"NTFS":
        return False
    sector, per_cluster = struct.unpack_from("<HB", boot, 11)
    start, size = struct.unpack_from("<Q8xb", boot, 48)
    cluster = sector * (per_cluster if per_cluster < 0x80 else 1 << (256 - per_cluster))
    length = size * cluster if size > 0 else 1 << -size
    if not 512 <= length <= 65536:
        return False
    record = guest.read_device(device, start * cluster + 3 * length, length)
    if len(record) < length or record[:4] != b"FILE":
        return False
    at = struct.unpack_from("<H", record, 20)[0]
    while at + 24 <= length:
        kind, step = struct.unpack_from("<II", record, at)
        if kind == 0x70:
            where = at + struct.unpack_from("<H", record, at + 20)[0]
            return where + 12 <= length and bool(struct.unpack_from("<H", record, where + 10)[0] & _DIRTY)
        if kind == 0xFFFFFFFF or step < 24:
            break
        at += step
    return False
