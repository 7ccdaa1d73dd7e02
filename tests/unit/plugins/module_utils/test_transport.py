# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes from elsewhere: whatever breaks on the way, what arrives is the source, or nothing appears."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path
from typing import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import (
    InvalidInput,
    NotEnoughSpace,
    SourceChanged,
    TransferFailed,
    UnsafeInput,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import download, vmdk_chain
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.download import Job
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.files import Interrupted, RemoteFile, read_small

KIB = 1024


class Memory:
    """Files in a dict. `cuts` are counted down by each stream: after so many bytes it breaks off."""

    run, gap = 128 * KIB, 0

    def __init__(self, files: dict[str, bytes], cuts: Iterator[int] = iter(()), ranged: bool = True) -> None:
        self.files, self.cuts, self.ranged = files, cuts, ranged
        self.asked: list[tuple[str, int, int]] = []
        self.stamp = "1"

    def stat(self, path: str) -> RemoteFile:
        if path not in self.files:
            raise InvalidInput(f"no {path}")
        return RemoteFile(len(self.files[path]), self.stamp, self.ranged)

    def stream(self, path: str, areas, stamp: str = "") -> Iterator[memoryview]:
        self.asked += [(path, *area) for area in areas]
        if stamp and stamp != self.stamp:
            raise SourceChanged("changed")
        length = sum(length for dummy, length in areas)
        data = b"".join(self.files[path][offset : offset + length] for offset, length in areas)
        cut = next(self.cuts, None)
        for at in range(0, len(data), 7 * KIB):
            piece = data[at : at + 7 * KIB]
            if cut is not None and at + len(piece) > cut:
                yield memoryview(piece[: max(0, cut - at)])
                raise Interrupted("cut", 0.0)
            yield memoryview(piece)
        if len(data) < length:
            raise Interrupted("short", 0.0)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(download, "PIECE", 64 * KIB)
    monkeypatch.setattr(download, "pause", lambda tries, after: None)


def disk(seed: int, size: int) -> bytes:
    """Data with holes, of any size."""
    rng = random.Random(seed)
    data = bytearray(size)
    for dummy in range(rng.randrange(5)):
        start = rng.randrange(size)
        run = rng.randbytes(min(size - start, rng.randrange(1, 50 * KIB)))
        data[start : start + len(run)] = run
    return bytes(data)


def job(files: Memory, path: str = "/d", areas=None) -> Job:
    found = files.stat(path)
    return Job(path, path.rpartition("/")[2], found.size, found.stamp, areas, found.ranged)


def bring(files: Memory, folder: Path, *jobs: Job, workers: int = 1) -> tuple[download.Arrived, ...]:
    return download.download(files, jobs, str(folder), Silent(), workers)


@given(
    st.integers(0, 10**6),
    st.integers(1, 300 * KIB),
    st.lists(st.integers(0, 100 * KIB), max_size=12),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_what_arrives_is_the_source_wherever_it_is_cut(tmp_path_factory, seed, size, cuts, workers, ranged):
    folder, data = tmp_path_factory.mktemp("d"), disk(seed, size)
    files = Memory({"/d": data}, iter(cuts) if ranged else iter(cuts[:5]), ranged)
    arrived = bring(files, folder, job(files), workers=workers)[0]
    assert (folder / "d").read_bytes() == data and arrived.transferred >= size
    assert not (folder / "d.partial").exists()
    asked = len(files.asked)
    assert bring(files, folder, job(files))[0] == download.Arrived("d", size, 0, arrived.digest) and len(files.asked) == asked


@given(st.integers(0, 10**6), st.integers(1, 300 * KIB), st.lists(st.integers(0, 2 * 64 * KIB), min_size=1, max_size=4))
def test_a_run_that_died_is_gone_on_with(tmp_path_factory, seed, size, budget):
    """Each attempt ends after some bytes, as if killed; the last one is let through. Only pieces that were not whole are asked for again."""
    folder, data = tmp_path_factory.mktemp("d"), disk(seed, size)

    class Dies(Memory):
        left = 0

        def stream(self, path, areas, stamp=""):
            for piece in super().stream(path, areas, stamp):
                if self.left < len(piece):
                    raise KeyboardInterrupt
                self.left -= len(piece)
                yield piece

    for left in budget:
        files = Dies({"/d": data})
        files.left = left
        with contextlib.suppress(KeyboardInterrupt):
            bring(files, folder, job(files))
    files = Memory({"/d": data})
    arrived = bring(files, folder, job(files))[0]
    assert (folder / "d").read_bytes() == data
    whole = min(sum(budget), size)
    assert arrived.transferred <= size and sum(asked[2] for asked in files.asked) <= size
    if len(budget) == 1 and whole == size:
        assert arrived.transferred == 0


def test_a_piece_that_was_damaged_here_is_fetched_again(tmp_path):
    data = random.Random(1).randbytes(200 * KIB)
    files = Memory({"/d": data}, iter([None] + [0] * 20))
    with pytest.raises(TransferFailed):
        bring(files, tmp_path, job(files))
    with open(tmp_path / "d.partial", "r+b") as file:
        file.seek(70 * KIB)
        file.write(b"rubbish")
    assert not (tmp_path / "d").exists()
    files = Memory({"/d": data})
    bring(files, tmp_path, job(files))
    assert (tmp_path / "d").read_bytes() == data
    assert [asked[1:] for asked in files.asked] == [(64 * KIB, 64 * KIB), (128 * KIB, 64 * KIB), (192 * KIB, 8 * KIB)]


@given(st.integers(0, 10**6), st.integers(64 * KIB, 300 * KIB), st.data())
def test_only_what_holds_data_is_asked_for(tmp_path_factory, seed, size, more):
    """The law of areas: inside them the source, outside zeros, and not one request there."""
    folder, data = tmp_path_factory.mktemp("d"), disk(seed, size)
    marks = sorted(more.draw(st.lists(st.integers(0, size), unique=True, max_size=8).filter(lambda found: len(found) % 2 == 0)))
    areas = tuple((start, end - start) for start, end in zip(marks[::2], marks[1::2]))
    files = Memory({"/d": data})
    arrived = bring(files, folder, job(files, areas=areas), workers=2)[0]
    wanted = bytearray(size)
    for start, length in areas:
        wanted[start : start + length] = data[start : start + length]
    assert (folder / "d").read_bytes() == bytes(wanted)
    assert arrived.transferred == sum(area[1] for area in areas) == sum(asked[2] for asked in files.asked)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=10), st.integers(0, 60))
