# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives read forwards, with headers within limits: tarfile believes every size that a header names, and searches what it then holds.

So headers are bounded before tarfile sees them, one by one, for a member and for the archive; and a long row of digits, which its regular
expressions need quadratic time for (CVE-2024-6232), or a way back (CVE-2025-8194), never gets there. Source: pax(1), "pax Interchange Format".
"""

from __future__ import annotations

import re
import tarfile
from typing import Any, BinaryIO, Iterator, cast

from ..core import limits
from ..core.errors import InvalidInput, UnsafeInput

_DIGITS = re.compile(rb"[0-9]{256}")
_SKIPPED = 1 << 20


class _Tape:
    """The archive as tarfile gets it: never read backwards; while it looks for the next member, within limits."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file, self._path, self._at = file, path, 0
        self._seekable = file.seekable()
        self.looking, self.last, self._kept = False, b"", b""
        self._member = self._all = 0

    def begin(self) -> None:
        self.looking, self._member, self._kept = True, 0, b""

    def read(self, size: int = -1) -> bytes:
        if not self.looking:
            return self._read(size)
        self._member += max(size, 0)
        self._all += max(size, 0)
        if not 0 <= size <= limits.TAR_HEADER or self._member > limits.TAR_HEADERS or self._all > limits.TAR_ALL_HEADERS:
            raise self._refused("has headers that are larger than any file needs")
        self.last = self._read(size)
        self._kept = (self._kept + self.last)[-len(self.last) - 255 :]
        if _DIGITS.search(self._kept):
            raise self._refused("has a header with a number of hundreds of digits")
        return self.last

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence or offset < self._at:
            raise self._refused("has a member that lies before its own header")
        if self._seekable:
            self._at = self._file.seek(offset)
        while self._at < offset and self._read(min(_SKIPPED, offset - self._at)):
            pass
        return self._at

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._at += len(data)
        return data

    def _refused(self, why: str) -> UnsafeInput:
        return UnsafeInput(f"{self._path} {why}.", "Do not use this archive; pack the VM again.", path=self._path)


def members(file: BinaryIO, path: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Each member of the uncompressed archive `file`, and what its content is taken from before the next is asked for. `path` is for messages.

    Raises UnsafeInput for headers beyond `limits`, InvalidInput where it breaks off within them, and what tarfile raises.
    """
    tape = _Tape(file, path)
    tape.begin()
    with tarfile.open(fileobj=cast(BinaryIO, tape), mode="r:") as archive:
        while True:
            tape.begin()
            found = archive.next()
            tape.looking = False
            if found is None:
                break
            yield found, archive
            cast(Any, archive).members = []  # tarfile keeps them all, each with its headers
    if tape.last.strip(b"\0"):  # tarfile takes a damaged header for the end
        raise InvalidInput(f"{path} is damaged after byte {tape.tell() - len(tape.last)}.", "Copy or download it again.", path=path)
