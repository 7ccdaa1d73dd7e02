# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM a source on this host is. Of its disks no more is read than the ends."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from typing import Any, Iterable, Optional, Sequence

from ..core import choice, device, files
from ..core.vm import MIB, Mark, VmId, digest_of
from .machine import SourceDisk, SourceVm


def identity(vm: SourceVm, source: Sequence[str], place: str = "") -> VmId:
    """The VM that `source`, paths from the root on, describes. `place`: where it is, if that is not the first path."""
    marks = tuple(mark(disk) for disk in vm.disks)
    where = place or place_of(choice.file_of(source[0])) + str(choice.Choice(vm.part))
    return VmId(vm.uuid, where, tuple(source), vm.name, digest_of([configuration(vm), list(map(asdict, marks))]), marks)


def packed(source: Sequence[str]) -> VmId:
    """The same for a source that is packed, of which nothing but its place is known."""
    path, chosen = choice.parted(source[0])
    return VmId("", f"{place_of(path)}{choice.Choice(chosen.system)}", tuple(source), os.path.basename(path))


def configuration(vm: SourceVm, sizes: Optional[Iterable[Sequence[Any]]] = None) -> list[Any]:
    """What makes another migration of the same VM due. `sizes`: of disks that are not here yet, the size and the place of each."""
    places = sizes if sizes is not None else [(disk.chain.virtual_size, *disk.place.at) for disk in vm.disks]
    known = {key: value for key, value in asdict(vm).items() if key not in ("name", "uuid", "disks", "part", "concerns", "starts")}
    if vm.starts is not None:  # which earlier versions did not know
        known["starts"] = list(vm.starts)
    return [known, [list(place) for place in places]]


def place_of(path: str) -> str:
    """Where a file really is; of a block device a name that lasts."""
    return device.lasting(path) if device.is_device(path) else os.path.realpath(path)


def mark(disk: SourceDisk) -> Mark:
    """What a disk is known by. Of one in many files the first two and the last are looked at: descriptor, beginning and end."""
    read = disk.chain.files()
    if not read:
        return Mark(disk.chain.virtual_size)
    chosen = dict.fromkeys((*read[:2], *read[-1:]))
    return Mark(disk.chain.virtual_size, _digest(_part(path, 0) for path in chosen), _digest(_part(path, -1) for path in chosen))


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _part(path: str, which: int) -> bytes:
    """The first MiB (0) or the last one (-1) of a file or device, or all of a smaller one."""
    with files.opened(path, "The disk", links=False, devices=True) as file:
        size = file.seek(0, os.SEEK_END)
        at = max(0, size - MIB) if which else 0
        return os.pread(file.fileno(), MIB, at)
