# SPDX-License-Identifier: GPL-3.0-or-later
"""dhcpcd as the network's manager: DHCP everywhere unless a block for an interface says otherwise. Source: dhcpcd.conf(5)."""

from __future__ import annotations

import re
from typing import Iterator

from ...guest.protocol import Guest, text
from . import units
from .model import Profile, cidrs, of_cards

_MOST = 100  # patterns
PATH = "/etc/dhcpcd.conf"


def read(guest: Guest) -> Iterator[Profile]:
    blocks: dict[str, dict[str, str]] = {}
    inside = ""
    allowed: list[str] = []
    denied: list[str] = []
    for line in (text(guest, PATH) or "").splitlines():
        words = line.split("#", 1)[0].split(None, 1)
        if len(words) == 2 and words[0] == "interface":
            inside = words[1].strip()
            blocks.setdefault(inside, {})
        elif len(words) == 2 and words[0] in ("allowinterfaces", "denyinterfaces"):
            (allowed if words[0].startswith("allow") else denied).extend(re.split(r"[,\s]+", words[1].strip()))
        elif len(words) == 2 and words[0] in ("static", "inform") and inside:
            key, equals, value = words[1].partition("=")
            blocks[inside][key.strip() if equals else words[0]] = value.strip() if equals else words[1].strip()
    for name, values in blocks.items():
        addresses = cidrs(values.get("ip_address", "").split())
        yield Profile(
            "dhcpcd",
            PATH,
            name,
            method="static" if addresses else "dhcp",
            addresses=addresses,
            gateway=values.get("routers", "").split(" ")[0],
        )
    denied = denied[:_MOST]
    for name in allowed[:_MOST]:
        if name not in blocks:
            yield Profile("dhcpcd", PATH, name, method="dhcp", but=tuple(denied))
    for name, unit in units.started(guest, "dhcpcd").items():  # as Arch has it
        if name not in blocks and name not in allowed:
            yield Profile("dhcpcd", unit, name, method="dhcp")
    if any(map(of_cards, denied)):
        yield Profile("dhcpcd", PATH, None, but=tuple(denied))
