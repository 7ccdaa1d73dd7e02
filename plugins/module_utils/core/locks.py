# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker per VM, and so many on one source: flock(2), which the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from typing import Callable, Iterator

from . import files, modes, spared
from .errors import Busy, UnsafeInput, naming

_HOLDER = re.compile(rb"([0-9]{1,20}\n?)?")


@contextlib.contextmanager
def exclusive(
    path: str,
    what: str,
    wait_for: Callable[[], str] = lambda: "",
    waiting: Callable[[str], None] = lambda why: None,
    every: float = 0.5,
) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    Raises Busy with the process id of the holder when somebody else holds it: at once, unless `wait_for` gives a reason to wait, which is said by
    `waiting` with the holder and asked for again every `every` seconds.
    """
    modes.make_directory(os.path.dirname(path))
    spared.require(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, modes.FILE)
    try:
        files.require_own(fd, path)
        if not _HOLDER.fullmatch(os.pread(fd, 64, 0)):
            raise UnsafeInput(
                f"{path} is not a lock of this collection.",
                "Find out what it belongs to; then move it away, or name another directory.",
                path=path,
            )
        while not _taken(fd):
            holder = os.pread(fd, 64, 0).decode("ascii", "replace").strip() or "unknown"
            why = wait_for()
            if not why:
                raise Busy(
                    f"Another run is working on {what} (process {holder}).",
                    "Wait for it to end, or stop it; nothing was changed by this run.",
                    process=holder,
                    lock=path,
                )
            waiting(f"{why} (process {holder})")
            time.sleep(every)
        os.fchmod(fd, modes.FILE)
        with naming(path):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def slot(name: str, count: int, waiting: Callable[[], None] = lambda: None, every: float = 1.0) -> Iterator[None]:
    """Hold one of `count` places of `name` while the block runs, shared by all processes of this user here; 0 is without a limit.

    Waits as long as all are taken, looking every `every` seconds; `waiting` is called once before.
    """
    if not count:
        yield
        return
    directory = _slots()
    stem = os.path.join(directory, re.sub(r"[^A-Za-z0-9.-]", "_", name))
    told = False
    while True:
        for number in range(count):
            fd = os.open(f"{stem}.{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
            finally:
                os.close(fd)
        if not told:
            waiting()
            told = True
        time.sleep(every)


def _slots() -> str:
    """A directory that is this user's alone."""
    base = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR") or os.path.expanduser("~/.cache")
    directory = os.path.join(base, "hyper2kvm-slots")
    modes.make_directory(directory, above=modes.PRIVATE)
    return directory
