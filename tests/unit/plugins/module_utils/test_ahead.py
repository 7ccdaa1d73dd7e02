# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode refuses what the run would meet: rights, kinds, names and space, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, errors
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import convert

NOBODY = 65534


@pytest.fixture
def place():
    """A directory that everybody can reach."""
    made = Path(tempfile.mkdtemp(prefix="ahead-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextlib.contextmanager
def another_user():
    """Rights do not stop root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_is_there_and_what_would_be_made(place):
    assert ahead.writable(str(place)) == str(place)
    assert ahead.writable(str(place / "a" / "b" / "c")) == str(place)
    assert list(place.iterdir()) == []


def test_a_directory_of_somebody_else(place):
    (place / "theirs").mkdir(mode=0o500)
    with another_user():
        for path in (place / "theirs", place / "theirs" / "web01", place / "web01"):
            with pytest.raises(errors.AccessDenied, match="Permission denied") as refused:
                ahead.writable(str(path))
            assert "become" in refused.value.hint


def kinds(place: Path) -> dict[str, Path]:
    (place / "file").write_text("")
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nowhere")
    os.mkfifo(place / "fifo")
    return {
        "a file": place / "file",
        "below a file": place / "file" / "a",
        "a circle of links": place / "loop" / "a",
        "a link to nothing": place / "dangling",
        "a FIFO": place / "fifo",
        "a device": Path("/dev/null"),
        "a name of 300 characters": place / ("n" * 300) / "a",
        "a name of 100 characters in 300 bytes": place / ("€" * 100),
    }


KINDS = (
    "a file",
    "below a file",
    "a circle of links",
    "a link to nothing",
    "a FIFO",
    "a device",
    "a name of 300 characters",
    "a name of 100 characters in 300 bytes",
)


@pytest.mark.parametrize("name", KINDS)
def test_what_no_directory_can_be(name, place):
    with pytest.raises(errors.MigrationError) as refused:
        ahead.writable(str(kinds(place)[name]))
    assert refused.value.hint and refused.value.code in ("invalid_input", "access_denied")


def test_a_file_system_without_nameless_files_is_asked_in_another_way(place, monkeypatch):
    opened = os.open

    def refused(path, flags, *mode, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported", path)
        return opened(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", refused)
    assert ahead.writable(str(place)) == str(place)
    with another_user(), pytest.raises(errors.AccessDenied):
        ahead.writable(str(place))


@pytest.mark.parametrize("path", ["/proc", "/proc/x/y", "/sys/x"])
def test_where_nobody_can_make_anything_rights_do_not_help(path):
    with pytest.raises(errors.MigrationError) as refused:
        ahead.writable(path)
    assert refused.value.hint


def test_space_is_asked_where_it_would_be_taken(place):
    ahead.room(str(place / "new"), 4096, "The result")
    with pytest.raises(errors.NotEnoughSpace, match="The result needs"):
        ahead.room(str(place / "new"), 1 << 60, "The result")


def planned(data, size):
    return convert.Planned("", "qcow2", size, data, False, False)


def test_images_are_counted_together_and_devices_are_not(place):
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    one = (convert.Request("s", "qcow2", str(place / "a.qcow2"), "qcow2"), planned(data=free * 3 // 4, size=free * 2))
    convert.check_room([one])
    with pytest.raises(errors.NotEnoughSpace):
        convert.check_room([one, one])
    on_device = (
        convert.Request("s", "qcow2", str(place / "b.raw"), "raw", device="/dev/vg0/web01"),
        planned(data=1 << 60, size=1 << 60),
    )
    convert.check_room([one, on_device])
    whole = (convert.Request("s", "qcow2", str(place / "a.raw"), "raw", preallocation="full"), planned(data=1, size=free * 2))
    with pytest.raises(errors.NotEnoughSpace):
        convert.check_room([whole])


def test_a_file_in_whose_place_a_directory_stands(place):
    (place / "plan.json").mkdir()
    with pytest.raises(errors.InvalidInput, match="is a directory"):
        ahead.file(str(place / "plan.json"))
