# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot a result headless, watch it, and say whether it works; the disks are opened in snapshot mode and never written."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from typing import Any, Iterator, Optional, Sequence

from ..core.accel import accelerator
from ..core.errors import ToolFailed
from ..core.process import Limits, start, stop
from ..core.progress import Progress
from .model import BootOutcome, BootRequest
from .qemu import command, nics_of
from .signals import Console

_QUIET = 0.2  # seconds between two looks at a silent console


def boot(request: BootRequest, progress: Progress) -> BootOutcome:
    """Run the test to its verdict: login prompt, network, no missing devices; or a fault, or the deadline.

    A guest without a serial console is judged by its network alone. Raises ToolFailed when qemu itself does not start.
    """
    kind = accelerator()
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-boot-") as scratch, _started(request, kind, scratch) as (serial, qmp, ports):
        console, begin = Console(request.expect), time.monotonic()
        progress.phase("boot")
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(request.console_log, "wb")) if request.console_log else None
            network: Optional[str] = None
            while time.monotonic() - begin < request.timeout:
                now = time.monotonic() - begin
                data = _receive(serial)
                if data is None:
                    break  # qemu ended: the guest switched itself off or crashed
                console.feed(data, now)
                if log is not None:
                    log.write(data)
                answer = console.answer(request.passphrases)
                if answer is not None:
                    serial.sendall(answer.encode("utf-8") + b"\n")
                fault = console.fault()
                if fault is not None and fault.fatal:
                    break
                silent = not console.seen and now > request.timeout / 2
                if request.network != "none" and ("login" in console.seen or silent) and network is None:
                    network = _network(request.network, ports, scratch)
                    if network is not None:
                        console.seen[network] = round(time.monotonic() - begin, 1)
                if (network is not None or request.network == "none") and ("login" in console.seen or silent) and not console.missing():
                    break
                if "login" in console.seen and now > console.seen["login"] + request.grace:
                    break
            picture = _screenshot(qmp, request.screenshot)
        verdict, cause = _judge(request, console, network)
        return BootOutcome(verdict, cause, dict(console.seen), console.lines(), picture, kind, round(time.monotonic() - begin, 1))


def _judge(request: BootRequest, console: Console, network: Optional[str]) -> tuple[str, str]:
    fault = console.fault()
    if fault is not None:
        return "failed", fault.cause
    if console.missing() and ("login" in console.seen or network is not None):
        return "failed", f"the console never showed what was expected: {', '.join(console.missing())}"
    if "login" in console.seen and (network is not None or request.network == "none"):
        return "passed", ""
    if network is not None:
        return "passed", "the guest has no serial console; it answered on the network"
    if "login" in console.seen:
        return "failed", "the guest is up but did not answer on the network (no SSH banner, no guest agent)"
    if "passphrase" in console.seen:
        return "failed", "the guest waits for the passphrase of a disk" + (
            " and does not take the given ones" if request.passphrases else ""
        )
    last = max(console.seen, key=lambda name: console.seen[name], default="nothing")
    return "failed", f"no login prompt within {request.timeout:.0f} seconds; the last thing seen was: {last}"


@contextlib.contextmanager
def _started(request: BootRequest, kind: str, scratch: str) -> Iterator[tuple[socket.socket, socket.socket, list[int]]]:
    ports = _free_ports(len(nics_of(request)))
    errors = os.path.join(scratch, "errors")
    with open(errors, "wb") as sink:
        child = start(command(request, kind, scratch, ports), Limits(), stderr=sink)
    sockets: list[socket.socket] = []
    try:
        for name in ("serial", "qmp"):
            connection = _connect(os.path.join(scratch, name), lambda: child.poll() is None)
            if connection is None:
                with open(errors, encoding="utf-8", errors="replace") as said:
                    raise ToolFailed(
                        f"qemu did not start: {said.read()[-1000:].strip() or 'it printed nothing'}",
                        "Correct the cause that qemu names, then run again.",
                    )
            sockets.append(connection)
        sockets[0].settimeout(_QUIET)
        yield sockets[0], sockets[1], ports
    finally:
        stop(child, grace=0.5)
        for connection in sockets:
            connection.close()


def _connect(path: str, alive: Any) -> Optional[socket.socket]:
    for dummy in range(200):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if not alive():
                return None
            time.sleep(0.05)
    return None


def _receive(serial: socket.socket) -> Optional[bytes]:
    """What the console says; nothing for silence, None for its end."""
    try:
        return serial.recv(65536) or None
    except socket.timeout:
        return b""
    except OSError:
        return None


def _network(kind: str, ports: Sequence[int], scratch: str) -> Optional[str]:
    for port in ports if kind in ("auto", "ssh") else ():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.settimeout(5)
            if connection.recv(64).startswith(b"SSH-"):
                return "ssh"
    if kind in ("auto", "agent"):
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(os.path.join(scratch, "agent"))
            connection.sendall(b"\xff" + json.dumps({"execute": "guest-sync-delimited", "arguments": {"id": 7}}).encode("ascii") + b"\n")
            if b'"return": 7' in connection.recv(4096):
                return "agent"
    return None


def _screenshot(qmp: socket.socket, path: Optional[str]) -> Optional[str]:
    """A PNG of the screen; None where qemu cannot make one."""
    if path is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        qmp.settimeout(10)
        with qmp.makefile("rw", encoding="utf-8") as stream:
            stream.readline()  # the greeting
            for execute, arguments in (("qmp_capabilities", {}), ("screendump", {"filename": os.path.abspath(path), "format": "png"})):
                stream.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "return" not in answer and "error" not in answer:
                    answer = json.loads(stream.readline())
        return path if os.path.exists(path) else None
    return None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for dummy in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
