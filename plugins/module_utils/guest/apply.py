# SPDX-License-Identifier: GPL-3.0-or-later
"""The only writer: carries out a plan, keeps what was there, and can take it all back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Union

from ..core import files
from ..core.errors import InvalidInput, StalePlan, ToolFailed
from .changes import Change, CopyFile, EditHive, ExtendInitramfs, MakeLink, PatchDevice, Plan, RemoveFile, RunCommand, UploadFile, WriteFile
from .model import Stat
from .protocol import WritableGuest, exists

BACKUPS = "/var/lib/hyper2kvm"

# Builds the archive of an ExtendInitramfs or the new content of a hive; given by the layers that know these formats.
Builder = Callable[[WritableGuest, Union[ExtendInitramfs, EditHive]], bytes]


@dataclass(frozen=True)
class Outcome:
    """What was done: the plan's id, its backup directory in the guest, and what its commands printed."""

    id: str
    backup: str
    output: tuple[str, ...] = ()


def stale(guest: WritableGuest, changes: Sequence[Change]) -> list[str]:
    """Paths whose present state is not what the plan saw."""
    return [change.path for change in changes if not _holds(guest, change)]


def apply(guest: WritableGuest, plan: Plan, build: Builder, backups: str = "") -> Outcome:
    """Carry out `plan`, whole or not at all as far as its preconditions go; what it replaces is kept below the directory `backups`.

    Raises StalePlan, before anything is written, when the guest is no longer what the plan saw, and InvalidInput for a saved plan
    whose secrets were not stored.
    """
    sealed = plan.withheld()
    if sealed:
        raise InvalidInput(
            f"This plan does not hold what is secret in {sealed[0]}.",
            "Name the file that guest_plan or guest_fix wrote on the conversion host (plan_file).",
            path=sealed[0],
        )
    changed = stale(guest, plan.changes)
    if changed:
        raise StalePlan(
            f"The guest has changed since the plan was made: {', '.join(changed[:5])}.", "Make a new plan and review it.", paths=changed
        )
    backup = f"{backups or BACKUPS}/{plan.id}"
    output: list[str] = []
    if plan.changes:
        guest.mkdir(backup, 0o700)
        guest.write(f"{backup}/plan.json", json.dumps(plan.kept().as_data(), indent=1).encode("ascii"), Stat("file", mode=0o600))
    for change in plan.changes:
        output += _carry_out(guest, change, backup, build)
    return Outcome(plan.id, backup, tuple(output))


def undo(guest: WritableGuest, plan: Plan, backups: str = "") -> None:
    """Take an applied plan back, from its own data and its backup, and remove the backup; what it had not come to yet stays.

    Raises StalePlan when a file was changed by somebody else after the plan.
    """
    backup = f"{backups or BACKUPS}/{plan.id}"
    touched = {path for change in plan.changes if isinstance(change, RunCommand) for path in change.touches}
    written = [change for change in plan.changes if isinstance(change, WriteFile) and change.path not in touched]
    foreign = [change.path for change in written if not _ours(guest, change)]
    foreign += [change.path for change in plan.changes if isinstance(change, EditHive) and not _written(guest, change, backup)]
    if foreign:
        raise StalePlan(
            f"These files were changed after the plan was applied: {', '.join(foreign[:5])}.",
            "Restore them by hand from the backup.",
            paths=foreign,
        )
    for change in reversed(plan.changes):
        _take_back(guest, change, backup)
    guest.remove(backup)


def _ours(guest: WritableGuest, change: WriteFile) -> bool:
    data = guest.read(change.path)
    return change.fits(data) or change.began(data)


def _written(guest: WritableGuest, change: EditHive, backup: str) -> bool:
    """Whether a hive is still as it was written, or as it was before."""
    note, data = guest.read(f"{backup}{change.path}.sha256"), guest.read(change.path) or b""
    return _sha256(data) in (change.sha256, (note or b"").decode("ascii", "replace"))


def _take_back(guest: WritableGuest, change: Change, backup: str) -> None:
    if isinstance(change, WriteFile):
        if change.before is None:
            guest.remove(change.path)
        elif change.fits(guest.read(change.path)):
            kept = guest.read(backup + change.path) if change.sealed else _bytes(change.before)
            if kept is not None:
                guest.write(change.path, kept, None)
    elif isinstance(change, EditHive) or (isinstance(change, (CopyFile, UploadFile)) and change.replaces):
        kept = guest.read(backup + change.path)
        if kept is not None:
            guest.write(change.path, kept, None)
    elif isinstance(change, (CopyFile, MakeLink, UploadFile)):
        guest.remove(change.path)
    elif isinstance(change, PatchDevice):
        if _device_bytes(guest, change) == bytes.fromhex(change.after):
            guest.write_device(change.path, change.offset, bytes.fromhex(change.before))
    elif isinstance(change, ExtendInitramfs):
        guest.truncate(change.path, change.size)
    elif isinstance(change, RemoveFile):
        if exists(guest, backup + change.path):
            guest.rename(backup + change.path, change.path)
    else:
        if change.revert:
            guest.run(change.revert)
        for path in change.touches:
            if exists(guest, backup + path):
                guest.rename(backup + path, path)


