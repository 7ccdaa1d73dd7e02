# SPDX-License-Identifier: GPL-3.0-or-later
"""What the UEFI firmware of a VM starts first, by the variables that its hypervisor keeps for it: VMware's .nvram, VirtualBox's NvramFile.

No entry comes along: the target's firmware finds none, and starts EFI/BOOT/BOOT<arch>.EFI. Source: UEFI Specification 2.10, 3.1 and 3.3 (BootOrder,
Boot####, EFI_LOAD_OPTION), 10.3 (device paths), 3.5.1.1 (the path without entries); edk2's MdeModulePkg/Include/Guid/VariableFormat.h; of VMware's
format, which has no specification, what virt-firmware reads.
"""

from __future__ import annotations

import re
import struct
import uuid
from dataclasses import dataclass
from typing import Iterator, Optional

from ..core.concern import INFO, Concern
from . import unused

LIMIT = 4 << 20  # bytes; VMware's has 264 KiB, VirtualBox's some more than 512
_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
_VMWARE = b"VMWNVRAM"
_VOLUME = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le  # gEfiSystemNvDataFvGuid
_STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le  # gEfiAuthenticatedVariableGuid
_ADDED, _MAGIC = 0x3F, 0x55AA
_ACTIVE, _AUTHENTICATED = 1, 1 << 5
_MEDIA, _MESSAGING, _FILE, _END = 4, 3, 4, 0x7F
_OF_NETWORKS = (11, 12, 13, 24)  # MAC, IPv4, IPv6, URI
_FALLBACK = re.compile(r"\\+EFI\\+BOOT\\+BOOT[A-Z0-9]+\.EFI", re.IGNORECASE)
_DRIVE = re.compile(r"\bCD|DVD|floppy", re.IGNORECASE)

Variable = tuple[bytes, str, bytes]  # GUID, name, data


@dataclass(frozen=True)
class Entry:
    """A boot entry: its name, whether it starts from the network, and the file that it starts; empty for what a disk's fallback path has."""

    name: str
    network: bool = False
    file: str = ""


def concerns(vm: str, data: bytes) -> tuple[Concern, ...]:
    """What a person should know of the entry that comes first, as the firmware of the VM `vm` has it."""
    found = first(data)
    if found is None or (not found.network and (not found.file or _FALLBACK.fullmatch(found.file))):
        return ()
    if found.network:
        return unused.from_network(vm, True)
    return (
        Concern(
            "source.boot-order",
            INFO,
            f"The firmware of {vm} starts {found.file[:200]} first ({found.name[:80]}), by an entry that the target does not have.",
            "There EFI/BOOT of the system partition is started, where the repair puts the guest's loader if it has none: look which one that is if there are "
            "several.",
        ),
    )


def first(data: bytes) -> Optional[Entry]:
    """The first entry that is tried and may succeed without a medium; None where nothing is known of it."""
    found = {name: value for guid, name, value in _variables(data) if guid == _GLOBAL}
    order = found.get("BootOrder", b"")
    numbers = dict.fromkeys(number for (number,) in struct.iter_unpack("<H", order[: len(order) // 2 * 2]))
    for number in numbers:
        entry = _entry(found.get(f"Boot{number:04X}", b""))
        if entry is not None and (entry.file or not _DRIVE.search(entry.name)):
            return entry
    return None


def _variables(data: bytes) -> Iterator[Variable]:
    """As far as they can be read: an entry that does not fit ends the list."""
    try:
        yield from _of_vmware(data) if _VMWARE in data else _of_edk2(data)
    except struct.error:
        return


def _of_vmware(data: bytes) -> Iterator[Variable]:
    begin = data.find(_VMWARE)
    end = min(begin + struct.unpack_from("<I", data, begin + 12)[0], len(data))
    at = begin + 16
    while at + 28 <= end:
        guid, attributes, size, length = struct.unpack_from("<16sIII", data, at)
        if not length <= size <= end - at - 28:
            return
        value = data[at + 28 + length : at + 28 + size]
        yield guid, _text(data[at + 28 : at + 28 + length]), value[40:] if attributes & _AUTHENTICATED else value
        at += 28 + size


def _of_edk2(data: bytes) -> Iterator[Variable]:
    """The volume of variables in a file, which may be all of it, or a member of a tar."""
    volume = data.find(_VOLUME) - 16
    if volume < 0:
        return
    store = volume + struct.unpack_from("<H", data, volume + 48)[0]
    guid, size = struct.unpack_from("<16sI", data, store)
    at, end = store + 28, min(store + size, len(data))
    while guid == _STORE and at + 60 <= end:
        magic, state = struct.unpack_from("<HB", data, at)
        length, held, owner = struct.unpack_from("<II16s", data, at + 36)
        if magic != _MAGIC or length + held > end - at - 60:
            return
        if state == _ADDED:
            yield owner, _text(data[at + 60 : at + 60 + length]), data[at + 60 + length : at + 60 + length + held]
        at += (60 + length + held + 3) & ~3


def _entry(option: bytes) -> Optional[Entry]:
    """An EFI_LOAD_OPTION; None for one that is not tried."""
    if len(option) < 8 or not struct.unpack_from("<I", option)[0] & _ACTIVE:
        return None
    end = next((at for at in range(6, len(option) - 1, 2) if option[at : at + 2] == b"\0\0"), len(option))
    network, file = False, ""
    for kind, sub, body in _nodes(option[end + 2 :]):
        network = network or (kind == _MESSAGING and sub in _OF_NETWORKS)
        file += _text(body) if (kind, sub) == (_MEDIA, _FILE) else ""
    return Entry(_text(option[6:end]), network, file)


def _nodes(path: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 4 <= len(path):
        kind, sub, length = struct.unpack_from("<BBH", path, at)
        if kind == _END or length < 4:
            return
        yield kind, sub, path[at + 4 : at + length]
        at += length


def _text(data: bytes) -> str:
    """Without what controls a terminal."""
    text = data.decode("utf-16-le", "replace").split("\0", 1)[0]
    return "".join(char if char.isprintable() else "?" for char in text)
