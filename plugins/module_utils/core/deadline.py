# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadlines on progress: what a program has done so far, as the kernel counts it, so that one which does nothing any more is told from a slow one.

Source: proc(5), /proc/PID/stat and /proc/PID/io; the kernel's Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Iterator, Optional

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pulse:
    """What a program and those it has started have used: seconds of processors, bytes that were read and written, files or not.

    `waited`: seconds for which threads were ready and other work had the processors; 0 where the kernel does not count it. A program that is idle
    waits a little too, so this alone is no progress.
    """

    seconds: float = 0.0
    bytes: int = 0
    waited: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, *pids: int) -> Pulse:
        """Of these processes together; of one that has ended or belongs to another user, nothing."""
        seconds, moved, waited = 0.0, 0, 0.0
        for pid in pids:
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = _stat(pid)
                seconds += (int(fields[11]) + int(fields[12])) / _TICKS
                with open(f"/proc/{pid}/io", encoding="ascii") as file:
                    moved += sum(
                        int(line.split()[1]) for line in file if line.startswith(("rchar:", "wchar:", "read_bytes:", "write_bytes:"))
                    )
            waited += _waited(pid)
        return cls(seconds, moved, waited)


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


class Limit:
    """A wait that is ended from outside when what is waited for makes no progress for `seconds`. `passed`: it was."""

    def __init__(self, seconds: float, end: Callable[[], None], least: int = 64 << 10) -> None:
        self.seconds, self.passed = seconds, False
        self._end, self._least, self._moved = end, least, 0
        self.at = time.monotonic() + seconds

    def moved(self, count: int) -> None:
        """So many bytes have come. Drops do not count: only `least` of them together give another `seconds`."""
        self._moved += count
        if self._moved >= self._least:
            self.at, self._moved = time.monotonic() + self.seconds, 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While others work, nothing is waited for; then the time begins anew."""
        self.at = math.inf
        yield
        self.at = time.monotonic() + self.seconds

    def end(self) -> None:
        self.passed = True
        with contextlib.suppress(OSError):
            self._end()


class _Limits:
    """One thread for all waits of this process, while there are any."""

    def __init__(self) -> None:
        self._waits: set[Limit] = set()
        self._changed = threading.Condition()
        self._thread: Optional[threading.Thread] = None

    def add(self, wait: Limit) -> None:
        with self._changed:
            self._waits.add(wait)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, daemon=True, name="deadlines")
                self._thread.start()
            self._changed.notify()

    def remove(self, wait: Limit) -> None:
        with self._changed:
            self._waits.discard(wait)

    def _watch(self) -> None:
        with self._changed:
            while self._waits or self._changed.wait(60.0):
                now = time.monotonic()
                for wait in [wait for wait in self._waits if wait.at <= now]:
                    self._waits.discard(wait)
                    wait.end()
                if self._waits:
                    self._changed.wait(max(0.01, min(1.0, min(wait.at for wait in self._waits) - now)))
            self._thread = None


_limits = _Limits()


@contextlib.contextmanager
def limited(seconds: float, end: Callable[[], None], least: int = 64 << 10) -> Iterator[Limit]:
    """Call `end`, in another thread, when the block waits for `seconds` without progress: it makes what is waited for fail."""
    wait = Limit(seconds, end, least)
    _limits.add(wait)
    try:
        yield wait
    finally:
        _limits.remove(wait)


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


def _waited(pid: int) -> float:
    """Seconds for which the threads of a process were ready to run and did not."""
    waited = 0.0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file,
            ):
                waited += int(file.read().split()[1]) / 1e9
    return waited
