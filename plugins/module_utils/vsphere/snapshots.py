# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots that freeze a running VM for a copy, and that are gone again afterwards whatever happens; changed block tracking; power."""

from __future__ import annotations

import contextlib
import functools
import time
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

from ..core.errors import InvalidInput, ToolFailed
from .connection import PYVMOMI_ERROR, Session
from .hardware import with_disks_of
from .inventory import describe, managed
from .model import Vm, VmDisk
from .serialize import plain

if PYVMOMI_ERROR is None:
    from pyVmomi import vim

PREFIX = "hyper2kvm-"  # of snapshots that are ours; the janitor removes no others
_STUN = f"{PREFIX}stun"


def new_name() -> str:
    """A name for a snapshot of ours."""
    return f"{PREFIX}{time.strftime('%Y%m%d-%H%M%S')}"


def create(session: Session, vm: Vm, name: str, quiesce: bool = False, memory: bool = False, description: str = "") -> str:
    """Take a snapshot and give its id."""
    entity = managed(session, vm.id)
    task = session.call(lambda: entity.CreateSnapshot_Task(name, description, memory, quiesce))
    return str(session.wait(task)._moId)


def remove(session: Session, vm: Vm, snapshot: str, children: bool = False, timeout: float = 86400.0) -> None:
    """Delete a snapshot and wait until its disks are consolidated: the next one must not begin before."""
    session.wait(session.call(lambda: _snapshot(session, vm, snapshot).RemoveSnapshot_Task(children)), timeout, every=1.0)


def revert(session: Session, vm: Vm, snapshot: str) -> None:
    """Put the VM back to a snapshot."""
    session.wait(session.call(lambda: _snapshot(session, vm, snapshot).RevertToSnapshot_Task()))


def devices(session: Session, vm: Vm, snapshot: str) -> Sequence[dict[str, Any]]:
    """The devices of a snapshot's own configuration, as plain data: its disks are the frozen ones, with their changeIds."""
    entity = _snapshot(session, vm, snapshot)
    found: Sequence[dict[str, Any]] = plain(session.call(lambda: entity.config.hardware.device))
    return found


@dataclass(frozen=True)
class Point:
    """A VM at one moment: as a snapshot has frozen its disks, or, where the id of that is empty, as it is now.

    `vm` has the disks of that moment, with their changeIds.
    """

    session: Session
    vm: Vm
    snapshot: str = ""

    def tracks(self, disk: VmDisk) -> bool:
        """Whether changed block tracking can be asked of a disk. Without a snapshot only that of a VM which is off can."""
        return bool(disk.change_id) if self.snapshot else self.vm.cbt and self.vm.power == "off"

    def areas(self, disk: VmDisk, since: str = "*") -> tuple[tuple[int, int], ...]:
        """(offset, length) in bytes of what has changed on a disk since a changeId, or, with "*", of what is allocated.

        Answers come in pages, and a page may be empty: the end is reached when the offset is, never before. Neighbours are joined.
        """
        session, vm = self.session, self.vm
        entity, frozen_at = managed(session, vm.id), _snapshot(session, vm, self.snapshot) if self.snapshot else None
        areas: list[tuple[int, int]] = []
        offset = 0
        while offset < disk.capacity:
            page = session.call(functools.partial(entity.QueryChangedDiskAreas, frozen_at, disk.key, offset, since))
            for area in page.changedArea or ():
                if areas and areas[-1][0] + areas[-1][1] == area.start:
                    areas[-1] = (areas[-1][0], areas[-1][1] + area.length)
                else:
                    areas.append((area.start, area.length))
            following = page.startOffset + page.length
            if following <= offset:
                raise ToolFailed(
                    f"{session.endpoint.host} makes no progress with the changed areas of {vm.name}.", "Reset change tracking on this VM."
                )
            offset = following
        return tuple(areas)


def at(session: Session, vm: Vm, snapshot: str) -> Point:
    """The VM as a snapshot has frozen it."""
    return Point(session, with_disks_of(vm, devices(session, vm, snapshot)), snapshot)


