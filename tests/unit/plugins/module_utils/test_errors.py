# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operating system refuses becomes cause and remedy, and every module ends in one of both: an answer, or an error of ours."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from xml.parsers import expat

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import atomic, direct, errors, locks, memory, process, tls
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import live
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import runtime
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import connection

REFUSED = {
    "permission": (errno.EACCES, "access_denied", "become"),
    "immutable file": (errno.EPERM, "access_denied", "become"),
    "read-only file system": (errno.EROFS, "access_denied", "mount it for writing"),
    "full disk": (errno.ENOSPC, "not_enough_space", "Free space"),
    "spent quota": (errno.EDQUOT, "not_enough_space", "Free space"),
    "file too large for FAT": (errno.EFBIG, "not_enough_space", "another directory"),
    "missing": (errno.ENOENT, "invalid_input", "Correct the path"),
    "a file where a directory should be": (errno.ENOTDIR, "invalid_input", "Correct the path"),
    "a directory where a file should be": (errno.EISDIR, "invalid_input", "Correct the path"),
    "name of 300 characters": (errno.ENAMETOOLONG, "invalid_input", "255 bytes"),
    "circle of links": (errno.ELOOP, "invalid_input", "links"),
    "FIFO without a reader, device without a driver": (errno.ENXIO, "invalid_input", "Correct the path"),
    "I/O error": (errno.EIO, "storage_failed", "dmesg"),
    "damaged ext4": (errno.EUCLEAN, "storage_failed", "dmesg"),
    "device gone": (errno.ENODEV, "storage_failed", "attach it again"),
    "stale NFS handle": (errno.ESTALE, "storage_failed", "share"),
    "share whose server is down": (errno.EHOSTDOWN, "storage_failed", "share"),
    "no locks on this file system": (errno.EOPNOTSUPP, "storage_failed", "another directory"),
    "too many open files": (errno.EMFILE, "out_of_resources", "ulimit"),
    "too many open files on the host": (errno.ENFILE, "out_of_resources", "forks"),
    "no process more": (errno.EAGAIN, "out_of_resources", "forks"),
    "no memory": (errno.ENOMEM, "out_of_resources", "memory"),
    "device in use": (errno.EBUSY, "busy", "lsof"),
    "program of another processor": (errno.ENOEXEC, "missing_tool", "processor"),
    "server that refuses": (errno.ECONNREFUSED, "unreachable", "port"),
    "server that hangs up": (errno.ECONNRESET, "unreachable", "port"),
    "no route": (errno.EHOSTUNREACH, "unreachable", "port"),
    "a number that nobody knows": (9999, "storage_failed", "dmesg"),
}


class Ended(Exception):
    """What a module answered."""


class Module:
    params: dict = {}
    check_mode = False
    no_log_values: frozenset = frozenset()

    def fail_json(self, **result):
        raise Ended(result)

    exit_json = fail_json


def answer(work) -> dict:
    with pytest.raises(Ended) as ended:
        runtime.run(Module(), work)
    return ended.value.args[0]


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_system_refuses_is_said_with_its_path_reason_and_remedy(name):
    number, code, remedy = REFUSED[name]

    def work(module):
        raise OSError(number, os.strerror(number), "/srv/images/web01")

    said = answer(work)
    assert said["error_code"] == code and remedy in said["hint"]
    assert said["msg"].startswith(f"/srv/images/web01: {os.strerror(number)}.") and said["details"]["path"] == "/srv/images/web01"


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        ssl.SSLError(1, "WRONG_VERSION_NUMBER"),
        TimeoutError("timed out"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ],
)
def test_networks_too(error):
    found = errors.of_system(error)
    assert isinstance(found, errors.Unreachable) and found.hint and str(error.strerror or error) in found.msg


def test_two_paths_are_both_named():
    found = errors.of_system(OSError(errno.EXDEV, "Invalid cross-device link", "/a/x", None, "/b/x"))
    assert found.msg == "/a/x and /b/x: Invalid cross-device link." and found.code == "invalid_input"


@pytest.mark.parametrize("path", [b"/srv/\xff\xfe", "/srv/\udcff\udcfe", 7])
def test_a_path_that_is_no_text_is_shown_and_can_be_printed(path):
    found = errors.of_system(OSError(errno.EACCES, "Permission denied", path))
    found.msg.encode("utf-8")
    assert "Permission denied" in found.msg


def test_an_error_without_number_and_text_is_one_too():
    found = errors.of_system(OSError())
    assert found.hint and "OSError" in found.msg


def test_too_little_memory_is_an_answer():
    def work(module):
        raise MemoryError

    assert answer(work)["error_code"] == "out_of_resources"


