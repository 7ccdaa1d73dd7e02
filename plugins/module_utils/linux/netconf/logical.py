# SPDX-License-Identifier: GPL-3.0-or-later
"""What ifup makes of names: interfaces that it starts by the definition of another name, that a script maps, or that it renames first.

udev gives a NIC its name before ifup sees it, so that is the name that has to stay. Source: interfaces(5), INTERFACE SELECTION, INTERFACE RENAMING, MAPPINGS
and PATTERN MATCHING INTERFACES.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from typing import Iterable, Iterator, Optional, Sequence

from ...core.macs import Mac
from .model import Profile, fitting, globs, mac_of

# [VARIABLE]/VALUE[/[OPTIONS]]: interfaces by a pattern of their names, or by what a file below /sys/class/net says of them.
_PATTERN = re.compile(r"^(?P<variable>[^/=]*)/(?P<value>[^/=]+)(?:/[^/=]*)?$")
_MAC = ("mac", "address")
_MOST_PATTERNS = 100


@dataclass
class Stated:
    """What all files say together: `started` interfaces, each with the definition that the line gives it (none: its own); the names that `renamed` ones
    had, by their new ones; and the patterns of `mapped` ones, each with the file.
    """

    started: dict[tuple[str, str], None] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, lines: Iterable[str]) -> None:
        """The lines of one more file."""
        for line in lines:
            keyword, *words = line.split() or [""]
            if keyword == "auto" or keyword.startswith("allow-"):
                pairs = (word.rpartition("=") if "=" in word else (word, "", "") for word in words)
                self.started.update({(said, logical): None for said, dummy, logical in pairs})
            elif keyword == "rename":
                self.renamed.update({new: old for old, equals, new in (word.rpartition("=") for word in words) if equals})
            elif keyword == "mapping":
                self.mapped.update({word: path for word in words if word not in self.mapped})

    def patterns(self) -> list[str]:
        """The patterns of names that are brought up by their own definitions."""
        matches = (_PATTERN.match(said) for said, logical in self.started if not logical)
        return list(itertools.islice((match["value"] for match in matches if match is not None and not match["variable"]), _MOST_PATTERNS))

    def with_starts(self, profiles: Iterable[Profile]) -> list[Profile]:
        """Profiles with whether they are brought up at boot, or when they are there: by their name, that which they had, or a pattern of names."""
        by_pattern = fitting(self.patterns())

        def starts(name: str) -> bool:
            own = (name, "") in self.started or (self.renamed.get(name, name), "") in self.started
            return own or by_pattern.match(name) is not None

        return [replace(profile, active=not profile.mentioned and starts(profile.name or "")) for profile in profiles]

    def others(self, profiles: Sequence[Profile]) -> Iterator[Profile]:
        """Profiles of NICs that are brought up by the definition of another name: that which the line says, or which the script of a mapping says."""
        defined = {profile.name: profile for profile in profiles if profile.name and not profile.mentioned}
        left = [profile for profile in profiles if profile.name != "lo" and not profile.active and not profile.mentioned]
        mappings = dict(itertools.islice(self.mapped.items(), _MOST_PATTERNS))
        mapped = fitting(mappings)
        for said, logical in self.started:
            if logical in defined:
                yield _selected(replace(defined[logical], active=True), said)
            elif said not in defined and not _PATTERN.match(said) and mapped.match(said):
                mapping = next((path for pattern, path in mappings.items() if globs(said, pattern)), "")
                # Where there is one definition to choose, the script chooses that.
                chosen = replace(left[0], name=said) if len(left) == 1 else Profile("ifupdown", mapping, said)
                yield replace(chosen, active=True, doubt=f"the script of a mapping of {said}")

    def before(self, profile: Profile) -> Profile:
        """A profile with the names that its NICs have before they are renamed."""
        if not self.renamed:
            return profile
        if profile.name in self.renamed:
            profile = _selected(profile, self.renamed[profile.name])
        return replace(profile, members=tuple(map(self._old, profile.members)), parent=self._old(profile.parent))

    def _old(self, name: str) -> str:
        return _names(self.renamed[name]) or name if name in self.renamed else name


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
