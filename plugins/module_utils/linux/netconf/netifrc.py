# SPDX-License-Identifier: GPL-3.0-or-later
"""Gentoo's netifrc: /etc/conf.d/net, and a service net.NAME for each interface, which is a link to net.lo.

Source: net.example and init.d/net.lo of netifrc, openrc-run(8) (conf.d/net.NAME is read beside conf.d/net), the Gentoo handbook. A variable ends with the name
of its interface, in which each character that no variable takes is a `_` (shell_var of functions.sh), or with a MAC.
"""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import replace
from typing import Iterator, Mapping, MutableMapping, Sequence

from ...guest.protocol import Guest, glob, text
from .model import LEFTOVER, Profile, assignments, cidr, mac_of

PATH = "/etc/conf.d/net"
_SERVICES, _RUNLEVELS = "/etc/init.d", "/etc/runlevels"
_WANTS = "/etc/systemd/system"
# What says something about an interface at the end of its name.
_ABOUT = re.compile(
    r"^(?:config|routes|fallback|modules|dhcp|dhcpcd|udhcpc|mtu|mac|metric|slaves|vlans|macvlan|tuntap|iptunnel|type"
    r"|bridge(?!_(?:add|stp|forward|hello|max|force|ageing|priority)_))_(?P<name>\w+)$"
)
_VLAN_NAME = re.compile(r"^(?:(?P<below>\w+)_)?vlan(?P<number>\d{1,4})_name$")
_DEFAULT = re.compile(r"^(?:default|0\.0\.0\.0/0)\s+(?:via\s+|gw\s+)?(\S+)")
_MAC = re.compile(r"^[0-9a-fA-F]{12}$")
_DYNAMIC = ("dhcp", "dhcpcd", "dhclient", "udhcpc", "pump", "dhcpv6", "dhcp6")
_MADE = ("tuntap", "iptunnel", "type", "macvlan", "ppp")  # of a kind that is no card


def read(guest: Guest) -> Iterator[Profile]:
    services = {path.rsplit("/net.", 1)[1] for path in glob(guest, _SERVICES, prefix="net.")}
    started = set(_started(guest))
    known = {_variable(name): name for name in sorted(services | started)}
    said: dict[str, tuple[str, MutableMapping[str, str]]] = {}
    shared = assignments(text(guest, PATH) or "")
    for path in [PATH, *(path for path in glob(guest, "/etc/conf.d", prefix="net.") if not LEFTOVER.search(path))]:
        if path == PATH:
            said.update({match["name"]: (path, shared) for match in map(_ABOUT.match, shared) if match is not None})
        else:
            said[_variable(path.rsplit("/net.", 1)[1])] = (path, ChainMap(assignments(text(guest, path) or ""), shared))
    for variable in known:
        said.setdefault(variable, (PATH, shared))
    vlans = dict(_vlans(shared, known))
    started |= {card for name in started for card in (*_below(shared, _variable(name))[1], *_needed(shared, name))}
    started |= {vlan for vlan, below in vlans.items() if below in started}
    called = {_variable(vlan): vlan for vlan in vlans}
    added: dict[str, list[str]] = {}
    for key, value in shared.items():
        if key.startswith("bridge_add_"):
            added.setdefault(value, []).append(key[len("bridge_add_") :])
    for variable, (path, values) in said.items():
        mac = mac_of(_spelt(variable)) if _MAC.match(variable) else None
        name = called.get(variable) or known.get(variable, variable)
        if name not in ("lo", "lo0"):
            one = _profile(path, name, variable, values, parent=vlans.get(name, ""), added=added.get(name, []))
            active = name in started or mac is not None
            yield replace(one, name=None if mac else name, mac=mac, active=active, mentioned=not active)
    for name, below in vlans.items():
        if _variable(name) not in said:
            active = name in started
            yield Profile("netifrc", PATH, name, kind="vlan", parent=below, method="dhcp", active=active, mentioned=not active)


def _profile(path: str, name: str, variable: str, values: Mapping[str, str], *, parent: str, added: Sequence[str]) -> Profile:
    kind, members = _below(values, variable)
    made = any(f"{key}_{variable}" in values for key in _MADE)
    parent = parent or values.get(f"macvlan_{variable}", "") or values.get(f"link_{variable}", "")
    said = _lines(values.get(f"config_{variable}", ""))
    addresses = tuple(found for line in said for found in _addresses(line))
    # Without a word about it, it is DHCP.
    dynamic = not said or any(word in _DYNAMIC for line in said for word in line.split()[:1])
    gateway = next((found[1] for line in _lines(values.get(f"routes_{variable}", "")) if (found := _DEFAULT.match(line))), "")
    return Profile(
        "netifrc", path, name, None, None, "bridge" if added else kind or ("vlan" if parent else "other" if made else "ethernet"),
        tuple(dict.fromkeys((*members, *added))), parent,
        "static" if addresses else "dhcp" if dynamic else "none", addresses, gateway,
    )  # fmt: skip


def _below(values: Mapping[str, str], variable: str) -> tuple[str, list[str]]:
    """What an interface is by what lies below it."""
    for key, kind in (("slaves", "bond"), ("bridge", "bridge")):
        if f"{key}_{variable}" in values:
            return kind, [name for line in _lines(values[f"{key}_{variable}"]) for name in line.split()]
    return "", []


def _needed(values: Mapping[str, str], name: str) -> list[str]:
    """The interfaces that another one's service needs, and so starts."""
    said = values.get(f"rc_net_{_variable(name)}_need", "") + " " + values.get(f"rc_need_{_variable(name)}", "")
    return [word[len("net.") :] for word in said.split() if word.startswith("net.")]


def _vlans(values: Mapping[str, str], known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The VLANs and what each lies on: vlans_eth0="1 2" makes eth0.1 and eth0.2, unless they are named."""
    named = {(match["below"] or "", match["number"]): value for key, value in values.items() if (match := _VLAN_NAME.match(key))}
    for key, value in values.items():
        if key.startswith("vlans_"):
            variable = key[len("vlans_") :]
            below = known.get(variable, variable)
            for number in value.split():
                yield named.get((variable, number)) or named.get(("", number)) or f"{below}.{number}", below


def _started(guest: Guest) -> Iterator[str]:
    """What a runlevel starts, of OpenRC or as a unit of systemd."""
    for level in guest.listdir(_RUNLEVELS):
        yield from (path.rsplit("/net.", 1)[1] for path in glob(guest, f"{_RUNLEVELS}/{level}", prefix="net."))
    for wants in glob(guest, _WANTS, ".wants"):
        yield from (path.rsplit("/net@", 1)[1][: -len(".service")] for path in glob(guest, wants, ".service", "net@"))


def _lines(value: str) -> list[str]:
    return [line.strip() for line in value.splitlines() if line.strip()]


def _addresses(line: str) -> Iterator[str]:
    """The addresses of a line: several of CIDR form, or one with a netmask in words."""
    words = line.split()
    netmask = next((after for word, after in zip(words, words[1:]) if word == "netmask"), "")
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        found = cidr(word, netmask) if before not in ("netmask", "brd", "broadcast", "peer", "pointopoint", "via") else None
        if found is not None:
            yield found


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _spelt(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
