# SPDX-License-Identifier: GPL-3.0-or-later
"""VHD footers and headers, read strictly by our own parser before qemu sees anything.

Source: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0.
"""

from __future__ import annotations

import array
import ntpath
import os
import sys
import uuid
from typing import BinaryIO, Iterable, Iterator

from ..core import limits
from ..core.errors import InvalidInput
from .header import Header, beside, fields, impossible, missing, read_at
from .qcow2_map import CLUSTER, Layers, Piece

SECTOR = 512
_COOKIE, _DYNAMIC_COOKIE = b"conectix", b"cxsparse"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_LARGEST = 2040 << 30
_UNUSED = 0xFFFFFFFF
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the first sector is the highest bit


def read(file: BinaryIO, path: str) -> Header:
    """Raises InvalidInput for what is damaged, or of a VM in saved state."""
    size = file.seek(0, 2)
    if size < 2 * SECTOR:
        raise missing(path, "VHD")
    foot = read_at(file, size - SECTOR, SECTOR, path)
    if foot[:8] != _COOKIE:
        raise missing(path, "VHD")
    if not _sums_up(foot, 64):
        raise impossible(path, "checksum")
    version, header_at = fields(">IQ", foot, 12)
    capacity, dummy, kind = fields(">QII", foot, 48)
    if version >> 16 != 1 or not 0 < capacity <= _LARGEST or capacity % SECTOR:
        raise impossible(path, "version" if version >> 16 != 1 else "size")
    if foot[84]:
        raise InvalidInput(
            f"{path} belongs to a VM in saved state.", "Start the VM, shut its guest down, and copy the disk then.", path=path
        )
    if kind == _FIXED:
        if capacity > size - SECTOR:
            raise impossible(path, "size")
        return Header("raw", capacity, id=str(uuid.UUID(bytes=foot[68:84])))
    if kind not in (_DYNAMIC, _DIFFERENCING):
        raise impossible(path, "type")
    head = read_at(file, header_at, 1024, path)
    _table(file, head, capacity, size, path)
    own = str(uuid.UUID(bytes=foot[68:84]))
    if kind == _DYNAMIC:
        return Header("vpc", capacity, id=own)
    parent = beside(_parent(file, head, path), os.path.dirname(os.path.abspath(path)), path)
    return Header("vpc", capacity, parent=parent, parent_format="vpc", id=own, parent_ids=(str(uuid.UUID(bytes=head[40:56])),))


def layers(file: BinaryIO, path: str) -> Layers:
    """What a snapshot holds itself, of what the guest sees: blocks begin at any sector, so there is a layer for each place within a cluster."""
    size = file.seek(0, 2)
    foot = read_at(file, size - SECTOR, SECTOR, path)
    head = read_at(file, fields(">Q", foot, 16)[0], 1024, path)
    places, block = _table(file, head, fields(">Q", foot, 48)[0], size, path)
    bitmap = _bitmap(block)
    if block < CLUSTER:
        raise InvalidInput(f"{path} has blocks of {block} bytes.", "Merge it at the source (Merge-VHD).", path=path)
    for shift in sorted({(place * SECTOR + bitmap) % CLUSTER for place in places if place != _UNUSED}) or [0]:
        yield shift, _pieces(file, path, _chosen(places, bitmap, shift), block, shift)


def _chosen(places: array.array[int], bitmap: int, shift: int) -> Iterator[tuple[int, int]]:
    """Number and offset of the data of each block that begins so far behind a cluster."""
    for number, place in enumerate(places):
        at = place * SECTOR + bitmap
        if place != _UNUSED and at % CLUSTER == shift:
            yield number, at


def _pieces(file: BinaryIO, path: str, chosen: Iterable[tuple[int, int]], block: int, shift: int) -> Iterator[Piece]:
    """The sectors that the bitmaps before these blocks have, (number, offset of the data) each."""
    for number, at in chosen:
        words = array.array("I", read_at(file, at - _bitmap(block), block // SECTOR // 8, path).translate(_MIRRORED))
        if sys.byteorder == "big":
            words.byteswap()
        first = number * block // CLUSTER
        for n, bits in enumerate(words):
            there = at - shift + n * CLUSTER
            if bits:
                yield Piece(first + n, there, bits, data=b"" if there else read_at(file, at, CLUSTER, path))


def _parent(file: BinaryIO, head: bytes, path: str) -> str:
    """The name of the parent's file as the child knew it, by the locators for Windows, else by the header. The folders were another host's."""
    names = {}
    for number in range(8):
        code, dummy, length, dummy, at = fields(">4sIIIQ", head, 576 + 24 * number)
        if code in (b"W2ru", b"W2ku"):
            names[code] = read_at(file, at, min(length, 65536), path).decode("utf-16-le", "replace")
    named = (names.get(b"W2ru"), names.get(b"W2ku"), head[64:576].decode("utf-16-be", "replace"))
    found = next((ntpath.basename(name.split("\0", 1)[0]) for name in named if name), "")
    if not found:
        raise impossible(path, "parent's name")
    return found


def _table(file: BinaryIO, head: bytes, capacity: int, size: int, path: str) -> tuple[array.array[int], int]:
    """Where each block begins, in sectors, and the size of one in bytes. Every block must lie in the file: its bitmap, then its data."""
    if head[:8] != _DYNAMIC_COOKIE or not _sums_up(head, 36):
        raise impossible(path, "dynamic disk header")
    table, dummy, entries, block = fields(">QIII", head, 16)
    bad = (
        ((block < SECTOR or block & (block - 1) or block > 1 << 28) and "block size")
        or (entries * block < capacity and "table size")
        or (-(-capacity // block) * 4 > limits.VHD_TABLE and "number of blocks")
        or ((table % SECTOR or table + entries * 4 > size) and "table offset")
    )
    if bad:
        raise impossible(path, bad)
    places = array.array("I", read_at(file, table, -(-capacity // block) * 4, path))  # what may follow belongs to no block of the disk
    if sys.byteorder == "little":
        places.byteswap()
    if any(place != _UNUSED and place * SECTOR + _bitmap(block) + block > size for place in places):
        raise impossible(path, "block allocation table")
    return places, block


def _bitmap(block: int) -> int:
    """Bytes of the bitmap that stands before a block: a bit for each sector, padded to whole sectors."""
    return (block // SECTOR // 8 + SECTOR - 1) // SECTOR * SECTOR


def _sums_up(data: bytes, at: int) -> bool:
    """The one's complement of the sum of all bytes but the checksum's own."""
    return bool(fields(">I", data, at)[0] == ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF)
