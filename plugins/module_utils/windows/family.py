# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows as one of the families of guests."""

from __future__ import annotations

from typing import Mapping, Optional

from ..core.concern import BLOCKER, WARNING, Findings
from ..core.errors import UnsupportedGuest
from ..guest.family import DriverSource, Family, GuestRequest
from ..guest.model import FirstStart, GuestFacts
from ..guest.offline import OfflineGuest
from ..guest.parttable import Table
from ..guest.plan import Plan
from ..guest.proof import Proof
from ..guest.protocol import Guest
from . import driver_source, firstboot, hives, proof, volumes
from .inspect import inspect
from .plan import FIXES, make_plan
from .storage import FOLDER
from .work import Options

_BACKUPS = "backup"  # below our folder in the Windows directory


class Windows(Family):
    """See Family."""

    name = "windows"
    filesystems = ("ntfs",)
    fixes = FIXES

    def found(self, guest: OfflineGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        system = volumes.find(guest, request.root, findings)
        if system is None:
            return None
        if volumes.dirty(guest, system.name):
            findings.add(
                "windows.dirty-volume",
                WARNING,
                f"The file system of {system.name} is marked dirty.",
                "Windows checks it at its next start; run chkdsk at the source if you can.",
            )
        volumes.mount(guest, system)
        if volumes.hibernated(guest):
            findings.add(
                "windows.hibernated",
                BLOCKER,
                "Windows is hibernated or was shut down with Fast Startup: its disk holds a saved session and cannot be written.",
                "Start the source and shut it down with shutdown /s /t 0; or accept windows.hibernated, which throws the session away.",
            )
        if self.drivers(request).iso:
            guest.mount_medium(driver_source.ISO)
        root = volumes.system_root(guest)
        if root is None:
            raise UnsupportedGuest(
                f"{system.name} no longer shows a Windows directory.", "Check the file system at the source (chkdsk /f)."
            )
        return inspect(
            guest,
            root,
            guest.mounts,
            firmware=request.firmware,
            nics=request.nics,
            options=request.of(Options),
            findings=findings,
            request=request,
        )

    def drivers(self, request: GuestRequest) -> DriverSource:
        options = request.of(Options)
        return DriverSource(options.virtio_win, bool(options.virtio_win) and options.iso)

    def plan(self, guest: Guest, facts: GuestFacts, request: GuestRequest) -> Plan:
        return make_plan(guest, facts, request.of(Options), request.nics)

    def prepare(self, guest: OfflineGuest, facts: GuestFacts, request: GuestRequest) -> None:
        volumes.mount_writable(guest, "windows.hibernated" in request.accept)

    def prove(self, guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Optional[Proof]:
        return proof.prove(guest, facts, tables)

    def backups(self, facts: GuestFacts) -> str:
        return f"{facts.windows.system_root}/{FOLDER}/{_BACKUPS}" if facts.windows is not None else super().backups(facts)

    def first_start(self, guest: Guest, facts: GuestFacts) -> Optional[FirstStart]:
        if facts.windows is None:
            return None
        system, dummy = hives.open_hives(guest, facts.windows.system_root)
        return firstboot.read(guest, facts.windows, system)


FAMILY = Windows()
