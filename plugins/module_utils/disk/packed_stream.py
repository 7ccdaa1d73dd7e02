# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed files read with bounded memory, whatever their headers say: gzip, xz and bzip2, told by how they begin.

The standard library's file objects have no memory limit for xz, and look for the end of a name in a gzip header byte by byte.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import Any, BinaryIO, Callable

from ..core import limits
from ..core.errors import InvalidInput, UnsafeInput

_CHUNK = 256 << 10
_KINDS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(memlimit=limits.DICTIONARY)),
    (b"]\0\0", lambda: lzma.LZMADecompressor(memlimit=limits.DICTIONARY)),
)


def plain(file: BinaryIO, path: str, compressed: bool = False) -> BinaryIO:
    """What `file` holds once it is decompressed, to be read forwards; the file itself where it is not compressed, unless it must be."""
    head = file.read(6)
    file.seek(0)
    for magic, decoder in _KINDS:
        if head.startswith(magic):
            return io.BufferedReader(_Plain(file, decoder, path), _CHUNK)
    if compressed:
        raise InvalidInput(f"{path} cannot be unpacked: it does not begin as its suffix says.", "Copy or download it again.", path=path)
    return file


class _Plain(io.RawIOBase):
    """Streams one after the other, zeros between them, as gzip(1), xz(1) and bzip2(1) take them."""

    def __init__(self, file: BinaryIO, decoder: Callable[[], Any], path: str) -> None:
        super().__init__()
        self._file, self._new, self._path = file, decoder, path
        self._decoder: Any = decoder()
        self._first = b""  # of a stream that has just begun

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._decoder.eof and not self._next():
                return 0
            try:
                data = self._decoder.decompress(self._input(), len(buffer))
            except lzma.LZMAError as error:
                if "limit" not in str(error).lower():
                    raise
                raise InvalidInput(
                    f"{self._path} needs more than {limits.DICTIONARY >> 20} MiB of memory to be unpacked.",
                    "Unpack it by hand, or pack it with a smaller dictionary (xz -9 is small enough).",
                    path=self._path,
                ) from error
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _input(self) -> bytes:
        """What the decoder can go on with. Raises EOFError where it needs more than there is."""
        first, self._first = self._first, b""
        data = first or getattr(self._decoder, "unconsumed_tail", b"")
        if data or not getattr(self._decoder, "needs_input", True):
            return bytes(data)
        data = self._file.read(_CHUNK)
        if not data:
            raise EOFError("it ends in the middle")
        return data

    def _next(self) -> bool:
        """Begin the next stream, if there is one."""
        rest = self._decoder.unused_data.lstrip(b"\0")
        while not rest:
            data = self._file.read(_CHUNK)
            if not data:
                return False
            rest = data.lstrip(b"\0")
        self._decoder, self._first = self._new(), rest
        return True


class Bounded:
    """A file of which no more is read at once than `limit` bytes: a directory that says it is larger is refused before it is held in memory."""

    def __init__(self, file: BinaryIO, limit: int, path: str) -> None:
        self._file, self._limit, self._path = file, limit, path
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        data = b"" if size > self._limit else self._file.read(self._limit + 1 if size < 0 else size)
        if size > self._limit or len(data) > self._limit:
            raise UnsafeInput(
                f"{self._path} has a directory or a header of more than {self._limit >> 20} MiB.",
                "Unpack it and name the VM.",
                path=self._path,
            )
        return data

    def seekable(self) -> bool:
        return True
