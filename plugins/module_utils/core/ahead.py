# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run would meet, found out ahead of it, so that check mode refuses what the run would. Nothing is left behind."""

from __future__ import annotations

import errno
import os
import stat
import tempfile

from . import atomic, spared
from .errors import InvalidInput, of_system


def writable(directory: str) -> str:
    """Find out whether a run could write into `directory`, which it makes if it is missing; returns the nearest one that is there.

    A file without a name (O_TMPFILE, open(2)) meets rights, read-only mounts, quotas and immutable directories, and is gone again when it is closed.
    Raises AccessDenied, InvalidInput, NotEnoughSpace and StorageFailed.
    """
    there = os.path.abspath(directory)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    missing = [name for name in os.path.relpath(directory, there).split(os.sep) if name != "."]
    try:
        if not stat.S_ISDIR(os.stat(there).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), there)
        longest = os.pathconf(there, "PC_NAME_MAX")
        if any(len(os.fsencode(name)) > longest for name in missing):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), directory)
        _try(there)
    except OSError as error:
        raise of_system(error) from error
    return there


def _try(directory: str) -> None:
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):  # NFS, FAT and others have no files without a name
            raise
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), directory) from error
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory) from error
        os.rmdir(tempfile.mkdtemp(prefix=".hyper2kvm-", dir=directory))  # rights do not tell of /proc, nor of a server that squashes root


def room(directory: str, size: int, what: str) -> None:
    """Raise what `writable` raises, and NotEnoughSpace where `size` bytes for `what` would not fit."""
    atomic.need_space(writable(directory), size, what)


def length(directory: str, size: int, path: str) -> None:
    """Raise what `writable` raises, and InvalidInput where the file system has no files of `size` bytes, for the file `path` that is to be one."""
    there = writable(directory)
    try:
        fd = os.open(there, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # no files without a name: nothing can be said
    try:
        os.ftruncate(fd, size)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EFBIG, errno.EINVAL):
            raise of_system(error) from error
        raise InvalidInput(
            f"{path} would have {size} bytes, more than a file of the file system of {there} can have.",
            "Choose a smaller size, a qcow2, or another file system (XFS).",
            path=path,
        ) from error
    finally:
        os.close(fd)


def file(path: str) -> None:
    """The same for one file that a run would write in place of what is there. Raises InvalidInput for a directory of its name, and for a file of the source."""
    spared.require(path, f"{path}{atomic.PARTIAL}")
    writable(os.path.dirname(os.path.abspath(path)))
    if os.path.isdir(path):
        raise InvalidInput(f"{path} is a directory.", "Name a file, or remove the directory.", path=path)
