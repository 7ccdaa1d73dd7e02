# SPDX-License-Identifier: GPL-3.0-or-later
"""The only writer: carries out a plan, keeps what was there, and can take it all back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

from ..core.errors import StalePlan
from .changes import Change, CopyFile, ExtendInitramfs, Plan, RemoveFile, RunCommand, WriteFile
from .model import Stat
from .protocol import WritableGuest, exists

BACKUPS = "/var/lib/hyper2kvm"

# Builds the archive of an ExtendInitramfs; given by the layer that knows initramfs formats.
Builder = Callable[[WritableGuest, ExtendInitramfs], bytes]


@dataclass(frozen=True)
class Outcome:
    """What was done: the plan's id, its backup directory in the guest, and what its commands printed."""

    id: str
    backup: str
    output: tuple[str, ...] = ()


def stale(guest: WritableGuest, changes: Sequence[Change]) -> list[str]:
    """Paths whose present state is not what the plan saw."""
    return [change.path for change in changes if not _holds(guest, change)]


def apply(guest: WritableGuest, plan: Plan, build: Builder) -> Outcome:
    """Carry out `plan`, whole or not at all as far as its preconditions go.

    Raises StalePlan, before anything is written, when the guest is no longer what the plan saw.
    """
    changed = stale(guest, plan.changes)
    if changed:
        raise StalePlan(
            f"The guest has changed since the plan was made: {', '.join(changed[:5])}.", "Make a new plan and review it.", paths=changed
        )
    backup = f"{BACKUPS}/{plan.id}"
    output: list[str] = []
    if plan.changes:
        guest.mkdir(backup)
        guest.write(f"{backup}/plan.json", json.dumps(plan.as_data(), indent=1).encode("ascii"), Stat("file", mode=0o600))
    for change in plan.changes:
        output += _carry_out(guest, change, backup, build)
    return Outcome(plan.id, backup, tuple(output))


def undo(guest: WritableGuest, plan: Plan) -> None:
    """Take an applied plan back, from its own data and its backup, and remove the backup.

    Raises StalePlan when a file was changed by somebody else after the plan.
    """
    backup = f"{BACKUPS}/{plan.id}"
    foreign = [change.path for change in plan.changes if isinstance(change, WriteFile) and guest.read(change.path) != _bytes(change.after)]
    if foreign:
        raise StalePlan(
            f"These files were changed after the plan was applied: {', '.join(foreign[:5])}.",
            "Restore them by hand from the backup.",
            paths=foreign,
        )
    for change in reversed(plan.changes):
        if isinstance(change, WriteFile):
            if change.before is None:
                guest.remove(change.path)
            else:
                guest.write(change.path, _bytes(change.before), None)
        elif isinstance(change, CopyFile):
            guest.remove(change.path)
        elif isinstance(change, ExtendInitramfs):
            guest.truncate(change.path, change.size)
        elif isinstance(change, RemoveFile):
            guest.rename(backup + change.path, change.path)
        else:
            for path in change.touches:
                if exists(guest, backup + path):
                    guest.rename(backup + path, path)
    guest.remove(backup)


def _carry_out(guest: WritableGuest, change: Change, backup: str, build: Builder) -> list[str]:
    parent = change.path.rsplit("/", 1)[0] or "/"
    if isinstance(change, WriteFile):
        if change.before is not None:
            _keep(guest, change.path, backup)
        else:
            guest.mkdir(parent)
        guest.write(change.path, _bytes(change.after), None if change.before is not None else Stat("file", mode=change.mode))
    elif isinstance(change, RemoveFile):
        guest.mkdir((backup + change.path).rsplit("/", 1)[0])
        guest.rename(change.path, backup + change.path)
    elif isinstance(change, CopyFile):
        guest.mkdir(parent)
        guest.copy(change.source, change.path)
    elif isinstance(change, ExtendInitramfs):
        guest.append(change.path, build(guest, change))
    elif isinstance(change, RunCommand):
        for path in change.touches:
            if exists(guest, path):
                _keep(guest, path, backup)
        return [guest.run(change.argv)]
    return []


def _keep(guest: WritableGuest, path: str, backup: str) -> None:
    guest.mkdir((backup + path).rsplit("/", 1)[0])
    guest.copy(path, backup + path)


def _holds(guest: WritableGuest, change: Change) -> bool:
    if isinstance(change, WriteFile):
        return guest.read(change.path) == (None if change.before is None else _bytes(change.before))
    if isinstance(change, RemoveFile):
        stat: Optional[Stat] = guest.stat(change.path)
        return stat is not None and stat.kind == change.kind and (stat.kind == "dir" or stat.size == change.size)
    if isinstance(change, CopyFile):
        return exists(guest, change.source) and not exists(guest, change.path)
    if isinstance(change, ExtendInitramfs):
        data = guest.read(change.path)
        same = data is not None and len(data) == change.size and hashlib.sha256(data).hexdigest() == change.sha256
        return same and all(exists(guest, entry.partition(" -> ")[0]) for entry in (*change.modules, *change.indexes))
    return exists(guest, change.argv[0])


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
