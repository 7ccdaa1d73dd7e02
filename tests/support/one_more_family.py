# SPDX-License-Identifier: GPL-3.0-or-later
"""A family in one file: FreeBSD, known by one file of it, whose repair is one name of a disk. A test drops it into a copy of the collection."""

from __future__ import annotations

from typing import Mapping, Optional

from ..core.concern import Findings
from .changes.write import edit
from .family import Family, GuestRequest
from .model import BlockDevice, GuestFacts, Mount
from .offline import OfflineGuest
from .parttable import Table
from .plan import Plan
from .proof import Check, Proof
from .protocol import Guest, exists, text

_ROOTS = ("ufs", "ext2")  # Linux cannot write to the first


class FreeBsd(Family):
    """See Family."""

    name, filesystems, fixes = "freebsd", ("ufs",), ("fstab",)

    def found(self, guest: OfflineGuest, request: GuestRequest, findings: Findings) -> Optional[GuestFacts]:
        named = guest.device(request.root) if request.root else None
        roots = [named] if named is not None else [device for device in guest.devices() if device.fstype in _ROOTS]
        root = next((device for device in roots if self._mounted(guest, device)), None)
        if root is None:
            return None
        guest.mounts = (Mount(root.name, "/"),)
        return GuestFacts(os=self.name, product="FreeBSD", firmware=request.firmware, root=root.name, mounts=guest.mounts)

    def plan(self, guest: Guest, facts: GuestFacts, request: GuestRequest) -> Plan:
        fstab = text(guest, "/etc/fstab") or ""
        return Plan(tuple(edit("/etc/fstab", fstab, fstab.replace("/dev/da0", "/dev/vtbd0"), "the disk is named by its new driver")))

    def prove(self, guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Optional[Proof]:
        return Proof((Check("fstab.root", "/dev/vtbd0p2 / " in (text(guest, "/etc/fstab") or ""), "fstab names the root"),))

    def _mounted(self, guest: OfflineGuest, device: BlockDevice) -> bool:
        """Whether the root of this family is mounted now; nothing is where it is another's."""
        try:
            guest.handle.mount(device.name, "/")
        except RuntimeError:
            return False
        guest.forget()
        if exists(guest, "/bin/freebsd-version"):
            return True
        guest.handle.umount("/")
        guest.forget()
        return False


FAMILY = FreeBsd()
