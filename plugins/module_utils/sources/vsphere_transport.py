# SPDX-License-Identifier: GPL-3.0-or-later
"""A transport of vSphere: how the disks of a VM come here, what it can do as data, and what all of them have in common."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Callable, Optional, Sequence

from ..core.concern import Concern
from ..core.errors import InvalidInput, MigrationError
from ..core.machine import Disk
from ..core.progress import Progress
from ..core.vm import uuid_of
from ..disk import around, chain
from ..disk.machine import Chain, Place, SourceDisk, SourceVm
from ..transport.download import Arrived
from ..transport.files import Areas
from ..vsphere.model import Vm, VmDisk
from ..vsphere.snapshots import Point
from .opened import InPlace, Remote, RemoteDisk
from .source import Access

TRACKED, ANY = "tracked", "any"


@dataclass(frozen=True)
class Wanted:
    """The disks of a VM that are to come, in their order, as they are at a `point`. `stack` closes what a transport keeps open."""

    point: Point
    disks: tuple[VmDisk, ...]
    access: Access
    concerns: tuple[Concern, ...]
    stack: contextlib.ExitStack

    def allocated(self, disk: VmDisk) -> Optional[Areas]:
        """Where a disk holds data, as changed block tracking knows it; None where it does not know, or is not asked."""
        if not self.access.allocated_only or not self.point.tracks(disk):
            return None
        try:
            return self.point.areas(disk)
        except MigrationError:  # tracking that is on without having taken effect; the whole disk is read then
            return None

    def whole(self) -> tuple[RemoteDisk, ...]:
        """The disks for a transport that knows no file of them: they come as a whole."""
        return tuple(RemoteDisk(disk.capacity, (), disk.place) for disk in self.disks)

    def apart(self, directory: str, name: str) -> SourceVm:
        """The VM of disks that arrived each in a directory of its own below `directory`, as `name`."""
        return self.arrived([chain.resolve(os.path.join(directory, f"disk{number}", name)) for number in range(len(self.disks))])

    def arrived(self, here: Sequence[Chain]) -> SourceVm:
        """The VM with the disks that arrived. Raises InvalidInput unless each is as large as vSphere says."""
        for disk, arrived in zip(self.disks, here):
            if arrived.virtual_size != disk.capacity:
                raise InvalidInput(
                    f"{disk.label} has {disk.capacity} bytes, what arrived for it {arrived.virtual_size}.",
                    "The disks came in another order; use another transport.",
                )
        disks = tuple(SourceDisk(arrived, disk.place) for disk, arrived in zip(self.disks, here))
        return around.whole(replace(described(self.point.vm, self.concerns), disks=disks))


@dataclass(frozen=True)
class Coming:
    """How the disks come: what is known of them, what brings them into a directory, and the VM as it is there then.

    `in_place` reads them where they are, if they can be read there.
    """

    disks: tuple[RemoteDisk, ...]
    bring: Callable[[str, Progress], tuple[Arrived, ...]]
    local: Callable[[str], SourceVm]
    in_place: Optional[InPlace] = None


@dataclass(frozen=True)
class Transport:
    """What a transport can do, and `coming`, which does it. Users choose it by its `name`.

    `resumes`: what has arrived counts in the next run. `parts`: a part of a disk is read when it is asked for, so that disks may stay where they are.
    `allocated`: whether space that is not used is left out, on ANY datastore or only where changed block tracking knows it (TRACKED); empty: it is read.
    `digests`: the other side says what it sent. `needs_off`: the VM must be off. `shut_out`: of a VM that runs, and is not frozen, it sees nothing.
    `automatic`: its turn where nobody has chosen one, from 1; where it raises InvalidInput, the next has its turn. 0: only who names it gets it.
    """

    name: str
    coming: Callable[[Wanted], Coming]
    resumes: bool
    parts: bool
    allocated: str = ""
    digests: bool = False
    needs_off: bool = False
    shut_out: bool = False
    automatic: int = 0

    def opened(self, wanted: Wanted) -> Remote:
        """The VM whose disks come by this transport."""
        how = self.coming(wanted)
        in_place = how.in_place if self.parts else None
        return Remote(described(wanted.point.vm, wanted.concerns), how.disks, self.name, wanted.concerns, how.bring, how.local, in_place)


def described(vm: Vm, concerns: tuple[Concern, ...] = ()) -> SourceVm:
    """A VM of vSphere without its disks; with what is known of it that does not come along, which the report of its migration tells."""
    return SourceVm(
        name=vm.name,
        kind="vsphere",
        disks=(),
        nics=tuple(nic.nic for nic in vm.nics),
        cpus=vm.cpus,
        cores_per_socket=vm.cores_per_socket,
        memory=vm.memory,
        firmware=vm.firmware,
        secure_boot=vm.secure_boot,
        guest_os=vm.guest_id or None,
        uuid=uuid_of(vm.instance_uuid) or uuid_of(vm.uuid),
        starts=_starts(vm),
        concerns=concerns,
    )


def _starts(vm: Vm) -> Optional[Place]:
    disks = {disk.key: disk.place for disk in vm.disks}
    first = next((disks[key] for key in vm.boot_order if key in disks), Disk())
    if first.bus is None or first.controller is None or first.unit is None:
        return None
    return first.bus, first.controller, first.unit
