# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs whose files are on this host: descriptions, disks and block devices, as they are or packed. See opened.Opened."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Iterator, Sequence

from ..core import held
from ..core.concern import Concern
from ..core.errors import NotInPlace
from ..core.progress import Progress
from ..core.vm import VmId
from ..disk import archive, fingerprint, staging
from ..disk.machine import SourceVm, Stamp, VmSaid
from ..disk.source import open_source
from .opened import DiskSize, Here, InPlace, LookedAt, Opened
from .source import Access


def identified(paths: Sequence[str], access: Access) -> VmId:
    """Which VM it is. Of its disks no more is read than the ends; of one that is packed only the place is known."""
    if archive.packed(paths):
        return fingerprint.packed(paths)
    with held.sources():  # what is checked is what is read
        return fingerprint.identity(open_source(paths, verify=False), paths)


@contextlib.contextmanager
def opened(paths: Sequence[str], access: Access) -> Iterator[Opened]:
    """The VM, its files held for the time of a block."""
    with held.sources():
        if archive.packed(paths):
            archive.require_distinct(paths)
            yield Packed(tuple(paths), access, fingerprint.packed(paths))
        else:
            yield Files(tuple(paths), open_source(paths, access.verify))


class _OfThisHost:
    """Nothing of it moves."""

    transport = "file"

    def missing(self) -> int:
        return 0

    def stamps(self) -> tuple[Stamp, ...]:
        return ()


@dataclass(frozen=True)
class Files(_OfThisHost):
    """A VM that is read as it is."""

    paths: tuple[str, ...]
    vm: SourceVm

    @property
    def concerns(self) -> tuple[Concern, ...]:
        return self.vm.concerns

    @functools.cached_property
    def which(self) -> VmId:
        """For it the ends of the disks are read, which who only looks at a VM does not ask."""
        return fingerprint.identity(self.vm, self.paths)

    def said(self) -> VmSaid:
        return self.vm.said()

    def sizes(self) -> tuple[DiskSize, ...]:
        inputs = staging.source_identities(self.vm, self.paths)
        return tuple(DiskSize(disk.chain.virtual_size, disk.chain.allocated(), inputs, self.vm.name) for disk in self.vm.disks)

    def require_idle(self, accept: Sequence[str]) -> None:
        self.vm.check_idle(accept)

    @contextlib.contextmanager
    def here(self, directory: str, progress: Progress) -> Iterator[Here]:
        yield Here(self.vm, self.which, self.paths)

    def looked_at(self) -> contextlib.AbstractContextManager[LookedAt]:
        return staging.temporary(self.vm, self.paths)

    def exports(self) -> InPlace:
        raise NotInPlace(
            "The files of the VM are on this host: overlays read them, no export does.", "Run FETCH again (vmdk_fetch).", source=self.paths
        )


@dataclass(frozen=True)
class Packed(_OfThisHost):
    """A VM in archives, of which nothing is known before they are unpacked."""

    paths: tuple[str, ...]
    access: Access
    which: VmId
    concerns: tuple[Concern, ...] = ()  # those of the VM are known when it is here

    def said(self) -> VmSaid:
        return SourceVm(self.which.name, "archive").said()

    def sizes(self) -> tuple[DiskSize, ...]:
        return ()

    def require_idle(self, accept: Sequence[str]) -> None:
        """Nobody uses a VM that is packed."""

    @contextlib.contextmanager
    def here(self, directory: str, progress: Progress) -> Iterator[Here]:
        found = archive.unpacked(self.paths, directory, progress)
        progress.phase("check the source")
        vm = open_source(found, self.access.verify)
        vm.check_idle(self.access.accept)
        yield Here(vm, fingerprint.identity(vm, self.paths, self.which.place), self.paths)

    def looked_at(self) -> contextlib.AbstractContextManager[LookedAt]:
        raise self._packed()

    def exports(self) -> InPlace:
        raise self._packed()

    def _packed(self) -> NotInPlace:
        return NotInPlace("The source is packed.", "Fetch it first (the role does so in a real run), or unpack it.", source=self.paths[0])
