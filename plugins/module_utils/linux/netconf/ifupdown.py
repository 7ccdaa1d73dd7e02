# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's and Alpine's /etc/network/interfaces. Source: interfaces(5), ifenslave's and vlan's own pages."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Iterator

from ...guest.protocol import Guest, glob, text
from .model import Profile, cidr, globs

_MEMBERS = ("bond-slaves", "slaves", "bridge-ports")


MAIN = "/etc/network/interfaces"
_MOST_FILES, _MOST_PATTERNS = 200, 500
_IN_DIRECTORY = re.compile(r"^[a-zA-Z0-9_-]+$")


def read(guest: Guest) -> Iterator[Profile]:
    found = {path: text(guest, path) or "" for path in files(guest)}
    started = {name for content in found.values() for name in _started(content)}
    for path, content in found.items():
        for profile in parse(path, content):
            yield replace(profile, active=profile.name in started)


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
    for line in re.sub(r"\\\n", " ", content).splitlines():
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


def _started(content: str) -> Iterator[str]:
    """What is brought up at boot, or when it is there."""
    for line in re.sub(r"\\\n", " ", content).splitlines():
        words = line.split()
        if words and (words[0] == "auto" or words[0].startswith("allow-")):
            yield from words[1:]


def parse(path: str, content: str) -> Iterator[Profile]:
    """One profile per interface; its inet and inet6 stanzas count together."""
    stanzas: dict[str, list[tuple[str, dict[str, str]]]] = {}
    options: dict[str, str] = {}
    inside = ""
    for raw in re.sub(r"\\\n", " ", content).splitlines():
        words = raw.split("#", 1)[0].split() if raw.lstrip().startswith("#") else raw.split()
        if not words:
            continue
        if words[0] in ("iface", "auto", "mapping", "source", "source-directory", "rename") or words[0].startswith(("allow-", "no-auto")):
            inside = ""
            if words[0] == "iface" and len(words) >= 2:
                inside = words[1].split(":")[0]
                options = {}
                stanzas.setdefault(inside, []).append((words[3] if len(words) > 3 else "manual", options))
        elif inside:
            key = words[0].replace("_", "-")
            options[key] = f"{options[key]} {' '.join(words[1:])}" if key in options else " ".join(words[1:])
    masters: dict[str, list[str]] = {}
    for name, parts in stanzas.items():
        for dummy, values in parts:
            if "bond-master" in values:
                masters.setdefault(values["bond-master"], []).append(name)
    for name, parts in stanzas.items():
        yield _profile(path, name, parts, masters.get(name, []))


def _profile(path: str, name: str, parts: list[tuple[str, dict[str, str]]], enslaved: list[str]) -> Profile:
    merged: dict[str, str] = {}
    addresses = []
    for dummy, values in parts:
        merged = {**values, **merged}
        for address in values.get("address", "").split():
            found = cidr(address, values.get("netmask", ""))
            if found is not None:
                addresses.append(found)
    methods = {method for method, dummy in parts}
    members = [word for key in _MEMBERS for word in merged.get(key, "").split() if word not in ("none", "all")] + enslaved
    bond = any(key.startswith("bond-") and key not in ("bond-master", "bond-primary") for key in merged) or "slaves" in merged
    dotted = re.match(r"^(.+)\.\d+$", name)
    parent = merged.get("vlan-raw-device", dotted[1] if dotted else "")
    kind = "bridge" if "bridge-ports" in merged else "vlan" if parent else "bond" if bond or enslaved else "ethernet"
    return Profile(
        "ifupdown", path, name,
        kind=kind, members=tuple(dict.fromkeys(members)), parent=parent,
        method="static" if addresses else "dhcp" if methods & {"dhcp", "auto"} else "none",
        addresses=tuple(addresses), gateway=merged.get("gateway", ""),
    )  # fmt: skip
