# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files in a directory we have made, as a list in it says; nothing else that lies there is ever removed.

A file is noted before it is made, so that what a killed run has left is known too. While a program or a download fills the directory, whose names are
not known before, the list says that all which comes is ours; when that has ended, it names what has come.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Iterable, Iterator, Sequence

from . import atomic, files, spared
from .errors import InvalidInput, UnsafeInput, naming

LIST = "made.list"
_ALL = None  # in a line of its own
_NAMED = 5
_LINES = re.compile(rb"[\n -~]*")


def note(directory: str, *paths: str, name: str = LIST) -> None:
    """These files, which are about to be made below the directory, are ours. `name`: of a list for some of them alone."""
    _append(os.path.join(directory, name), [os.path.relpath(path, directory) for path in paths])


def noted(directory: str, name: str) -> frozenset[str]:
    """The files that this list names."""
    return frozenset(os.path.join(directory, one) for one in _read(os.path.join(directory, name))[1])


@contextlib.contextmanager
def filling(directory: str) -> Iterator[None]:
    """What comes into the directory within the block is ours. What was there is, too, or `require` has refused it."""
    _append(os.path.join(directory, LIST), [_ALL])
    try:
        yield
    finally:
        found = [os.path.relpath(path, directory) for path in _files(directory)]
        atomic.write_text(os.path.join(directory, LIST), "".join(f"{json.dumps(name)}\n" for name in found))


def require(directory: str, known: Iterable[str] = ()) -> None:
    """Raise InvalidInput, naming them, where there are files that we have not made. `known` are ours although no list says it."""
    ours = _ours(directory, known)
    others = [path for path in _files(directory) if path not in ours]
    if others:
        raise InvalidInput(
            f"{directory} holds {len(others)} files that the migration has not put there, and would remove or replace: "
            f"{', '.join(others[:_NAMED])}{', ...' if len(others) > _NAMED else ''}.",
            "Move them elsewhere, or name another work directory; the copy of the source gets this one for itself.",
            path=directory,
            files=others[:_NAMED],
        )


def clear(directory: str, known: Iterable[str] = ()) -> bool:
    """Remove what is ours, and the directories below that are empty then; whether there was anything. Everything else stays."""
    ours = _ours(directory, known)
    removed = [path for path in _files(directory) if path in ours]
    for path in [path for path in removed if not _is_list(path)] + [path for path in removed if _is_list(path)]:
        with contextlib.suppress(OSError):
            os.unlink(path)
    for place in sorted({place for path in removed for place in _above(path, directory)}, reverse=True):
        with contextlib.suppress(OSError):  # something of others is in it
            os.rmdir(place)
    return bool(removed)


def some(directory: str, known: Iterable[str] = ()) -> bool:
    """Whether anything there is ours."""
    ours = _ours(directory, known)
    return any(path in ours for path in _files(directory))


def adopt(directory: str, known: Iterable[str]) -> None:
    """Note what an earlier version has made there."""
    present = sorted(set(known) & set(_files(directory)))
    if present:
        note(directory, *present)


def _ours(directory: str, known: Iterable[str]) -> frozenset[str]:
    there = _files(directory)
    found = set(known)
    for path in there:
        if os.path.basename(path) != LIST:
            continue
        place, (everything, names) = os.path.dirname(path), _read(path)
        found.update([path, *(os.path.join(place, name) for name in names)])
        if everything:
            found.update(other for other in there if other.startswith(os.path.join(place, "")))
    return frozenset(found | {f"{path}{atomic.PARTIAL}" for path in found if _is_list(path)})


def _is_list(path: str) -> bool:
    return os.path.basename(path) in (LIST, f"{LIST}{atomic.PARTIAL}")


def _read(path: str) -> tuple[bool, Sequence[str]]:
    """Whether all is ours, and the names. A line that was cut off names nothing that was made."""
    everything, names = False, []
    for line in (atomic.read_text(path) or "").splitlines():
        try:
            name = json.loads(line)
        except (RecursionError, ValueError):
            continue
        everything = everything or name is _ALL
        if isinstance(name, str):
            names.append(os.path.normpath(name))
    return everything, names


def _append(path: str, lines: Sequence[object]) -> None:
    spared.require(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        files.require_own(fd, path)
        if not _LINES.fullmatch(os.pread(fd, 4096, 0)):
            raise UnsafeInput(
                f"{path} is not a list that this collection wrote.",
                "Find out what it belongs to; then move it away, or name another directory.",
                path=path,
            )
        with naming(path):
            os.write(fd, ("\n" + "".join(f"{json.dumps(line)}\n" for line in lines)).encode("ascii"))
            os.fsync(fd)
    finally:
        os.close(fd)


def _files(directory: str) -> list[str]:
    """Everything below that is no directory; links are not followed."""
    found: list[str] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            found += _files(entry.path) if entry.is_dir(follow_symlinks=False) else [entry.path]
    return found


def _above(path: str, directory: str) -> Iterator[str]:
    """The directories between a file and the one that it is below."""
    place = os.path.dirname(path)
    while len(place) > len(directory) and place.startswith(os.path.join(directory, "")):
        yield place
        place = os.path.dirname(place)
