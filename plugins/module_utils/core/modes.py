# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may read what the collection writes: its owner alone, unless the operator says otherwise. Modes do not depend on the umask.

Disks lie in directories that others can pass but not list, since libvirt's qemu is another user and reaches a disk by its path (libvirt gives it the
file itself at the start: "Disk image ownership" in libvirt's documentation of the QEMU driver).
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, BinaryIO, Optional

from . import spared
from .errors import InvalidInput

FILE = 0o600
PRIVATE = 0o700  # of directories
PASSABLE = 0o711

_OCTAL = re.compile(r"0?o?[0-7]{3}")


def parse(value: Any) -> int:
    """A mode of files as the operator writes it, "0640"; a number is one already, as YAML reads 0640. Empty is the default.

    Raises InvalidInput for what is no mode, what its owner cannot write, and what others could.
    """
    if value is None or value == "":
        return FILE
    text = str(value)
    mode = value if isinstance(value, int) else int(text.replace("o", ""), 8) if _OCTAL.fullmatch(text) else -1
    if mode & ~0o777 or mode & 0o600 != 0o600 or mode & 0o002:
        raise InvalidInput(
            f"{text} is not a valid mode for results.",
            'Give it in octal digits and in quotes, such as "0640"; the owner reads and writes, others never write.',
        )
    return mode & ~0o111


def of_directory(mode: int) -> int:
    """The mode of a directory whose files have `mode`: who reads them may list it."""
    return PRIVATE | of_program(mode)


def of_program(mode: int) -> int:
    """The mode of a script that who reads it may run."""
    return mode | (mode & 0o444) >> 2


def with_disks(mode: int) -> int:
    """The mode of a directory that holds disks."""
    return of_directory(mode) | PASSABLE


def create(path: str, mode: int = FILE) -> BinaryIO:
    """A new, empty file with `mode` in place of whatever file, link or pipe is there: nothing is written to that, nor to what else it is called."""
    spared.require(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    os.fchmod(fd, mode)
    return open(fd, "wb")


def make_directory(path: str, mode: int = PRIVATE, above: Optional[int] = None) -> None:
    """Make a directory with `mode`, and those above it with `above` (one that others can pass). One that is there keeps its own."""
    if not path or os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    make_directory(parent, PASSABLE if above is None else above, above)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    os.chmod(path, mode)  # whatever the umask took away
