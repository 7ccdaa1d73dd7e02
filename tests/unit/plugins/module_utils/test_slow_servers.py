# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers, proxies and hosts that answer byte by byte, without an end or not at all: a wait ends, and says what was waited for."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest
from promptly import PEAK, alone, within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import deadline, tls
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import (
    InvalidInput,
    MigrationError,
    TransferFailed,
    Unreachable,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import files, nfc
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.download import Throttle
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.files import Interrupted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.https import HttpsFiles
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.ssh import Login, SshFiles
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import connection as vsphere

MIB = 1 << 20
OPEN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
OPEN.check_hostname, OPEN.verify_mode = False, ssl.CERT_NONE
HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1048576\r\n"


def drip(connection, data: bytes, every: float = 0.3) -> None:
    for number in range(len(data)):
        connection.sendall(data[number : number + 1])
        time.sleep(every)


def endless(connection, start: bytes, again: bytes, every: float = 0.0) -> None:
    connection.sendall(start)
    while True:
        connection.sendall(again)
        time.sleep(every)


# What a server does once it has been asked.
ANSWERS = {
    "nothing": lambda c: time.sleep(60),
    "an answer in drops": lambda c: drip(c, HEAD * 10),
    "a status line in drops": lambda c: drip(c, b"HTTP/1.1 200 OK" + b" " * 1000),
    "headers without an end": lambda c: endless(c, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
    "headers in drops without an end": lambda c: endless(c, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.2),
    "a header without an end": lambda c: endless(c, b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000),
    "100 Continue without an end": lambda c: endless(c, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "100 Continue in drops": lambda c: endless(c, b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.2),
    "a body that does not come": lambda c: (c.sendall(HEAD + b"Content-Length: 1\r\n\r\n"), time.sleep(60)),
    "a body without an end": lambda c: endless(c, b"HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\n\r\n", b"x" * 100_000),
    "a body in drops": lambda c: endless(c, HEAD + b"Content-Length: 100000000\r\n\r\n", b"x", 0.2),
    "chunks without an end": lambda c: endless(c, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.2),
    "a chunk of 2**60 bytes": lambda c: (
        c.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" + b"0" * 15 + b"\r\n"),
        time.sleep(60),
    ),
    "a refusal in drops": lambda c: endless(c, b"HTTP/1.1 503 Busy\r\n\r\n", b"w", 0.2),
    "a refusal without an end": lambda c: endless(c, b"HTTP/1.1 404 No\r\n\r\n", b"w" * 10_000),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key",
        "-out",
        "cert",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


@pytest.fixture
def serve(certificate):
    """Start a server that does this with every connection, behind TLS or not; gives its port."""
    sockets = []

    def start(work, secure=True):
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def one(taken):
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                taken.settimeout(30)
                taken = stack.enter_context(certificate.wrap_socket(taken, server_side=True) if secure else taken)
                if secure:
                    taken.recv(65536)
                work(taken)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    taken = listening.accept()[0]
                    sockets.append(taken)
                    threading.Thread(target=one, args=(taken,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listening.getsockname()[1]

    yield start
    for one in sockets:
        with contextlib.suppress(OSError):
            one.close()


def reader(port: int, **more) -> HttpsFiles:
    return HttpsFiles("127.0.0.1", port, OPEN, lambda path: path, lambda again: {}, timeout=1.0, **more)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_look_at_a_file_ends_in_time(serve, name):
    port = serve(ANSWERS[name])
    with contextlib.closing(reader(port)) as opened, within(15):
        begin = time.monotonic()
        with contextlib.suppress(Interrupted, MigrationError):
            assert opened.stat("/disk.vmdk").size in (0, MIB)  # said in the head, whatever follows
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("name", ["a body in drops", "a body that does not come", "chunks without an end", "nothing"])
def test_a_transfer_ends_in_time_and_says_what_was_waited_for(serve, name):
    port = serve(ANSWERS[name])
    with (
        contextlib.closing(reader(port)) as opened,
        within(20),
        pytest.raises(Interrupted, match=r"has not (sent more than drops|answered) within 1 s"),
    ):
        for dummy in opened.stream("/disk.vmdk", [(0, MIB)]):
            pass


def test_what_is_tried_again_has_an_end(serve, monkeypatch):
    port = serve(ANSWERS["nothing"])
    monkeypatch.setattr(files, "pause", lambda tries, after: None)
    monkeypatch.setattr(files, "TRIES", 3)
    with contextlib.closing(reader(port)) as opened, within(20), pytest.raises(TransferFailed, match="has not answered within") as caught:
        files.patiently(lambda: opened.stat("/disk.vmdk"), "/disk.vmdk")
    assert caught.value.hint


def test_a_slow_transfer_that_goes_on_is_left_alone(serve):
    def slowly(connection):
        connection.sendall(HEAD.replace(b"0-0", b"0-4194303") + b"Content-Length: 4194304\r\n\r\n")
        for dummy in range(32):
            connection.sendall(bytes(131072))
            time.sleep(0.1)
        time.sleep(5)

    with contextlib.closing(reader(serve(slowly))) as opened, within(20):
        assert sum(len(piece) for piece in opened.stream("/disk.vmdk", [(0, 4 * MIB)])) == 4 * MIB


def test_one_who_takes_slowly_is_not_the_server(serve):
    def at_once(connection):
        connection.sendall(HEAD.replace(b"0-0", b"0-2097151") + b"Content-Length: 2097152\r\n\r\n" + bytes(2 * MIB))
        time.sleep(5)

    with contextlib.closing(reader(serve(at_once))) as opened, within(20):
        size = 0
        for piece in opened.stream("/disk.vmdk", [(0, 2 * MIB)]):
            size += len(piece)
            time.sleep(1.5)
    assert size == 2 * MIB


BEFORE_TLS = {
    "nothing": lambda c: time.sleep(60),
    "a handshake in drops": lambda c: drip(c, b"\x16\x03\x03\x40\x00" + b"\x02" * 1000, 0.2),
    "another protocol": lambda c: c.sendall(b"SSH-2.0-x\r\n" * 100),
}
OF_PROXIES = {
    **BEFORE_TLS,
    "headers without an end": lambda c: endless(c, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
    "headers in drops": lambda c: endless(c, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.2),
    "a status in drops": lambda c: drip(c, b"HTTP/1.1 200 " + b"O" * 1000, 0.2),
}


@pytest.mark.parametrize("name", BEFORE_TLS)
def test_a_connection_is_made_in_time_or_not(serve, name, monkeypatch):
    port = serve(BEFORE_TLS[name], secure=False)
    made = tls.https_connection("127.0.0.1", port, OPEN, timeout=1.0)
    with within(10), pytest.raises(OSError), contextlib.closing(made):
        made.connect()


@pytest.mark.parametrize("name", OF_PROXIES)
def test_a_proxy_answers_in_time_or_not(certificate, serve, name):
    port = serve(OF_PROXIES[name], secure=False)
    made = tls.https_connection("vcenter.example", 443, OPEN, ("127.0.0.1", port), timeout=1.0)
    with within(10), pytest.raises((OSError, tls.http.client.HTTPException)), contextlib.closing(made):
        made.connect()


@pytest.mark.parametrize(
    "name", ["nothing", "a status line in drops", "headers in drops without an end", "100 Continue without an end", "a body in drops"]
)
def test_vsphere_that_does_not_answer_is_unreachable(serve, name, monkeypatch):
    monkeypatch.setattr(vsphere, "_PATIENCE", 1.0)
    port = serve(ANSWERS[name])
    with within(20), pytest.raises(Unreachable, match="does not answer as vSphere does") as caught:
        vsphere.Session(vsphere.Endpoint("127.0.0.1", "user", "word", port, tls.Trust(verify=False)))
    assert caught.value.hint


def test_vsphere_that_answers_without_an_end_takes_no_memory(serve, monkeypatch):
    monkeypatch.setattr(vsphere.limits, "ANSWER", 8 * MIB)
    versions = (
        b"<v><version>"
        + vsphere.VmomiSupport.versionIdMap[vsphere.VmomiSupport.GetServiceVersions("vim25")[0]].encode()
        + b"</version></v>"
    )

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(versions) + versions)
        endless(connection, b"HTTP/1.1 200 OK\r\n\r\n<soapenv:Envelope>", b"<a>" * 10_000)

    def soap(connection):
        endless(connection, b"HTTP/1.1 200 OK\r\n\r\n<a xmlns='x'>", b"<b>text</b>" * 10_000)

    asked = iter([answer, soap])

    def ask(connection):
        next(asked, soap)(connection)

    port = serve(ask)
    endpoint = vsphere.Endpoint("127.0.0.1", "user", "word", port, tls.Trust(verify=False))
    said, memory = alone(lambda: vsphere.Session(endpoint), 60)
    assert said.startswith("Unreachable") and memory < PEAK, said


def test_a_packed_answer_is_refused(serve, monkeypatch):
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz")

    made = vsphere._bounded(tls.https_connection("127.0.0.1", serve(answer), OPEN, timeout=5.0))
    with within(10), contextlib.closing(made), pytest.raises(tls.http.client.HTTPException, match="packed"):
        made.request("GET", "/")
        made.getresponse().read()


def test_a_lease_whose_disk_comes_in_drops_is_given_up(serve, tmp_path, monkeypatch):
    port = serve(lambda c: endless(c, b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.2))
    monkeypatch.setattr(nfc, "_TRIES", 2)
    monkeypatch.setattr(
        nfc, "https_connection", lambda host, port, context, proxy, timeout: tls.https_connection(host, port, context, proxy, 1.0)
    )
    with within(20), pytest.raises(TransferFailed, match="has not sent more than drops within 1 seconds"):
        nfc.receive("127.0.0.1", port, "/disk", OPEN, {}, str(tmp_path / "d"), Silent(), Throttle())
    assert os.listdir(tmp_path / "d") == []


def test_an_answer_of_zeros_without_an_end_has_one(serve, tmp_path, monkeypatch):
    port = serve(lambda c: endless(c, b"HTTP/1.1 200 OK\r\n\r\n", bytes(MIB)))
    monkeypatch.setattr(nfc, "_TRIES", 1)
    monkeypatch.setattr(nfc.limits, "UNPACKED", 8 * MIB)
    with within(20), pytest.raises(TransferFailed, match="does not end"):
        nfc.receive("127.0.0.1", port, "/disk", OPEN, {}, str(tmp_path / "d"), Silent(), Throttle())


# What a host does that has let us in: the program in place of ssh. The first one is the shared connection.
HOSTS = {
    "nothing": "sleep 50",
    "is stopped": "kill -STOP $$",
    "drops": "while :; do printf x; sleep 0.2; done",
    "a line without an end": "yes x | tr -d '\\n'",
    "complaints without an end": "yes >&2",
    "complaints in drops": "while :; do echo x >&2; sleep 0.2; done",
    "a first line, then nothing": "echo 1048576 1 1; sleep 50",
    "zeros without an end": "cat /dev/zero",
    "has closed its output": "exec >&-; sleep 50",
}


@pytest.fixture
def host(tmp_path, monkeypatch):
    def made(work: str) -> SshFiles:
        path = tmp_path / "bin" / "ssh"
        path.parent.mkdir()
        shared = 'for a in "$@"; do case $a in ControlPath=*) touch "${a#*=}";; esac; done; sleep 60'
        path.write_text(f'#!/bin/bash\ncase "$*" in *ControlMaster=yes*) {shared};; esac\n{work}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        return SshFiles(Login("esxi.example"), timeout=1.5)

    return made


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_that_hangs_after_the_login_is_given_up(host, name):
    with contextlib.closing(host(HOSTS[name])) as opened, within(20):
        with pytest.raises((Interrupted, InvalidInput)):
            opened.command("true", "x")
        if name not in ("zeros without an end", "a line without an end"):  # which are bytes as good as any
            with pytest.raises((Interrupted, InvalidInput)):
                for dummy in opened.stream("/vmfs/x", [(0, MIB)]):
                    pass


def test_what_a_host_says_takes_no_memory(host):
    opened = host("cat /dev/zero")
    said, memory = alone(lambda: opened.command("true", "x"), 30)
    opened.close()
    assert said.startswith("InvalidInput") and memory < PEAK


def test_limits_of_many_waits_are_kept_by_one_thread():
    ended = []
    with contextlib.ExitStack() as stack:
        waits = [stack.enter_context(deadline.limited(0.2 if n % 2 else 30.0, lambda n=n: ended.append(n))) for n in range(20)]
        time.sleep(0.8)
        assert sorted(ended) == list(range(1, 20, 2)) and [wait.passed for wait in waits] == [bool(n % 2) for n in range(20)]
        assert sum(thread.name == "deadlines" for thread in threading.enumerate()) == 1
        waits[0].moved(10)
        before = waits[0].at
        waits[0].moved(1 << 20)
        assert waits[0].at > before - 1
