# SPDX-License-Identifier: GPL-3.0-or-later
"""All profiles of a guest, the names that are bound to MACs, and how each NIC will come up.

Source: systemd.link(5), udev(7), the pages of each backend's module.
"""

from __future__ import annotations

import re
from typing import Iterable, Optional, Sequence

from ...core.machine import NicFacts
from ...core.macs import Mac
from ...guest.protocol import Guest, exists
from . import dhcpcd, ifcfg, ifupdown, links, matches, netctl, netifrc, netplan, networkd, networkmanager, position, rules, wicked
from .model import PHYSICAL, Profile, globs

PERSISTENT_RULES = "/etc/udev/rules.d/70-persistent-net.rules"
_RENAMING = (
    "/etc/udev/rules.d/80-net-setup-link.rules",
    "/etc/udev/rules.d/80-net-name-slot.rules",
    "/etc/systemd/network/99-default.link",
)
_FEW = 10  # names of one NIC
_VIRTUAL = ("bond", "bridge", "team", "vlan")


def profiles(guest: Guest, problems: Optional[list[str]] = None) -> tuple[Profile, ...]:
    """Every profile but the loopback's, in the order of the backends and their files; unreadable files go to `problems`."""
    said = problems if problems is not None else []
    found = [
        *ifupdown.read(guest, said),
        *netplan.read(guest, said),
        *networkd.read(guest),
        *networkmanager.read(guest),
        *ifcfg.read(guest),
        *wicked.read(guest, said),
        *netifrc.read(guest),
        *netctl.read(guest),
        *dhcpcd.read(guest),
    ]
    return tuple(profile for profile in found if profile.name != "lo")


def backends(guest: Guest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(profile.backend for profile in profiles(guest)))


def physical(found: Iterable[Profile]) -> tuple[Profile, ...]:
    """The profiles for NICs, by a name of one or by MAC."""
    return tuple(
        profile
        for profile in found
        if profile.kind == "ethernet" and (profile.mac or PHYSICAL.match(profile.name or "")) and not pattern(profile.name)
    )


def nic_names(found: Iterable[Profile], given: Iterable[str] = ()) -> list[str]:
    """Every name of a NIC that a profile uses: its own, those below a bond, bridge or team, and the one below a VLAN.

    `given` are names of the administrator's own making, which no pattern knows.
    """
    own_names = set(given)
    names: dict[str, None] = {}
    for profile in found:
        own = [profile.name] if profile.kind == "ethernet" and profile.name else []
        for name in (*own, *profile.members, profile.parent):
            if PHYSICAL.match(name) or name in own_names:
                names[name] = None
    return list(names)


def persistent_names(guest: Guest) -> dict[Mac, str]:
    """MAC to name, as udev's rules and .link files bind them: of several rules the last, of several .link files the first."""
    names: dict[Mac, str] = {}
    for rule in rules.namings(guest):
        if rule.mac is not None:
            names[rule.mac] = rule.name
    first: dict[Mac, str] = {}
    for link in links.links(guest) if links.in_force(guest) else ():
        for mac in link.macs if link.name else ():
            first.setdefault(mac, link.name)
    return {**first, **names}  # udev asks .link files for those alone that no rule has named


def bound(guest: Guest, macs: Sequence[Optional[Mac]]) -> dict[Mac, str]:
    """persistent_names for NICs with these MACs: a name that goes by position too is free where none of them has its MAC."""
    found = persistent_names(guest)
    if not macs or None in macs:
        return found
    by_position = position.names(guest)
    return {mac: name for mac, name in found.items() if mac in macs or name not in by_position}


def named(guest: Guest, interfaces: Iterable[tuple[str, Mac]]) -> tuple[tuple[str, Mac], ...]:
    """(name, MAC) of NICs, with the names that are bound to the MACs of those that have none."""
    bound = persistent_names(guest)
    return tuple((name or bound.get(mac, ""), mac) for name, mac in interfaces)


def places(guest: Guest) -> dict[str, str]:
    """Address of PCI to name, as rules and .link files have it for NICs of the old hardware."""
    found = {rule.address: rule.name for rule in rules.namings(guest) if rule.address and rule.mac is None}
    return {**found, **{link.address: link.name for link in links.links(guest) if link.address and link.name}}


def given_names(guest: Guest) -> set[str]:
    """The names that .link files and udev rules give to NICs, by whatever they match."""
    return ({link.name for link in links.links(guest)} | {rule.name for rule in rules.namings(guest)}) - {""}


