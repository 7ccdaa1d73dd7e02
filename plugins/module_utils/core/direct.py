# SPDX-License-Identifier: GPL-3.0-or-later
"""Large files written past the page cache: that costs a fraction of the processor's time, takes no memory, and leaves nothing to flush.

The kernel takes only whole blocks for it, from memory that is aligned as they are. Where a file system takes none, or not these, the
page cache is used; the two may be mixed in one file as long as no two writers share a block. Source: open(2), O_DIRECT.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
from typing import Optional

from .errors import naming

WINDOW = 4 << 20
_BLOCK = max(4096, mmap.PAGESIZE)  # enough for every file system that Linux has, and never half a page of the cache
_PART = 1 << 20
_ZEROS = bytes(_PART)
_PROBE = 64


def possible(directory: str) -> bool:
    """Whether files in `directory` can be written past the page cache."""
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=directory, prefix=".hyper2kvm-") as file:
        fd = _open(file.name)
        if fd is not None:
            os.close(fd)
        return fd is not None
    return False


class File:
    """A file that threads write at places of their own. `path` is made where there is none, and never followed as a link."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._direct = _open(path)

    def write(self, data: memoryview, offset: int) -> None:
        """All of it. What is not a whole block goes through the page cache."""
        with naming(self._path):
            self._put(data, offset)

    def resize(self, size: int) -> None:
        with naming(self._path):
            os.ftruncate(self.fd, size)

    def flush(self) -> None:
        """Everything that was written is on its disk after this."""
        with naming(self._path):
            os.fsync(self.fd)

    def _put(self, data: memoryview, offset: int) -> None:
        if self._direct is None:
            _write(self.fd, data, offset)
            return
        head = min(-offset % _BLOCK, len(data))
        body = head + (len(data) - head) // _BLOCK * _BLOCK
        _write(self.fd, data[:head], offset)
        try:
            _write(self._direct, data[head:body], offset + head)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _write(self.fd, data[head:body], offset + head)
        _write(self.fd, data[body:], offset + body)

    def close(self) -> None:
        for fd in (self.fd, self._direct):
            if fd is not None:
                os.close(fd)


class Window:
    """What one writer brings in small parts, gathered until it is worth writing. Zeros are not written where zeros are.

    The parts follow each other; `flush` before one that does not, and at the end. A part that came is not lost by what fails after it.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._memory = memoryview(mmap.mmap(-1, WINDOW))  # begins at a page, as offsets in the file that are multiples of WINDOW do
        self._begin = self._end = 0

    def put(self, data: memoryview, offset: int) -> None:
        if self._begin == self._end:
            self._begin = self._end = offset
        while data:
            at = self._end % WINDOW
            part = data[: WINDOW - at]
            self._memory[at : at + len(part)] = part
            self._end += len(part)
            data = data[len(part) :]
            if self._end % WINDOW == 0:
                self.flush()

    def flush(self) -> None:
        begin = self._begin
        for start in range(self._begin, self._end, _PART):
            part = self._held(start, min(start + _PART, self._end))
            if self._needless(part, start):
                self._file.write(self._held(begin, start), begin)
                begin = start + len(part)
        self._file.write(self._held(begin, self._end), begin)
        self._begin = self._end

    def drop(self) -> None:
        """Forget what was not written yet."""
        self._begin = self._end

    def _held(self, begin: int, end: int) -> memoryview:
        at = begin - self._begin + self._begin % WINDOW
        return self._memory[at : at + end - begin]

    def _needless(self, part: memoryview, offset: int) -> bool:
        if any(part[:_PROBE]):
            return False
        zeros = _ZEROS[: len(part)]  # bytes are compared much faster than views, but must be copied for it
        return bytes(part) == zeros and (_hole(self._file.fd, offset, len(part)) or os.pread(self._file.fd, len(part), offset) == zeros)


def _open(path: str) -> Optional[int]:
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return None
        raise


def _write(fd: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


def _hole(fd: int, offset: int, length: int) -> bool:
    """Whether nothing was ever written there. Source: lseek(2)."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO  # no data from there to the end
