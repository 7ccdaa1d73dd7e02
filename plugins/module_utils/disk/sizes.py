# SPDX-License-Identifier: GPL-3.0-or-later
"""New sizes of disks: parsed, and given to overlays."""

from __future__ import annotations

from typing import Optional, Sequence

from ..core.errors import InvalidInput
from ..core.numbers import SIZE
from . import qemu_img
from .request import largest
from .staging import StagedDisk


def new_size(wanted: Optional[str], size: int) -> int:
    """The bytes that a disk of `size` bytes is to have: "+10G" more, or "50G" as a whole (powers of 1024); as many as before without a wish.

    Raises InvalidInput for anything else, and for less than it has.
    """
    if not wanted:
        return size
    match = SIZE.fullmatch(wanted)
    if match is None:
        raise InvalidInput(f"{wanted!r} is not a size.", 'Write "+10G" to add, or "50G" for the whole size.', resize=wanted)
    amount = int(match[2]) << (10 * " KMGT".index(match[3] or " "))
    if not match[1] and amount < size:
        raise InvalidInput(
            f"The disk has {size} bytes and is never shrunk to {wanted}.",
            "Shrink it at the source first, or choose a larger size.",
            resize=wanted,
        )
    grown = size + amount if match[1] else amount
    if grown > max(size, largest("qcow2", 0)):  # it grows in an overlay, whatever its result is
        raise InvalidInput(
            f"A disk of {grown} bytes ({wanted}) is larger than qemu makes one: {largest('qcow2', 0) >> 40} TiB.",
            "Choose a smaller size.",
            resize=wanted,
        )
    return grown


def require_at_most_one_each(wanted: Sequence[str], disks: int) -> None:
    """Raise InvalidInput for more sizes than there are disks."""
    if len(wanted) > disks:
        raise InvalidInput(f"There are sizes for {len(wanted)} disks, but the VM has {disks}.", "Give one for each disk at most.")


def enlarge(disks: Sequence[StagedDisk], wanted: Sequence[str]) -> tuple[int, ...]:
    """Give fresh overlays their new sizes, by disk. Returns the numbers of the disks that became larger."""
    require_at_most_one_each(wanted, len(disks))
    grown = []
    for number, (disk, wish) in enumerate(zip(disks, wanted)):
        size = new_size(wish, disk.virtual_size)
        if size > disk.virtual_size:
            qemu_img.enlarge(disk.overlay, size)
            grown.append(number)
    return tuple(grown)
