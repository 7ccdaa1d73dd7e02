# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that is elsewhere: how it may be reached and treated, and what it is once it is open."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Optional, Sequence

from ..core.errors import Blocked, InvalidInput
from ..core.progress import Progress
from ..core.tls import Trust
from ..core.vm import Mark, VmId, digest_of, place_of, uuid_of
from ..disk.fingerprint import configuration
from ..disk.machine import Nic, SourceVm
from ..guest.model import BLOCKER, Concern
from ..transport.download import Arrived, Job
from ..transport.nbdkit import Export
from ..transport.ssh import Login
from ..transport.vddk import Vddk
from ..vsphere.model import Vm

TRANSPORTS = ("auto", "datastore", "nfc", "ssh", "vddk", "govc", "ovftool")
RUNNING = ("refuse", "snapshot", "shutdown")


@dataclass(frozen=True)
class Access:
    """How a source is reached, and how it may be treated. `bandwidth` in bytes a second over all workers, 0 for no limit.

    `host_slots`: how many VMs of one ESXi host are read at once from here; its buffers for such reads are few.
    `allocated_only`: what changed block tracking calls unused is not read. `stopping` is called before a running VM is shut down.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    trust: Trust = Trust()
    proxy: Optional[tuple[str, int]] = None
    ssh: Login = Login("")
    vddk: Vddk = Vddk()
    transport: str = "auto"
    running: str = "refuse"
    quiesce: bool = False
    shutdown_timeout: float = 600.0
    power_off: bool = False
    bandwidth: int = 0
    workers: int = 2
    host_slots: int = 8
    allocated_only: bool = True
    accept: tuple[str, ...] = ()
    stopping: Callable[[], None] = field(default=lambda: None, repr=False)


# The disks as exports, each on the socket that is given for it (empty: a place of its own); cached, or for one pass.
InPlace = Callable[[Sequence[str], bool], contextlib.AbstractContextManager[list[Export]]]


@dataclass(frozen=True)
class RemoteDisk:
    """A disk at the source: its place in the VM, what the guest sees of it (bytes), and the files that hold it, the top one first.

    `flat`: one of them is the disk, byte for byte. `names`: see guest.resolver.Disk.
    """

    size: int
    jobs: tuple[Job, ...] = ()
    bus: Optional[str] = None
    controller: Optional[int] = None
    unit: Optional[int] = None
    flat: bool = False
    wwn: Optional[str] = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remote:
    """A source that is open: the VM without its disks, the disks, why and how they are read, and what brings them into a directory.

    `which` VM it is.
    """

    vm: SourceVm
    disks: tuple[RemoteDisk, ...]
    transport: str
    concerns: tuple[Concern, ...]
    bring: Callable[[str, Progress], tuple[Arrived, ...]]
    local: Callable[[str], SourceVm]
    in_place: Optional[InPlace] = None
    which: VmId = VmId("", "")

    def as_result(self) -> dict[str, Any]:
        """For check mode: what would be fetched."""
        data = self.vm.as_result()
        data["disks"] = [
            {
                "files": [job.path for job in disk.jobs],
                "virtual_size": disk.size,
                "bytes": sum(job.wanted for job in disk.jobs) if disk.jobs else None,
                "bus": disk.bus,
                "controller": disk.controller,
                "unit": disk.unit,
                "wwn": disk.wwn,
                "names": list(disk.names),
            }
            for disk in self.disks
        ]
        return {**data, "transport": self.transport}


def described(vm: Vm) -> SourceVm:
    """A VM of vSphere without its disks."""
    return SourceVm(
        name=vm.name,
        kind="vsphere",
        disks=(),
        nics=tuple(Nic(nic.mac or None, nic.network, nic.model, nic.slot) for nic in vm.nics),
        cpus=vm.cpus,
        cores_per_socket=vm.cores_per_socket,
        memory=vm.memory,
        firmware=vm.firmware,
        secure_boot=vm.secure_boot,
        guest_os=vm.guest_id or None,
        uuid=uuid_of(vm.instance_uuid) or uuid_of(vm.uuid),
    )


def which(vm: SourceVm, place: str, url: str, sizes: Iterable[Sequence[Any]], disks: tuple[Mark, ...] = ()) -> VmId:
    """Which VM one elsewhere is. `sizes`: of each disk its bytes and its place in the VM."""
    return VmId(vm.uuid, place, (place_of(url),), vm.name, digest_of([configuration(vm, sizes), [mark.head for mark in disks]]), disks)


def unless_treated(concerns: Iterable[Concern], access: Access) -> tuple[Concern, ...]:
    """The concerns without the one about a running VM where `access` says what happens to it."""
    return tuple(concern for concern in concerns if access.running == "refuse" or not concern.code.endswith(".running"))


def independent(disks: Sequence[str], vm: str) -> None:
    """Raise InvalidInput for disks that a snapshot would leave out."""
    if disks:
        raise InvalidInput(
            f"{', '.join(disks)} of {vm} would not be frozen by a snapshot: independent disks are left out.",
            "Shut the VM down, or make its disks dependent.",
            vm=vm,
        )


def refuse(concerns: Sequence[Concern], accept: Sequence[str], what: str) -> None:
    """Raise Blocked for blockers that were not accepted."""
    blockers = [concern for concern in concerns if concern.severity == BLOCKER and concern.code not in accept]
    if blockers:
        raise Blocked(
            f"{what} is not migrated: " + " ".join(f"{concern.cause} ({concern.code})" for concern in blockers),
            " ".join(concern.remedy for concern in blockers) + " Or accept by code (migrate_accept).",
            concerns=[concern.code for concern in blockers],
        )
