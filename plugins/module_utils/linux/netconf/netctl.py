# SPDX-License-Identifier: GPL-3.0-or-later
"""Arch's netctl. Source: netctl.profile(5), netctl(1), netctl.special(7)."""

from __future__ import annotations

from typing import Iterator

from ...guest.protocol import Guest, glob, text
from .model import LEFTOVER, Profile, assignments, cidr

DIRECTORY = "/etc/netctl"
_WANTS = "/etc/systemd/system"
_KINDS = {
    "ethernet": "ethernet",
    "bond": "bond",
    "bridge": "bridge",
    "vlan": "vlan",
    "macvlan": "vlan",
    "openvswitch": "bridge",
    "pppoe": "vlan",
}
_NO_PROFILES = (".action", ".conf", ".service")


def read(guest: Guest) -> Iterator[Profile]:
    started = {path.rsplit("/", 1)[1] for wants in glob(guest, _WANTS, ".wants") for path in glob(guest, wants, ".service", "netctl")}
    for path in glob(guest, DIRECTORY):
        values = assignments(text(guest, path) or "")
        kind = _KINDS.get(values.get("Connection", ""))
        name = values.get("Interface", "")
        if kind is None or path.endswith(_NO_PROFILES) or LEFTOVER.search(path):
            continue
        below = values.get("BindsToInterfaces", "").split()
        if values["Connection"] == "pppoe":  # by the name of its card; the unit of ppp is its own
            name, below = "", [name]
        addresses = tuple(found for word in values.get("Address", "").split() if (found := cidr(word)))
        units = {f"netctl@{path.rsplit('/', 1)[1]}.service", f"netctl-ifplugd@{name}.service"}
        yield Profile(
            "netctl", path, name or None, None, None, kind, tuple(below) if kind in ("bond", "bridge") else (),
            below[0] if kind == "vlan" and below else "",
            "static" if addresses else "dhcp" if values.get("IP") == "dhcp" else "none", addresses, values.get("Gateway", ""),
            bool(units & started),
        )  # fmt: skip
