# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cloud must do for a migration: describe a VM, freeze its disks in snapshots, and let these be read."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Optional, Protocol, Sequence

from ..core.concern import Concern
from ..core.machine import Nic
from .download import Job
from .files import Files

PREFIX = "hyper2kvm-"  # of names of snapshots that are ours; the janitor removes no others
TAG = "hyper2kvm"  # it holds the id of the VM


@dataclass(frozen=True)
class Disk:
    """A disk: bytes, its unit on the controller of data disks (None: the system disk), and when it was last given to a VM that runs.

    `names`: what its guest may call it.
    """

    id: str
    name: str
    size: int
    unit: Optional[int] = None
    taken: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vm:
    """A VM: `power` on or off, `memory` in MiB, the system disk first. `told`: what a person should know of it beside its power.

    `uuid`: what no other VM has, not even one of the same id that was made anew; empty where the id is that.
    """

    id: str
    name: str
    power: str
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...] = ()
    cpus: Optional[int] = None
    memory: Optional[int] = None
    firmware: Optional[str] = None
    secure_boot: bool = False
    windows: bool = False
    place: str = ""
    told: tuple[Concern, ...] = ()
    uuid: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of ours: of which disk, and when it was made (ISO 8601, as `Disk.taken`)."""

    id: str
    name: str
    disk: str
    made: str


class Cloud(Protocol):
    """A VM of one cloud, by what its URL says."""

    @property
    def consistent(self) -> bool:
        """Whether the disks of a VM that runs are frozen at one moment."""

    def find(self) -> Vm:
        """Raises InvalidInput for a VM that is not there, AccessDenied without a login or its rights."""

    def stop(self, vm: Vm, timeout: float) -> None:
        """Shut the guest down. Raises TimedOut or ToolFailed."""

    def start(self, vm: Vm) -> None:
        """Start the VM."""

    def snapshots(self, vm: Vm) -> tuple[Snapshot, ...]:
        """Those that migrations of this VM have made."""

    def remove(self, vm: Vm, snapshot: Snapshot) -> None:
        """Delete a snapshot, and every right to read it."""

    def exported(self, vm: Vm, left: Sequence[Snapshot]) -> contextlib.AbstractContextManager[Sequence[tuple[Files, Job]]]:
        """For the time of a block, each disk of the VM as a file that can be read.

        Snapshots that are `left` of a run that failed are taken again while they still are what the disks are, so that what has arrived counts.
        A failure leaves the snapshots of a VM that is off, for the same reason; nobody may read them then.
        """


def usable(vm: Vm, disk: Disk, left: Sequence[Snapshot]) -> Optional[Snapshot]:
    """A snapshot that still is what the disk is: that of a VM which is off, and was since."""
    wanted = (one for one in left if one.disk.lower() == disk.id.lower() and one.made > disk.taken > "")
    return next(wanted, None) if vm.power == "off" else None


def new_name(vm: Vm, disk: Disk) -> str:
    """A name for a snapshot of ours."""
    return f"{PREFIX}{vm.name[:40]}-{'system' if disk.unit is None else disk.unit}-{time.strftime('%Y%m%d%H%M%S')}"
