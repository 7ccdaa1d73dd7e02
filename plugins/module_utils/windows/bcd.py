# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot configuration data and the files that the firmware starts. Nothing in them names a controller: disks keep their identifiers.

Source: Microsoft, "BCD reference" for objects and elements; the layout of a device element as read from stores of Windows 7 and 10.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import dataclass
from typing import Optional, Sequence

from ..core.errors import MigrationError
from ..guest.change import Change
from ..guest.changes.copies import CopyFile
from ..guest.protocol import Guest
from . import hives, paths
from .paths import VOLUME
from .regf import Value

BOOT_MANAGER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
DEFAULT, PATH, DEVICE, OS_DEVICE, SYSTEM_ROOT = "23000003", "12000002", "11000001", "21000001", "22000002"
ONCE = "24000002"  # BcdBootMgrObjectList_BootSequence: what is started next, and once
GRAPHICS_MODE_DISABLED = "16000046"
TEST_SIGNING = "16000049"  # BcdLibraryBoolean_AllowPrereleaseSignatures: bcdedit /set testsigning on
FALLBACKS = {"x86_64": "bootx64.efi", "i686": "bootia32.efi", "aarch64": "bootaa64.efi"}
_PARTITION = 6
_MICROSOFT = "bootmgfw".encode("utf-16-le")


@dataclass(frozen=True)
class Device:
    """The partition that a device element means: GUIDs of partition and disk, or an offset in bytes and an MBR signature."""

    partition: str = ""
    disk: str = ""
    offset: int = 0
    signature: int = 0


def volumes(guest: Guest) -> tuple[str, ...]:
    """Where boot files may lie: ESPs, active partitions, the system volume."""
    return (*(f"/{name}" for name in guest.listdir("/") if name.startswith(("efi", "boot"))), VOLUME)


def stores(guest: Guest) -> tuple[str, ...]:
    """The stores that firmware or boot sector lead to."""
    candidates = [f"{volume}/EFI/Microsoft/Boot/BCD" for volume in volumes(guest) if volume.startswith("/efi")]
    candidates += [f"{volume}/Boot/BCD" for volume in volumes(guest) if not volume.startswith("/efi")]
    return tuple(found for found in (paths.find(guest, path) for path in candidates) if found is not None)


def element(store: hives.Draft, item: str, kind: str) -> Optional[Value]:
    return store.value(f"Objects\\{item}\\Elements\\{kind}", "Element")


def default_loader(store: hives.Draft) -> str:
    """The object that the boot manager starts by default; empty where it names none."""
    value = element(store, BOOT_MANAGER, DEFAULT)
    return value.text if value is not None and store.has(f"Objects\\{value.text}") else ""


def leads_to(store: hives.Draft, directory: str) -> bool:
    """Whether what the boot manager starts next, once or by default, lies in a directory: by its path, its system root or its RAM disk."""
    once = element(store, BOOT_MANAGER, ONCE)
    for item in (*(once.texts if once is not None else ()), default_loader(store)):
        for kind in (PATH, SYSTEM_ROOT, DEVICE, OS_DEVICE):
            value = element(store, item, kind) if item else None
            if value is not None and directory in value.data.decode("utf-16-le", "replace").lower():
                return True
    return False


def looked_at(paths_: Sequence[str], firmware: str) -> list[str]:
    """The stores that a firmware looks at."""
    return [path for path in paths_ if path.startswith("/efi") == (firmware == "uefi")]


def test_signing(guest: Guest, paths_: Sequence[str], firmware: str) -> bool:
    """Whether the default entry of the stores that this firmware looks at lets drivers with test signatures in."""
    values = []
    for path in looked_at(paths_, firmware):
        try:
            store = hives.Draft.of(guest, path)
        except MigrationError:  # the plan says what is wrong with it
            return False
        loader = default_loader(store)
        values.append(element(store, loader, TEST_SIGNING) if loader else None)
    return bool(values) and all(value is not None and value.data[:1] == b"\1" for value in values)


def device(value: Optional[Value]) -> Optional[Device]:
    """The partition of a device element; None for another kind of device."""
    data = value.data if value is not None else b""
    if len(data) < 72 or struct.unpack_from("<I", data, 16)[0] != _PARTITION:
        return None
    if struct.unpack_from("<I", data, 52)[0] == 0:
        return Device(str(uuid.UUID(bytes_le=data[32:48])), str(uuid.UUID(bytes_le=data[56:72])))
    return Device(offset=struct.unpack_from("<Q", data, 32)[0], signature=struct.unpack_from("<I", data, 56)[0])


def plan(guest: Guest, stores_: tuple[str, ...], firmware: str, architecture: str) -> list[Change]:
    """Keep a copy of each store, let its default entry use the display, and put the boot manager where UEFI looks without a boot entry."""
    changes: list[Change] = []
    for path in stores_:
        changes += _kept(guest, path)
        draft = hives.Draft.of(guest, path)
        loader = default_loader(draft)
        if loader:
            draft.remove_key(f"Objects\\{loader}\\Elements\\{GRAPHICS_MODE_DISABLED}", "the boot loader may use the display of the new VM")
        changes += draft.change()
    if firmware == "uefi":
        for volume in volumes(guest):
            changes += _fallback(guest, volume, architecture) if volume.startswith("/efi") else []
    return changes


def _kept(guest: Guest, path: str) -> list[Change]:
    copy = f"{path}.hyper2kvm"
    return [] if guest.stat(copy) is not None else [CopyFile(path, copy, "a copy of the boot configuration from before the move")]


def _fallback(guest: Guest, volume: str, architecture: str) -> list[Change]:
    """EFI\\Boot: Windows' own boot manager, also in place of a loader of another system. Boot entries do not move with a VM."""
    manager = paths.find(guest, f"{volume}/EFI/Microsoft/Boot/bootmgfw.efi")
    if manager is None:
        return []
    dest = paths.place(guest, f"{volume}/EFI/Boot/{FALLBACKS.get(architecture, 'bootx64.efi')}")
    there, ours = guest.read(dest), guest.read(manager)
    reason = "UEFI finds Windows without a boot entry of its own"
    if there is None:
        return [CopyFile(manager, dest, reason)]
    if there == ours or _MICROSOFT in there:  # an older boot manager of Windows is one too
        return []
    return [CopyFile(manager, dest, reason, hashlib.sha256(there).hexdigest())]