def nics(found: Sequence[Profile], interfaces: Sequence[tuple[str, Mac]], driver: str, fresh: Sequence[str] = ()) -> tuple[NicFacts, ...]:
    """How each (name, MAC) will come up on hardware with a driver: by its own profile, or by the bond, bridge, team or VLAN above it.

    A NIC that has no name is called one of `fresh`.
    """
    taken: set[str] = set()
    result = []
    for name, mac in interfaces:
        called = [name] if name else list(fresh)
        own = _best(profile for profile in found if _applies(profile, called, mac, driver))
        above = _best(_above(found, {*called, mac}, taken)) if called and (own is None or own.method == "none") else None
        used = above or own
        if used is None:
            result.append(NicFacts(mac, name))
            continue
        if above is not None:
            taken.add(above.name or "")
        result.append(
            NicFacts(
                mac, name, used.method, used.addresses, used.gateway, used.backend, used.path, above.name or "" if above is not None else ""
            )
        )
    return tuple(result)


def counts(guest: Guest, cmdlines: Iterable[str]) -> bool:
    """Whether NICs keep the kernel's own names, which count them: by the command line, or since what would rename them is switched off."""
    return any("net.ifnames=0" in line.split() for line in cmdlines) or any(links.masked(guest, path) for path in _RENAMING)


def fresh(guest: Guest, cmdlines: Iterable[str]) -> tuple[str, ...]:
    """What a NIC may be called on the new hardware that no pin names: by its bus or its slot, or the first of those that are counted.

    Source: systemd.net-naming-scheme(7); libvirt puts NICs behind ports of their own (enp1s0) or into slots of the first bus (ens3).
    """
    return ("eth0",) if not has_udev(guest) or counts(guest, cmdlines) else ("enp1s0", "ens3")


def has_udev(guest: Guest) -> bool:
    """Whether anything renames NICs at all; without udev a single NIC is eth0 on every hypervisor."""
    return links.in_force(guest) or any(exists(guest, path) for path in ("/etc/udev", "/lib/udev", "/usr/lib/udev"))


def patterns(found: Iterable[Profile]) -> list[str]:
    """The patterns of names that profiles for NICs have."""
    return [profile.name for profile in found if profile.kind == "ethernet" and profile.name is not None and pattern(profile.name)]


def refusals(found: Iterable[Profile]) -> list[str]:
    """The names, and patterns of names, that profiles for NICs are not for: a NIC that is called so has to be called so further on."""
    return [name for profile in found if profile.kind == "ethernet" for name in profile.but]


def unbound(profile: Profile) -> bool:
    """Whether a profile is for no NIC in particular: by a pattern, or by nothing but a driver."""
    return profile.mac is None and (profile.name is None or pattern(profile.name))


def pattern(name: Optional[str]) -> bool:
    """Whether a name is a pattern of names."""
    return bool(name) and bool(re.search(r"[*?\[]", name or ""))


def _applies(profile: Profile, names: Sequence[str], mac: str, driver: str) -> bool:
    if profile.kind != "ethernet" or not (profile.name or profile.mac or profile.driver or profile.anyone):
        return False
    if profile.driver is not None and not (matches.fits(profile.driver, driver) or matches.is_old(profile.driver, driver)):
        return False
    if not (profile.mac is None or profile.mac == mac) or not (
        profile.name is None or (names and all(globs(one, profile.name) for one in names))
    ):
        return False
    return not any(globs(name, one) for name in names for one in profile.but) and not (profile.doubt and unbound(profile))


def _above(found: Sequence[Profile], below: set[str], taken: set[str]) -> list[Profile]:
    """What lies on a NIC with these names and its MAC, from the nearest up; of a bond only the first one carries the addresses."""
    result: dict[int, Profile] = {}
    for dummy in range(4):
        level = [profile for profile in found if profile.kind in _VIRTUAL and _lies_on(profile, below)]
        result.update({id(profile): profile for profile in level if profile.name not in taken and id(profile) not in result})
        below = {profile.name for profile in level if profile.name}
    return list(result.values())


def _lies_on(profile: Profile, below: set[str]) -> bool:
    """Whether a bond, bridge, team or VLAN is on one of these; what it is on may be a pattern of names, or a MAC."""
    on = {*profile.members, profile.parent} - {""}
    return bool(on & below) or (len(below) <= _FEW and any(globs(one, member) for member in on if pattern(member) for one in below))


def _best(candidates: Iterable[Profile]) -> Optional[Profile]:
    """The profile that gives addresses, before one that only exists."""
    known = sorted(candidates, key=lambda profile: not profile.active)  # stable
    return next((profile for profile in known if profile.method != "none"), known[0] if known else None)
