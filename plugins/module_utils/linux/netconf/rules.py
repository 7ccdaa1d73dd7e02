# SPDX-License-Identifier: GPL-3.0-or-later
"""udev's rules that name NICs, in every file and spelling. Source: udev(7); before udev 174 ATTR was also SYSFS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Optional

from ...core.macs import Mac
from ...guest.protocol import Guest, glob, text
from .model import VALID, mac_of

DIRECTORY = "/etc/udev/rules.d"
_PAIR = re.compile(
    r'(?<![A-Z_])(?P<key>[A-Z_]{1,40})(?:\{(?P<attribute>[^}\n]{0,100})\})?\s*(?P<operator>==|!=|\+=|-=|:=|=)\s*[ei]?"(?P<value>(?:[^"\\]|\\.)*)"'
)
_NAME = re.compile(r',\s*NAME\s*:?=\s*"(?:[^"\\]|\\.)*"|\bNAME\s*:?=\s*"(?:[^"\\]|\\.)*"\s*,\s*')
_ADDRESS = re.compile(r"^[0-9a-f]{4}(?::[0-9a-f]+){2}\.[0-7]$")


@dataclass(frozen=True)
class Naming:
    """A rule that gives a NIC a `name`: one with this `mac`, at this `address` of PCI, or (neither) one that something else tells."""

    path: str
    name: str
    mac: Optional[Mac] = None
    address: str = ""


def namings(guest: Guest) -> Iterator[Naming]:
    """Every rule of the administrator's that names a NIC, in the order in which udev reads them."""
    for path in glob(guest, DIRECTORY, ".rules"):
        yield from parse(path, text(guest, path) or "")


def parse(path: str, content: str) -> Iterator[Naming]:
    """The rules of one file that name NICs; those with a pattern in the name are left out."""
    for line in content.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        pairs = [match.groupdict() for match in _PAIR.finditer(line)]
        matched = {(pair["key"], pair["attribute"] or ""): pair["value"] for pair in pairs if pair["operator"] == "=="}
        name = next((pair["value"] for pair in pairs if pair["key"] == "NAME" and pair["operator"] in ("=", ":=")), "")
        about = matched.get(("SUBSYSTEM", "")) or matched.get(("SUBSYSTEMS", ""))
        macs = [value for (key, attribute), value in matched.items() if key in ("ATTR", "ATTRS", "SYSFS") and attribute == "address"]
        if not VALID.match(name) or "%" in name or "$" in name or not (about == "net" or (about is None and macs)):
            continue
        address = next((matched[key, ""] for key in ("KERNELS", "BUSID", "ID") if _ADDRESS.match(matched.get((key, ""), ""))), "")
        yield Naming(path, name, mac_of(macs[0]) if macs else None, address)


def others(content: str) -> str:
    """What the rules of a file do but for naming NICs, with their lines as they are and the comments before them; empty without any."""
    kept, comments, logical = [], [], ""
    for line in content.splitlines(keepends=True):
        if not logical and (not line.strip() or line.lstrip().startswith("#")):
            comments.append(line)
            continue
        logical += line
        if line.rstrip("\r\n").endswith("\\"):
            continue
        rest = _nameless(logical) if any(parse("", logical)) else logical
        kept += [*comments, rest] if rest else []
        comments, logical = [], ""
    return "".join((*kept, *comments, logical)) if kept or logical else ""


def _nameless(rule: str) -> str:
    """A rule without the name that it gives; empty where it does nothing else."""
    does = [match["key"] for match in _PAIR.finditer(rule) if match["operator"] not in ("==", "!=")]
    return _NAME.sub("", rule, count=1) if set(does) - {"NAME"} else ""
