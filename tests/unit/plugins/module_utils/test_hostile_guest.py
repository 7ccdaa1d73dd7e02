# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that hold what is no file where a file should be, or too much: nothing is opened that waits, and what is read has an end in total."""

from __future__ import annotations

import json
import os
import stat

import pytest
from promptly import IRREGULAR, irregular, within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import Completed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import live, offline
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.protocol import text
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cmdline

_TREE = {"blockdevices": [{"name": "/dev/none", "kname": "none", "type": "disk", "size": 1 << 30}]}


class Handle:
    """libguestfs over a directory of this host; what would hang in the appliance is an error of the test."""

    def __init__(self, root):
        self.root, self.read = str(root), []

    def _at(self, path):
        return self.root + path

    def ls(self, path):
        return os.listdir(self._at(path))

    def statns(self, path):
        return self._stat(os.stat(self._at(path)) if os.path.exists(self._at(path)) else self._fail())

    def lstatns(self, path):
        return self._stat(os.lstat(self._at(path)))

    def _stat(self, info):
        return {"st_mode": info.st_mode, "st_size": info.st_size, "st_uid": info.st_uid, "st_gid": info.st_gid}

    def _fail(self):
        raise RuntimeError("No such file or directory")

    def _file(self, path):
        assert os.path.isfile(self._at(path)), f"{path} is opened, which waits for ever"
        self.read.append(path)
        return self._at(path)

    def read_file(self, path):
        with open(self._file(path), "rb") as file:
            return file.read()

    def download(self, path, target):
        with open(self._file(path), "rb") as file, open(target, "wb") as out:
            out.write(file.read())

    def exists(self, path):
        return os.path.exists(self._at(path))

    def is_file(self, path, followsymlinks):
        return os.path.isfile(self._at(path))

    def realpath(self, path):
        return os.path.realpath(self._at(path))[len(self.root) :]

    def rm_rf(self, path):
        if os.path.lexists(self._at(path)):
            os.unlink(self._at(path))

    def write(self, path, data):
        assert not os.path.lexists(self._at(path)) or os.path.isfile(self._at(path)), f"{path} is written through"
        with open(self._at(path), "wb") as file:
            file.write(data)

    def write_append(self, path, data):
        with open(self._file(path), "ab") as file:
            file.write(data)

    def truncate_size(self, path, size):
        os.truncate(self._file(path), size)

    def copy_attributes(self, source, path, all):
        os.chmod(self._at(path), stat.S_IMODE(os.stat(self._at(source)).st_mode))

    def rename(self, source, path):
        os.rename(self._at(source), self._at(path))

    def lgetxattr(self, *dummy):
        raise RuntimeError("No data available")


@pytest.fixture(params=["offline", "live"])
def guest(request, tmp_path, monkeypatch):
    """A guest with the prefix of its paths."""
    if request.param == "offline":
        return offline.OfflineGuest(Handle(tmp_path), ()), ""
    monkeypatch.setattr(live, "run", lambda argv, *rest, **more: Completed(tuple(argv), 0, json.dumps(_TREE), ""))
    return live.LiveGuest(), str(tmp_path)


@irregular
def test_what_is_no_file_is_read_as_nothing_and_never_written(guest, tmp_path, kind):
    system, root = guest
    IRREGULAR[kind](tmp_path / "fstab")
    path = f"{root}/fstab"
    with within(10):
        assert system.read(path) is None
        if kind not in ("link to nothing", "link to itself"):
            for work in (lambda: system.write(path, b"x", None), lambda: system.append(path, b"x"), lambda: system.truncate(path, 0)):
                with pytest.raises(InvalidInput, match="not a regular file") as caught:
                    work()
                assert caught.value.hint


@irregular
def test_what_lies_where_a_new_text_is_prepared_is_replaced(guest, tmp_path, kind):
    if kind == "directory":
        return
    system, root = guest
    (tmp_path / "fstab").write_bytes(b"before")
    IRREGULAR[kind](tmp_path / "fstab.hyper2kvm")
    with within(10):
        system.write(f"{root}/fstab", b"after", None)
    assert (tmp_path / "fstab").read_bytes() == b"after" and not os.path.lexists(tmp_path / "fstab.hyper2kvm")


