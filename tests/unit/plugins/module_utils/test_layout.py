# SPDX-License-Identifier: GPL-3.0-or-later
"""How partitions take the space of a disk that has become larger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.layout import (
    ALIGNMENT,
    EXTENDED,
    GROWABLE,
    LOGICAL,
    Growth,
    Part,
    decide,
)

MIB, GIB = 1 << 20, 1 << 30
GPT_END = 10 * GIB - MIB  # of a disk of 10 GiB


def row(*sizes_and_contents):
    """Primary partitions one behind the other, the first at 1 MiB."""
    parts, at = [], MIB
    for number, (size, content) in enumerate(sizes_and_contents, 1):
        parts.append(Part(number, at, at + size, content))
        at += size
    return parts


@pytest.mark.parametrize("content", GROWABLE)
def test_the_last_partition_takes_what_is_free(content):
    assert decide("gpt", row((512 * MIB, "vfat"), (GIB, content)), 10 * GIB) == Growth(2, GPT_END)
    assert decide("mbr", row((512 * MIB, "swap"), (GIB, content)), 10 * GIB) == Growth(2, 10 * GIB)


@pytest.mark.parametrize("content", ["", "vfat", "linux_raid_member", "swsuspend", "zfs_member", "BitLocker"])
def test_what_does_not_grow_is_named(content):
    said = decide("gpt", row((GIB, "ext4"), (GIB, content)), 10 * GIB)
    assert isinstance(said, str) and (content or "an unknown kind of data") in said and "2" in said


@pytest.mark.parametrize("kind", ["de94bba4-06d1-4d40-a16a-bfd50179d6ac", "27"])
def test_windows_recovery_stays_as_it_is(kind):
    system, recovery = row((GIB, "ntfs"), (GIB, "ntfs"))
    said = decide("gpt", [system, Part(2, recovery.start, recovery.end, "ntfs", type=kind)], 10 * GIB)
    assert isinstance(said, str) and "recovery" in said


def test_a_swap_area_moves_to_the_end():
    assert decide("gpt", row((GIB, "ext4"), (512 * MIB, "swap")), 10 * GIB) == Growth(
        1, GPT_END - 512 * MIB, swap=2, swap_start=GPT_END - 512 * MIB, swap_end=GPT_END
    )


def test_a_swap_area_moves_with_its_extended_partition():
    parts = [Part(1, MIB, GIB, "ext4"), Part(2, GIB, 2 * GIB, kind=EXTENDED), Part(5, GIB + MIB, 2 * GIB, "swap", LOGICAL)]
    grown = decide("mbr", parts, 10 * GIB)
    assert grown == Growth(1, 9 * GIB, 2, 10 * GIB, 5, 9 * GIB + MIB, 10 * GIB, moved=True)


def test_logical_partitions_grow_in_their_extended_one():
    parts = [Part(1, MIB, GIB, "ext4"), Part(2, GIB, 2 * GIB, kind=EXTENDED), Part(5, GIB + MIB, 2 * GIB, "LVM2_member", LOGICAL)]
    assert decide("mbr", parts, 10 * GIB) == Growth(5, 10 * GIB, 2, 10 * GIB)
    behind = [parts[0], Part(2, GIB, 3 * GIB, kind=EXTENDED), parts[2], Part(6, 2 * GIB + MIB, 3 * GIB, "swap", LOGICAL)]
    assert decide("mbr", behind, 10 * GIB) == Growth(5, 9 * GIB, 2, 10 * GIB, 6, 9 * GIB + MIB, 10 * GIB)


def test_a_logical_partition_never_leaves_its_extended_one():
    parts = [Part(1, MIB, GIB, kind=EXTENDED), Part(5, 2 * MIB, GIB, "ext4", LOGICAL), Part(2, GIB, 2 * GIB, "swap")]
    assert isinstance(decide("mbr", parts, 10 * GIB), str)


def test_a_swap_area_keeps_its_number():
    system, swap = row((GIB, "ext4"), (512 * MIB, "swap"))
    assert isinstance(decide("gpt", [system, Part(3, swap.start, swap.end, "swap")], 10 * GIB), str)
    parts = [Part(1, MIB, GIB, "ext4"), Part(3, GIB, 2 * GIB, kind=EXTENDED), Part(5, GIB + MIB, 2 * GIB, "swap", LOGICAL)]
    assert isinstance(decide("mbr", parts, 10 * GIB), str)


def test_nothing_to_take_and_nothing_to_grow():
    assert decide("gpt", row((GIB, "ext4")), GIB + 2 * MIB) is None
    assert isinstance(decide("gpt", [], 10 * GIB), str)
    assert isinstance(decide("mbr", [Part(1, MIB, GIB, "ext4"), Part(2, GIB, 2 * GIB, kind=EXTENDED)], 10 * GIB), str)


def test_an_mbr_ends_at_two_tebibytes():
    two = 2 << 40
    assert decide("mbr", row((GIB, "ext4")), 3 << 40) == Growth(1, two)
    full = decide("mbr", row((two - MIB, "ext4")), 3 << 40)
    assert isinstance(full, str) and "2 TiB" in full
    assert decide("gpt", row((GIB, "ext4")), 3 << 40) == Growth(1, (3 << 40) - MIB)


@st.composite
def disks(draw):
    """A table as installers make it: partitions in order with gaps, some of them logical, on a disk of at least their size."""
    scheme, at, parts = draw(st.sampled_from(("gpt", "mbr"))), MIB, []
    contents = st.sampled_from((*GROWABLE, "swap", "vfat", ""))
    for number in range(1, draw(st.integers(1, 3)) + 1):
        at += draw(st.integers(0, 4)) * 512
        size = draw(st.integers(1, 4 * 2048)) * 512
        parts.append(Part(number, at, at + size, draw(contents)))
        at += size
    if scheme == "mbr" and draw(st.booleans()):
        start, inside = at, []
        for number in range(5, 5 + draw(st.integers(0, 3))):
            at += draw(st.integers(1, 2048)) * 512
            size = draw(st.integers(1, 4 * 2048)) * 512
            inside.append(Part(number, at, at + size, draw(contents), LOGICAL))
            at += size
        at += draw(st.integers(1, 2048)) * 512
        parts += [Part(4, start, at, kind=EXTENDED), *inside]
    return scheme, parts, at + 34 * 512 + draw(st.integers(0, 1 << 16)) * 512


@given(disks())
def test_nothing_shrinks_overlaps_or_leaves_the_disk(disk):
    scheme, parts, size = disk
    growth = decide(scheme, parts, size)
    if not isinstance(growth, Growth):
        return
    last = size - 33 * 512 if scheme == "gpt" else size
    old = {part.number: part for part in parts}
    grown = old[growth.number]
    assert grown.content in GROWABLE and growth.end > grown.end and growth.end % ALIGNMENT == 0
    places = {part.number: (part.start, part.end) for part in parts if part.kind != EXTENDED}
    places[growth.number] = (grown.start, growth.end)
    if growth.swap:
        swap = old[growth.swap]
        assert swap.content == "swap" and growth.swap_end - growth.swap_start >= swap.end - swap.start
        places[growth.swap] = (growth.swap_start, growth.swap_end)
    in_order = sorted(places.values())
    assert all(start < end for start, end in in_order) and in_order[-1][1] <= last
    assert all(before[1] <= after[0] for before, after in zip(in_order, in_order[1:]))
    container = next((part for part in parts if part.kind == EXTENDED), None)
    if container is not None:
        begin = growth.end if growth.moved else container.start
        end = growth.container_end or container.end
        for part in parts:
            start, stop = places.get(part.number, (0, 0))
            inside = begin < start and stop <= end
            assert part.kind == EXTENDED or inside == (part.kind == LOGICAL)
