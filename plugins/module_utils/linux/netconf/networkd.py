# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-networkd's .network and .netdev files with their drop-ins. Source: systemd.network(5), systemd.netdev(5), systemd.link(5)."""

from __future__ import annotations

import itertools
import re
from typing import Iterable, Iterator, Optional

from ...core.macs import Mac
from ...guest.protocol import Guest, glob, resolve_link, text
from .model import Profile, cidrs, entries, globs, mac_of, matched, wanted

DIRECTORY = "/etc/systemd/network"
VOLATILE = "/run/systemd/network"
# From the least to the most: what is in a later one takes the place of what has the same name in an earlier one.
DIRECTORIES = ("/usr/lib/systemd/network", "/lib/systemd/network", "/usr/local/lib/systemd/network", VOLATILE, DIRECTORY)
_NETPLANS = f"{VOLATILE}/10-netplan-"  # which netplan makes of its own files at each boot
_DYNAMIC = ("yes", "true", "both", "ipv4", "ipv6")
# What is no VM, and any VM (systemd.unit(5), ConditionVirtualization=).
_NO_VM = (
    "no",
    "false",
    "0",
    "off",
    "container",
    "lxc",
    "lxc-libvirt",
    "systemd-nspawn",
    "docker",
    "podman",
    "openvz",
    "rkt",
    "wsl",
    "proot",
    "pouch",
    "acrn",
)
_VM = ("yes", "true", "1", "on", "vm", "kvm")
_MOST_REFUSED = 100
_MOST_PAIRS = 1000  # of names and MACs in one file
_VIRTUAL = ("bond", "bridge", "vlan", "team")


def read(guest: Guest) -> Iterator[Profile]:
    kinds: dict[str, str] = {}
    for path in in_force(guest, ".netdev"):
        values = _last(content(guest, path))
        kinds[values.get(("netdev", "name"), "")] = values.get(("netdev", "kind"), "").lower()
    contents = {path: content(guest, path) for path in in_force(guest, ".network")}
    members: dict[str, dict[str, None]] = {}
    parents: dict[str, str] = {}
    for said in contents.values():
        match = matched(said)
        found = [mac for key in ("macaddress", "permanentmacaddress") for mac in map(mac_of, match.get(key, "").split()) if mac is not None]
        names = wanted(said, "name")[0] or found or (["*"] if _for_cards(said) and "driver" not in match else [])
        for (section, key), value in _last(said).items():
            if section == "network" and key in ("bond", "bridge"):
                members.setdefault(value, {}).update(dict.fromkeys(names))
        for section, key, value in entries(said):
            if section == "network" and key == "vlan" and names:
                parents.update(dict.fromkeys(value.split(), names[-1]))
    below = {name: tuple(found) for name, found in members.items()}
    for path, said in contents.items():
        yield from _profiles(path, said, kinds, below, parents)


def in_force(guest: Guest, suffix: str) -> list[str]:
    """The files in force, by name: one of the administrator's takes the place of the distribution's of the same name, and masks it if empty."""
    return _in_force(guest, DIRECTORIES, suffix)


def dropped_in(guest: Guest, path: str) -> list[str]:
    """The drop-ins of a file in force, in the order in which they are read after it, wherever it is itself."""
    name = path.rsplit("/", 1)[1]
    return _in_force(guest, [f"{directory}/{name}.d" for directory in DIRECTORIES], ".conf")


def content(guest: Guest, path: str) -> str:
    """What a file and its drop-ins say, one after the other."""
    return "\n".join(text(guest, one) or "" for one in (path, *dropped_in(guest, path)))


def own(path: str) -> str:
    """Where the administrator's file is that takes the place of this one: a file itself, or a drop-in."""
    directory, name = path.rsplit("/", 1)
    return f"{DIRECTORY}/{directory.rsplit('/', 1)[1]}/{name}" if directory.endswith(".d") else f"{DIRECTORY}/{name}"


def _in_force(guest: Guest, directories: Iterable[str], suffix: str) -> list[str]:
    paths = (path for directory in directories for path in glob(guest, directory, suffix) if not path.startswith(_NETPLANS))
    found = {path.rsplit("/", 1)[1]: path for path in paths}
    return [found[name] for name in sorted(found) if not _masks(guest, found[name])]


def _masks(guest: Guest, path: str) -> bool:
    stat = guest.stat(path)
    return resolve_link(guest, path) == "/dev/null" or (stat is not None and stat.kind == "file" and stat.size == 0)


def _last(said: str) -> dict[tuple[str, str], str]:
    """(section, key) to value, of which the last counts."""
    return {(section, key): value for section, key, value in entries(said)}


def _profiles(
    path: str, said: str, kinds: dict[str, str], members: dict[str, tuple[str, ...]], parents: dict[str, str]
) -> Iterator[Profile]:
    values, match = _last(said), matched(said)
    found = match.get("macaddress") or match.get("permanentmacaddress") or ""
    macs: list[Optional[Mac]] = [mac for mac in map(mac_of, found.split()) if mac is not None]
    addresses = cidrs(_listed(said, "address"))
    gateways = [value for value in _listed(said, "gateway") if re.match("[0-9]", value)]
    dynamic = values.get(("network", "dhcp"), "no").lower() in _DYNAMIC
    taken, refused = wanted(said, "name")
    names: list[Optional[str]] = [*taken]
    for_cards = _for_cards(said)
    anyone = not names and not found and "driver" not in match and "path" not in match and for_cards
    doubt = _doubt(match)
    if len(names) * len(macs) > _MOST_PAIRS:
        doubt, macs = f"{len(macs)} MACs beside {len(names)} names", []
    pairs = itertools.product(names or ([None] if macs or match.get("driver") or anyone else []), macs or [None])
    for name, mac in pairs:
        kind = kinds.get(name or "", "")
        yield Profile(
            "networkd", path, name, mac, match.get("driver"),
            kind if kind in _VIRTUAL else "ethernet" if for_cards else "other",
            members.get(name or "", ()), parents.get(name or "", ""),
            "static" if addresses else "dhcp" if dynamic else "none", addresses, gateways[0] if gateways else "",
            anyone=anyone, but=tuple(refused[:_MOST_REFUSED]), doubt=doubt,
        )  # fmt: skip


def _for_cards(said: str) -> bool:
    """Whether a match can take a NIC of a VM: one of Ethernet, which is of no kind."""
    types, no_types = wanted(said, "type")
    kinds, dummy = wanted(said, "kind")
    wireless = any(key in matched(said) for key in ("ssid", "bssid", "wlaninterfacetype"))
    fits = (not types or any(globs("ether", word) for word in types)) and not any(globs("ether", word) for word in no_types)
    where = matched(said).get("virtualization", "").lower()
    elsewhere = where in _NO_VM or (where.startswith("!") and where[1:].strip() in _VM)
    return fits and not kinds and not wireless and not elsewhere


def _doubt(match: dict[str, str]) -> str:
    """What a match asks of a NIC that is not known here: what udev knows of the new hardware."""
    return f"Property={match['property']}" if "property" in match else ""


def _listed(said: str, wanted_key: str) -> list[str]:
    """The values of a key of [Network], or of the sections for one address or route each; an empty one takes back those of [Network]."""
    found: list[tuple[str, str]] = []
    for section, key, value in entries(said):
        if key != wanted_key or section not in ("network", "address", "route"):
            continue
        if not value:
            found = [one for one in found if one[0] != section]
        else:
            found.append((section, value))
    return [value for dummy, value in found]