def test_joined_areas_have_what_was_in_them_and_no_small_holes(steps, gap):
    areas, at = [], 0
    for hole, length in steps:
        areas.append((at + hole, length))
        at += hole + length
    found = download.joined(tuple(areas), gap)
    assert all(any(start <= first and first + size <= start + length for start, length in found) for first, size in areas)
    assert all(second[0] - sum(first) > gap for first, second in zip(found, found[1:]))
    assert sum(length for dummy, length in found) - sum(length for dummy, length in areas) <= gap * max(0, len(areas) - 1)


def test_zeros_are_not_written(tmp_path):
    files = Memory({"/d": bytes(8 << 20)})
    bring(files, tmp_path, job(files))
    assert (tmp_path / "d").stat().st_blocks == 0 and (tmp_path / "d").stat().st_size == 8 << 20


def test_a_source_that_changes_is_noticed_and_nothing_appears(tmp_path):
    files = Memory({"/d": bytes(200 * KIB)})
    wanted = job(files)
    files.stamp = "2"
    with pytest.raises(SourceChanged):
        bring(files, tmp_path, wanted)

    class AtTheEnd(Memory):
        def stream(self, path, areas, stamp=""):
            yield from super().stream(path, areas, stamp)
            if sum(areas[-1]) == len(self.files[path]):
                self.stamp = "2"

    files = AtTheEnd({"/e": bytes(200 * KIB)})
    with pytest.raises(SourceChanged):
        bring(files, tmp_path, job(files, "/e"))
    assert not (tmp_path / "d").exists() and not (tmp_path / "e").exists()


def test_another_source_begins_anew(tmp_path):
    """Holes of a new source must not show what an old one left."""
    files = Memory({"/d": b"x" * (200 * KIB)}, iter([None] + [0] * 20))
    with pytest.raises(TransferFailed):
        bring(files, tmp_path, job(files))
    files = Memory({"/d": bytes(200 * KIB)})
    files.stamp = "2"
    bring(files, tmp_path, job(files))
    assert (tmp_path / "d").read_bytes() == bytes(200 * KIB)


