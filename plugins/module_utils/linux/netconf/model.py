# SPDX-License-Identifier: GPL-3.0-or-later
"""A network profile, whichever backend wrote it, and the small readers that several backends share."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional

from ...core import macs

PHYSICAL = re.compile(r"^(eth\d+|en[opsxP]\w+|em\d+|p\d+p\d+)$")


# How a pattern of names of NICs begins; others are for what programs make, or for cards of another kind.
_BEGINS = re.compile(r"^(?:$|e$|e(?:n|t|th|m)|p$|p\d)")


def of_cards(name: str) -> bool:
    """Whether a name, or a pattern of names, can be that of a NIC by its form."""
    fixed = re.split(r"[*?\[]", name, maxsplit=1)[0]
    return bool(PHYSICAL.match(name)) if fixed == name else bool(_BEGINS.match(fixed))


# What the kernel takes as a name (dev_valid_name in net/core/dev.c).
_LONGEST_PATTERN = 256
_WILD = re.compile(r"[*?\[]")
VALID = re.compile(r"^(?!\.{1,2}$)[^\s/:]{1,15}$")


@dataclass(frozen=True)
class Profile:
    """A profile of `backend` in `path` for the interface `name` (or a pattern of names) and/or the NIC with `mac` (None: not bound to it).

    `kind` is ethernet, bond, bridge, team, vlan or other; `members` are the interfaces below a bond, bridge or team, `parent` the one below a
    VLAN. `method` is static, dhcp or none; `addresses` are in CIDR form. `active`: the system brings it up by itself.

    `anyone`: it is for each NIC, whatever it is called; `but` are patterns of names that it is not for. `doubt` is what decides whether it
    applies to a NIC where nothing here can tell. `mentioned`: it says no more than that something knows a card by this name, which need not be there.
    """

    backend: str
    path: str
    name: Optional[str]
    mac: Optional[macs.Mac] = None
    driver: Optional[str] = None
    kind: str = "ethernet"
    members: tuple[str, ...] = ()
    parent: str = ""
    method: str = "none"
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    active: bool = True
    anyone: bool = False
    but: tuple[str, ...] = ()
    doubt: str = ""
    mentioned: bool = False


def ini(content: str) -> dict[tuple[str, str], str]:
    """(section, key) in lower case to value; the first of a repeated key counts."""
    values: dict[tuple[str, str], str] = {}
    for section, key, value in entries(content):
        values.setdefault((section, key), value)
    return values


def each_line(content: str) -> Iterator[tuple[str, str, str]]:
    """(section, key, line with its end) of every line, section and key in lower case; no key where a line sets nothing."""
    section = ""
    for line in content.splitlines(keepends=True):
        bare, key = line.strip(), ""
        if bare.startswith("[") and bare.endswith("]"):
            section = bare[1:-1].lower()
        elif "=" in bare and bare[0] not in "#;":
            key = bare.partition("=")[0].strip().lower()
        yield section, key, line


def entries(content: str) -> list[tuple[str, str, str]]:
    """Every (section, key, value) in order."""
    return [(section, key, line.partition("=")[2].strip()) for section, key, line in each_line(content) if key]


def matched(content: str) -> dict[str, str]:
    """What a .network or .link file matches: a key that is there several times is one list, which an empty value begins anew (systemd.syntax(7))."""
    found: dict[str, str] = {}
    for section, key, value in entries(content):
        if section == "match":
            found[key] = f"{found.get(key, '')} {value}".strip() if value else ""
    return {key: value for key, value in found.items() if value}


def wanted(content: str, key: str) -> tuple[list[str], list[str]]:
    """The patterns of a key of [Match] that it takes, and those that it refuses: a `!` before the first of a line is one before each, and one
    before another is for that alone (systemd.network(5); net_condition_test_strv in systemd's src/libsystemd-network/network-internal).
    """
    taken: list[str] = []
    refused: list[str] = []
    for section, name, value in entries(content):
        if (section, name) != ("match", key):
            continue
        if not value:
            taken, refused = [], []
        inverted = value.startswith("!")
        for word in value[inverted:].split():
            (refused if inverted or word.startswith("!") else taken).append(word.lstrip("!"))
    return taken, refused


def globs(name: str, pattern: str) -> bool:
    """Whether a pattern fits a name. No name of a NIC or a driver needs a long one, and those take long."""
    if not _WILD.search(pattern):
        return name == pattern
    return len(pattern) <= _LONGEST_PATTERN and fnmatch.fnmatchcase(name, pattern)


def fitting(patterns: Iterable[str]) -> re.Pattern[str]:
    """What matches a name that one of some patterns fits."""
    parts = [fnmatch.translate(pattern) for pattern in patterns if len(pattern) <= _LONGEST_PATTERN]
    return re.compile("|".join(parts) if parts else "(?!)")


def shell(content: str) -> dict[str, str]:
    """Assignments of a sysconfig file, without their quotes."""
    return {
        match[1]: match[2].strip().strip("\"'")
        for match in re.finditer(r"^[ \t]*(?:export[ \t]+)?(\w+)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s#]*)", content, re.MULTILINE)
    }


_FUNCTION = re.compile(r"^[ \t]*(?:function[ \t]+)?\w{1,60}[ \t]*\(\)[ \t]*(?:\{|$)")
_DOUBLE, _SINGLE = r"\"(?:[^\"\\]|\\.)*\"", r"'[^']*'"
_ARRAY = rf"\((?:[^()\"'#]|(?<![\s(])#|(?<=[\s(])#[^\n]*|{_DOUBLE}|{_SINGLE})*\)"
_SET = re.compile(
    rf"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w{{0,60}})(?P<more>\+?)=(?P<value>{_ARRAY}|{_DOUBLE}|{_SINGLE}|[^\s#;]*)", re.MULTILINE
)
_ITEM = re.compile(r"(?<!\S)#[^\n]*|\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|(\S+)")


def assignments(content: str) -> dict[str, str]:
    """Assignments of a shell file whose values may have several lines, or be arrays, whose items become lines (bash(1)). Those in functions are none."""
    values: dict[str, str] = {}
    for match in _SET.finditer(_without_functions(content)):
        raw = match["value"]
        if raw.startswith("("):
            value = "\n".join(item[1] or item[2] or item[3] or "" for item in _ITEM.finditer(raw[1:-1]) if item[0][:1] != "#")
        else:
            value = raw[1:-1] if raw[:1] in ('"', "'") else raw
        values[match["name"]] = f"{values.get(match['name'], '')}\n{value}" if match["more"] else value
    return values


def _without_functions(content: str) -> str:
    """A shell file without what stands between the braces of its functions, as they are usually laid out."""
    kept, inside = [], False
    for line in content.splitlines(keepends=True):
        begins = not inside and _FUNCTION.match(line) is not None
        if not inside and not begins:
            kept.append(line)
        inside = (inside and not line.startswith("}")) or (begins and not line.rstrip().endswith("}"))
    return "".join(kept)


# Copies that editors and package managers leave, which no backend reads.
LEFTOVER = re.compile(r"(\.(bak|old|orig|swp|swpx|template|rpmsave|rpmnew|rpmorig|pacsave|pacnew|pacorig|dpkg-\w+)|~)$|(^|/)\.[^/]*$")


def mac_of(value: Optional[str]) -> Optional[macs.Mac]:
    """A MAC as a profile has it, perhaps in quotes; None for anything else."""
    return macs.canonical((value or "").strip("\"' "))


def cidr(address: str, prefix: str = "") -> Optional[str]:
    """ADDRESS/PREFIX from an address that may carry its prefix, and a prefix length or netmask; None for what is no address."""
    text = address if "/" in address or not prefix else f"{address}/{prefix}"
    try:
        return ipaddress.ip_interface(text).with_prefixlen
    except ValueError:
        return None


def cidrs(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(found for found in map(cidr, values) if found is not None)
