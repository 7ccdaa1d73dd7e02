# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a migration belongs to which VM: the work directory, the directory of the results, the report. Each remembers its VM and refuses another's.

What an earlier version has left remembers nothing. It is taken over where its own records name the same source.
"""

from __future__ import annotations

import glob
import json
import os
import re
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

from ..core import atomic, spared
from ..core.data import from_data, to_data
from ..core.errors import InvalidInput
from ..core.manifest import Manifest, beside
from ..core.memory import recall
from ..core.names import safe
from ..core.vm import VmId, places_of, require_same, same
from ..disk import staging
from ..disk.machine import VmSaid
from ..disk.request import RECORD, STAGE, WRITING

REPORT = "report.json"
REPORT_FILES = (REPORT, "report.md", "plan.json")


@dataclass(frozen=True)
class Place:
    """Something that belongs to one VM: the file that remembers it, what it is for people, and what an earlier version says that it was made from.

    `made_from` is empty where there is nothing of an earlier version, or it names the same source.
    """

    path: str
    what: str
    made_from: Callable[[VmId], Sequence[str]]

    def require(self, vm: VmId, moved: bool = False) -> None:
        """Raise InvalidInput where this belongs to another VM, or what is to remember it is a file of the source. Nothing is written."""
        spared.require(self.path)
        known = recall(self.path).vm
        if known is not None:
            require_same(known, vm, self.what, moved)
        elif not moved:
            _refuse_earlier(self.what, self.made_from(vm), vm)


def work_dir(directory: str) -> Place:
    return Place(os.path.join(directory, "vm.json"), f"The work directory {directory}", lambda vm: _staged_from(directory, vm))


def results(directory: str, name: str, work: str = "") -> Place:
    """Images of this name in a directory, made by way of the work directory `work`."""
    stem = safe(name)
    return Place(
        os.path.join(directory, f".{stem}.vm.json"), f"{stem} in {directory}", lambda vm: _converted_from(directory, stem, work, vm)
    )


def folder(directory: str) -> Place:
    """The files of a VM as they are."""
    return Place(os.path.join(directory, ".vm.json"), f"The directory {directory}", lambda vm: ())


def plan(path: str) -> Place:
    """A plan in a file; others may lie beside it."""
    directory, name = os.path.split(os.path.abspath(path))
    return Place(os.path.join(directory, f".{name}.vm"), f"The plan {path}", lambda vm: ())


def require_one_of(directory: str, vm: VmId, moved: bool = False) -> None:
    """Raise InvalidInput where a directory has results, and none of them is this VM's, or a report of another VM."""
    known = {path: recall(path).vm for path in sorted(glob.glob(os.path.join(glob.escape(directory), ".*.vm.json")))}
    others = [other for other in known.values() if other is not None]
    if others and not any(same(other, vm, moved) for other in others):
        require_same(others[0], vm, f"The directory {directory}", moved)
    require_report(directory, vm, moved)


def require_report(directory: str, vm: VmId, moved: bool = False) -> None:
    """Raise InvalidInput where the report in a directory is that of another VM, or a file of the source has its name."""
    spared.require(*(os.path.join(directory, f"{name}{ending}") for name in REPORT_FILES for ending in ("", atomic.PARTIAL)))
    what = f"The report in {directory}"
    known = _report(os.path.join(directory, REPORT))
    if known is not None and known.identity is not None:
        require_same(known.identity, vm, what, moved)
    elif known is not None and not moved:
        origin = known.transfer.source if known.transfer is not None else ""
        made_from = [origin] if origin else [file for disk in known.disks for file in disk.files]
        beside = {os.path.dirname(place) for place in places_of(made_from)} & {os.path.dirname(place) for place in places_of(vm.source)}
        _refuse_earlier(what, () if (beside and not origin) or places_of(vm.source) <= places_of(made_from) else made_from, vm)


def require_reported(vm: Optional[VmId], named: Sequence[str], path: str) -> None:
    """Raise InvalidInput for a report of a VM that was named otherwise; what an earlier version has written does not say."""
    if vm is not None and places_of(vm.source) != places_of(named):
        raise InvalidInput(
            f"The report {path} belongs to {vm}, and not to the VM from {', '.join(named)}.",
            "Name the source as it was when it was migrated, or set migrate_name and migrate_output_dir to those of this VM.",
            path=path,
        )


def require_source(directory: str, source: Sequence[str]) -> None:
    """Raise InvalidInput where a work directory belongs to a VM that was named otherwise. The place of the VM is not asked."""
    known = recall(work_dir(directory).path).vm
    earlier = staging.noted(directory) if known is None else None
    named = known.source if known is not None else earlier.source if earlier is not None else ()
    asked = places_of(source)
    if named and places_of(named) != asked and not (known is not None and asked == {known.place}):
        raise InvalidInput(
            f"The work directory {directory} belongs to {known or 'the VM from ' + ', '.join(named)}, and not to the VM from {', '.join(source)}.",
            "Name the source as it was when it was migrated, or set migrate_name and migrate_output_dir to those of this VM.",
            work_dir=directory,
        )


def _report(path: str) -> Optional[VmSaid]:
    """What a report says of its source; None where it says nothing. Raises InvalidInput for one that does not say whose it is."""
    try:
        data = json.loads(atomic.read_text(path) or "{}")
    except (RecursionError, ValueError):
        return None
    source = data.get("source") if isinstance(data, dict) else None
    if not isinstance(source, dict) or not source:
        return None
    whose = {name: source[name] for name in ("identity", "origin", "disks") if name in source}
    try:
        return from_data(VmSaid, whose, "source")
    except InvalidInput as error:
        raise InvalidInput(
            f"The report {path} does not say of which VM it is.", "Look whose it is, then move it away.", path=path
        ) from error


def _refuse_earlier(what: str, made_from: Sequence[str], vm: VmId) -> None:
    if made_from:
        raise InvalidInput(
            f"{what} was made by an earlier version from {', '.join(made_from[:3])}, and is not known to belong to {vm}.",
            "Give this VM a name of its own (migrate_name) or another migrate_output_dir, or move away what is there."
            " If it is the same VM, set migrate_moved: true.",
            made_from=list(made_from),
            vm=to_data(vm),
        )


def _staged_from(directory: str, vm: VmId) -> Sequence[str]:
    found = staging.noted(directory)
    if found is None:
        return ()
    if found.identity is not None:
        require_same(found.identity, vm, f"The work directory {directory}")
        return ()
    return () if places_of(found.source) == places_of(vm.source) else found.source or ["an unknown source"]


def _converted_from(directory: str, name: str, work: str, vm: VmId) -> Sequence[str]:
    numbered = re.compile(re.escape(f"{name}-disk") + r"[0-9]+\.")  # and not those of a VM that is called NAME-disk1
    for path in sorted(glob.glob(beside(os.path.join(glob.escape(directory), f"{glob.escape(name)}-disk[0-9]*.*")))):
        manifest = Manifest.load(path, STAGE, WRITING, form=RECORD) if numbered.match(os.path.basename(path)) else None
        if manifest is None:
            continue
        inputs = places_of(one.path for one in manifest.inputs)
        staged = work and any(one.startswith(os.path.join(os.path.realpath(work), "")) for one in inputs)
        if not (
            places_of(vm.source) <= inputs
            or (staged and os.path.exists(os.path.join(work, staging.FETCHED)) and not _staged_from(work, vm))
        ):
            return sorted(one.path for one in manifest.inputs) or ["an unknown source"]
    return ()
