# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator chose for Windows, and what its repairs work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from ..core.concern import Findings
from ..core.machine import Nic
from ..guest.model import GuestFacts, WindowsFacts
from ..guest.protocol import Guest
from .driver_source import HostTree, IsoTree, Tree
from .drivers import Package
from .hives import Draft
from .wanted import Customization, Wanted

DIRECT, TWO_PHASE = "direct", "two_phase"


@dataclass(frozen=True)
class Options:
    """What the operator chose for Windows. `drivers` are names of optional drivers, all of them where none is named.

    `virtio_win` is the driver source on the conversion host, `iso` whether it is mounted in the appliance; `wrapper` a program that runs
    a command as a service; `network` overrides settings of NICs, by MAC. The others, some as for Linux, are not written out: records of earlier
    versions hold a digest of the options without them.
    """

    virtio_win: str = ""
    iso: bool = False
    drivers: tuple[str, ...] = ()
    boot: str = DIRECT
    network: tuple[Wanted, ...] = ()
    wrapper: str = ""
    fixes: tuple[str, ...] = field(default=(), repr=False)
    remove_tools: tuple[str, ...] = field(default=("vmware",), repr=False)
    agent_packages: tuple[str, ...] = field(default=(), repr=False)
    macs: Mapping[str, str] = field(default_factory=dict, repr=False)
    customize: Customization = field(default=Customization(), repr=False)
    additions: tuple[str, ...] = field(default=("qemu_ga", "balloon"), repr=False)

    def tree(self, guest: Guest) -> Optional[Tree]:
        """The drivers that were given; None where none were."""
        if not self.virtio_win:
            return None
        return IsoTree(guest) if self.iso else HostTree(self.virtio_win)


@dataclass(frozen=True)
class Work:
    """What a repair works on. Its registry edits go to the drafts, everything else is returned."""

    guest: Guest
    facts: GuestFacts
    windows: WindowsFacts
    system: Draft
    software: Optional[Draft]
    options: Options
    nics: Sequence[Nic]
    findings: Findings
    tree: Optional[Tree]
    packages: Mapping[str, Package]
