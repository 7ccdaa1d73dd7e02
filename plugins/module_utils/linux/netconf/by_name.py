# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that match a NIC by its MAC match it by the name that is pinned to it, so that they apply under another MAC too.

Only the match changes: a MAC that a profile gives its NIC (networkd's [Link], NetworkManager's cloned-mac-address, MACADDR) stays.
Source: systemd.network(5), netplan(5), nm-settings-keyfile(5), initscripts' sysconfig.txt (ifup-eth leaves a NIC with another HWADDR alone).
"""

from __future__ import annotations

import copy
import re
from typing import Any, Iterator, Mapping, Optional

from ...core.macs import Mac
from ...guest.protocol import Guest, glob, text
from .. import yamlfile
from . import ifcfg, netplan, networkd, networkmanager
from .model import LEFTOVER, each_line, entries, globs, mac_of, matched, shell, wanted

_BY_MAC = ("macaddress", "permanentmacaddress")
_ETHERNET = ("ethernet", "802-3-ethernet")
_HWADDR = re.compile(r"(?m)^[ \t]*(?:export[ \t]+)?HWADDR=.*(?:\n|\Z)")
_MACADDRESS = re.compile(
    r"(?<![\w\"'])(?P<key>[\"']?)macaddress(?P=key):[ \t]*(?P<quote>[\"']?)(?P<mac>[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})(?P=quote)"
)
_BRACES = re.compile(r"\bmatch[\"']?:\s*\{[^{}]*$")
# The drivers of what lies on a NIC, as ethtool calls them (drivers/net/bonding, net/bridge, net/8021q, drivers/net/macvlan.c, drivers/net/team).
_ON_CARDS = ("bonding", "bridge", "802.1Q", "macvlan", "team")
_FAR = 2000  # characters between `match:` and what it holds


def rewritten(guest: Guest, names: Mapping[Mac, str]) -> Iterator[tuple[str, Optional[str], str]]:
    """(path, text before, text after) of each file; `names` are those that are pinned. What cannot be rewritten stays bound to its MAC.

    A file of the distribution's own gets its like in /etc, which takes its place.
    """
    yield from _networks(guest, names)
    for path in netplan.files(guest):
        before = text(guest, path) or ""
        yield path, before, _netplan(before, names)
    for path in glob(guest, networkmanager.DIRECTORIES[0]):
        if not LEFTOVER.search(path):
            before = text(guest, path) or ""
            yield path, before, _keyfile(before, names)
    for path in glob(guest, ifcfg.REDHAT, prefix="ifcfg-"):
        if not LEFTOVER.search(path.rsplit("ifcfg-", 1)[1]):
            before = text(guest, path) or ""
            yield path, before, _ifcfg(before, names)


def _networks(guest: Guest, names: Mapping[Mac, str]) -> Iterator[tuple[str, Optional[str], str]]:
    """The .network files of networkd. One whose drop-ins match too is not one match to be rewritten, and one in /run is not to stay."""
    taken: set[Mac] = set()
    for path in networkd.in_force(guest, ".network"):
        before, whole = text(guest, path) or "", networkd.content(guest, path)
        own = networkd.own(path)
        # Of all files that match a card the first applies; a later one with its MAC is for what lies on the card and has that too.
        after = _network(before, {mac: name for mac, name in names.items() if mac not in taken})
        taken.update(mac for mac, name in names.items() if _takes(whole, name, mac))
        if after != before and matched(whole) == matched(before) and not path.startswith(networkd.VOLATILE):
            yield own, before if path == own else None, after


def _of_a_card(match: Mapping[str, str]) -> bool:
    """Whether a file can be one for a NIC itself: what lies on it has the same MAC."""
    return "kind" not in match and match.get("type", "ether") == "ether" and not set(match.get("driver", "").split()) & set(_ON_CARDS)


def _takes(said: str, name: str, mac: Mac) -> bool:
    """Whether a .network file is for this NIC, by its name or by its MAC."""
    match, (taken, refused) = matched(said), wanted(said, "name")
    by_name = (
        bool(taken or refused) and (not taken or any(globs(name, one) for one in taken)) and not any(globs(name, one) for one in refused)
    )
    by_mac = any(mac_of(word) == mac for key in _BY_MAC for word in match.get(key, "").split())
    return _of_a_card(match) and (by_name or by_mac)


def _network(content: str, names: Mapping[Mac, str]) -> str:
    match = matched(content)
    sets = [[_called(word, names) for word in match[key].split()] for key in _BY_MAC if match.get(key)]
    wanted = [name for name in dict.fromkeys(sets[0] if sets else []) if name is not None]
    patterns = match.get("name", "").split()
    if (
        not wanted
        or any(set(found) != set(wanted) for found in sets)  # a NIC has to have both addresses
        or not _of_a_card(match)
        or any(pattern.startswith("!") for pattern in patterns)
        or (patterns and not all(any(globs(name, pattern) for pattern in patterns) for name in wanted))
    ):
        return content
    lines: list[str] = []
    by_name = f"Name={' '.join(wanted)}\n"
    for section, key, line in each_line(content):
        if section != "match" or key not in ("name", *_BY_MAC):
            lines.append(line)
        elif by_name not in lines:
            lines.append(by_name)
    return "".join(lines)


def _keyfile(content: str, names: Mapping[Mac, str]) -> str:
    values = {(section, key): value for section, key, value in entries(content)}  # the last of a key counts
    known = (networkmanager.mac(values.get((section, "mac-address"), "")) for section in _ETHERNET)
    name = next((names[mac] for mac in known if mac is not None and mac in names), None)
    own = values.get(("connection", "interface-name"))
    if name is None or values.get(("connection", "type")) not in _ETHERNET or (own and own != name):
        return content
    lines = []
    for section, key, line in each_line(content):
        named = section == "connection" and key == "interface-name" and not own
        if not named and not (section in _ETHERNET and key == "mac-address"):
            lines.append(line)
        if section == "connection" and key == "type" and not own:
            lines[-1] += "" if line.endswith("\n") else "\n"
            lines.append(f"interface-name={name}\n")
    return "".join(lines)


def _ifcfg(content: str, names: Mapping[Mac, str]) -> str:
    values = shell(content)
    name = _called(values.get("HWADDR"), names)
    lies_on_it = (
        values.get("TYPE", "Ethernet").lower() != "ethernet"
        or values.get("VLAN", "").lower() == "yes"
        or bool({"DEVICETYPE", "BONDING_OPTS"} & set(values))
    )
    if name is None or lies_on_it or values.get("DEVICE", name) != name:
        return content
    return _HWADDR.sub("", content) if "DEVICE" in values else _HWADDR.sub("", _HWADDR.sub(f"DEVICE={name}\n", content, count=1))


def _netplan(content: str, names: Mapping[Mac, str]) -> str:
    """YAML is edited as text, to keep its comments and its order, and read again: it stays where that shows anything else."""
    try:
        data = yamlfile.load(content, "The guest's network is configured by netplan")
        expected = _expected(data, names)
        after = _MACADDRESS.sub(lambda found: _named(content, found, names), content)
        return after if expected != data and yamlfile.load(after, "") == expected else content
    except (AttributeError, TypeError, ValueError):  # which is said where profiles are read
        return content


def _expected(data: Any, names: Mapping[Mac, str]) -> Any:
    wanted = copy.deepcopy(data)
    for definition, values in (((wanted or {}).get("network") or {}).get("ethernets") or {}).items():
        if definition == "renderer":  # of all definitions of the section
            continue
        match = (values or {}).get("match") or {}
        name = _called(str(match.get("macaddress", "")), names)
        if name is not None and "name" not in match and values.get("set-name", name) == name:
            del match["macaddress"]
            match["name"] = name
    return wanted


def _named(content: str, found: re.Match[str], names: Mapping[Mac, str]) -> str:
    """The match by name in place of one by MAC; a MAC that is no match, but the one to be set, stays."""
    name = _called(found["mac"], names)
    head = content[max(0, found.start() - _FAR) : found.start()]
    if name is None or not (_BRACES.search(head) or _below_match(head)):
        return found[0]
    return f"{found['key']}name{found['key']}: {found['key']}{name}{found['key']}"


def _below_match(head: str) -> bool:
    """Whether what follows is below `match:` by its indentation."""
    *lines, indent = head.split("\n")
    if indent.strip():
        return False
    above = (line for line in reversed(lines) if line.strip() and not line.lstrip().startswith("#"))
    return next((line.lstrip().startswith("match:") for line in above if len(line) - len(line.lstrip()) < len(indent)), False)


def _called(value: Optional[str], names: Mapping[Mac, str]) -> Optional[str]:
    """The name that is pinned to a MAC as a profile has it."""
    mac = mac_of(value)
    return names.get(mac) if mac is not None else None
