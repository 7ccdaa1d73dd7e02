# SPDX-License-Identifier: GPL-3.0-or-later
"""Arch's netctl. Source: netctl.profile(5), netctl(1), netctl.special(7). A profile without a unit that is started is only an example."""

from __future__ import annotations

from typing import Iterator

from ...guest.protocol import Guest, glob, text
from . import units
from .model import LEFTOVER, Profile, assignments, cidr

DIRECTORY = "/etc/netctl"
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
    started, plugged = units.started(guest, "netctl"), units.started(guest, "netctl-ifplugd")
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
        active = path.rsplit("/", 1)[1] in started or name in plugged
        yield Profile(
            "netctl", path, name or None, None, None, kind, tuple(below) if kind in ("bond", "bridge") else (),
            below[0] if kind == "vlan" and below else "",
            "static" if addresses else "dhcp" if values.get("IP") == "dhcp" else "none", addresses, values.get("Gateway", ""),
            active, mentioned=not active,
        )  # fmt: skip
