# SPDX-License-Identifier: GPL-3.0-or-later
"""How the partitions of a disk that has become larger take the new space: decided from its table, nothing is written here.

Only the end of a disk moves: no partition but a swap area changes its start. Sources: UEFI Specification 2.10 chapter 5.3 (a GPT's copy
takes the last 33 sectors); an MBR counts 2^32 sectors; 1 MiB as the common alignment (parted, fdisk, Windows).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Collection, Optional, Sequence, Union

from .parttable import SECTOR

PRIMARY, LOGICAL, EXTENDED = "primary", "logical", "extended"
GROWABLE = ("ext2", "ext3", "ext4", "xfs", "btrfs", "ntfs", "LVM2_member", "crypto_LUKS")
ALIGNMENT = 1 << 20
_GPT_COPY = 33 * SECTOR
_MBR_END = (1 << 32) * SECTOR
_STAYS = "the swap area behind its partition {} cannot move"
# Windows' recovery environment, which stays as small as it is.
_RECOVERY = ("de94bba4-06d1-4d40-a16a-bfd50179d6ac", "27")


@dataclass(frozen=True)
class Part:
    """A partition, from `start` to before `end` (bytes), with what blkid finds on it."""

    number: int
    start: int
    end: int
    content: str = ""
    kind: str = PRIMARY
    type: str = ""


@dataclass(frozen=True)
class Growth:
    """The partition `number` gets a new end. `container` is the extended partition that ends at `container_end` from then on.

    `swap` is a swap area that is made anew behind it, from `swap_start` to before `swap_end`; with `moved` its extended partition too.
    All places in bytes.
    """

    number: int
    end: int
    container: int = 0
    container_end: int = 0
    swap: int = 0
    swap_start: int = 0
    swap_end: int = 0
    moved: bool = False


def decide(scheme: str, parts: Sequence[Part], size: int) -> Union[Growth, str, None]:
    """How the partitions of a disk that has `size` bytes now take the space at its end.

    None where there is none to take; a text says why they cannot.
    """
    end = min(size, _MBR_END) if scheme == "mbr" else size - _GPT_COPY
    end -= end % ALIGNMENT
    in_order = sorted((part for part in parts if part.kind != EXTENDED), key=lambda part: part.start)
    container = next((part for part in parts if part.kind == EXTENDED), None)
    if not in_order:
        return "it has no partition that could grow"
    last = in_order[-1]
    if container is not None and container.start > last.start:
        return "an extended partition without logical ones is its last"
    if end - max(last.end, container.end if container is not None else 0) < ALIGNMENT:
        return _too_large(scheme, size)
    inside = container if last.kind == LOGICAL else None
    if _grows(last):
        return Growth(last.number, end, inside.number if inside is not None else 0, end if inside is not None else 0)
    before = in_order[-2] if len(in_order) > 1 else None
    if last.content == "swap" and before is not None and _grows(before):
        return _past_swap(before, last, inside, end) if _comes_back(parts, last, inside) else _STAYS.format(before.number)
    what = "Windows' recovery environment" if last.type in _RECOVERY else last.content or "an unknown kind of data"
    return f"its last partition, {last.number}, holds {what}, which does not grow"


def _past_swap(before: Part, swap: Part, container: Optional[Part], end: int) -> Union[Growth, str]:
    """The partition before a swap area grows, and the area moves to the end of the disk."""
    start = end - (swap.end - swap.start)
    start -= start % ALIGNMENT
    if container is None and before.kind != LOGICAL:
        return Growth(before.number, start, swap=swap.number, swap_start=start, swap_end=end)
    free = start - ALIGNMENT  # a logical partition has its own record before it
    if container is None or free <= before.end:
        return _STAYS.format(before.number)
    return Growth(before.number, free, container.number, end, swap.number, start, end, moved=before.kind != LOGICAL)


def _comes_back(parts: Sequence[Part], swap: Part, container: Optional[Part]) -> bool:
    """Whether a swap area that is made anew gets its number again, by which the guest may know it: parted gives the lowest that is free."""
    if container is None:
        return swap.number == _lowest({part.number for part in parts if part is not swap})
    logical = [part for part in parts if part.kind == LOGICAL]
    alone = _lowest({part.number for part in parts if part is not container})
    return swap.number == 4 + len(logical) and (len(logical) > 1 or container.number == alone)


def _lowest(taken: Collection[int]) -> int:
    return next(number for number in itertools.count(1) if number not in taken)


def _grows(part: Part) -> bool:
    return part.content in GROWABLE and part.type not in _RECOVERY


def _too_large(scheme: str, size: int) -> Optional[str]:
    """Why there is no room, where the disk has some that its table cannot describe."""
    return "its MBR cannot describe more than 2 TiB" if scheme == "mbr" and size > _MBR_END else None
