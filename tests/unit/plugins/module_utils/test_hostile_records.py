# SPDX-License-Identifier: GPL-3.0-or-later
"""Something lies where a record of ours, or a file of a source, was: it is not read, not written to and not waited for."""

from __future__ import annotations

import json
import os
import socket
import stat

import pytest
from promptly import within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import atomic, files, held, limits, locks, manifest, memory, modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import fingerprint, image, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places, power, recorded, sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources import local
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access

SECRET = '{"format": 1, "source": "ssh://root@esx1/a", "vm": null, "run": null, "seen": 0}'


def _bound(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


THERE = {
    "a link to a file of the host": lambda path, host: path.symlink_to(host),
    "a hard link to a file of the host": lambda path, host: os.link(host, path),
    "a link to a pipe": lambda path, host: (os.mkfifo(host.parent / "pipe"), path.symlink_to(host.parent / "pipe")),
    "a link to nothing": lambda path, host: path.symlink_to(host.parent / "nothing"),
    "a link to itself": lambda path, host: path.symlink_to(path.name),
    "a pipe": lambda path, host: os.mkfifo(path),
    "a socket": lambda path, host: _bound(path),
    "a directory": lambda path, host: path.mkdir(),
    "zeros without an end": lambda path, host: path.symlink_to("/dev/zero"),
    "more than a record has": lambda path, host: (path.touch(), os.truncate(path, limits.PLAN + 1)),
    "levels": lambda path, host: path.write_bytes(b"[" * 200_000),
    "no text": lambda path, host: path.write_bytes(b"\xff\xfe\0"),
}
FAMILY = (MigrationError, OSError)


@pytest.fixture
def there(request, tmp_path, monkeypatch):
    """The place of a record, with something else in it."""
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    (tmp_path / "host").mkdir()
    (tmp_path / "out").mkdir()
    host = tmp_path / "host" / "secret"
    host.write_text(SECRET)
    path = tmp_path / "out" / "record"
    THERE[request.param](path, host)
    return path


everything = pytest.mark.parametrize("there", THERE, indirect=True)


@everything
def test_a_record_is_not_taken_from_it(there):
    with within(10):
        assert manifest.Manifest.load(str(there)) is None
        text = atomic.read_text(str(there))
    assert text is None or SECRET not in text


@everything
def test_nobody_is_remembered_by_it(there):
    with within(10):
        with pytest.raises(InvalidInput, match="does not say which VM") as refused:
            memory.recall(str(there))
        with pytest.raises(FAMILY):
            memory.claim(str(there), "the VM", None, None)
    assert refused.value.hint


@everything
def test_no_source_was_stopped_for_it(there):
    os.rename(there, there.with_name("source-stopped.json"))
    with within(10), pytest.raises(InvalidInput, match="does not say which source"):
        power.noted(str(there.parent))


@everything
def test_no_report_is_read_from_it(there):
    with within(10), pytest.raises(InvalidInput, match="cannot be used"):
        recorded.read(str(there))


@everything
def test_what_is_written_replaces_it(there, tmp_path):
    with within(10):
        if there.is_dir() and not there.is_symlink():
            with pytest.raises(OSError):
                atomic.write_text(str(there), "ours")
            return
        os.rename(there, f"{there}.partial")
        atomic.write_text(str(there), "ours")
    assert there.read_text() == "ours" and not there.is_symlink() and stat.S_IMODE(there.stat().st_mode) == 0o600
    assert (tmp_path / "host" / "secret").read_text() == SECRET


@everything
def test_no_log_is_written_through_it(there, tmp_path):
    with within(10):
        if there.is_dir() and not there.is_symlink():
            with pytest.raises(OSError):
                modes.create(str(there))
            return
        with modes.create(str(there)) as file:
            file.write(b"ours")
    assert there.read_text() == "ours" and there.stat().st_nlink == 1 and (tmp_path / "host" / "secret").read_text() == SECRET


@pytest.mark.parametrize(
    "there", [name for name in THERE if "link" in name or name in ("a pipe", "a socket", "a directory")], indirect=True
)
def test_it_is_no_lock(there, tmp_path):
    with within(10), pytest.raises(FAMILY), locks.exclusive(str(there), "the VM"):
        raise AssertionError("it was taken for one")
    assert (tmp_path / "host" / "secret").read_text() == SECRET


@pytest.mark.parametrize("there", [name for name in THERE if name not in ("a hard link to a file of the host", "levels")], indirect=True)
def test_no_description_is_read_from_it(there):
    with within(10), pytest.raises(InvalidInput) as refused:
        files.description(str(there))
    assert refused.value.hint


def test_a_record_is_no_part_of_the_source(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"a": 1}))
    with held.sources() as kept:
        assert files.record(str(path)) == b'{"a": 1}'
        atomic.write_json(str(path), {"a": 2})
        kept.compare()
        assert json.loads(files.record(str(path)) or b"") == {"a": 2}


