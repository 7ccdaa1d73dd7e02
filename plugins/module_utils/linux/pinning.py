# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NICs keep their names under any MAC: a target may give a card another MAC than the source's (virt-install, Proxmox, Neutron)."""

from __future__ import annotations

from itertools import count

from ..core.concern import INFO, Findings
from ..core.errors import InvalidInput
from ..core.macs import Mac
from ..guest.model import GuestFacts
from ..guest.protocol import Guest
from . import boot_cards
from .default import default_entry
from .entries import boot_entries
from .netconf import links, names

AUTO, MAC, MAC_OR_POSITION = "auto", "mac", "mac_or_position"
MODES = (AUTO, MAC, MAC_OR_POSITION)


def by_position(guest: Guest, facts: GuestFacts, mode: str, findings: Findings) -> tuple[tuple[str, Mac], ...]:
    """(name, MAC) of every NIC in its order, where names go by position too; nothing where they go by MAC alone.

    One NIC has a position whatever the target does. Several have one only if each is known by a name; they are left to their MACs unless the
    operator asks for more, since a target may put them in any order. A NIC that its profile knew by the MAC alone gets a name to be matched by,
    where no profile can tell the difference.
    Raises InvalidInput for a mode that does not exist.
    """
    if mode not in MODES:
        raise InvalidInput(f"The way to pin names {mode!r} is not known.", f"Use one of {', '.join(MODES)}.")
    cards, several = names.named(guest, facts.interfaces), max(len(facts.nics), len(facts.interfaces)) > 1
    if mode == MAC or not cards or (several and mode == AUTO):
        return ()
    if not several:
        return tuple((called, mac) for name, mac in cards if (called := name or _free(guest)))
    if len(cards) == len(facts.nics) and all(name for name, dummy in cards):
        return cards
    findings.add(
        "network.no-position",
        INFO,
        f"Not each of the VM's {len(facts.nics)} network cards is known by a name, so names are pinned by MAC alone.",
        "Let the target give the cards the MACs of the report.",
    )
    return ()


def _free(guest: Guest) -> str:
    """A name that nothing in the guest uses; the kernel's own where that is what the NIC has, and none where a pattern takes the NIC by its name."""
    found = boot_cards.profiles(guest)
    if names.patterns(profile for profile in found if profile.active):
        return ""
    used = {name for profile in found for name in (profile.name, *profile.members, profile.parent)} | names.given_names(guest)
    chosen = default_entry(guest, boot_entries(guest))
    if not links.in_force(guest) or names.counts(guest, [chosen.cmdline] if chosen is not None else []):
        return "" if "eth0" in used else "eth0"
    return next(name for name in map("lan{}".format, count()) if name not in used)
