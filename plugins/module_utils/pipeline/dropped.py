# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM an entry of a drop folder is, and whether all that lies with it is its own: what it reads, or known to be none of its disks (`beside`)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import AbstractSet, Sequence

from ..core.errors import InvalidInput, MigrationError
from ..disk import archive, image, litter, vmdk
from ..disk.source import open_source
from . import beside

TOGETHER = "Put the files of each VM into a directory of its own."
_ALONE = "Leave one description of a VM. "
_ORDER = (".vmx", ".vbox", ".ovf")  # which of several descriptions of the same files is taken


@dataclass(frozen=True)
class Chosen:
    """A VM: what to name in migrate_source, and the absolute paths of the files that it is read from, with its snapshots and descriptions.

    `why` it cannot be read, where it cannot; `used` is what may be its own then. Its migration says it too.
    """

    source: str
    used: frozenset[str]
    why: str = ""

    def elsewhere(self, folder: str, entries: Sequence[str], found: Sequence[str]) -> set[str]:
        """The other entries of the folder that it is read from."""
        return {_parts(folder, path)[0] for path in self.used - set(map(os.path.abspath, found))} - set(entries)


def choose(folder: str, found: Sequence[str]) -> Chosen:
    """The VM among the files of an entry. Raises InvalidInput where there is none, or several."""
    source = _source(folder, found)
    if archive.packed([source]):
        return Chosen(source, frozenset({os.path.abspath(source)}))
    try:
        used = set(_files_of(source))
    except MigrationError as error:
        return Chosen(
            source, frozenset(os.path.abspath(path) for path in found if path == source or _may_name(folder, source, path)), error.msg
        )
    for path in found:
        if path.lower().endswith((".vmdk", *image.READERS)) and not vmdk.PART.search(path) and os.path.abspath(path) not in used:
            with contextlib.suppress(MigrationError):
                files_of = {os.path.abspath(file) for file in open_source([path]).disks[0].chain.files()}
                used |= files_of if files_of & used else set()
    used.update(os.path.abspath(path) for path in found if path == source or _suffix(path) in _ORDER)
    return Chosen(source, frozenset(used))


def require_whole(folder: str, found: Sequence[str], vm: Chosen, reads: AbstractSet[str]) -> None:
    """Raise InvalidInput for a VM with files of another VM: whatever is not read would be put away as if it had been migrated. `reads` are the other
    entries of the folder that it is read from.
    """
    every = _every(found)
    spare = [path for path in found if os.path.abspath(path) not in vm.used and beside.may_be_a_disk(path, every)]
    if spare:
        raise InvalidInput(
            f"{_listed(spare)} in {folder} belong to no disk of the VM that they lie with{f', as far as it can be read: {vm.why}' if vm.why else '.'}",
            f"Remove what is not needed. {TOGETHER}",
            path=folder,
        )
    hidden = [path for path in vm.used if is_hidden(folder, path)]
    if hidden:
        raise InvalidInput(
            f"The VM reads {_listed(hidden)} in {folder}, and hidden files are not taken as part of a VM.",
            "Give them names that do not begin with a dot, and correct them in the description.",
            path=folder,
        )
    if reads:
        raise InvalidInput(f"The VM reads {', '.join(sorted(reads))}, which are other entries of {folder}.", TOGETHER, path=folder)


def is_hidden(folder: str, path: str) -> bool:
    """Whether nobody's VM is in it (`litter`); the folder itself may lie anywhere."""
    return litter.is_hidden(os.path.relpath(path, folder))


def _source(folder: str, found: Sequence[str]) -> str:
    """What to migrate among the files of an entry: its description, its disk, or the one archive that there is."""
    every = _every(found)
    own = [path for path in found if not beside.is_beside(path, every)]
    packed = [path for path in own if archive.packed([path])]
    plain = [path for path in own if path not in packed]
    if packed and not any(path.lower().endswith(beside.OF_VMS) for path in plain):
        if len(packed) > 1:
            raise InvalidInput(f"{folder} holds {_listed(packed)}, it must hold one VM.", TOGETHER, path=folder)
        return packed[0]
    described = {_suffix(path): path for path in plain if _suffix(path) in _ORDER}
    first = next((described[suffix] for suffix in _ORDER if suffix in described), "")
    if len(described) > 1 and len({_read(path) for path in described.values()}) == 1 and _read(first):
        plain = [path for path in plain if path == first or path not in described.values()]
    several = sum(_suffix(path) in (*_ORDER, ".ova") for path in plain) > 1
    return archive.choose(plain, folder, f"{_ALONE if several else ''}{TOGETHER}")


def _read(source: str) -> frozenset[str]:
    """The files that a VM is read from as it runs now; none where it cannot be read."""
    try:
        return _files_of(source)
    except MigrationError:
        return frozenset()


def _files_of(source: str) -> frozenset[str]:
    return frozenset(os.path.abspath(path) for disk in open_source([source], verify=False).disks for path in disk.chain.files())


def _may_name(folder: str, source: str, path: str) -> bool:
    """Whether a file may be a disk of a VM, or a part of one, that cannot be read. A directory and a file of its name may be two VMs."""
    ours, others = _parts(folder, source), _parts(folder, path)
    if (len(ours) > 1 or len(others) > 1) and ours[0] != others[0]:
        return False
    disks = {".vmx": (".vmdk",), ".vbox": (".vmdk", *image.READERS), ".ovf": (".vmdk", *image.READERS, ".gz")}.get(_suffix(source))
    return vmdk.PART.search(path) is not None if disks is None else path.lower().endswith(disks)


def _every(found: Sequence[str]) -> AbstractSet[str]:
    return frozenset(path.lower() for path in found)


def _parts(folder: str, path: str) -> list[str]:
    return os.path.relpath(path, folder).split(os.sep)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(sorted(map(os.path.basename, paths)))
