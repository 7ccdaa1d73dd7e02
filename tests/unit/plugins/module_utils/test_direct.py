# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing past the page cache: any bytes at any place arrive, whether the file system takes whole blocks or none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import direct

SIZE = 3 * direct.WINDOW


@pytest.fixture(params=["direct", "page cache", "refused late"])
def manner(request, monkeypatch):
    """The ways a file system may behave: it takes whole blocks, knows nothing of it, or refuses only the write."""
    if request.param == "page cache":
        monkeypatch.setattr(direct, "_open", lambda path: None)
    if request.param == "refused late":
        real = direct._write

        def write(fd, data, offset):
            if data and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            real(fd, data, offset)

        monkeypatch.setattr(direct, "_write", write)
    return request.param


PIECES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 511, 512, 4096, 1 << 16, direct.WINDOW - 4096]),
        st.sampled_from([1, 512, 5000, 4096, 1 << 16, 1 << 20, 5 << 20]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(pieces=PIECES, step=st.sampled_from([700, 65536, 1 << 20]))
def test_what_was_put_is_there_and_nothing_else(tmp_path_factory, manner, pieces, step):
    path = str(tmp_path_factory.mktemp("direct") / "f")
    expected = bytearray(sum(hole + length for hole, length, dummy in pieces) + direct.WINDOW)
    at = 0
    with contextlib.closing(direct.File(path)) as file:
        os.ftruncate(file.fd, len(expected))
        window = direct.Window(file)
        for hole, length, full in pieces:
            at = min(at + hole, len(expected) - 1)
            length = min(length, len(expected) - at)
            data = (b"\xa5\x5a\x01" * (length // 3 + 1))[:length] if full else bytes(length)
            for begin in range(0, length, step):
                window.put(memoryview(data[begin : begin + step]), at + begin)
            window.flush()
            expected[at : at + length] = data
            at += length
    with open(path, "rb") as file:
        assert file.read() == expected
    os.unlink(path)


def test_zeros_replace_what_is_there_and_stay_away_from_holes(tmp_path, manner):
    path = str(tmp_path / "f")
    with contextlib.closing(direct.File(path)) as file:
        os.ftruncate(file.fd, SIZE)
        file.write(memoryview(b"x" * direct.WINDOW), 0)
        window = direct.Window(file)
        for at in range(0, SIZE, 1 << 20):
            window.put(memoryview(bytes(1 << 20)), at)
        os.fsync(file.fd)
    with open(path, "rb") as file:
        assert file.read() == bytes(SIZE)
    assert os.stat(path).st_blocks * 512 < 2 * direct.WINDOW


def test_what_was_dropped_is_not_written(tmp_path):
    with contextlib.closing(direct.File(str(tmp_path / "f"))) as file:
        window = direct.Window(file)
        window.put(memoryview(b"old"), 0)
        window.drop()
        window.put(memoryview(b"new"), 1)
        window.flush()
    assert (tmp_path / "f").read_bytes() == b"\0new"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "f").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        direct.File(str(tmp_path / "f"))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(fd, data, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with contextlib.closing(direct.File(str(tmp_path / "f"))) as file, pytest.raises(OSError, match="No space"):
        file.write(memoryview(b"x" * 8192), 0)


def test_a_directory_says_whether_it_is_possible_and_stays_clean(tmp_path, monkeypatch):
    direct.possible(str(tmp_path))
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(direct, "_open", lambda path: None)
    assert not direct.possible(str(tmp_path))
    assert not direct.possible(str(tmp_path / "none"))
