# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a source, each opened once for the time of a stage: what is checked is what is read, whatever their names lead to meanwhile.

Programs that can only take a name get one that leads to our descriptor (/proc/PID/fd/N), so that they open the same file. After the last byte every
descriptor and every name must still be what it was: device, number, size, the times of data and of status, and of a block device what the kernel has
counted of writes. Source: proc(5); open(2).
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from typing import Iterator, Optional, Union

from . import device, spared
from .errors import SourceChanged

_SPARE = 256  # descriptors, for everything but the source
Stamp = tuple[int, ...]
_current: Optional[Held] = None


class Held:
    """What is open. Paths are absolute. `links` are symbolic links in a work directory, each with the path of the file it stands for."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._first: dict[str, Stamp] = {}
        self.links: dict[str, str] = {}

    def keep(self, path: str, descriptor: int) -> None:
        """From now on this file is meant by `path`."""
        path = os.path.abspath(path)
        if path not in self._open:
            _make_room(len(self._open))
            self._open[path] = os.dup(descriptor)
            self._first[path] = stamp(descriptor)

    def again(self, path: str) -> Optional[int]:
        """A new descriptor of the file that was opened by this path; None where none was."""
        kept = self._open.get(os.path.abspath(path))
        return None if kept is None else os.open(f"/proc/self/fd/{kept}", os.O_RDONLY | os.O_CLOEXEC)

    def status(self, path: str) -> Optional[os.stat_result]:
        kept = self._open.get(os.path.abspath(path))
        return None if kept is None else os.fstat(kept)

    def name(self, path: str) -> str:
        """A name by which other programs open the file that is held, as long as this process holds it; the path itself where none is."""
        kept = self._open.get(os.path.abspath(path))
        return path if kept is None else f"/proc/{os.getpid()}/fd/{kept}"

    def compare(self) -> None:
        """Raise SourceChanged, naming the file, unless all are as they were when they were opened, and are still what their names lead to."""
        for path, first in self._first.items():
            if stamp(self._open[path]) != first:
                raise changed(path, "was written to")
            try:
                now = stamp(path)
            except OSError as error:
                raise changed(path, f"is no longer there ({error.strerror})") from error
            if now != first:
                raise changed(path, "is another file now")

    def drop(self, path: str) -> None:
        path = os.path.abspath(path)
        if path in self._open:
            os.close(self._open.pop(path))
            del self._first[path]

    def close(self) -> None:
        for kept in self._open.values():
            os.close(kept)
        self._open.clear()


def changed(path: str, how: str) -> SourceChanged:
    return SourceChanged(
        f"{path} {how} since the migration began to read it.",
        "Nothing was published. Keep the VM off and its files as they are, then run again.",
        path=path,
    )


def stamp(file: Union[int, str]) -> Stamp:
    """What is another one after every write to a file, and for every other file."""
    found = os.stat(file)
    if stat.S_ISBLK(found.st_mode):
        return found.st_rdev, device.written(found.st_rdev)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextlib.contextmanager
def sources() -> Iterator[Held]:
    """What `files` opens within the block stays open, and is what every later look at the same path finds."""
    global _current  # one migration is one process
    before, _current = _current, Held()
    try:
        yield _current
    finally:
        held, _current = _current, before
        held.close()
        for link, path in held.links.items():
            with contextlib.suppress(OSError):  # a work directory that is gone
                relink(path, link)


def current() -> Optional[Held]:
    return _current


def status(path: str) -> os.stat_result:
    """As os.stat, of the file that is held if one is."""
    found = _current.status(path) if _current is not None else None
    return os.stat(path) if found is None else found


def name(path: str) -> str:
    """What other programs are to open for this path."""
    return _current.name(path) if _current is not None else path


def compare() -> None:
    """As Held.compare, of what is held now."""
    if _current is not None:
        _current.compare()


def links_in(directory: str) -> dict[str, str]:
    """The symbolic links that were made in a directory, by their names, with what they stand for."""
    made = _current.links if _current is not None else {}
    return {os.path.basename(path): target for path, target in made.items() if os.path.dirname(path) == os.path.abspath(directory)}


def forget(path: str) -> None:
    """The file at `path` is no longer a part of the source."""
    if _current is not None:
        _current.drop(path)


def link(target: str, path: str) -> None:
    """Make `path` a symbolic link to the file at `target`, in place of one that is there; to the one that is held, until it is given back."""
    relink(name(target), path)
    if _current is not None:
        _current.links[os.path.abspath(path)] = os.path.abspath(target)


def relink(target: str, path: str) -> None:
    partial = f"{path}.partial"
    spared.require(partial, path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    os.symlink(target, partial)
    os.replace(partial, path)


def _make_room(count: int) -> None:
    """A disk of many parts needs many descriptors, here and in the programs that are started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + _SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, 2 * wanted), hard))