def test_a_transfer_that_does_not_get_on_ends_and_keeps_what_is_there(tmp_path):
    data = random.Random(1).randbytes(100 * KIB)
    files = Memory({"/d": data}, iter([70 * KIB] + [0] * 100))
    with pytest.raises(TransferFailed, match="byte 71680 after 8 tries"):
        bring(files, tmp_path, job(files))
    assert (tmp_path / "d.partial").read_bytes()[: 64 * KIB] == data[: 64 * KIB]


def test_who_is_told_to_end_does_not_wait_for_the_rest(tmp_path, monkeypatch):
    """SIGTERM arrives as an exception in the thread that waits; the runs that have not begun must not begin."""
    files = Memory({"/d": bytes(100 * 128 * KIB)})

    def told(running, **dummy):
        raise SystemExit(1)

    monkeypatch.setattr(download, "wait", told)
    with pytest.raises(SystemExit):
        bring(files, tmp_path, job(files))
    assert len(files.asked) < 90 and not (tmp_path / "d").exists()


def test_a_full_disk_is_said_before_a_byte_moves(tmp_path):
    files = Memory({"/d": b""})
    with pytest.raises(NotEnoughSpace):
        bring(files, tmp_path, Job("/d", "d", 1 << 60, "1"))
    assert not files.asked and not os.listdir(tmp_path)


FLAT = '# Disk DescriptorFile\nversion=1\nCID={cid}\nparentCID={parent}\ncreateType="vmfs"\n{more}RW {sectors} {kind} "{extent}"\n'


def descriptor(extent: str, sectors: int, cid: str = "00000001", parent: str = "ffffffff", hint: str = "", kind: str = "VMFS") -> bytes:
    more = f'parentFileNameHint="{hint}"\n' if hint else ""
    return FLAT.format(cid=cid, parent=parent, more=more, sectors=sectors, kind=kind, extent=extent).encode()


def test_a_chain_is_followed_to_every_file():
    files = Memory(
        {
            "/v/a.vmdk": descriptor("a-flat.vmdk", 16),
            "/v/a-flat.vmdk": bytes(16 * 512),
            "/v/a-000001.vmdk": descriptor("a-000001-delta.vmdk", 16, "00000002", "00000001", "a.vmdk", "VMFSSPARSE"),
            "/v/a-000001-delta.vmdk": b"COWD" + bytes(2044),
        }
    )
    found = vmdk_chain.chain(files, "/v/a-000001.vmdk")
    assert [job.name for job in found.jobs] == ["a-000001.vmdk", "a-000001-delta.vmdk", "a.vmdk", "a-flat.vmdk"]
    assert (found.size, found.flat) == (8192, False)
    assert vmdk_chain.chain(files, "/v/a.vmdk").flat


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"/v/a.vmdk": descriptor("../../etc/shadow", 16)}, UnsafeInput, "plain file name"),
        ({"/v/a.vmdk": descriptor("a-flat.vmdk", 16), "/v/a-flat.vmdk": bytes(15 * 512)}, InvalidInput, "needs 8192"),
        ({"/v/a.vmdk": descriptor("a-flat.vmdk", 16)}, InvalidInput, "no /v/a-flat.vmdk"),
        (
            {"/v/a.vmdk": descriptor("a-flat.vmdk", 16, "00000001", "00000001", "a.vmdk"), "/v/a-flat.vmdk": bytes(16 * 512)},
            InvalidInput,
            "does not end",
        ),
        ({"/v/a.vmdk": b"\0" * 3000000}, InvalidInput, "neither a VMDK descriptor"),
        ({"/v/a.vmdk": b""}, InvalidInput, "neither a VMDK descriptor"),
    ],
)
def test_a_hostile_chain_is_refused(files, error, words):
    with pytest.raises(error, match=words):
        vmdk_chain.chain(Memory(files), "/v/a.vmdk")


@given(st.binary(max_size=3000))
def test_any_bytes_for_a_descriptor_are_an_error_or_a_chain(data):
    with contextlib.suppress(InvalidInput):
        vmdk_chain.chain(Memory({"/v/a.vmdk": data}), "/v/a.vmdk")


def test_a_flat_file_that_is_named_as_a_description_is_not_read():
    files = Memory({"/v/a.vmx": bytes(2 << 20)})
    with pytest.raises(InvalidInput, match="too many for a description"):
        read_small(files, "/v/a.vmx")
    assert not files.asked


def test_two_files_of_one_name_are_refused():
    with pytest.raises(InvalidInput, match="Two files"):
        download.check_names([Job("/a/x", "x", 1, "1"), Job("/b/x", "x", 1, "1")])
