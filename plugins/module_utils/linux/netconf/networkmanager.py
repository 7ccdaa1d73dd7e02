# SPDX-License-Identifier: GPL-3.0-or-later
"""NetworkManager's keyfiles. Source: nm-settings-keyfile(5)."""

from __future__ import annotations

import re
from typing import Iterator, Mapping, Optional

from ...core import macs
from ...core.macs import Mac
from ...guest.protocol import Guest, glob, text
from .model import LEFTOVER, Profile, cidr, entries, ini, mac_of, of_cards

DIRECTORIES = ("/etc/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections")
# Which NICs it leaves alone or treats apart (NetworkManager.conf(5), Device List Format).
_SETTINGS = ("/usr/lib/NetworkManager/conf.d", "/etc/NetworkManager/conf.d")
_NAMED = re.compile(r"interface-name:[=~]?([^;,\s]+)")
_KINDS = {"ethernet": "ethernet", "802-3-ethernet": "ethernet", "bond": "bond", "bridge": "bridge", "vlan": "vlan", "team": "team"}


def read(guest: Guest) -> Iterator[Profile]:
    yield from _unmanaged(guest)
    contents = {path: text(guest, path) or "" for directory in DIRECTORIES for path in glob(guest, directory) if not LEFTOVER.search(path)}
    members: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for content in contents.values():
        values = ini(content)
        name = values.get(("connection", "interface-name"), "")
        names[values.get(("connection", "uuid"), "")] = name
        master = values.get(("connection", "master")) or values.get(("connection", "controller"))
        if master and name:
            members.setdefault(master, []).append(name)
    for path, content in contents.items():
        values = ini(content)
        kind = _KINDS.get(values.get(("connection", "type"), ""))
        if kind is None:
            continue
        section = "ethernet" if ("ethernet", "mac-address") in values else "802-3-ethernet"
        owns, refused = _names(values)
        if not owns and (section, "mac-address") not in values and kind == "ethernet":
            owns = ["*"]  # bound to nothing, so it takes any NIC
        below = members.get((owns or [""])[0] or "", []) + members.get(values.get(("connection", "uuid"), "?"), [])
        parent = values.get(("vlan", "parent"), "")
        fixed, gateway = _addresses(content, values.get(("ipv4", "gateway"), ""))
        methods = {values.get(("ipv4", "method")), values.get(("ipv6", "method"))}
        for own in owns or [None]:
            yield Profile(
                "networkmanager", path, own, mac(values.get((section, "mac-address"), "")), values.get(("match", "driver")), kind,
                tuple(below), names.get(parent, parent),
                "static" if "manual" in methods and fixed else "dhcp" if "auto" in methods else "none", fixed, gateway,
                values.get(("connection", "autoconnect"), "true").lower() not in ("false", "no", "0"), but=tuple(refused),
            )  # fmt: skip


def mac(value: str) -> Optional[Mac]:
    """An address in one of its usual spellings, or as NetworkManager before 1.0 wrote it."""
    return mac_of(value) or macs.of_decimals(value)


def _unmanaged(guest: Guest) -> Iterator[Profile]:
    """The names in lists of devices, by which NICs have to be known further on."""
    for path in ("/etc/NetworkManager/NetworkManager.conf", *(path for base in _SETTINGS for path in glob(guest, base, ".conf"))):
        named = tuple(name for dummy, key, value in entries(text(guest, path) or "") for name in _NAMED.findall(value) if of_cards(name))
        if named:
            yield Profile("networkmanager", path, None, but=named)


def _names(values: Mapping[tuple[str, str], str]) -> tuple[list[Optional[str]], list[str]]:
    """The name, or each alternative of a match by name, which may be a pattern; and the patterns of names that must not match."""
    own = values.get(("connection", "interface-name"))
    alternatives = re.split(r"[;\s]+", values.get(("match", "interface-name"), ""))
    refused = [word.lstrip("|&!") for word in alternatives if "!" in word and word.strip("|&!")]
    return [own] if own else [word.lstrip("|&") for word in alternatives if word.strip("|&") and "!" not in word], refused


def _addresses(content: str, gateway: str) -> tuple[tuple[str, ...], str]:
    """addressN=ADDRESS/PREFIX[,GATEWAY], and the older form with semicolons."""
    fixed = []
    for section, key, value in entries(content):
        if section in ("ipv4", "ipv6") and key.startswith("address") and key != "addresses-data":
            words = [word.strip() for word in value.replace(";", ",").split(",") if word.strip()]
            found = cidr(words[0]) if words else None
            if found is not None:
                fixed.append(found)
            if section == "ipv4" and len(words) > 1 and "/" not in words[1] and not gateway:
                gateway = words[1]
    return tuple(fixed), gateway
