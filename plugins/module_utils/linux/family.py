# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux as one of the families of guests."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Optional

from ..core.concern import WARNING, Findings
from ..guest import assemble
from ..guest.family import Family, GuestRequest
from ..guest.live import LiveGuest
from ..guest.model import GuestFacts
from ..guest.offline import OfflineGuest
from ..guest.parttable import Table
from ..guest.plan import Plan
from ..guest.proof import Proof
from ..guest.protocol import Guest
from ..guest.resolver import Use
from . import cmdline, proof
from .default import default_entry
from .entries import boot_entries
from .inspect import inspect
from .plan import FIXES, Options, complete, make_plan


class Linux(Family):
    """See Family."""

    name = "linux"
    filesystems = assemble.ROOT_TYPES
    fixes = FIXES

    def found(self, guest: OfflineGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        root = assemble.find_root(guest, request.root)
        if root is None:
            _deployed(guest, findings)
            return None
        assemble.mount_all(guest, root)
        # What the default entry calls the root says more about the guest's names.
        entry = default_entry(guest, boot_entries(guest))
        named = cmdline.roots(entry.cmdline)[-1:] if entry is not None else []
        if named:
            assemble.learn(guest, root, [Use(cmdline.numbered(named[0]) or named[0], "/")])
        facts = inspect(guest, root, guest.subvolume, guest.mounts, request.firmware, guest.locked)
        facts, more = complete(facts, guest, request.nics, request.of(Options).macs)
        findings.take(*more.concerns)
        return facts

    def running(self, guest: LiveGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        system = guest.system()
        facts = replace(inspect(guest, system.root, system.subvolume, system.mounts, system.firmware, ()), live=True)
        facts, more = complete(facts, guest, (), request.of(Options).macs, system.interfaces)
        findings.take(*more.concerns)
        return facts

    def plan(self, guest: Guest, facts: GuestFacts, request: GuestRequest) -> Plan:
        return make_plan(guest, facts, request.of(Options))

    def prove(self, guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Optional[Proof]:
        return proof.prove(guest, facts, tables)


def _deployed(guest: OfflineGuest, findings: Findings) -> None:
    for name in assemble.deployed(guest):
        findings.add(
            "guest.ostree",
            WARNING,
            f"{name} holds a Linux that ostree deploys. Its root is a directory below /ostree/deploy, in which nothing is repaired.",
            "Before the migration, write devices by UUID in its kernel arguments and its fstab, let its profiles take a card of any name, and have "
            "the drivers of SATA in its initramfs.",
        )


FAMILY = Linux()
