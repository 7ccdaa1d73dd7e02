# SPDX-License-Identifier: GPL-3.0-or-later
"""VDI headers, read strictly by our own parser before qemu sees anything. Source: VirtualBox's VDICore.h, as qemu's block/vdi.c reads it."""

from __future__ import annotations

import array
import sys
from typing import BinaryIO

from ..core import limits
from ..core.errors import InvalidInput
from .header import Header, fields, impossible, missing, read_at

_SIGNATURE = 0xBEDA107F
_DYNAMIC, _STATIC = 1, 2
_BLOCK = 1 << 20
_PART = 4 << 20  # bytes of the table that are looked at together
_ABSENT = 0xFFFFFFFE  # and the value after it
_MANY = limits.VDI_SIZE // _BLOCK


def read(file: BinaryIO, path: str) -> Header:
    """Raises InvalidInput for what is damaged, of another version, or a snapshot."""
    size = file.seek(0, 2)
    if size < 512:
        raise missing(path, "VDI image")
    head = read_at(file, 0, 512, path)
    signature, version, dummy, kind = fields("<IIII", head, 64)
    if signature != _SIGNATURE:
        raise missing(path, "VDI image")
    if version >> 16 != 1:
        raise InvalidInput(f"{path} is a VDI of version {version >> 16}.", "Clone it with VBoxManage clonemedium.", path=path)
    if kind not in (_DYNAMIC, _STATIC) or any(head[424:456]):
        raise InvalidInput(
            f"{path} is a snapshot of another VDI.",
            "Clone the VM or the medium, which merges its snapshots: VBoxManage clonemedium disk SNAPSHOT NEW --format VDI.",
            path=path,
        )
    table, data = fields("<II", head, 340)
    capacity, block, dummy, blocks, allocated = fields("<QIIII", head, 368)
    bad = (
        (block != _BLOCK and "block size")
        or (not 0 < capacity <= blocks * _BLOCK and "size")
        or (not blocks <= _MANY and "number of blocks")
        or ((table < 400 or table + blocks * 4 > size) and "table offset")
        or (allocated > blocks and "number of blocks")
        or (data + allocated * _BLOCK > size and "data offset")
    )
    if bad:
        raise impossible(path, bad)
    for at in range(0, blocks * 4, _PART):
        entries = array.array("I", read_at(file, table + at, min(_PART, blocks * 4 - at), path))
        if sys.byteorder == "big":
            entries.byteswap()
        if max(entries) >= allocated and any(allocated <= entry < _ABSENT for entry in entries):
            raise impossible(path, "table")
    return Header("vdi", capacity)
