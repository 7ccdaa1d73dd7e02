# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are somewhere else, and what can be asked of the place: the interface that every way to a source offers."""

from __future__ import annotations

import posixpath
import random
import time
from dataclasses import dataclass
from typing import Callable, Iterator, Optional, Protocol, Sequence, TypeVar

from ..core.errors import InvalidInput, SourceChanged, TransferFailed

MIB = 1 << 20
TRIES = 8
_LONGEST = 30.0  # seconds between two tries

T = TypeVar("T")
Areas = Sequence[tuple[int, int]]


class Interrupted(Exception):
    """A transfer broke off in a way that may pass: a cut connection, a busy server. `after`: seconds that the server asked for."""

    def __init__(self, why: str, after: Optional[float] = None) -> None:
        super().__init__(why)
        self.after = after


@dataclass(frozen=True)
class RemoteFile:
    """A file as the place shows it: bytes, and whatever changes when the file does. `ranged`: parts of it can be asked for."""

    size: int
    stamp: str
    ranged: bool = True


class Files(Protocol):
    """A place with files, only read. Paths are absolute there. Every method may be called from several threads.

    `run`: bytes that one stream should ask for at most. `gap`: a hole of so many bytes is cheaper to read than to leave out.
    """

    run: int
    gap: int

    def stat(self, path: str) -> RemoteFile:
        """Raises InvalidInput for a file that is not there, AccessDenied, Interrupted."""

    def stream(self, path: str, areas: Areas, stamp: str = "") -> Iterator[memoryview]:
        """Exactly the bytes of `areas`, (offset, length) each, one after the other, in parts; each part is valid until the next.

        Raises Interrupted when it breaks off, SourceChanged when the place shows that the file is not the one of `stamp`.
        """

    def close(self) -> None:
        """Give back what the place holds for us."""


def pause(tries: int, after: Optional[float]) -> None:
    """Before another try: as long as the server asked for, else longer each time."""
    time.sleep(min(_LONGEST, after if after is not None else 0.25 * 2**tries * random.uniform(0.5, 1.0)))


def patiently(ask: Callable[[], T], what: str) -> T:
    """An answer, in spite of passing trouble.

    Raises TransferFailed after TRIES tries.
    """
    for tries in range(1, TRIES + 1):
        try:
            return ask()
        except Interrupted as error:
            why = error
            pause(tries, error.after)
    raise TransferFailed(f"{what} could not be read after {TRIES} tries: {why}.", "Check the network path to the source, then run again.")


def read_piece(files: Files, path: str, offset: int, length: int, stamp: str) -> bytes:
    """A small part of a file, patiently."""
    return patiently(lambda: b"".join(bytes(piece) for piece in files.stream(path, ((offset, length),), stamp)), path)


def read_small(files: Files, path: str, limit: int = MIB) -> bytes:
    """A whole small file, such as a descriptor.

    Raises InvalidInput when it is larger than `limit` bytes: what is called a descriptor may be a disk.
    """
    found = patiently(lambda: files.stat(path), path)
    if found.size > limit:
        raise InvalidInput(
            f"{path} has {found.size} bytes, too many for a description.", "Name the small .vmdk or .vmx text file of the VM.", path=path
        )
    return read_piece(files, path, 0, found.size, found.stamp) if found.size else b""


def changed(path: str) -> SourceChanged:
    """The error for a file that is no longer what it was."""
    return SourceChanged(
        f"{path} has changed while it was read.",
        "Something writes to the VM's disks: shut it down, or read from a snapshot; then run again.",
        path=path,
    )


def beside(path: str, name: str) -> str:
    """The path of `name` in the directory of `path`."""
    return posixpath.join(posixpath.dirname(path), name)
