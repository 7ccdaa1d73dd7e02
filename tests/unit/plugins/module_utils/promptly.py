# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests on hostile input share: a limit in time that no blocking call survives, and things that are no files."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest


@contextlib.contextmanager
def within(seconds: float, processor: bool = False):
    """Fail when the block takes longer, also when it waits in the kernel. Only in the main thread.

    `processor`: of its own time alone, which does not grow with what else the machine does.
    """
    timer, sent = (signal.ITIMER_PROF, signal.SIGPROF) if processor else (signal.ITIMER_REAL, signal.SIGALRM)

    def late(*dummy):
        raise AssertionError(f"it takes more than {seconds} seconds")

    before = signal.signal(sent, late)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(sent, before)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket has 107 bytes at most
        made.bind(path.name)
        os.chdir(here)


# Whatever opens one of these waits, or does what it must not.
IRREGULAR = {
    "pipe": os.mkfifo,
    "socket": a_socket,
    "endless device": lambda path: os.mknod(path, 0o20600, os.makedev(1, 5)),
    "terminal": lambda path: os.mknod(path, 0o20600, os.makedev(5, 0)),
    "directory": os.mkdir,
    "link to a pipe": lambda path: (os.mkfifo(f"{path}.to"), os.symlink(f"{path}.to", path)),
    "link to itself": lambda path: os.symlink(path, path),
    "link to nothing": lambda path: os.symlink("/nowhere", path),
}

irregular = pytest.mark.parametrize("kind", IRREGULAR)


PEAK = 512 << 20  # bytes of memory that no reader may pass, whatever it reads


def alone(work, seconds: float = 120.0) -> tuple[str, int]:
    """What `work` ends with in a process of its own, the name and the words of an error or "", and the most memory it had in bytes."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(int(seconds))  # kills, whatever it does
            os.close(reading)
            try:
                work()
                said = ""
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode("utf-8", "replace")[:60000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode()
    dummy, status, used = os.wait4(child, 0)
    assert not os.WIFSIGNALED(status), f"it was killed by signal {os.WTERMSIG(status)}: {seconds} seconds were not enough, or the memory"
    return said, used.ru_maxrss * 1024
