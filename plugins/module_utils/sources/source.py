# SPDX-License-Identifier: GPL-3.0-or-later
"""A source: what each kind of place that VMs come from can do, and how one may be reached and treated."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Optional, Protocol, Sequence

from ..core.concern import BLOCKER, Concern, remedies
from ..core.errors import Blocked, InvalidInput
from ..core.shape import require_texts
from ..core.tls import Trust
from ..core.urls import Form
from ..core.vm import Mark, VmId, digest_of, place_of
from ..disk.fingerprint import configuration
from ..disk.machine import SourceVm
from ..transport.files import Files
from ..transport.ssh import Login
from ..transport.vddk import Vddk
from .opened import Opened

RUNNING = ("refuse", "snapshot", "shutdown")


@dataclass(frozen=True)
class Access:
    """How a source is reached, and how it may be treated. `bandwidth` in bytes a second over all workers, 0 for no limit.

    `host_slots`: how many VMs of one ESXi host are read at once from here; its buffers for such reads are few.
    `allocated_only`: what changed block tracking calls unused is not read. `stopping` is called before a running VM is shut down.
    `verify`: digests that a package has of its files are compared.
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
    verify: bool = False
    accept: tuple[str, ...] = ()
    stopping: Callable[[], None] = field(default=lambda: None, repr=False)

    def __post_init__(self) -> None:
        """Raises InvalidInput for one text in place of several."""
        require_texts(accept=self.accept)


@dataclass(frozen=True)
class Folder:
    """The files of a VM as they lie at its source: what reads them, their directory, and their names."""

    files: Files
    directory: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Can:
    """What can be asked of a kind of source, beside copying its VMs.

    `power`: shut a running VM down, and start it again. `freeze`: read a snapshot of a running VM. `in_place`: read disks where they are, as some of its VMs
    allow. `files`: bring a VM's files as they are.
    """

    power: bool = False
    freeze: bool = False
    in_place: bool = False
    files: bool = False


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

    @property
    def can(self) -> Can:
        """What can be asked of it."""

    def identified(self, url: str, access: Access) -> VmId:
        """Which VM is behind a URL. Nothing is changed there, and the VM may run."""

    def opened(self, url: str, access: Access, check: bool) -> contextlib.AbstractContextManager[Opened]:
        """The VM, for the time of a block. In check mode nothing is changed there: a running VM is neither stopped nor frozen.

        Raises Blocked for concerns that nobody accepted.
        """

    def folder(self, url: str, access: Access) -> contextlib.AbstractContextManager[Folder]:
        """The files of the VM as they are, for the time of a block. Raises InvalidInput where a VM has none."""

    def clean(self, url: str, access: Access, check: bool) -> tuple[str, ...]:
        """Remove the snapshots that a migration which died has left, and no others; gives their names. In check mode nothing is removed."""

    def started(self, url: str, access: Access, check: bool) -> bool:
        """Start the VM; whether it was off. In check mode it stays off."""


class Kind:
    """A kind of source that can do no more than it says: its VMs are copied, no snapshot is ever left, none is shut down."""

    form = Form()
    libraries: tuple[str, ...] = ()
    can = Can()

    def folder(self, url: str, access: Access) -> contextlib.AbstractContextManager[Folder]:
        raise InvalidInput(f"{url}: its files cannot be brought as they are.", "Migrate its disks instead (vmdk_fetch).", source=url)

    def clean(self, url: str, access: Access, check: bool) -> tuple[str, ...]:
        return ()

    def started(self, url: str, access: Access, check: bool) -> bool:
        return False


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
            remedies(blockers),
            concerns=[concern.code for concern in blockers],
        )
