# SPDX-License-Identifier: GPL-3.0-or-later
"""What FETCH brings into a work directory, and what it must not meet there: the source itself, and files that are none of ours.

The source is never written. A work directory is, under names that are always the same, and the directory of the copy in it is emptied.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Iterable, Iterator

from ..core import atomic, choice, made
from ..core.errors import InvalidInput
from ..core.manifest import Manifest
from ..disk import archive, staging
from ..disk.machine import SourceVm

COPY = "source"  # in the work directory: what came from elsewhere
_OF_STAGING = (staging.FIXED, staging.PLANNED, staging.REFUSED, staging.FLATTENED, staging.FETCHED)
_OF_JOURNAL = {"path", "size", "stamp", "pieces"}


def place(work_dir: str) -> str:
    """Where the copy of a source is."""
    return os.path.join(os.path.abspath(work_dir), COPY)


def require(work_dir: str) -> None:
    """Raise InvalidInput where the place of the copy holds what we have not put there. Nothing is written."""
    made.require(place(work_dir), _known(work_dir))


def adopt(work_dir: str) -> None:
    """As `require`, and what an earlier version has brought is noted as ours from now on."""
    require(work_dir)
    made.adopt(place(work_dir), _known(work_dir))


def remove(work_dir: str) -> list[str]:
    """Remove the copy, and whatever of it is ours; gives what stays, since it is not."""
    directory = place(work_dir)
    made.clear(directory, _known(work_dir))
    with contextlib.suppress(OSError):
        os.rmdir(directory)
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def forget(work_dir: str, check: bool) -> tuple[bool, list[str]]:
    """Remove what was staged of a source, so that a later migration begins anew; whether there was anything, and what stays of its copy."""
    records = [path for path in (os.path.join(work_dir, name) for name in _OF_STAGING) if os.path.lexists(path)]
    some = bool(records) or made.some(place(work_dir), _known(work_dir))
    if check:
        return some, []
    left = remove(work_dir)  # the record of FETCH, which is the last to go, says what an earlier version has brought
    for path in records:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return some, left


def of_others(work_dir: str, vm: SourceVm) -> list[str]:
    """The files of a local source that no copy in the work directory has."""
    copy = os.path.join(place(work_dir), "")
    return [path for disk in vm.disks for path in disk.chain.files() if not path.startswith(copy)]


def require_apart(work_dir: str, source: Iterable[str]) -> None:
    """Raise InvalidInput for a file of the source that lies in the work directory, whichever way it is reached, or that has a name there too."""
    try:
        there = os.stat(work_dir)
        names = {
            (found.st_dev, found.st_ino): entry.path for entry in os.scandir(work_dir) for found in (entry.stat(follow_symlinks=False),)
        }
    except OSError:  # it is made later
        return
    for path in map(choice.file_of, source):
        try:
            found = os.stat(path)
        except OSError:  # who reads it says so
            continue
        inside = any(os.path.samestat(there, above) for above in _above(path))
        name = path if inside else names.get((found.st_dev, found.st_ino), "")
        if name:
            raise InvalidInput(
                f"The source {path} lies in the work directory {work_dir}, whose files are replaced and removed"
                f"{'' if inside else f': {name} is the same file'}.",
                "The source is never written. Name another work directory (migrate_output_dir), or move the source out of it.",
                path=path,
                work_dir=work_dir,
            )


def _above(path: str) -> Iterator[os.stat_result]:
    """The directories that a file is in: those of the name, and those that it really is in."""
    for start in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        above = os.path.dirname(start)
        while True:
            with contextlib.suppress(OSError):
                yield os.stat(above)
            if above == os.path.dirname(above):
                break
            above = os.path.dirname(above)


def _known(work_dir: str) -> frozenset[str]:
    """What an earlier version, which has kept no list, has put into the place of the copy: its records say it."""
    directory = place(work_dir)
    found: set[str] = set()
    for folder, dummy, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if name == archive.RECORD:
                unpacked = Manifest.load(path, "unpack", form=archive.UNPACK)
                found.update([path, *(one.path for one in unpacked.outputs)] if unpacked is not None else [])
            elif name.endswith(".journal") and _is_journal(path):
                file = path[: -len(".journal")]
                found.update([path, file, f"{file}{atomic.PARTIAL}"])
    fetched = staging.noted(work_dir)
    found.update(_brought(fetched, directory) if fetched is not None else ())
    return frozenset(path for path in found if path.startswith(os.path.join(directory, "")))


def _brought(fetched: staging.Staging, directory: str) -> Iterator[str]:
    """The files of a copy that FETCH has recorded; none where the source was there before."""
    vm, transfer = fetched.vm, fetched.vm.transfer
    if transfer is None and not archive.packed(fetched.source):
        return
    named = {os.path.abspath(one) for one in fetched.source}
    for disk in vm.disks:
        yield from (file for file in disk.files if file not in named)
    for arrived in (transfer.files if transfer is not None else None) or ():
        yield from (path for path in _below(directory, arrived.name) if path not in named)


def _below(directory: str, name: str) -> Iterator[str]:
    """Where a file of this name may have arrived: in the directory itself, or in that of its disk."""
    yield os.path.join(directory, name)
    for entry in os.scandir(directory) if os.path.isdir(directory) else ():
        if entry.is_dir(follow_symlinks=False):
            yield os.path.join(entry.path, os.path.basename(name))


def _is_journal(path: str) -> bool:
    try:
        head = json.loads((atomic.read_text(path) or "").partition("\n")[0])
    except (RecursionError, ValueError):
        return False
    return isinstance(head, dict) and head.keys() == _OF_JOURNAL