@contextlib.contextmanager
def frozen(session: Session, vm: Vm, quiesce: bool = False) -> Iterator[Point]:
    """The VM frozen by a snapshot, for the time of a block."""
    snapshot = create(
        session,
        vm,
        new_name(),
        quiesce,
        description="Taken for a migration; it is removed when the copy is done.",
    )
    try:
        yield at(session, vm, snapshot)
    finally:
        remove(session, vm, snapshot)


def leftovers(vm: Vm) -> dict[str, str]:
    """Names of snapshots that a dead run of ours left, by their ids."""
    return {snapshot.id: snapshot.name for snapshot in vm.snapshots if snapshot.name.startswith(PREFIX)}


def find(vm: Vm, name: str) -> Optional[str]:
    """The id of the snapshot of this name, path or id; None when there is none.

    Raises InvalidInput when several have the name.
    """
    matches = [snapshot.id for snapshot in vm.snapshots if name in (snapshot.id, snapshot.path, snapshot.name)]
    if len(matches) > 1:
        raise InvalidInput(
            f"{vm.name} has {len(matches)} snapshots {name}.", "Name one by its path in the tree, or by its id.", snapshot=name
        )
    return matches[0] if matches else None


def enable_tracking(session: Session, vm: Vm) -> None:
    """Turn changed block tracking on, with the stun that makes it take effect, and check that every disk has it.

    Raises InvalidInput where it is not supported or snapshots exist: since vSphere 6.5 queries would be silently wrong.
    """
    if not vm.cbt_supported or 0 < vm.hardware_version < 7:
        raise InvalidInput(f"{vm.name} does not support changed block tracking.", "It needs hardware version 7 or later.", vm=vm.path)
    if vm.snapshots:
        raise InvalidInput(
            f"{vm.name} has snapshots, and changed block tracking must not be enabled while it has.", "Delete them first.", vm=vm.path
        )
    entity = managed(session, vm.id)
    if not vm.cbt:
        session.wait(session.call(lambda: entity.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True))))
    snapshot = create(session, vm, _STUN)
    try:
        silent = [
            disk["key"] for disk in devices(session, vm, snapshot) if disk["_type"] == "VirtualDisk" and not disk["backing"].get("changeId")
        ]
    finally:
        remove(session, vm, snapshot)
    tracked = {disk.key for disk in vm.disks if not disk.mode.startswith("independent") and disk.rdm != "physical"}
    if tracked & set(silent):
        raise ToolFailed(
            f"Changed block tracking is on, but {len(tracked & set(silent))} disks of {vm.name} have no changeId.",
            "Shut the VM down once (or move it to another host), then check again.",
            vm=vm.path,
        )


def shut_down(session: Session, vm: Vm, timeout: float = 600.0, hard: bool = False) -> None:
    """Ask the guest to shut down and wait until the VM is off; by choice switch it off when it does not.

    Raises ToolFailed when it is still on after `timeout` seconds.
    """
    entity = managed(session, vm.id)
    if vm.power == "off":
        return
    if vm.tools == "running":
        session.call(entity.ShutdownGuest)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if session.call(lambda: entity.runtime.powerState) == "poweredOff":
                return
            time.sleep(2.0)
    if not hard:
        why = "did not shut down in time" if vm.tools == "running" else "has no running VMware Tools, so it cannot be asked to shut down"
        raise ToolFailed(f"{vm.name} {why}.", "Shut it down by hand, or allow a hard power-off.", vm=vm.path)
    session.wait(session.call(entity.PowerOffVM_Task))


def power_on(session: Session, vm: Vm) -> None:
    """Start the VM."""
    session.wait(session.call(lambda: managed(session, vm.id).PowerOnVM_Task()))


def again(session: Session, vm: Vm) -> Vm:
    """The VM as it is now."""
    return describe(session, managed(session, vm.id))


def _snapshot(session: Session, vm: Vm, snapshot: str) -> Any:
    return vim.vm.Snapshot(snapshot, managed(session, vm.id)._stub)
