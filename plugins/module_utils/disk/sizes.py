# SPDX-License-Identifier: GPL-3.0-or-later
"""New sizes of disks: parsed, and given to overlays."""

from __future__ import annotations

import re
from typing import Optional, Sequence

from ..core.errors import InvalidInput
from . import qemu_img
from .staging import StagedDisk

_SIZE = re.compile(r"^(\+?)([0-9]{1,15})([KMGT]?)$")


def new_size(wanted: Optional[str], size: int) -> int:
    """The bytes that a disk of `size` bytes is to have: "+10G" more, or "50G" as a whole (powers of 1024); as many as before without a wish.

    Raises InvalidInput for anything else, and for less than it has.
    """
    if not wanted:
        return size
    match = _SIZE.match(wanted)
    if match is None:
        raise InvalidInput(f"{wanted!r} is not a size.", 'Write "+10G" to add, or "50G" for the whole size.', resize=wanted)
    amount = int(match[2]) << (10 * " KMGT".index(match[3] or " "))
    if not match[1] and amount < size:
        raise InvalidInput(
            f"The disk has {size} bytes and is never shrunk to {wanted}.",
            "Shrink it at the source first, or choose a larger size.",
            resize=wanted,
        )
    return size + amount if match[1] else amount


def enlarge(disks: Sequence[StagedDisk], wanted: Sequence[str]) -> tuple[int, ...]:
    """Give fresh overlays their new sizes, by disk. Returns the numbers of the disks that became larger."""
    if len(wanted) > len(disks):
        raise InvalidInput(f"There are sizes for {len(wanted)} disks, but the VM has {len(disks)}.", "Give one for each disk at most.")
    grown = []
    for number, (disk, wish) in enumerate(zip(disks, wanted)):
        size = new_size(wish, disk.virtual_size)
        if size > disk.virtual_size:
            qemu_img.enlarge(disk.overlay, size)
            grown.append(number)
    return tuple(grown)