def _carry_out(guest: WritableGuest, change: Change, backup: str, build: Builder) -> list[str]:
    parent = change.path.rsplit("/", 1)[0] or "/"
    if isinstance(change, WriteFile):
        if change.before is not None:
            _keep(guest, change.path, backup)
        else:
            guest.mkdir(parent)
        new = Stat("file", mode=change.mode, uid=change.owner[0], gid=change.owner[1])
        guest.write(change.path, _bytes(change.after), None if change.before is not None else new)
    elif isinstance(change, RemoveFile):
        guest.mkdir((backup + change.path).rsplit("/", 1)[0])
        guest.rename(change.path, backup + change.path)
    elif isinstance(change, CopyFile):
        if change.replaces:
            _keep(guest, change.path, backup)
        else:
            guest.mkdir(parent)
        guest.copy(change.source, change.path)
    elif isinstance(change, EditHive):
        data = build(guest, change)
        for path in (change.path, *(log for log, dummy in change.logs)):
            _keep(guest, path, backup)
        guest.write(f"{backup}{change.path}.sha256", _sha256(data).encode("ascii"), Stat("file", mode=0o600))
        guest.write(change.path, data, None)
        if guest.read(change.path) != data:
            raise ToolFailed(f"{change.path} cannot be read back as it was written.", "The file system of the guest may be damaged.")
    elif isinstance(change, MakeLink):
        guest.mkdir(parent)
        guest.symlink(change.target, change.path)
    elif isinstance(change, UploadFile):
        if change.replaces:
            _keep(guest, change.path, backup)
        else:
            guest.mkdir(parent)
        guest.write(change.path, _host_file(change) or b"", Stat("file", mode=change.mode))
    elif isinstance(change, PatchDevice):
        guest.write_device(change.path, change.offset, bytes.fromhex(change.after))
    elif isinstance(change, ExtendInitramfs):
        guest.append(change.path, build(guest, change))
    elif isinstance(change, RunCommand):
        for path in change.touches:
            if exists(guest, path):
                _keep(guest, path, backup)
        try:
            return [guest.run(change.argv)]
        except ToolFailed as error:
            if change.must:
                raise
            return [f"{error.msg} {error.hint}"]
    return []


def _host_file(change: UploadFile) -> Optional[bytes]:
    """The bytes that the plan saw; None when they are others now."""
    try:
        data = files.read(change.source, change.size)
    except InvalidInput:
        return None
    return data if len(data) == change.size and _sha256(data) == change.sha256 else None


def _keep(guest: WritableGuest, path: str, backup: str) -> None:
    guest.mkdir((backup + path).rsplit("/", 1)[0])
    guest.copy(path, backup + path)


def _holds(guest: WritableGuest, change: Change) -> bool:
    if isinstance(change, WriteFile):
        return change.began(guest.read(change.path))
    if isinstance(change, RemoveFile):
        stat: Optional[Stat] = guest.stat(change.path)
        return stat is not None and stat.kind == change.kind and (stat.kind == "dir" or stat.size == change.size)
    if isinstance(change, CopyFile):
        return exists(guest, change.source) and _replaceable(guest, change)
    if isinstance(change, EditHive):
        return all(_sha256(guest.read(path) or b"") == digest for path, digest in ((change.path, change.sha256), *change.logs))
    if isinstance(change, PatchDevice):
        return _device_bytes(guest, change) == bytes.fromhex(change.before)
    if isinstance(change, MakeLink):
        return not exists(guest, change.path)
    if isinstance(change, UploadFile):
        return _host_file(change) is not None and _replaceable(guest, change)
    if isinstance(change, ExtendInitramfs):
        data = guest.read(change.path)
        same = data is not None and len(data) == change.size and _sha256(data) == change.sha256
        return same and all(exists(guest, entry.partition(" -> ")[0]) for entry in (*change.modules, *change.indexes))
    return exists(guest, change.argv[0])


def _device_bytes(guest: WritableGuest, change: PatchDevice) -> bytes:
    return guest.read_device(change.path, change.offset, len(change.before) // 2)


def _replaceable(guest: WritableGuest, change: Union[CopyFile, UploadFile]) -> bool:
    if not change.replaces:
        return not exists(guest, change.path)
    return _sha256(guest.read(change.path) or b"") == change.replaces


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
