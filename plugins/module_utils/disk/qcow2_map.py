# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a qcow2 image for data that lie in a file of another format: so qemu reads snapshots that it does not know, and nothing is copied.

The tables are laid around that file: the header over its first bytes, which are its own header, and the rest behind its end. For each
sector they say that it lies in the file, or is zeros, or is the parent's. Source: qemu's docs/interop/qcow2.txt, extended L2 entries (qemu 5.2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Iterable, Iterator

from ..core import modes

CLUSTER = 16 << 10  # with 32 parts, so that a part is a sector of 512 bytes
_BITS = 14
_PER_TABLE = CLUSTER // 16
_EXTENDED, _COPIED = 1 << 4, 1 << 63
_HEADER = ">4sIQIIQIIQQIIQQQQII"
_ROOM = 1 << 20


@dataclass(frozen=True)
class Piece:
    """Cluster `index` of the disk. Bit n of `here`: its sector n lies in the file at `offset` (a multiple of CLUSTER) + 512 n; of `zeros`: it is zeros.

    `data`: the cluster itself, where it lies under the header that is laid over the file's beginning.
    """

    index: int
    offset: int
    here: int
    zeros: int = 0
    data: bytes = b""


# Pieces of one snapshot whose places, less the first number, are multiples of CLUSTER. What one layer does not have the next one may.
Layers = Iterator[tuple[int, Iterable[Piece]]]


def write(path: str, size: int, pieces: Iterable[Piece], length: int) -> None:
    """Write what is to be laid around a file of `length` bytes, with holes where the file is, for a disk of `size` bytes.

    `pieces` in rising order. The reference counts are left empty: such an image can be read, not written.
    """
    tables = -(-size // (CLUSTER * _PER_TABLE))
    counts = -(-length // _ROOM) * _ROOM
    at_roots = counts + CLUSTER
    used = at_roots + -(-tables * 8 // CLUSTER) * CLUSTER
    roots = [0] * tables
    with modes.create(path) as file:

        def add(cluster: bytes) -> int:
            nonlocal used
            file.seek(used)
            file.write(cluster)
            used += CLUSTER
            return used - CLUSTER

        def placed() -> Iterator[Piece]:
            for piece in pieces:
                if piece.index * CLUSTER < size:  # the last block of a disk may be larger than what is left of the disk
                    yield replace(piece, offset=add(piece.data)) if piece.data else piece

        for number, entries in _by_table(placed()):
            roots[number] = add(entries) | _COPIED
        file.truncate(-(-used // _ROOM) * _ROOM)
        file.seek(at_roots)
        file.write(struct.pack(f">{tables}Q", *roots))
        file.seek(0)
        file.write(struct.pack(_HEADER, b"QFI\xfb", 3, 0, 0, _BITS, size, 0, tables, at_roots, counts, 1, 0, 0, _EXTENDED, 0, 0, 4, 104))


def _by_table(pieces: Iterable[Piece]) -> Iterator[tuple[int, bytes]]:
    """Each table that has entries, with its number."""
    number, table = -1, bytearray()
    for piece in pieces:
        if piece.index // _PER_TABLE != number:
            if number >= 0:
                yield number, bytes(table)
            number, table = piece.index // _PER_TABLE, bytearray(CLUSTER)
        place = piece.offset | _COPIED if piece.here else 0
        struct.pack_into(">QQ", table, piece.index % _PER_TABLE * 16, place, piece.zeros << 32 | piece.here)
    if number >= 0:
        yield number, bytes(table)
