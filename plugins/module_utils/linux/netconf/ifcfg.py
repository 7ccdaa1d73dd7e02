# SPDX-License-Identifier: GPL-3.0-or-later
"""ifcfg files of Red Hat's and SUSE's families. Source: initscripts' sysconfig.txt, nm-settings-ifcfg-rh(5), ifcfg(5) of wicked with its ifcfg-team(5),
ifcfg-ovs-bridge(5) and ifcfg-macvlan(5)."""

from __future__ import annotations

import re
from typing import Iterator, Optional

from ...guest.protocol import Guest, glob, text
from .model import LEFTOVER, Profile, cidr, mac_of, shell

_BY_MAC = re.compile(r"^eth-id-([0-9a-fA-F:]{17})$")
_ON_ONE = ("ETHERDEVICE", "MACVLAN_DEVICE", "IPVLAN_DEVICE")
REDHAT, SUSE = "/etc/sysconfig/network-scripts", "/etc/sysconfig/network"


def read(guest: Guest) -> Iterator[Profile]:
    yield from _redhat(guest)
    yield from _suse(guest)


def _files(guest: Guest, directory: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    for path in glob(guest, directory, prefix="ifcfg-"):
        name = path.rsplit("ifcfg-", 1)[1]
        if name != "lo" and not LEFTOVER.search(name):
            yield path, name, shell(text(guest, path) or "")


def _redhat(guest: Guest) -> Iterator[Profile]:
    files = list(_files(guest, REDHAT))
    members: dict[str, list[str]] = {}
    for dummy, suffix, values in files:
        for key in ("MASTER", "BRIDGE", "TEAM_MASTER"):
            if key in values:
                members.setdefault(values[key], []).append(values.get("DEVICE", suffix))
    default = shell(text(guest, "/etc/sysconfig/network") or "").get("GATEWAY", "")
    for path, suffix, values in files:
        mac = mac_of(values.get("HWADDR"))
        name = values.get("DEVICE") or (None if mac else suffix)
        kind = values.get("TYPE", "").lower()
        dotted = re.match(r"^(.+)\.\d+$", name or "")
        vlan = values.get("VLAN", "").lower() == "yes" or kind == "vlan"
        if ":" in (name or ""):  # an alias of another interface
            continue
        addresses = _numbered(values)
        yield Profile(
            "ifcfg", path, name, mac, None,
            "vlan" if vlan else "bond" if kind == "bond" or "BONDING_OPTS" in values else "bridge" if kind == "bridge"
            else "team" if kind == "team" or values.get("DEVICETYPE", "").lower() == "team" else "ethernet",
            tuple(members.get(name or "", ())), (values.get("PHYSDEV") or (dotted[1] if dotted else "")) if vlan else "",
            "static" if addresses else "dhcp" if values.get("BOOTPROTO", "").lower() in ("dhcp", "bootp") else "none",
            addresses, values.get("GATEWAY", values.get("GATEWAY0", default if addresses else "")),
            values.get("ONBOOT", "yes").lower() not in ("no", "false", "f", "n", "0"),
        )  # fmt: skip


def _suse(guest: Guest) -> Iterator[Profile]:
    for path, name, values in _files(guest, SUSE):
        slaves = [value for key, value in sorted(values.items()) if re.match(r"BONDING_SLAVE_?\d+$", key)]
        team = [value for key, value in sorted(values.items()) if re.match(r"TEAM_PORT_DEVICE(_?\d+)?$", key)]
        ports = values.get("BRIDGE_PORTS", "").split()
        ports += [value for key, value in sorted(values.items()) if re.match(r"OVS_BRIDGE_PORT_DEVICE(_?\d+)?$", key)]
        parent = next((values[key] for key in _ON_ONE if values.get(key)), "")
        by_mac = _BY_MAC.match(name)  # as SUSE's systems before SLES 11 call their files
        addresses = _numbered(values)
        dynamic = values.get("BOOTPROTO", "").lower().startswith("dhcp")
        yield Profile(
            "wicked", path, None if by_mac else name, mac_of(by_mac[1]) if by_mac else None, None,
            "vlan" if parent else "bridge" if ports else "bond" if slaves else "team" if team else "ethernet", tuple(slaves or team or ports), parent,
            "dhcp" if dynamic else "static" if addresses else "none", addresses, _route(guest, name) if addresses else "",
            values.get("STARTMODE", "auto").lower() not in ("manual", "off"),
        )  # fmt: skip


def _route(guest: Guest, name: str) -> str:
    """The default route of routes(5): DESTINATION GATEWAY ..."""
    for path in (f"{SUSE}/ifroute-{name}", f"{SUSE}/routes"):
        for line in (text(guest, path) or "").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] in ("default", "0.0.0.0/0"):
                return words[1]
    return ""


def _numbered(values: dict[str, str]) -> tuple[str, ...]:
    """IPADDR, IPADDR0, IPADDR_1, ... with the prefix or netmask of the same suffix."""
    found: list[Optional[str]] = []
    for key in sorted(key for key in values if re.match(r"IPADDR(_?\w+)?$", key)):
        suffix = key[len("IPADDR") :]
        prefix = next((values[name + suffix] for name in ("PREFIX", "PREFIXLEN", "NETMASK") if values.get(name + suffix)), "")
        found.append(cidr(values[key], prefix))
    found += [cidr(values[key]) for key in ("IPV6ADDR",) if key in values]
    return tuple(address for address in found if address is not None)
