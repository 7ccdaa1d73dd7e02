# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a family of guests: which systems are of it, how they are repaired, and what shows that they boot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Protocol, TypeVar

from ..core.concern import Findings
from ..core.machine import Nic
from .apply import BACKUPS
from .live import LiveGuest
from .model import FirstStart, GuestFacts
from .offline import Attached, OfflineGuest
from .parttable import Table
from .plan import Plan
from .proof import Proof
from .protocol import Guest

T = TypeVar("T")


@dataclass(frozen=True)
class GuestRequest:
    """The disk set of a VM, in order, with what its source says of it and what the operator chose.

    `first` is the number of the disk that the source's firmware tries first, where that is known. `options` are those of the families, each found by its
    type. `grow` are the numbers of disks that are larger than at the source, whose space the guest is to get. `seed` is what tells the VM from others,
    for the MACs that are made for it. `secure_boot`: whether the VM starts with Secure Boot.
    """

    disks: tuple[Attached, ...]
    nics: tuple[Nic, ...] = ()
    firmware: str = "auto"
    luks_keys: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    options: tuple[object, ...] = ()
    accept: tuple[str, ...] = ()
    grow: tuple[int, ...] = ()
    seed: str = ""
    first: Optional[int] = None
    secure_boot: bool = False

    def of(self, kind: type[T]) -> T:
        """What was chosen for one family; the defaults where nothing was."""
        return next((options for options in self.options if isinstance(options, kind)), kind())


@dataclass(frozen=True)
class DriverSource:
    """Drivers for a guest, a directory or an image on the conversion host. An `iso` is attached to the appliance beside the disks."""

    path: str = ""
    iso: bool = False


class Family(Protocol):
    """A kind of system. Only `found` and `prove` must be given; the rest is answered as for a system that needs nothing."""

    name: str  # as facts.os says it
    filesystems: tuple[str, ...] = ()  # that its roots have: one of these that the operator names is a system of this family, or of none
    fixes: tuple[str, ...] = ()  # the names of its repairs, in their order
    fallback: bool = False  # it takes what no other family has, and is asked after all of them

    def found(self, guest: OfflineGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        """Mount the file systems and say what the system is; None where there is none of this family, and nothing is mounted then.

        The firmware of `request` is bios or uefi. Concerns go to `findings`; they are told whichever family has the system in the end.
        Raises UnsupportedGuest for a system of this family that cannot be looked at, and where it is not clear which is meant.
        """

    def running(self, guest: LiveGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        """What the running system is; None where it is none of this family, or cannot be repaired while it runs."""
        return None

    def drivers(self, request: GuestRequest) -> DriverSource:
        """Where its drivers come from. This is asked before anything is known of the guest."""
        return DriverSource()

    def plan(self, guest: Guest, facts: GuestFacts, request: GuestRequest) -> Plan:
        """The changes that let it start on KVM; nothing is written."""
        return Plan()

    def prepare(self, guest: OfflineGuest, facts: GuestFacts, request: GuestRequest) -> None:
        """Make the guest ready to be written, after everything that may refuse. Raises UnsupportedGuest where it cannot be."""
        return

    def prove(self, guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Optional[Proof]:
        """Whether it will boot, from the bytes; None where nothing could show it. `tables` are the partition tables by disk ("disk0", ...)."""

    def backups(self, facts: GuestFacts) -> str:
        """The directory in the guest where a repair keeps what it replaces."""
        return BACKUPS

    def first_start(self, guest: Guest, facts: GuestFacts) -> Optional[FirstStart]:
        """How far the work has come that it does by itself at its first start; None where there is none."""
        return None
