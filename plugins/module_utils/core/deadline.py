# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadlines on progress: what a program has done so far, as the kernel counts it, so that one which does nothing any more is told from a slow one.

Source: proc(5), /proc/PID/stat and /proc/PID/io.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Iterator

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pulse:
    """What a program and those it has started have used: seconds of processors, bytes that were read and written, files or not."""

    seconds: float = 0.0
    bytes: int = 0

    @classmethod
    def of(cls, *pids: int) -> Pulse:
        """Of these processes together; of one that has ended or belongs to another user, nothing."""
        seconds, moved = 0.0, 0
        for pid in pids:
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = _stat(pid)
                seconds += (int(fields[11]) + int(fields[12])) / _TICKS
                with open(f"/proc/{pid}/io", encoding="ascii") as file:
                    moved += sum(
                        int(line.split()[1]) for line in file if line.startswith(("rchar:", "wchar:", "read_bytes:", "write_bytes:"))
                    )
        return cls(seconds, moved)


class Silence:
    """How long nothing has happened, for one who looks now and then."""

    def __init__(self) -> None:
        self._pulse, self._since = Pulse(), time.monotonic()

    def heard(self) -> None:
        """Something was seen to happen."""
        self._since = time.monotonic()

    def lasts(self, pulse: Pulse) -> float:
        """Seconds since something was last seen to happen; `pulse` is what has happened up to now."""
        if pulse != self._pulse:
            self._pulse, self._since = pulse, time.monotonic()
        return time.monotonic() - self._since


def marked(mark: bytes) -> Iterator[int]:
    """Ids of this process's children with `mark` in their command line."""
    for pid in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(_stat(pid)[1]) == os.getpid():
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if mark in file.read():
                        yield pid


def session(leader: int) -> list[int]:
    """Ids of the processes of a session: a program that was started as the leader of one, and what it has started itself."""
    found = []
    for pid in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(_stat(pid)[3]) == leader:
                found.append(pid)
    return found


def stopped(pid: int) -> bool:
    """Whether a process is stopped, by a signal or by a debugger: it will do nothing until somebody lets it."""
    with contextlib.suppress(OSError, IndexError):
        return _stat(pid)[0] in (b"T", b"t")
    return False


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isascii() and name.isdecimal())


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third, the state, on."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
