# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-networkd's .network and .netdev files. Source: systemd.network(5), systemd.netdev(5)."""

from __future__ import annotations

import itertools
import re
from typing import Iterator, Optional

from ...core.macs import Mac
from ...guest.protocol import Guest, glob, resolve_link, text
from .model import Profile, cidrs, entries, ini, mac_of, matched

DIRECTORY = "/etc/systemd/network"
DIRECTORIES = ("/usr/lib/systemd/network", "/lib/systemd/network", DIRECTORY)
_DYNAMIC = ("yes", "true", "both", "ipv4", "ipv6")


def read(guest: Guest) -> Iterator[Profile]:
    kinds: dict[str, str] = {}
    for path in in_force(guest, ".netdev"):
        values = ini(text(guest, path) or "")
        kinds[values.get(("netdev", "name"), "")] = values.get(("netdev", "kind"), "").lower()
    contents = {path: text(guest, path) or "" for path in in_force(guest, ".network")}
    members: dict[str, list[str]] = {}
    parents: dict[str, str] = {}
    for content in contents.values():
        names = matched(content).get("name", "").split()
        for section, key, value in entries(content):
            if section == "network" and key in ("bond", "bridge"):
                members.setdefault(value, []).extend(names)
            elif section == "network" and key == "vlan":
                parents.update({vlan: name for vlan in value.split() for name in names})
    for path, content in contents.items():
        yield from _profiles(path, content, kinds, members, parents)


def in_force(guest: Guest, suffix: str) -> list[str]:
    """The files in force, by name: one of the administrator's takes the place of the distribution's of the same name."""
    found = {path.rsplit("/", 1)[1]: path for directory in DIRECTORIES for path in glob(guest, directory, suffix)}
    return [found[name] for name in sorted(found) if resolve_link(guest, found[name]) != "/dev/null"]


def _profiles(path: str, content: str, kinds: dict[str, str], members: dict[str, list[str]], parents: dict[str, str]) -> Iterator[Profile]:
    values, match = ini(content), matched(content)
    found = match.get("macaddress") or match.get("permanentmacaddress") or ""
    macs: list[Optional[Mac]] = [mac for mac in map(mac_of, found.split()) if mac is not None]
    addresses = cidrs(value for section, key, value in entries(content) if section in ("network", "address") and key == "address")
    gateways = [
        value
        for section, key, value in entries(content)
        if section in ("network", "route") and key == "gateway" and re.match("[0-9]", value)
    ]
    dynamic = values.get(("network", "dhcp"), "no").lower() in _DYNAMIC
    names: list[Optional[str]] = [*match.get("name", "").split()]
    pairs = itertools.product(names or ([None] if macs or match.get("driver") else []), macs or [None])
    for name, mac in pairs:
        if name is not None and name.startswith("!"):
            continue
        kind = kinds.get(name or "", "")
        yield Profile(
            "networkd", path, name, mac, match.get("driver"),
            kind if kind in ("bond", "bridge", "vlan", "team") else "ethernet",
            tuple(members.get(name or "", ())), parents.get(name or "", ""),
            "static" if addresses else "dhcp" if dynamic else "none", addresses, gateways[0] if gateways else "",
        )  # fmt: skip
