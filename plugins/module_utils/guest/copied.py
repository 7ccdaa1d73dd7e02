# SPDX-License-Identifier: GPL-3.0-or-later
"""The family of all other systems, which are copied as they are: no repair, disks and NICs that every system has drivers for."""

from __future__ import annotations

from typing import Mapping, Optional

from ..core.concern import BLOCKER, WARNING, Findings
from ..core.machine import NicFacts
from .family import Family, GuestRequest
from .model import GuestFacts
from .offline import OfflineGuest
from .parttable import Table
from .proof import Proof
from .protocol import Guest


class Copied(Family):
    """See Family. It takes every guest."""

    name, fallback = "unknown", True

    def found(self, guest: OfflineGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        if guest.locked:
            findings.add(
                "luks.locked",
                BLOCKER,
                f"No Linux root file system was found, and encrypted devices stayed locked: {', '.join(guest.locked)}.",
                "Give their keys in migrate_luks_keys, or accept luks.locked to copy the disks as they are.",
            )
        else:
            kinds = sorted({device.fstype for device in guest.devices() if device.fstype}) or ["an unknown kind of data"]
            findings.add(
                "guest.unknown",
                WARNING,
                f"Neither Linux nor Windows was found; the disks hold {', '.join(kinds)}. They are copied without a repair.",
                "Give all disks of the VM if some are missing. Define the VM with SATA disks and e1000e cards, and look at its first boot.",
            )
        nics = tuple(NicFacts(nic.mac) for nic in request.nics if nic.mac)
        return GuestFacts(os=self.name, firmware=request.firmware, nics=nics, disk_bus="sata", nic_model="e1000e", encrypted=guest.locked)

    def prove(self, guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Optional[Proof]:
        return None  # nothing is known of how it boots


FAMILY = Copied()
