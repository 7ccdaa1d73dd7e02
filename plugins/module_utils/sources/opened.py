# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that is open: what FETCH, the stages that only look, and CONVERT ask of it, wherever its disks are."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from typing import Callable, Iterator, Optional, Protocol, Sequence

from ..core import held, made, modes
from ..core.concern import Concern
from ..core.errors import NotInPlace
from ..core.machine import Disk
from ..core.manifest import Identity
from ..core.progress import Progress
from ..core.trace import point
from ..core.vm import VmId
from ..disk import qemu_img
from ..disk.machine import DiskSaid, SourceVm, Stamp, VmSaid
from ..disk.staging import StagedDisk
from ..transport.download import Arrived, Job
from ..transport.nbdkit import Export

# The disks as exports, each on the socket that is given for it (empty: a place of its own); cached, or for one pass.
InPlace = Callable[[Sequence[str], bool], contextlib.AbstractContextManager[list[Export]]]

# The VM's description, throw-away overlays over its disks, and a list that gets the bytes that were read of each, where they come from elsewhere.
LookedAt = tuple[VmSaid, tuple[StagedDisk, ...], list[int]]


@dataclass(frozen=True)
class DiskSize:
    """A disk before it is here: what the guest sees, and how much of it holds data at most, in bytes.

    Of one that is here also the `vm` that it is of, and its `files` as they are now.
    """

    virtual_size: int
    data: int
    files: tuple[Identity, ...] = ()
    vm: str = ""


@dataclass(frozen=True)
class Here:
    """A VM whose files are on this host, held open: `which` it is, what of it the user has named, and what was brought for it, if anything was."""

    vm: SourceVm
    which: VmId
    paths: tuple[str, ...] = ()
    arrived: Optional[tuple[Arrived, ...]] = None


class Opened(Protocol):
    """A source for as long as it is open."""

    @property
    def which(self) -> VmId:
        """Which VM it is."""

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """What is worth a warning, or to be known."""

    @property
    def transport(self) -> str:
        """How its disks come."""

    def said(self) -> VmSaid:
        """The VM as it is described, of disks that are not staged."""

    def sizes(self) -> tuple[DiskSize, ...]:
        """Its disks in their order; empty where nothing is known before they are here."""

    def missing(self) -> int:
        """Bytes that are brought at most."""

    def require_idle(self, accept: Sequence[str]) -> None:
        """Raise Blocked or Busy where somebody uses the VM, unless that is accepted by code."""

    def here(self, directory: str, progress: Progress) -> contextlib.AbstractContextManager[Here]:
        """The VM with its files on this host for the time of a block; what has to be brought is brought below `directory`."""

    def looked_at(self) -> contextlib.AbstractContextManager[LookedAt]:
        """Overlays for the time of a block. Raises NotInPlace for disks that must be brought first."""

    def exports(self) -> InPlace:
        """What reads the disks where they are. Raises NotInPlace where nothing does."""

    def stamps(self) -> tuple[Stamp, ...]:
        """What tells whether the disks are still the same."""


@dataclass(frozen=True)
class RemoteDisk:
    """A disk at the source: its place in the VM, what the guest sees of it (bytes), and the files that hold it, the top one first.

    `flat`: one of them is the disk, byte for byte.
    """

    size: int
    jobs: tuple[Job, ...] = ()
    place: Disk = Disk()
    flat: bool = False

    @property
    def data(self) -> int:
        """Bytes that hold data at most."""
        return sum(job.wanted for job in self.jobs)


@dataclass(frozen=True)
class Remote:
    """A source elsewhere, see Opened: the VM without its disks, the disks, why and how they are read, and what brings them into a directory.

    `local` is the VM as it is there once they have come. `in_place` reads them where they are, if they can be read there.
    """

    vm: SourceVm
    disks: tuple[RemoteDisk, ...]
    transport: str
    concerns: tuple[Concern, ...]
    bring: Callable[[str, Progress], tuple[Arrived, ...]]
    local: Callable[[str], SourceVm]
    in_place: Optional[InPlace] = None
    which: VmId = VmId("", "")

    def said(self) -> VmSaid:
        disks = tuple(
            DiskSaid(disk.place, disk.size, tuple(job.path for job in disk.jobs), data=disk.data if disk.jobs else None)
            for disk in self.disks
        )
        return replace(self.vm.said(), disks=disks, transport=self.transport)

    def sizes(self) -> tuple[DiskSize, ...]:
        return tuple(DiskSize(disk.size, disk.data or disk.size) for disk in self.disks)

    def missing(self) -> int:
        return sum(disk.data for disk in self.disks)

    def require_idle(self, accept: Sequence[str]) -> None:
        """It was not opened otherwise."""

    @contextlib.contextmanager
    def here(self, directory: str, progress: Progress) -> Iterator[Here]:
        modes.make_directory(directory)
        with made.filling(directory):
            arrived = self.bring(directory, progress)
        point("fetch.arrived")
        with held.sources():
            yield Here(self.local(directory), self.which, (), arrived)

    @contextlib.contextmanager
    def looked_at(self) -> Iterator[LookedAt]:
        moved: list[int] = []
        with tempfile.TemporaryDirectory(prefix="hyper2kvm-") as directory, self.exports()([""] * len(self.disks), True) as exports:
            disks = []
            for number, (disk, export) in enumerate(zip(self.disks, exports)):
                overlay = os.path.join(directory, f"disk{number}-overlay.qcow2")
                qemu_img.create_overlay(overlay, export.uri, "raw", disk.size)
                disks.append(StagedDisk(export.uri, overlay, disk.size))
            yield self.said(), tuple(disks), moved
        moved += [export.moved for export in exports]

    def exports(self) -> InPlace:
        if self.in_place is None:
            raise NotInPlace(
                "This source cannot be read where it is: its disks are chains of snapshots, or come by a lease or from a cloud, or the VM is running.",
                "Fetch it first (migrate_fetch: stage, in a real run), or shut the VM down if it runs.",
                source=self.which.source,
            )
        return self.in_place

    def stamps(self) -> tuple[Stamp, ...]:
        """Of disks that are no files (VDDK) the sizes."""
        files = tuple((job.path, job.size, job.stamp) for disk in self.disks for job in disk.jobs)
        return files or tuple((disk.size,) for disk in self.disks)