# -- the source ----------------------------------------------------------------------------------------------------------------


def _unread(monkeypatch, secret):
    """Fails a test in which a byte of this file is read."""
    real, forbidden = os.pread, (secret.stat().st_dev, secret.stat().st_ino)

    def pread(fd, *rest):
        found = os.fstat(fd)
        assert (found.st_dev, found.st_ino) != forbidden, "a file of the host is read"
        return real(fd, *rest)

    monkeypatch.setattr(os, "pread", pread)


def test_which_vm_it_is_is_read_from_the_file_that_was_checked(tmp_path, monkeypatch):
    """The name leads to a file of the host as soon as it has been looked at."""
    disk, secret = tmp_path / "disk.raw", tmp_path / "secret"
    disk.write_bytes(b"d" * 8192)
    secret.write_bytes(b"s" * 8192)
    expected = sources.identified([str(disk)], Access())
    real = open_source

    def swapped(*arguments, **more):
        found = real(*arguments, **more)
        disk.unlink()
        disk.symlink_to(secret)
        return found

    monkeypatch.setattr(local, "open_source", swapped)
    _unread(monkeypatch, secret)
    assert sources.identified([str(disk)], Access()).disks == expected.disks


def test_no_link_is_followed_to_a_disk_whoever_asks(tmp_path, monkeypatch):
    disk, secret = tmp_path / "disk.raw", tmp_path / "secret"
    disk.write_bytes(b"d" * 8192)
    secret.write_bytes(b"s" * 8192)
    chain = image.resolve(str(disk))
    disk.unlink()
    disk.symlink_to(secret)
    _unread(monkeypatch, secret)
    for look in (lambda: image.resolve(str(disk)), lambda: fingerprint._part(chain.files()[0], 0)):
        with pytest.raises(UnsafeInput):
            look()


@pytest.mark.parametrize("what", ["written", "another file", "another mode"])
def test_a_source_that_was_touched_is_another_one_whatever_its_times_say(what, tmp_path):
    disk, work = tmp_path / "disk.raw", str(tmp_path / "work")
    disk.write_bytes(b"d" * 8192)
    with held.sources():
        vm = open_source([str(disk)])
        staging.fetch(vm, [str(disk)], work, {}, 0.0)
    base = staging.fetched(work)
    assert base is not None
    with staging.holding(base, work):
        pass
    before = disk.stat()
    if what == "another file":
        new = tmp_path / "new"
        new.write_bytes(b"x" * 8192)
        new.rename(disk)
    elif what == "written":
        with open(disk, "r+b") as file:
            file.write(b"x")
    else:
        disk.chmod(0o640)
    os.utime(disk, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert staging.fetched(work) is None
    with pytest.raises(MigrationError, match="is no longer what it was"), staging.holding(base, work):
        pass


def test_our_own_results_may_change_hands(tmp_path):
    """libvirt gives a disk to another user, and back."""
    result = tmp_path / "vm-disk0.qcow2"
    result.write_bytes(b"q" * 512)
    known = manifest.Identity.of(str(result))
    result.chmod(0o640)
    assert known.holds()
    of_source = manifest.Identity.of(str(result), source=True)
    result.chmod(0o600)
    assert not of_source.holds()


def test_what_an_earlier_version_has_recorded_still_holds(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(b"d")
    found = path.stat()
    assert manifest.Identity(str(path), found.st_size, found.st_mtime_ns, found.st_ino).holds()


def test_a_place_with_a_pipe_for_its_memory_is_refused_before_anything_is_written(tmp_path):
    os.mkfifo(tmp_path / "vm.json")
    with within(10), pytest.raises(InvalidInput, match="does not say which VM"):
        places.work_dir(str(tmp_path)).require(VmId("", "/x"))
    assert [path.name for path in tmp_path.iterdir()] == ["vm.json"]
