# SPDX-License-Identifier: GPL-3.0-or-later
"""VHDX headers, read strictly by our own parser before qemu sees anything. Source: Microsoft, [MS-VHDX]."""

from __future__ import annotations

import array
import ntpath
import os
import re
import sys
import uuid
from dataclasses import dataclass
from typing import BinaryIO, Iterator, Optional

from ..core.errors import InvalidInput
from .header import Header, beside, fields, impossible, missing, read_at
from .qcow2_map import CLUSTER, Layers, Piece

_KIB, _MIB = 1 << 10, 1 << 20
_HEADERS, _REGIONS = (64 * _KIB, 128 * _KIB), (192 * _KIB, 256 * _KIB)
_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
_PHYSICAL = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
_LOCATOR_KIND = uuid.UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
_SECTOR = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_HAS_PARENT = 1 << 1
_REQUIRED = 1 << 2  # of an item of metadata
_LARGEST = 64 << 40
_NOBODY: tuple[str, ...] = ()
_ABSENT, _WHOLE, _PARTLY = 0, 6, 7  # states of a payload block
_CRC32C = 0x82F63B78


@dataclass(frozen=True)
class _Layout:
    """Where the table of blocks lies, in bytes; the size of a block and of the disk in bytes, and how many blocks stand between two bitmaps."""

    table: int
    block: int
    size: int
    parent: str = ""
    parent_ids: tuple[str, ...] = ()
    id: str = ""

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block)

    @property
    def chunk(self) -> int:
        return (1 << 23) * 512 // self.block

    @property
    def entries(self) -> int:
        if self.parent:
            return -(-self.blocks // self.chunk) * (self.chunk + 1)
        return self.blocks + (self.blocks - 1) // self.chunk


def read(file: BinaryIO, path: str) -> Header:
    """Raises InvalidInput for what is damaged, was not closed cleanly, or has sectors that no guest on KVM would start from."""
    layout = _layout(file, path)
    for dummy in _chunks(file, layout, path):
        pass
    if not layout.parent:
        return Header("vhdx", layout.size, id=layout.id)
    return Header("vhdx", layout.size, parent=layout.parent, parent_format="vhdx", id=layout.id, parent_ids=layout.parent_ids)


def layers(file: BinaryIO, path: str) -> Layers:
    """What a snapshot holds itself, of what the guest sees."""
    yield 0, _pieces(file, path)


def _pieces(file: BinaryIO, path: str) -> Iterator[Piece]:
    layout, whole = _layout(file, path), (1 << 32) - 1
    per_block = layout.block // CLUSTER
    for first, places, bitmap in _chunks(file, layout, path):
        for number, place in enumerate(places):
            state, offset, index = place & 7, (place >> 20) * _MIB, (first + number) * per_block
            if state == _WHOLE:
                yield from (Piece(index + n, offset + n * CLUSTER, whole) for n in range(per_block))
            elif state == _PARTLY:
                words = array.array("I", read_at(file, bitmap + number * per_block * 4, per_block * 4, path))
                if sys.byteorder == "big":
                    words.byteswap()
                yield from (Piece(index + n, offset + n * CLUSTER, bits) for n, bits in enumerate(words) if bits)
            elif state != _ABSENT:
                yield from (Piece(index + n, 0, 0, whole) for n in range(per_block))


def _layout(file: BinaryIO, path: str) -> _Layout:
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(8) != b"vhdxfile":
        raise missing(path, "VHDX")
    found = [head for head in (_checked(file, at, 4 * _KIB, b"head", path) for at in _HEADERS) if head is not None]
    if not found:
        raise impossible(path, "checksum")
    head = max(found, key=lambda one: int(fields("<Q", one, 8)[0]))
    version = fields("<H", head, 66)[0]
    if version != 1:
        raise InvalidInput(f"{path} is a VHDX of version {version}.", "Convert it at the source (Convert-VHD).", path=path)
    if any(head[48:64]):
        raise InvalidInput(
            f"{path} was not closed cleanly: changes are waiting in its log.",
            "Shut the VM down and copy the disk again, or open and close it once (Mount-VHD, then Dismount-VHD; or qemu-img check -r all on a copy).",
            path=path,
        )
    regions = next((table for table in (_checked(file, at, 64 * _KIB, b"regi", path) for at in _REGIONS) if table is not None), None)
    if regions is None:
        raise impossible(path, "region table")
    _require_known(regions, path)
    (bat, bat_length), (metadata, metadata_length) = (_region(regions, kind, size, path) for kind in (_BAT, _METADATA))
    items = read_at(file, metadata, 64 * _KIB, path)
    if items[:8] != b"metadata":
        raise impossible(path, "metadata table")
    _require_items_known(items, path)

    def item(kind: uuid.UUID, code: str, length: int) -> int:
        at = _item(items, kind, metadata_length, path)[0]
        return int(fields(code, read_at(file, metadata + at, length, path))[0])

    parameters, capacity, sector = item(_PARAMETERS, "<Q", 8), item(_SIZE, "<Q", 8), item(_SECTOR, "<I", 4)
    block, flags = parameters & 0xFFFFFFFF, parameters >> 32
    if sector == 4096:
        raise InvalidInput(
            f"{path} has sectors of 4096 bytes; its guest's partition tables hold only on such a disk.",
            "Move the guest to a disk with sectors of 512 bytes at the source (New-VHD -LogicalSectorSizeBytes 512, then clone).",
            path=path,
        )
    if sector != 512 or not 0 < capacity <= _LARGEST or capacity % sector:
        raise impossible(path, "size")
    if not _MIB <= block <= 256 * _MIB or block & (block - 1):
        raise impossible(path, "block size")
    parent, parent_ids = "", _NOBODY
    if flags & _HAS_PARENT:
        at, length = _item(items, _LOCATOR, metadata_length, path)
        parent, parent_ids = _parent(read_at(file, metadata + at, min(length, _MIB), path), path)
    layout = _Layout(bat, block, capacity, parent, parent_ids, str(uuid.UUID(bytes_le=head[32:48])))
    if layout.entries * 8 > bat_length:
        raise impossible(path, "block allocation table")
    return layout


def _parent(data: bytes, path: str) -> tuple[str, tuple[str, ...]]:
    """The name of the parent's file, and its id, as the child knew them: there are two while a merge changes it. The folders were another host's."""
    said: dict[str, str] = {}
    if len(data) < 20 or data[:16] != _LOCATOR_KIND.bytes_le:
        raise impossible(path, "parent locator")
    for number in range(min(fields("<H", data, 18)[0], 100)):
        if 20 + 12 * (number + 1) > len(data):
            raise impossible(path, "parent locator")
        key, value, key_length, value_length = fields("<IIHH", data, 20 + 12 * number)
        said[data[key : key + key_length].decode("utf-16-le", "replace")] = data[value : value + value_length].decode(
            "utf-16-le", "replace"
        )
    names = (said.get(key, "") for key in ("relative_path", "absolute_win32_path", "volume_path"))
    name = next((ntpath.basename(name) for name in names if name), "")
    linkage = [re.fullmatch(r"\{?([0-9a-fA-F-]{36})\}?", said.get(key, "")) for key in ("parent_linkage", "parent_linkage2")]
    if not name or linkage[0] is None:
        raise impossible(path, "parent locator")
    return beside(name, os.path.dirname(os.path.abspath(path)), path), tuple(one[1].lower() for one in linkage if one is not None)


def _require_known(regions: bytes, path: str) -> None:
    """Raise InvalidInput for a region that must be understood and is not. Source: [MS-VHDX] 2.2.3.2, Required."""
    for number in range(min(fields("<I", regions, 8)[0], 2047)):
        guid, dummy, dummy, required = fields("<16sQII", regions, 16 + 32 * number)
        if required & 1 and guid not in (_BAT.bytes_le, _METADATA.bytes_le):
            raise _unknown(path, "region", guid)


def _require_items_known(table: bytes, path: str) -> None:
    """The same for metadata. Source: [MS-VHDX] 2.6.1.2, IsRequired."""
    known = {kind.bytes_le for kind in (_PARAMETERS, _SIZE, _DISK_ID, _SECTOR, _PHYSICAL, _LOCATOR)}
    for number in range(min(fields("<H", table, 10)[0], 2047)):
        guid, dummy, dummy, flags = fields("<16sIII", table, 32 + 32 * number)
        if flags & _REQUIRED and guid not in known:
            raise _unknown(path, "metadata", guid)


def _unknown(path: str, what: str, guid: bytes) -> InvalidInput:
    return InvalidInput(
        f"{path} has {what} that is not known, and says that it must be ({uuid.UUID(bytes_le=guid)}).",
        "Convert it at the source (Convert-VHD), and migrate that.",
        path=path,
    )


def _checked(file: BinaryIO, at: int, length: int, signature: bytes, path: str) -> Optional[bytes]:
    """One of two copies, if it is whole."""
    data = read_at(file, at, length, path)
    if data[:4] != signature or fields("<I", data, 4)[0] != _crc32c(data[:4] + bytes(4) + data[8:]):
        return None
    return data


def _region(table: bytes, kind: uuid.UUID, size: int, path: str) -> tuple[int, int]:
    """Offset and length in bytes."""
    for number in range(min(fields("<I", table, 8)[0], 2047)):
        guid, offset, length = fields("<16sQI", table, 16 + 32 * number)
        if guid == kind.bytes_le:
            if offset % _MIB or offset < _MIB or offset + length > size:
                raise impossible(path, "region")
            return offset, length
    raise impossible(path, "region table")


def _item(table: bytes, kind: uuid.UUID, limit: int, path: str) -> tuple[int, int]:
    """Where it lies in the metadata region and how long it is, in bytes."""
    for number in range(min(fields("<H", table, 10)[0], 2047)):
        guid, offset, length = fields("<16sII", table, 32 + 32 * number)
        if guid == kind.bytes_le:
            if offset < 64 * _KIB or offset + length > limit:
                raise impossible(path, "metadata table")
            return int(offset), int(length)
    raise impossible(path, "metadata table")


def _chunks(file: BinaryIO, layout: _Layout, path: str) -> Iterator[tuple[int, array.array[int], int]]:
    """For each chunk of payload blocks: the number of the first, their entries, and where the bitmap of their sectors lies in a snapshot.

    Raises InvalidInput for a block or a bitmap that does not lie in the file.
    """
    size = file.seek(0, 2)
    for first in range(0, layout.blocks, layout.chunk):
        at = layout.table + first // layout.chunk * (layout.chunk + 1) * 8
        places = array.array("Q", read_at(file, at, min(layout.chunk, layout.blocks - first) * 8, path))
        if sys.byteorder == "big":
            places.byteswap()
        bitmap, partly = 0, False
        for place in places if any(places) else ():
            state = place & 7
            partly = partly or state == _PARTLY
            if state in (_WHOLE, _PARTLY) and not _MIB <= (place >> 20) * _MIB <= size - layout.block:
                raise impossible(path, "block allocation table")
        if partly:
            entry = fields("<Q", read_at(file, at + layout.chunk * 8, 8, path))[0] if layout.parent else 0
            bitmap = (entry >> 20) * _MIB
            if entry & 7 != _WHOLE or not _MIB <= bitmap <= size - _MIB:
                raise impossible(path, "block allocation table")
        yield first, places, bitmap


def _table() -> tuple[int, ...]:
    made = []
    for value in range(256):
        for dummy in range(8):
            value = value >> 1 ^ (_CRC32C if value & 1 else 0)
        made.append(value)
    return tuple(made)


_STEPS = _table()


def _crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), which neither zlib nor binascii has."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _STEPS[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
