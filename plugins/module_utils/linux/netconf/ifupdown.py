# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's and Alpine's /etc/network/interfaces. Source: interfaces(5), ifenslave's and vlan's own pages, ifupdown-ng's interfaces(5)."""

from __future__ import annotations

import re
from typing import Collection, Iterator, Mapping, Optional

from ...guest.protocol import Guest, glob, text
from . import commands, ports
from .logical import Stated
from .model import Profile, cidr, globs

_MEMBERS = ("bond-slaves", "bond-members", "slaves")
_COMMANDS = ("pre-up", "up", "post-up")


Stanzas = dict[str, list[tuple[str, dict[str, str]]]]
MAIN = "/etc/network/interfaces"
_MOST_FILES, _MOST_PATTERNS = 200, 500
_IN_DIRECTORY = re.compile(r"^[a-zA-Z0-9_-]+$")


def read(guest: Guest) -> Iterator[Profile]:
    stated = Stated()
    stanzas: dict[str, Stanzas] = {}
    for path in files(guest):
        content = text(guest, path) or ""
        stated.add(path, _lines(content))
        stanzas[path] = parse(content)
    profiles = stated.with_starts(_profiles(stanzas))
    yield from map(stated.before, (*profiles, *stated.others(profiles), *_ports(stanzas, {one.name for one in profiles if one.active})))


def files(guest: Guest) -> list[str]:
    """The main file and those that it takes in, as ifup does: by pattern, or a directory's files with plain names."""
    found: list[str] = []
    named = [MAIN]
    known, patterns = set(named), set[tuple[str, str]]()
    for path in named:  # which grows meanwhile
        content = text(guest, path) if len(found) < _MOST_FILES else None
        if content is None:
            continue
        found.append(path)
        for how, pattern in _sources(path, content):
            if (how, pattern) in patterns or len(patterns) == _MOST_PATTERNS:
                continue
            patterns.add((how, pattern))
            more = [one for one in _matching(guest, how, pattern) if one not in known][: _MOST_FILES * 2]
            known.update(more)
            named += more
    return found


def _sources(path: str, content: str) -> Iterator[tuple[str, str]]:
    """How a file takes others in, and which."""
    for line in _lines(content):
        words = line.split()
        for pattern in words[1:] if words[:1] in (["source"], ["source-directory"]) else ():
            yield words[0], pattern if pattern.startswith("/") else f"{path.rsplit('/', 1)[0]}/{pattern}"


def _matching(guest: Guest, how: str, pattern: str) -> Iterator[str]:
    """The files of a pattern, of which hidden ones are named as such, or those of a directory."""
    if how == "source-directory":
        yield from (one for one in glob(guest, pattern) if _IN_DIRECTORY.match(one.rsplit("/", 1)[1]))
        return
    directory, dummy, wanted = pattern.rpartition("/")
    for one in glob(guest, directory, prefix="." if wanted.startswith(".") else ""):
        name = one.rsplit("/", 1)[1]
        if globs(name, wanted) and name.startswith(".") == wanted.startswith("."):
            yield one


def _lines(content: str) -> list[str]:
    """The lines, of which one that ends with a backslash goes on."""
    return re.sub(r"\\\n", " ", content).splitlines()


def parse(content: str) -> Stanzas:
    """The stanzas of each interface: method and options."""
    stanzas: Stanzas = {}
    options: dict[str, str] = {}
    inside = ""
    for raw in _lines(content):
        words = raw.split("#", 1)[0].split() if raw.lstrip().startswith("#") else raw.split()
        if not words:
            continue
        if words[0] in ("iface", "auto", "mapping", "source", "source-directory", "rename") or words[0].startswith(("allow-", "no-auto")):
            inside = ""
            if words[0] == "iface" and len(words) >= 2:
                inside = words[1].split(":")[0]
                options = {"inherit": words[words.index("inherits") + 1]} if "inherits" in words[2:-1] else {}
                stanzas.setdefault(inside, []).append((words[3] if len(words) > 3 else "manual", options))
        elif inside:
            key = words[0].replace("_", "-")
            apart = "\n" if key in _COMMANDS else " "
            options[key] = f"{options[key]}{apart}{' '.join(words[1:])}" if key in options else " ".join(words[1:])
    return stanzas


def _profiles(stanzas: Mapping[str, Stanzas]) -> Iterator[Profile]:
    """One profile per interface of a file, whose inet and inet6 stanzas count together; what lies below it may be said in any file."""
    below: dict[str, list[tuple[str, str]]] = {}
    named: dict[str, str] = {}
    bases = {name: parts for found in stanzas.values() for name, parts in found.items()}
    for path, found in stanzas.items():
        for name, parts in found.items():
            for dummy, values in parts:
                if "bond-master" in values:
                    below.setdefault(values["bond-master"], []).append(("bond", name))
                commanded = commands.read("\n".join(values.get(key, "") for key in _COMMANDS), name)
                for kind, upper, card in commanded.joined:
                    below.setdefault(upper, []).append((kind, card))
                named.update(dict.fromkeys(commanded.named, path))
    for path, found in stanzas.items():
        for name, parts in found.items():
            yield _profile(path, name, [(method, _inherited(values, bases)) for method, values in parts], below.get(name, []))
    for name, path in named.items():
        if name not in bases:
            yield Profile("ifupdown", path, name, mentioned=True)


def _ports(stanzas: Mapping[str, Stanzas], active: Collection[Optional[str]]) -> Iterator[Profile]:
    """The ports of bridges that no stanza is for, which are there as the bridge is."""
    known = {name: path for path, found in stanzas.items() for name in found}
    for path, found in stanzas.items():
        for name, parts in found.items():
            for dummy, values in parts:
                yield from ports.made(path, ports.of(values), known, name in active)


def _inherited(values: Mapping[str, str], bases: Stanzas) -> dict[str, str]:
    """The options of a stanza, with those of the one that it extends (inherits, and inherit of ifupdown-ng)."""
    return {**dict(pair for dummy, base in bases.get(values.get("inherit", ""), []) for pair in base.items()), **values}


def _profile(path: str, name: str, parts: list[tuple[str, dict[str, str]]], below: list[tuple[str, str]]) -> Profile:
    merged: dict[str, str] = {}
    addresses = []
    for dummy, values in parts:
        merged = {**values, **merged}
        for address in values.get("address", "").split():
            found = cidr(address, values.get("netmask", ""))
            if found is not None:
                addresses.append(found)
    methods = {method for method, dummy in parts}
    members = [word for key in _MEMBERS for word in merged.get(key, "").split() if word not in ("none", "all")]
    members += ports.of(merged)
    members += [card for kind, card in below if kind != "vlan"]
    kinds = {kind for kind, dummy in below}
    bond = any(key.startswith("bond-") and key not in ("bond-master", "bond-primary") for key in merged) or "slaves" in merged
    dotted = ports.DOTTED.match(name)
    parent = merged.get("vlan-raw-device", next((card for kind, card in below if kind == "vlan"), dotted[1] if dotted else ""))
    kind = (
        "bridge"
        if "bridge-ports" in merged or "bridge" in kinds
        else "vlan"
        if parent
        else "bond"
        if bond or "bond" in kinds
        else "ethernet"
    )
    return Profile(
        "ifupdown", path, name,
        kind=kind, members=tuple(dict.fromkeys(members)), parent=parent,
        method="static" if addresses else "dhcp" if methods & {"dhcp", "auto"} else "none",
        addresses=tuple(addresses), gateway=merged.get("gateway", ""),
    )  # fmt: skip
