# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 headers, read strictly by our own parser before qemu sees anything. Source: qemu's docs/interop/qcow2.txt."""

from __future__ import annotations

import os
from typing import BinaryIO

from ..core import limits
from ..core.errors import InvalidInput
from . import unused
from .header import Header, beside, fields, impossible, missing, read_at

MAGIC = b"QFI\xfb"
_LAYOUT = ">4sIQIIQIIQQ"
_LENGTH_V2, _LENGTH_V3 = 72, 104
_DIRTY, _CORRUPT, _DATA_FILE, _KNOWN = 1 << 0, 1 << 1, 1 << 2, 0x1F
_BACKING_FORMAT = 0xE2792ACA
_FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vpc": "vpc", "vhdx": "vhdx", "vdi": "vdi"}
_LONGEST_NAME = 1023
_MANY_EXTENSIONS = 64


def read(file: BinaryIO, path: str) -> Header:
    """Raises InvalidInput for what is damaged, encrypted or keeps its data elsewhere, UnsafeInput for a parent that does.

    Bitmaps say what a backup has yet to read; they hold nothing that a guest reads.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(4) != MAGIC:
        raise missing(path, "qcow2 image")
    head = read_at(file, 0, _LENGTH_V2, path)
    dummy, version, name_at, name_length, bits, capacity, crypt, entries, table, refcounts = fields(_LAYOUT, head)
    if version not in (2, 3):
        raise InvalidInput(f"{path} is a qcow image of version {version}.", "Convert it: qemu-img convert -f qcow -O qcow2.", path=path)
    if crypt:
        raise InvalidInput(f"{path} is encrypted.", "Decrypt it into a plain copy: qemu-img convert with its secret.", path=path)
    snapshots, listed = fields(">IQ", head[60:])  # they are not migrated, but qemu reads their list whenever it opens the image
    cluster = 1 << bits if 9 <= bits <= 21 else 0
    bad = (
        (not cluster and "cluster size")
        or (not 0 < capacity <= 1 << 56 and "size")
        or (entries * (cluster // 8) * cluster < capacity and "table size")
        or ((table % cluster or not table or table + entries * 8 > size) and "table offset")
        or ((refcounts % cluster or not 0 < refcounts < size) and "reference count offset")
        or (entries * 8 > limits.QCOW2_TABLE and "table size")
        or (snapshots > limits.QCOW2_SNAPSHOTS and f"number of snapshots ({snapshots})")
        or (snapshots and not (cluster <= listed < size and listed % 8 == 0) and "list of snapshots")
        or ((name_length > _LONGEST_NAME or name_at + name_length > cluster) and "parent's name")
    )
    if bad:
        raise impossible(path, bad)
    features, length = (
        (fields(">Q", read_at(file, 72, 8, path))[0], fields(">I", read_at(file, 100, 4, path))[0]) if version == 3 else (0, 72)
    )
    if version == 3 and not _LENGTH_V3 <= length <= cluster:
        raise impossible(path, "length")
    if features & ~_KNOWN or features & _CORRUPT:
        why = "is marked as corrupt" if features & _CORRUPT else f"has features that are not known (0x{features:x})"
        raise InvalidInput(f"{path} {why}.", "Repair a copy of it (qemu-img check -r all), or convert it with a newer qemu.", path=path)
    if features & _DATA_FILE:
        raise InvalidInput(f"{path} keeps its data in another file.", "Convert it: qemu-img convert -f qcow2 -O qcow2.", path=path)
    concerns = (*unused.inner_snapshots(path, snapshots), *unused.unclean(path, bool(features & _DIRTY)))
    if not name_at:
        return Header("qcow2", capacity, concerns=concerns)
    directory = os.path.dirname(os.path.abspath(path))
    name = read_at(file, name_at, name_length, path).decode("utf-8", "surrogateescape")
    parent = beside(name, directory, path)
    return Header("qcow2", capacity, parent=parent, parent_format=_parent_format(file, length, name_at, path), concerns=concerns)


def _parent_format(file: BinaryIO, at: int, end: int, path: str) -> str:
    """What the header extensions say of it; empty where they say nothing, as old images do."""
    for dummy in range(_MANY_EXTENSIONS):
        if at + 8 > end:
            return ""
        kind, length = fields(">II", read_at(file, at, 8, path))
        if not kind:
            return ""
        if kind == _BACKING_FORMAT:
            said = read_at(file, at + 8, min(length, 32), path).decode("ascii", "replace")
            if said not in _FORMATS:
                raise InvalidInput(f"{path} has a parent of the unknown format {said!r}.", "Merge the chain: qemu-img convert.", path=path)
            return said
        at += 8 + (length + 7) // 8 * 8
    raise impossible(path, "list of extensions")
