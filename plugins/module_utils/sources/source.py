# SPDX-License-Identifier: GPL-3.0-or-later
"""A source: what each kind of place that VMs come from can do, how one may be reached and treated, and what it is once it is open."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Optional, Protocol, Sequence

from ..core.concern import BLOCKER, Concern
from ..core.errors import Blocked, InvalidInput
from ..core.progress import Progress
from ..core.tls import Trust
from ..core.urls import Form
from ..core.vm import Mark, VmId, digest_of, place_of
from ..disk.fingerprint import configuration
from ..disk.machine import SourceVm
from ..transport.download import Arrived, Job
from ..transport.files import Files
from ..transport.nbdkit import Export
from ..transport.ssh import Login
from ..transport.vddk import Vddk

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


@dataclass(frozen=True)
class Folder:
    """The files of a VM as they lie at its source: what reads them, their directory, and their names."""

    files: Files
    directory: str
    names: tuple[str, ...]


class Source(Protocol):
    """A kind of place that VMs come from, found by the scheme of a URL."""

    @property
    def scheme(self) -> str:
        """What its URLs begin with."""

    @property
    def words(self) -> str:
        """How its URLs are written."""

    @property
    def form(self) -> Form:
        """What its URLs may have."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries of Python that ask it."""

    def identified(self, url: str, access: Access) -> VmId:
        """Which VM is behind a URL. Nothing is changed there, and the VM may run."""

    def opened(self, url: str, access: Access, check: bool) -> contextlib.AbstractContextManager[Remote]:
        """The VM, for the time of a block. In check mode nothing is changed there: a running VM is neither stopped nor frozen.

        Raises Blocked for concerns that nobody accepted.
        """

    def folder(self, url: str, access: Access) -> contextlib.AbstractContextManager[Folder]:
        """The files of the VM as they are, for the time of a block. Raises InvalidInput where a VM has none."""

    def clean(self, url: str, access: Access, check: bool) -> tuple[str, ...]:
        """Remove the snapshots that a migration which died has left, and no others; gives their names. In check mode nothing is removed."""

    def started(self, url: str, access: Access, check: bool) -> bool:
        """Start the VM; whether it was off. In check mode it stays off."""


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