def test_a_defect_stays_a_traceback():
    with pytest.raises(ZeroDivisionError):
        runtime.run(Module(), lambda module: 1 // 0)


def filled(path):
    with contextlib.closing(direct.File(str(path))) as file:
        file.write(memoryview(b"x" * 8192), 0)


def locked(path):
    with locks.exclusive(str(path), "web01"):
        pytest.fail("it was taken")


WRITERS = {
    "a record": lambda path: atomic.write_text(str(path), "x"),
    "a disk": filled,
    "a lock": locked,
    "whose a place is": lambda path: memory.claim(str(path), "The place", None, memory.Run.of(os.getpid(), "web01", "")),
    "a file of a live system": lambda path: live.LiveGuest.write(object.__new__(live.LiveGuest), str(path), b"x", None),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_said_with_the_file_that_did_not_fit(name, tmp_path, monkeypatch):
    def full(*dummy):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in ("pwrite", "fsync"):
        monkeypatch.setattr(os, call, full)
    said = answer(lambda module: WRITERS[name](tmp_path / "file"))
    assert said["error_code"] == "not_enough_space" and said["msg"].startswith(f"{tmp_path}/file") and "No space left" in said["msg"]


def test_a_full_disk_is_said_alike_where_it_is_met_on_the_way():
    met = errors.NotEnoughSpace.met(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/disk.partial"))
    assert (
        met.msg == "/srv/disk.partial: No space left on device." and met.details["path"] == "/srv/disk.partial" and "Errno" not in str(met)
    )
    assert errors.NotEnoughSpace.met(OSError(errno.EIO, os.strerror(errno.EIO))) is None


def test_a_path_that_the_system_names_stays():
    with pytest.raises(OSError) as met, errors.naming("/srv/new"):
        os.stat("/nowhere/old")
    assert met.value.filename == "/nowhere/old"


def test_real_refusals(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for path, code in (
        (tmp_path / "file" / "below", "invalid_input"),
        (tmp_path / "loop", "invalid_input"),
        (tmp_path / ("n" * 300), "invalid_input"),
        (tmp_path / "none", "invalid_input"),
        (tmp_path, "invalid_input"),
    ):
        said = answer(lambda module, path=path: {"text": path.read_bytes()})
        assert said["error_code"] == code and str(path) in said["msg"] and said["hint"]


def test_a_word_with_a_nul_byte_reaches_no_program():
    with pytest.raises(errors.InvalidInput, match="NUL"):
        process.run(["true", "a\0b"])


NONSENSE = {
    "no XML": expat.ExpatError("syntax error"),
    "no text": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "no TLS": ssl.SSLError(1, "WRONG_VERSION_NUMBER"),
    "no route": OSError(errno.EHOSTUNREACH, "No route to host"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_server_that_answers_no_vsphere_is_unreachable(name):
    opened = object.__new__(connection.Session)
    opened.endpoint = connection.Endpoint("vc.example.com", "u", "p")

    def work():
        raise NONSENSE[name]

    with pytest.raises(errors.Unreachable, match="does not answer as vSphere does"):
        opened.call(work)


@pytest.mark.parametrize(("proxy", "name"), [(None, "vc.example.com"), (("proxy.example.com", 3128), "proxy.example.com")])
def test_a_name_without_an_address_is_said_once_and_of_whom_it_is(proxy, name, monkeypatch):
    def nobody(*dummy, **more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", nobody)
    for trust in (tls.Trust(), tls.Trust(thumbprint="0" * 40)):
        with pytest.raises(errors.Unreachable) as caught:
            connection.Session(connection.Endpoint("vc.example.com", "u", "p", trust=trust, proxy=proxy))
        assert caught.value.msg == f"{name} cannot be found: Name or service not known." and f"getent hosts {name}" in caught.value.hint


@pytest.mark.parametrize(("user", "password", "what"), [("", "", "user"), ("u", "", "password")])
def test_a_server_is_not_asked_without_a_login(user, password, what, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *dummy, **more: pytest.fail("the server was asked"))
    with pytest.raises(errors.AccessDenied) as caught:
        connection.Session(connection.Endpoint("vc.example.com", user, password))
    assert f"No {what}" in caught.value.msg and "vc.example.com" in caught.value.msg
    assert f"VMWARE_{what.upper()}" in caught.value.hint and f"migrate_vsphere_{what}" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "whole"), [("refused", "refused. Do it."), ("refused.", "refused. Do it."), ('"a"', '"a" Do it.'), ("a:\n", "a: Do it.")]
)
def test_the_remedy_is_a_sentence_of_its_own(said, whole):
    assert str(errors.InvalidInput(said, "Do it.")) == whole and str(errors.InvalidInput(said)) == said.strip()
