# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit for a library that starts a program and waits for it without one: the program is ended, and the library's call fails."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import TracebackType
from typing import Iterator, Optional, Type


class Deadline:
    """After `seconds` every child of this process with `mark` in its command line is killed, and `passed` is true."""

    def __init__(self, seconds: float, mark: bytes) -> None:
        self.passed = False
        self._mark = mark
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        for pid in _children():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
                if self._mark in file.read():
                    os.kill(pid, signal.SIGKILL)


def _children() -> Iterator[int]:
    """Ids of this process's children, from the fourth field of /proc/<pid>/stat (proc(5))."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                yield int(name)
