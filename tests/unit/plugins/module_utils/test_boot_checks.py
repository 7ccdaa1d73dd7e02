# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator asks of a started guest, over real sockets, and how qemu and the guest agent are talked with."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading
from dataclasses import replace

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot import checks, monitor
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootNic, BootRequest, Check
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.boot_test import BootTest, BootTestOptions
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import Run, carry_out

USERNET = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   26       127.0.0.1 40001       10.0.2.15    22     0     0
  TCP[SYN_SENT]      27       127.0.0.1 40002       10.0.2.15    81     0     0
  TCP[HOST_FORWARD]  12       127.0.0.1 40003       10.0.2.15    22     0     0
"""


class Guest:
    """A started VM of which only what is asked for exists."""

    def __init__(self, ports=(), taken=True, answers=()):
        self.open, self.taken, self.answers, self.asked = tuple(ports), taken, list(answers), []

    def ports(self, number):
        return self.open

    def connected(self, port):
        return self.taken

    def agent(self, command):
        self.asked.append(command)
        if not self.answers:
            raise OSError("no agent")
        return self.answers.pop(0)


@contextlib.contextmanager
def listening(serve):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def run():
            with contextlib.suppress(OSError):
                while True:
                    serve(server.accept()[0])

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1]


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.path == "/health" and self.headers["Host"] == "web01.example.com"
        self.send_response(200 if good else 404)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def log_message(self, *dummy):
        pass


@pytest.fixture
def web():
    with http.server.HTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_port_is_open_when_it_greets_or_when_the_guest_took_the_connection():
    kept = []
    with (
        listening(kept.append) as silent,
        listening(lambda one: one.close()) as refusing,
        listening(lambda one: one.sendall(b"x")) as greeting,
    ):
        assert checks.fault(Check(port=80), Guest([greeting], taken=False)) == ""
        assert checks.fault(Check(port=80), Guest([silent])) == ""
        assert checks.fault(Check(port=80), Guest([silent], taken=False)) == "nothing answers"
        assert checks.fault(Check(port=80), Guest([refusing])) == "the connection is refused"
        assert checks.fault(Check(port=80), Guest([refusing, greeting])) == ""  # by one of its cards


def test_an_http_check_wants_the_status_and_the_body(web):
    good = {"port": 80, "http": "/health", "host": "web01.example.com"}
    assert checks.fault(Check(**good, expect='"status": *"ok"'), Guest([web])) == ""
    assert "nothing matches 'down'" in checks.fault(Check(**good, expect="down"), Guest([web]))
    assert checks.fault(Check(port=80, http="/"), Guest([web])) == "the answer is 404 Not Found, not 200"
    assert checks.fault(Check(port=80, http="/", status=404), Guest([web])) == ""
    with listening(lambda one: one.sendall(b"SSH-2.0-x\r\n")) as ssh:
        assert "is not HTTP: SSH-2.0-x" in checks.fault(Check(port=80, http="/"), Guest([ssh]))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for a name of the guest, which is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=guest",
         "-addext", "subjectAltName=DNS:web01.example.com"], check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_a_check_over_tls_wants_a_certificate_that_this_host_believes(certificate, monkeypatch):
    cert, key = certificate
    good = Check(port=443, http="/health", host="web01.example.com", tls=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        guest = Guest([server.server_port])
        assert checks.fault(good, guest) == "TLS fails: self-signed certificate"
        assert checks.fault(replace(good, verify=False), guest) == ""
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert checks.fault(good, guest) == ""
        assert "TLS fails: Hostname mismatch" in checks.fault(replace(good, host="web02.example.com"), guest)
        server.shutdown()
    with http.server.HTTPServer(("127.0.0.1", 0), Web) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        assert checks.fault(good, Guest([plain.server_port])).startswith("TLS fails: ")
        plain.shutdown()


def ended(rc=0, out=""):
    return {"exited": True, "exitcode": rc, "out-data": base64.b64encode(out.encode()).decode()}


def test_a_command_is_waited_for_and_its_status_and_output_are_looked_at():
    check = Check(command=("/usr/bin/systemctl", "is-active", "nginx"), expect="^active$")
    guest = Guest(answers=[{"pid": 7}, {"exited": False}, ended(0, "active\n")])
    assert checks.fault(check, guest) == "" and check.name == "/usr/bin/systemctl is-active nginx"
    assert guest.asked[0]["arguments"] == {"path": "/usr/bin/systemctl", "arg": ["is-active", "nginx"], "capture-output": True}
    assert "nothing matches" in checks.fault(check, Guest(answers=[{"pid": 7}, ended(0, "inactive")]))
    assert checks.fault(check, Guest(answers=[{"pid": 7}, ended(3, "inactive")])) == "it ended with 3, not 0: inactive"
    assert checks.fault(check, Guest()) == "the guest agent does not support it: no agent"


def test_the_network_answers_by_ssh_or_by_agent():
    with listening(lambda one: one.sendall(b"SSH-2.0-OpenSSH\r\n")) as ssh, listening(lambda one: one.close()) as other:
        assert checks.network("auto", Guest([other, ssh])) == "ssh" and checks.network("agent", Guest([ssh])) is None
        assert (
            checks.network("auto", Guest([other], answers=[{}])) == "agent" and checks.network("ssh", Guest([other], answers=[{}])) is None
        )


def test_only_what_the_guest_took_is_established():
    assert [monitor.established(USERNET, port) for port in (40001, 40002, 40003, 4000)] == [True, False, False, False]


def test_stale_answers_of_the_agent_are_passed_over(tmp_path):
    """An agent that was asked before and answers late, as a slow guest's does."""
    path = str(tmp_path / "agent")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve():
            connection = server.accept()[0]
            with connection, connection.makefile("rb") as stream:
                sync = json.loads(stream.readline().lstrip(b"\xff"))
                assert sync["execute"] == "guest-sync-delimited"
                connection.sendall(b'rn": {}}\n{"return": 4}\n{"error": {"class": "GenericError", "desc": "Invalid JSON syntax"}}\n')
                connection.sendall(b'\xff{"return": %d}\n' % sync["arguments"]["id"])
                asked = json.loads(stream.readline())
                connection.sendall(json.dumps({"return": {"asked": asked["execute"]}}).encode() + b"\n")

        threading.Thread(target=serve, daemon=True).start()
        assert monitor.ask_agent(path, {"execute": "guest-ping"}, 5) == {"asked": "guest-ping"}


