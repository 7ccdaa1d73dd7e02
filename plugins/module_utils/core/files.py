# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that others have put there, opened without ever waiting for one, and without touching what is no file.

A path is first taken hold of without opening it, which does nothing to pipes, sockets, tapes and watchdogs; only a regular file, or a block
device where one is wanted, is then opened by that hold, so that nobody can put another thing in its place. Source: open(2), O_PATH.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, Optional

from . import held, limits
from .errors import InvalidInput, UnsafeInput

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def opened(path: str, what: str = "The file", *, links: bool = True, devices: bool = False) -> BinaryIO:
    """The regular file at `path`, opened for reading; with `devices` a block device too, without `links` never through a link as its last part.

    Raises InvalidInput where there is none or it cannot be read, UnsafeInput for a pipe, a socket, a device, a directory or an unwanted link.
    `what` begins the message.
    """
    return os.fdopen(descriptor(path, what, links=links, devices=devices), "rb")


def descriptor(path: str, what: str = "The file", *, links: bool = True, devices: bool = False) -> int:
    """As `opened`, as a descriptor that the caller closes. Within `held.sources` it is of the file that the path has meant first."""
    kept = held.current()
    again = kept.again(path) if kept is not None else None
    if again is not None:
        return again
    found = _descriptor(path, what, links, devices)
    if kept is not None:
        kept.keep(path, found)
    return found


def _descriptor(path: str, what: str, links: bool, devices: bool) -> int:
    try:
        hold = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, what, error) from error
    try:
        mode = os.fstat(hold).st_mode
        if not (stat.S_ISREG(mode) or (devices and stat.S_ISBLK(mode))):
            raise irregular(path, what, mode)
        return os.open(f"/proc/self/fd/{hold}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(path, what, error) from error
    finally:
        os.close(hold)


def aside(path: str) -> BinaryIO:
    """As `opened`, never through a link, of a file that is none of the source's: it may change while a migration runs."""
    return os.fdopen(_descriptor(path, "The file", links=False, devices=False), "rb")


def read(path: str, limit: int, what: str = "The file", *, links: bool = True) -> bytes:
    """All of a small file. Raises what `opened` raises, and InvalidInput for one of more than `limit` bytes."""
    with opened(path, what, links=links) as file:
        return whole(file, limit, path, what)


def description(path: str) -> str:
    """The text of a libvirt domain that was described earlier. Raises what `opened` raises, and InvalidInput for what is no UTF-8."""
    try:
        return read(path, limits.DESCRIPTION, "The description", links=False).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The description {path} is not UTF-8 text.", "Describe the VM again (domain_describe).", path=path) from error


def whole(file: BinaryIO, limit: int, path: str, what: str = "The file") -> bytes:
    """What is left of an open file, if it is at most `limit` bytes."""
    data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidInput(
            f"{what} {path} has more than {_amount(limit)}, more than any such file needs.",
            "Name the right file, or copy it again.",
            path=path,
        )
    return data


def own(path: str) -> Optional[BinaryIO]:
    """A record of ours, opened for reading; None where there is none. Others may have put something in its place.

    Raises UnsafeInput for a link, a file that has other names too, and whatever else is no regular file. A record is no part of the source, within
    `held.sources` too.
    """
    try:
        file = os.fdopen(_descriptor(path, "The record", False, False), "rb")
    except InvalidInput as error:
        if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):  # who makes its directory says what is in the way
            return None
        raise
    try:
        require_own(file.fileno(), path)
    except UnsafeInput:
        file.close()
        raise
    return file


def require_own(fd: int, path: str) -> None:
    """Raise UnsafeInput unless what is open as `path` is a regular file that has no other name: one that we have made."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise irregular(path, "The record", found.st_mode)
    if found.st_nlink > 1:
        raise UnsafeInput(f"The record {path} has several names (hard links).", "Remove it; the next run makes a new one.", path=path)


def record(path: str, limit: int = limits.MANIFEST) -> Optional[bytes]:
    """All of a record of ours; None where there is none. Raises what `own` raises, and InvalidInput for one of more than `limit` bytes."""
    file = own(path)
    if file is None:
        return None
    with file:
        return whole(file, limit, path, "The record")


def irregular(path: str, what: str, mode: int) -> UnsafeInput:
    """The error for something that is not a regular file."""
    return UnsafeInput(
        f"{what} {path} is not a regular file but {_KINDS.get(stat.S_IFMT(mode), 'of an unknown kind')}.",
        "Symbolic links, devices and pipes are never followed; put the file itself there.",
        path=path,
    )


def unreadable(path: str, what: str, error: Exception) -> InvalidInput:
    """The error for a path that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return InvalidInput(f"{what} {path} does not exist.", "Check the path; it is one on the conversion host.", path=path)
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InvalidInput(f"{what} {path!r} cannot be read: {why}.", "Check the path, its permissions and its file system.", path=path)


def _amount(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
