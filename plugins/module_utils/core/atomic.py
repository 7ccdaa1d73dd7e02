# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all: written beside their name, flushed, then renamed (rename(2) is atomic)."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Optional

from . import files, limits, modes, spared
from .errors import InvalidInput, NotEnoughSpace, naming
from .trace import point

PARTIAL = ".partial"


def write_bytes(path: str, data: bytes, mode: int = modes.FILE) -> None:
    """Replace `path` by `data` atomically and durably; `mode` is the new file's, whatever the umask."""
    partial = f"{path}{PARTIAL}"
    spared.require(path)
    with naming(partial), modes.create(partial, mode) as file:
        file.write(data)
        file.flush()
    publish(partial, path)


def write_text(path: str, text: str, mode: int = modes.FILE) -> None:
    write_bytes(path, text.encode("utf-8", "surrogateescape"), mode)


def write_json(path: str, value: Any, mode: int = modes.FILE) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True) + "\n", mode)


def read_text(path: str) -> Optional[str]:
    """What such a file holds; None where there is none, or something that was not written so: a link, a pipe, more than a record has."""
    with contextlib.suppress(InvalidInput, OSError):
        data = files.record(path, limits.PLAN)
        return None if data is None else data.decode("utf-8", "surrogateescape")
    return None


def publish(partial: str, final: str) -> None:
    """Give a complete file its name: flush the data, rename, flush the directory."""
    name = os.path.basename(final)
    point(f"write.{name}")
    flush(partial)
    point(f"flushed.{name}")
    rename(partial, final)
    point(f"written.{name}")


def flush(path: str) -> None:
    """Everything of a file is on its disk after this."""
    _fsync(path, os.O_RDONLY)


def rename(partial: str, final: str) -> None:
    """Give a file that was flushed its name, durably. Raises what `spared.require` raises."""
    spared.require(final)
    os.replace(partial, final)
    _fsync(os.path.dirname(os.path.abspath(final)), os.O_RDONLY | os.O_DIRECTORY)


def need_space(directory: str, size: int, what: str) -> None:
    """Refuse early when `size` bytes for `what` do not fit the file system of `directory` (which must exist)."""
    stat = os.statvfs(directory)
    free = stat.f_bavail * stat.f_frsize
    if free < size:
        raise NotEnoughSpace(
            f"{what} needs up to {size >> 20} MiB in {directory}, {free >> 20} MiB are free.",
            "Free space there, or choose another directory.",
            needed=size,
            free=free,
            directory=directory,
        )


def _fsync(path: str, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        with naming(path):
            os.fsync(fd)
    finally:
        os.close(fd)
