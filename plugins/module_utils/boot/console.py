# SPDX-License-Identifier: GPL-3.0-or-later
"""The serial line of a test VM, and the ports of this host that its own are reached by."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

_QUIET = 0.2  # seconds between two looks at a silent console
_TRIES, _PAUSE = 200, 0.05


@dataclass
class Serial:
    """A serial console behind a connected socket."""

    serial: socket.socket

    def receive(self) -> Optional[bytes]:
        """What the console says; nothing for silence, None for its end."""
        self.serial.settimeout(_QUIET)
        try:
            return self.serial.recv(65536) or None
        except socket.timeout:
            return b""
        except OSError:
            return None

    def send(self, data: bytes) -> None:
        """Type on it."""
        self.serial.sendall(data)


def opened(path: str, alive: Callable[[], bool]) -> Optional[socket.socket]:
    """A connection to a socket that is about to appear; None when its owner dies before."""
    for dummy in range(_TRIES):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if not alive():
                return None
            time.sleep(_PAUSE)
    return None


def free_ports(wanted: Sequence[int], nics: int) -> dict[int, list[int]]:
    """For each TCP port of the guest a free one of this host for each of its NICs."""
    with contextlib.ExitStack() as stack:
        found = []
        for dummy in range(len(wanted) * nics):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(int(probe.getsockname()[1]))
    return {port: found[index * nics : (index + 1) * nics] for index, port in enumerate(wanted)}
