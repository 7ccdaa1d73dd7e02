# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's and Alpine's /etc/network/interfaces. Source: interfaces(5), ifenslave's and vlan's own pages, ifupdown-ng's interfaces(5)."""

from __future__ import annotations

import re
from typing import Collection, Iterator, Mapping, Optional

from ...guest.protocol import Guest, glob, text
from . import commands, ports
from .inherited import Inherited, Parts, Stanzas
from .logical import Stated
from .model import Profile, cidr, globs

_MEMBERS = ("bond-slaves", "bond-members", "slaves")
_COMMANDS = ("pre-up", "up", "post-up")
MAIN = "/etc/network/interfaces"
_MOST_FILES, _MOST_PATTERNS = 200, 500
_MOST_NAMES, _DEEPEST = 100_000, 20  # names that patterns are compared with, and directories of one pattern
_WILD = re.compile(r"[*?\[]")
_IN_DIRECTORY = re.compile(r"^[a-zA-Z0-9_-]+$")


def read(guest: Guest, problems: list[str]) -> Iterator[Profile]:
    """Every interface; files that are too many to be read are named in `problems`."""
    stated = Stated()
    stanzas: dict[str, Stanzas] = {}
    for path in files(guest, problems):
        content = text(guest, path) or ""
        stated.add(path, _lines(content))
        stanzas[path] = parse(content)
    profiles = stated.with_starts(_profiles(stanzas))
    yield from map(stated.before, (*profiles, *stated.others(profiles), *_ports(stanzas, {one.name for one in profiles if one.active})))


def files(guest: Guest, problems: Optional[list[str]] = None) -> list[str]:
    """The main file and those that it takes in, as ifup does: by pattern, or a directory's files with plain names."""
    found: list[str] = []
    named = [MAIN]
    known, patterns = set(named), set[tuple[str, str]]()
    left, too_many = _MOST_NAMES, False
    for path in named:  # which grows meanwhile
        content = text(guest, path)
        if content is None:
            continue
        if len(found) == _MOST_FILES:
            too_many = True
            break
        found.append(path)
        for how, pattern in _sources(path, content):
            if (how, pattern) in patterns:
                continue
            if len(patterns) == _MOST_PATTERNS or left <= 0:
                too_many = True
                break
            patterns.add((how, pattern))
            listed, more = _matching(guest, how, pattern)
            left -= listed
            named += [one for one in more if one not in known]
            known.update(more)
    if too_many and problems is not None:
        problems.append(f"{MAIN} takes in more files than are read")
    return found


def _sources(path: str, content: str) -> Iterator[tuple[str, str]]:
    """How a file takes others in, and which."""
    for line in _lines(content):
        words = line.split()
        for pattern in words[1:] if words[:1] in (["source"], ["source-directory"]) else ():
            yield words[0], pattern if pattern.startswith("/") else f"{path.rsplit('/', 1)[0]}/{pattern}"


def _matching(guest: Guest, how: str, pattern: str) -> tuple[int, list[str]]:
    """The files of a pattern, of which hidden ones are named as such, or those of directories; and how many names were looked at."""
    *above, wanted = pattern.strip("/").split("/")
    above += [wanted] if how == "source-directory" else []
    directories, looked = [""], 0
    for one in above[:_DEEPEST]:
        if not _WILD.search(one):
            directories = [f"{directory}/{one}" for directory in directories]
            continue
        names = [(directory, name) for directory in directories[:_MOST_FILES] for name in guest.listdir(directory or "/")]
        looked += len(names)
        directories = [f"{directory}/{name}" for directory, name in names if _fits(name, one)]
    found = [one for directory in directories[:_MOST_FILES] for one in glob(guest, directory, prefix="." if wanted.startswith(".") else "")]
    if how == "source-directory":
        return looked + len(found), [one for one in found if _IN_DIRECTORY.match(one.rsplit("/", 1)[1])]
    return looked + len(found), [one for one in found if _fits(one.rsplit("/", 1)[1], wanted)]


def _fits(name: str, pattern: str) -> bool:
    return name.startswith(".") == pattern.startswith(".") and globs(name, pattern)


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
    inherited = Inherited(bases)
    for path, found in stanzas.items():
        for name, parts in found.items():
            yield _profile(path, name, parts, below.get(name, []), inherited)
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


def _profile(path: str, name: str, parts: Parts, below: list[tuple[str, str]], inherited: Inherited) -> Profile:
    merged: dict[str, str] = {}
    addresses, doubts = [], []
    for dummy, own in parts:
        base, doubt = inherited.of(own)
        doubts += [doubt] if doubt else []
        for key, value in (*own.items(), *((key, value) for key, value in base.items() if key not in own)):
            merged.setdefault(key, value)
        for address in own.get("address", base.get("address", "")).split():
            found = cidr(address, own.get("netmask", base.get("netmask", "")))
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
        addresses=tuple(addresses), gateway=merged.get("gateway", ""), doubt=doubts[0] if doubts else "",
    )  # fmt: skip