def test_refusals_and_ends_are_errors():
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b'{"QMP": {}}\n{"event": "RESUME"}\n{"return": {}}\n{"error": {"class": "x", "desc": "no such command"}}\n')
        opened = monitor.Monitor(one)
        with pytest.raises(ValueError, match="no such command"):
            opened.execute("x")
        other.shutdown(socket.SHUT_WR)
        with pytest.raises(OSError, match="ended"):
            opened.execute("y")


def test_each_port_that_a_check_names_is_reached_once():
    asked = BootRequest((), checks=(Check(port=80), Check(port=22), Check(port=80, http="/"), Check(command=("/bin/true",))))
    assert asked.reached == (22, 80)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("macs", [["01:00:5e:00:00:01"], ["00:00:00:00:00:00"], ["52:54:00:00:00:01"] * 2], ids=str)
def test_cards_that_no_vm_has_are_refused_by_a_dry_run_too(tmp_path, macs, check):
    (tmp_path / "a.raw").write_bytes(bytes(512))
    request = BootRequest(((str(tmp_path / "a.raw"), "raw"),), nics=tuple(map(BootNic, macs)))
    with pytest.raises(InvalidInput, match=f"^{macs[0]} is "):
        carry_out(BootTest(BootTestOptions(str(tmp_path / "out"), request=request)), Run(check=check))
