# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker per VM: an flock(2) that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Iterator

from .errors import Busy


@contextlib.contextmanager
def exclusive(path: str, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    Raises Busy at once, with the process id of the holder, when somebody else holds it.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 64, 0).decode("ascii", "replace").strip() or "unknown"
            raise Busy(
                f"Another run is working on {what} (process {holder}).",
                "Wait for it to end, or stop it; nothing was changed by this run.",
                holder=holder,
                lock=path,
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(fd)
