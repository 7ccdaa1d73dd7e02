# SPDX-License-Identifier: GPL-3.0-or-later
"""Network: the MAC is kept, and the name the guest used for a card is pinned to it. No profile is edited.

Kernel and udev derive a name like ens192 from the PCI slot of the old hypervisor; on the new one the card would get another
name and every profile that says ens192 would be dead.
Source: systemd.link(5), udev(7); VMware's pciSlotNumber is the hotplug slot that udev's net_id shows as ens<slot>.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Optional, Sequence

from ..guest.changes import Change, edit, remove
from ..guest.model import WARNING, Findings
from ..guest.protocol import Guest, text
from . import netconfig

LINK = "/etc/systemd/network/10-hyper2kvm-{name}.link"
_RULE = 'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", ATTR{{type}}=="1", NAME="{name}"\n'


@dataclass(frozen=True)
class Card:
    """A network card of the VM: its MAC and the slot that its name was made from; None where the source does not say."""

    mac: Optional[str]
    slot: Optional[int] = None


def interfaces(guest: Guest, cards: Sequence[Card], machine_id: str, findings: Findings) -> tuple[tuple[str, str], ...]:
    """(name, MAC) of every card, in the order of the cards: what the guest calls it, and the MAC it has and keeps.

    A source without metadata (a bare disk) has no cards; then the guest's own rules and profiles say which names and MACs
    there are, and a name whose MAC nobody knows gets one made from the machine id, for the target's definition to use.
    """
    profiles = netconfig.profiles(guest)
    bound = netconfig.persistent_names(guest)
    for profile in profiles:
        if profile.mac and profile.name:
            bound.setdefault(profile.mac, profile.name)
    names = sorted({profile.name for profile in profiles if profile.name} - set(bound.values()), key=_natural)
    pairs: list[tuple[str, str]] = []
    open_cards: list[Card] = []
    # An OVF rarely records MACs; the guest's own bindings then say which cards there are.
    known = iter([mac for mac in bound if mac not in {card.mac for card in cards}])
    for card in cards:
        if card.mac is None:
            card = Card(next(known, None), card.slot)
        name = bound.get(card.mac or "") or next((name for name in names if card.slot is not None and name == f"ens{card.slot}"), None)
        if name and card.mac:
            pairs.append((name, card.mac))
            names = [other for other in names if other != name]
        else:
            open_cards.append(card)
    if not cards:
        return tuple([(name, mac) for mac, name in bound.items()] + [(name, _made_mac(machine_id, name)) for name in names])
    if len(names) == len(open_cards):
        pairs += [(name, card.mac or _made_mac(machine_id, name)) for name, card in zip(names, open_cards)]
        if len(names) > 1:
            findings.add(
                "network.assumed-order",
                WARNING,
                f"The cards of {', '.join(names)} were assigned in the order of the VM's definition.",
                "Check the addresses after the first boot, or pin names by MAC in the guest beforehand.",
            )
    elif names:
        findings.add(
            "network.unassigned",
            WARNING,
            f"The profiles for {', '.join(names)} could not be assigned to the VM's {len(cards)} network cards.",
            "Pin the names by MAC in the guest (a .link file) or correct the profiles, then plan again.",
        )
    return tuple(pairs)


def plan(guest: Guest, pins: Sequence[tuple[str, str]], findings: Findings) -> list[Change]:
    """Changes that pin each name to its MAC and take away rules that would give names to cards that are gone."""
    changes: list[Change] = []
    for profile in netconfig.profiles(guest):
        if profile.driver is not None and "vmxnet" in profile.driver:
            findings.add(
                "network.driver-match",
                WARNING,
                f"{profile.path} applies only to cards with the driver {profile.driver}.",
                "Match by name or MAC in the guest instead; the card is virtio_net after the move.",
            )
    if netconfig.has_systemd(guest):
        for name, mac in pins:
            path = LINK.format(name=name)
            changes += edit(
                path, text(guest, path), f"[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n", f"{name} keeps its name on the new hardware"
            )
        changes += remove(netconfig.PERSISTENT_RULES, guest.stat(netconfig.PERSISTENT_RULES), "names are pinned by .link files now")
    elif pins:
        rules = text(guest, netconfig.PERSISTENT_RULES)
        changes += edit(
            netconfig.PERSISTENT_RULES, rules, "".join(_RULE.format(mac=mac, name=name) for name, mac in pins), "names pinned to their MAC"
        )
    return changes


def _made_mac(machine_id: str, name: str) -> str:
    digest = hashlib.sha256(f"{machine_id}/{name}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"52:54:00:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"


def _natural(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)