def test_a_text_is_not_written_through_a_link_to_a_file(guest, tmp_path):
    system, root = guest
    (tmp_path / "fstab").write_bytes(b"before")
    (tmp_path / "victim").write_bytes(b"whole")
    (tmp_path / "fstab.hyper2kvm").symlink_to("victim")
    system.write(f"{root}/fstab", b"after", None)
    assert (tmp_path / "victim").read_bytes() == b"whole" and (tmp_path / "fstab").read_bytes() == b"after"


def test_a_huge_file_is_refused_before_it_is_read(guest, tmp_path):
    system, root = guest
    (tmp_path / "fstab").touch()
    os.truncate(tmp_path / "fstab", 10 << 30)
    if root:  # files of the kernel say no size, so the running system reads up to the limit
        return
    with within(5), pytest.raises(InvalidInput, match="nothing that a repair reads"):
        system.read("/fstab")
    assert system.handle.read == []


def test_a_long_text_is_refused_before_it_is_worked_on(monkeypatch):
    monkeypatch.setattr(limits, "GUEST_TEXT", 64)
    made = MemoryGuest({"/etc/fstab": "x" * 64, "/etc/hosts": "x" * 65}, ())
    assert text(made, "/etc/fstab") == "x" * 64
    with pytest.raises(InvalidInput, match="/etc/hosts in the guest has 65 bytes"):
        text(made, "/etc/hosts")


def test_of_many_names_the_first_are_told_and_how_many_more_there_are():
    findings = Findings()
    findings.add("a.b", "warning", "Somebody names /dev/sdb.", "")
    content = "".join(f"# /dev/sdz{number}\nmount /dev/sda{number} /x /dev/sdb\n" for number in range(1, 200_001))
    told = list(cmdline.unsaid(content, ("#",), findings))
    assert told[0] == "/dev/sda1" and len(told) == 101 and told[-1] == "/dev/sda101 and 199899 more" and "/dev/sdb" not in told


def test_what_is_read_in_total_has_an_end(guest, tmp_path, monkeypatch):
    system, root = guest
    monkeypatch.setattr(limits, "GUEST_READ", 10 << 20)
    for number in range(20):
        (tmp_path / f"{number}.conf").write_bytes(bytes(1 << 20))
    with pytest.raises(InvalidInput, match="GiB were read"):
        for number in range(20):
            assert len(system.read(f"{root}/{number}.conf")) == 1 << 20


def test_what_is_kept_has_an_end_and_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "GUEST_KEPT", 4 << 20)
    system = offline.OfflineGuest(Handle(tmp_path), ())
    for number in range(12):
        (tmp_path / str(number)).write_bytes(bytes([number]) * (1 << 20))
    for number in range(12):
        assert system.read(f"/{number}")[:1] == bytes([number])
    assert sum(len(data or b"") for data in system._reads.values()) <= 4 << 20
    assert system.read("/11")[:1] == b"\x0b" and len(system.handle.read) == 12
    assert system.read("/0")[:1] == b"\0" and len(system.handle.read) == 13
    (tmp_path / "large").write_bytes(b"l" * (9 << 20))
    assert system.read("/none") is None
    system.forget()
    assert len(system.read("/large")) == 9 << 20 and system._reads == {}


def test_a_directory_of_many_names_is_refused(guest, tmp_path, monkeypatch):
    system, root = guest
    (tmp_path / "conf.d").mkdir()
    for number in range(30):
        (tmp_path / "conf.d" / str(number)).touch()
    monkeypatch.setattr(limits, "GUEST_NAMES", 20)
    monkeypatch.setattr(live, "_MANY", 20)
    with pytest.raises(InvalidInput, match="too much") as caught:
        system.listdir(f"{root}/conf.d")
    assert caught.value.hint
    monkeypatch.setattr(limits, "GUEST_DIRECTORY", 1)
    with pytest.raises(InvalidInput, match="too much"):
        system.listdir(f"{root}/conf.d")


def test_a_copy_is_of_a_file_and_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "run", lambda argv, *rest, **more: Completed(tuple(argv), 0, json.dumps(_TREE), ""))
    system = live.LiveGuest()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    with within(5), pytest.raises(MigrationError):
        system.copy(str(tmp_path / "pipe"), str(tmp_path / "to"))
    with within(5), pytest.raises(OSError):
        system.copy(str(tmp_path / "file"), str(tmp_path / "pipe"))
