# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that no card may have on the new hardware: by a pattern that none of its names fits, or by what nobody knows before the guest runs.

Source: systemd.net-naming-scheme(7), the pages of each backend.
"""

from __future__ import annotations

from typing import Iterable, Sequence

from ..core.concern import INFO, WARNING, Findings
from ..guest.model import GuestFacts
from ..guest.protocol import Guest
from . import boot_cards
from .netconf import names as netnames
from .netconf.model import Profile, globs, of_cards

_MOST = 20  # concerns of one code
_ALTERNATIVES = ("networkd", "networkmanager")  # of one profile, where one file has several patterns


def say(guest: Guest, facts: GuestFacts, findings: Findings) -> None:
    """The concerns for profiles as they are after the repair: of each kind the first, and how many more there are."""
    all_of_them = Findings()
    _say(guest, facts, all_of_them)
    told: dict[str, int] = {}
    for concern in all_of_them.concerns:
        told[concern.code] = told.get(concern.code, 0) + 1
        if told[concern.code] <= _MOST:
            findings.add(concern.code, concern.severity, concern.cause, concern.remedy)
    for code, number in told.items():
        if number > _MOST:
            last = next(concern for concern in reversed(all_of_them.concerns) if concern.code == code)
            findings.add(code, last.severity, f"The same is so for {number - _MOST} more profiles.", last.remedy)


def _say(guest: Guest, facts: GuestFacts, findings: Findings) -> None:
    found = [profile for profile in boot_cards.profiles(guest) if profile.active and profile.kind == "ethernet"]
    called = [name for name, dummy in netnames.named(guest, facts.interfaces) if name]
    pinned = set(called) | netnames.given_names(guest)
    others = boot_cards.fresh(guest) if len(facts.nics) > len(called) or not facts.nics else ()
    left = not facts.nics or any(not nic.backend for nic in facts.nics)
    for profiles in _apart(found):
        _fits_none(profiles, [name for name in pinned if name], others, left, findings)
    for profile in found if others else ():
        _refuses_none(profile, pinned, others, findings)
    for profile in {(profile.path, profile.doubt): profile for profile in found if profile.doubt}.values():
        findings.add(
            "network.undecided",
            WARNING if left and netnames.unbound(profile) else INFO,
            f"Whether {profile.path} applies to a card is decided by {profile.doubt}, which is not known before the guest runs.",
            "Look at the card's address after the first boot, or match the card by its name or MAC in the guest.",
        )


def _apart(found: Iterable[Profile]) -> Iterable[Sequence[Profile]]:
    """The profiles in groups, each of alternatives."""
    groups: dict[object, list[Profile]] = {}
    for number, profile in enumerate(found):
        ports = (
            profile.backend == "ifupdown" and profile.method == "none" and netnames.pattern(profile.name)
        )  # of a bridge, by an expression
        groups.setdefault(profile.path if profile.backend in _ALTERNATIVES or ports else number, []).append(profile)
    return groups.values()


def _fits_none(profiles: Sequence[Profile], pinned: Sequence[str], others: Sequence[str], left: bool, findings: Findings) -> None:
    names = [profile.name for profile in profiles if profile.name]
    patterns = [name for name in names if netnames.pattern(name) and of_cards(name)]
    fits = any(globs(one, name) for one in pinned for name in names) or (
        bool(others) and all(any(globs(one, name) for name in names) for one in others)
    )
    if not patterns or fits or any(profile.mac for profile in profiles):
        return
    if not left and all(name.startswith("eth") for name in patterns):  # which fitted no better before
        return
    findings.add(
        "network.no-card",
        WARNING if left else INFO,
        f"{profiles[0].path} is for cards called {', '.join(patterns)}, and none is surely called so on the new hardware.",
        "Match the card by its MAC, or by a pattern that fits its new name too (en*, eth*), or pin such a name with a .link file in the guest.",
    )


def _refuses_none(profile: Profile, pinned: Iterable[str], others: Sequence[str], findings: Findings) -> None:
    """A card that was refused by its name, and whose slot no source says, is called something else on the new hardware."""
    names = [name for name in profile.but if of_cards(name) and not (name.startswith("eth") and others[0] != "eth0")]
    lost = [name for name in names if not any(globs(one, name) for one in (*pinned, *others))]
    if lost:
        findings.add(
            "network.no-card",
            INFO,
            f"{profile.path} leaves out cards called {', '.join(lost)}, and none is surely called so on the new hardware.",
            "Where such a card is to be left out, pin its name with a .link file, or name its MAC in the guest.",
        )
