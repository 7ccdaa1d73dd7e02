# SPDX-License-Identifier: GPL-3.0-or-later
"""A test VM run by qemu itself."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import tempfile
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core import files, limits, secret
from ..core.errors import InvalidInput, ToolFailed
from ..core.process import Limits, start, stop
from .console import Serial, free_ports, opened
from .model import BootRequest
from .monitor import Monitor, ask_agent, established
from .qemu import command, nics_of


@dataclass
class _Qemu(Serial):
    """See Machine."""

    qmp: socket.socket
    forwarded: Mapping[int, Sequence[int]]
    scratch: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _monitor: Optional[Monitor] = None

    def ports(self, number: int) -> Sequence[int]:
        return self.forwarded[number]

    def connected(self, port: int) -> bool:
        return established(self._asked().human("info usernet"), port)

    def agent(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        return ask_agent(os.path.join(self.scratch, "agent"), command, next(self._numbers))

    def screenshot(self) -> Optional[bytes]:
        picture = os.path.join(self.scratch, "screen.png")
        with contextlib.suppress(OSError, ValueError, InvalidInput):
            self._asked().execute("screendump", filename=picture, format="png")
            return files.read(picture, limits.PICTURE)
        return None

    def _asked(self) -> Monitor:
        if self._monitor is None:
            self._monitor = Monitor(self.qmp)
        return self._monitor


@contextlib.contextmanager
def started(request: BootRequest, kind: str) -> Iterator[_Qemu]:
    """The VM for the time of a block."""
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="hyper2kvm-boot-"))
        forwarded = free_ports(request.reached, len(nics_of(request)))
        errors = os.path.join(scratch, "errors")
        key = stack.enter_context(secret.readable(request.passphrase))
        with open(errors, "wb") as sink:
            child = start(command(request, kind, scratch, forwarded, key), Limits(), stderr=sink)
        stack.callback(stop, child, grace=0.5)
        sockets: dict[str, socket.socket] = {}
        for name in ("serial", "qmp"):
            connection = opened(os.path.join(scratch, name), lambda: child.poll() is None)
            if connection is None:
                with open(errors, encoding="utf-8", errors="replace") as said:
                    raise ToolFailed(
                        f"qemu did not start: {said.read()[-1000:].strip() or 'it printed nothing'}",
                        "Correct the cause that qemu names, then run again.",
                    )
            sockets[name] = stack.enter_context(connection)
        yield _Qemu(sockets["serial"], sockets["qmp"], forwarded, scratch)
