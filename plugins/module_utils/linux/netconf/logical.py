# SPDX-License-Identifier: GPL-3.0-or-later
"""What ifup makes of names: interfaces that it starts by the definition of another name, that a script maps, or that it renames first.

udev gives a NIC its name before ifup sees it, so that is the name that has to stay. Source: interfaces(5), INTERFACE SELECTION, INTERFACE RENAMING, MAPPINGS
and PATTERN MATCHING INTERFACES.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Iterable, Iterator, Optional, Sequence

from ...core.macs import Mac
from .model import Profile, globs, mac_of

# [VARIABLE]/VALUE[/[OPTIONS]]: interfaces by a pattern of their names, or by what a file below /sys/class/net says of them.
_PATTERN = re.compile(r"^(?P<variable>[^/=]*)/(?P<value>[^/=]+)(?:/[^/=]*)?$")
_MAC = ("mac", "address")


@dataclass
class Stated:
    """What all files say together: `started` interfaces, each with the definition that the line gives it; the names that `renamed` ones had, by
    their new ones; and the patterns of `mapped` ones, each with the file.
    """

    started: list[tuple[str, str]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    mapped: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, lines: Iterable[str]) -> None:
        """The lines of one more file."""
        for line in lines:
            keyword, *words = line.split() or [""]
            if keyword == "auto" or keyword.startswith("allow-"):
                self.started += [(word.rpartition("=")[0], word.rpartition("=")[2]) if "=" in word else (word, "") for word in words]
            elif keyword == "rename":
                self.renamed.update({new: old for old, equals, new in (word.rpartition("=") for word in words) if equals})
            elif keyword == "mapping":
                self.mapped += [(word, path) for word in words]

    def starts(self, name: str) -> bool:
        """Whether an interface is brought up at boot, or when it is there: by its name, that which it had, or a pattern of names."""
        names = {name, self.renamed.get(name, name)}
        for said, logical in self.started:
            match = _PATTERN.match(said)
            if said in names or (match is not None and not logical and not match["variable"] and globs(name, match["value"])):
                return True
        return False

    def others(self, profiles: Sequence[Profile]) -> Iterator[Profile]:
        """Profiles of NICs that are brought up by the definition of another name: that which the line says, or which the script of a mapping says."""
        defined = {profile.name: profile for profile in profiles if profile.name}
        left = [profile for profile in profiles if profile.name != "lo" and not self.starts(profile.name or "")]
        for said, logical in dict.fromkeys(self.started):
            mapping = next((path for pattern, path in self.mapped if globs(said, pattern)), "")
            if logical in defined:
                yield _selected(replace(defined[logical], active=True), said)
            elif mapping and not _PATTERN.match(said) and said not in defined:
                # Where there is one definition to choose, the script chooses that.
                chosen = replace(left[0], name=said) if len(left) == 1 else Profile("ifupdown", mapping, said)
                yield replace(chosen, active=True, doubt=f"the script of a mapping of {said}")

    def before(self, profile: Profile) -> Profile:
        """A profile with the names that its NICs have before they are renamed."""
        old = {name: _names(self.renamed[name]) or name for name in self.renamed}
        if profile.name in self.renamed:
            profile = _selected(profile, self.renamed[profile.name])
        members = tuple(old.get(name, name) for name in profile.members)
        return replace(profile, members=members, parent=old.get(profile.parent, profile.parent))


def _selected(profile: Profile, said: str) -> Profile:
    """A profile for the NICs that are named so, or selected by a pattern."""
    match = _PATTERN.match(said)
    if match is None or not match["variable"]:
        return replace(profile, name=_names(said))
    mac: Optional[Mac] = mac_of(match["value"]) if match["variable"] in _MAC else None
    return replace(profile, name=None, mac=mac, doubt="" if mac else f"the pattern {said}")


def _names(said: str) -> str:
    """The name, or the pattern of names, that selects a NIC; empty where something else does."""
    match = _PATTERN.match(said)
    return said if match is None else "" if match["variable"] else match["value"]
