# SPDX-License-Identifier: GPL-3.0-or-later
"""How sure it is that a guest has a card of a name: what is brought up at boot is there, while a text that only mentions a card may be older than the guest.

A card that has a profile must not lose its name, or get another one, for what merely mentions a third.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

from ...guest.nic_names import counted
from . import names as netnames
from .model import Profile, globs

ACTIVE, IDLE, TOLD, MENTIONED = range(4)


@dataclass(frozen=True)
class Standing:
    """Names of NICs by the surest that has each: a profile that is brought up (ACTIVE), one that is not (IDLE), the command line that the kernel gets
    (TOLD), or what only mentions it. `others` are the profiles that are brought up on NICs which they do not know by a name.
    """

    ranks: Mapping[str, int]
    others: Sequence[Profile]

    def upto(self, rank: int, names: Iterable[str]) -> list[str]:
        """Those of some names that are as sure as that, and that take no NIC away from a profile that is brought up."""
        return [name for name in names if self.ranks[name] <= rank and (self.ranks[name] == ACTIVE or self._agrees(name))]

    def alone(self, names: Iterable[str]) -> list[str]:
        """Names that are only mentioned, where nothing else tells what the guest's NICs are called."""
        surer = bool(self.others) or any(rank < MENTIONED for rank in self.ranks.values())
        return [] if surer else list(names)

    def made(self, names: Iterable[str]) -> list[str]:
        """The names for which a VM without a record of its NICs gets some. What only the initramfs needs is a card where nothing else names one."""
        none = ACTIVE not in self.ranks.values()
        return [name for name in names if self.ranks[name] <= (TOLD if none else IDLE)]

    def counting(self, names: Iterable[str], surely: bool) -> list[str]:
        """The names that may be given to the NIC of their number: each where NICs are counted, `surely` or by the names that are in use."""
        used = [name for name, rank in self.ranks.items() if rank == ACTIVE]
        if surely or any(counted(name) is not None for name in used):
            return self.upto(MENTIONED, names)
        if used or self.others:
            return self.upto(ACTIVE, names)
        return self.upto(TOLD, names) or self.alone(names)

    def _agrees(self, name: str) -> bool:
        by_name = [profile for profile in self.others if profile.mac is None]
        return not by_name or any(
            (profile.name is None or globs(name, profile.name)) and not any(globs(name, one) for one in profile.but) for profile in by_name
        )


def of(found: Sequence[Profile], given: Iterable[str]) -> Standing:
    """The names of NICs that profiles use; `given` are those of the administrator's own making."""
    own_names = set(given)
    ranks: dict[str, int] = {}
    for rank in range(MENTIONED + 1):
        for name in netnames.nic_names((profile for profile in found if _rank(profile) == rank), own_names):
            ranks.setdefault(name, rank)
    return Standing(ranks, [profile for profile in found if _rank(profile) == ACTIVE and _nameless(profile)])


def _rank(profile: Profile) -> int:
    if profile.mentioned:
        return MENTIONED
    return TOLD if profile.backend == "cmdline" else ACTIVE if profile.active else IDLE


def _nameless(profile: Profile) -> bool:
    """Whether a profile takes NICs by something else than a name: a pattern, a MAC, a driver, or anything."""
    takes = profile.name or profile.mac or profile.driver or profile.anyone
    return profile.kind == "ethernet" and bool(takes) and (profile.name is None or netnames.pattern(profile.name))
