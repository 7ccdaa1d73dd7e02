# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stanza of ifupdown has from those that it extends: `inherits` and ifupdown-ng's `inherit`, over any number of levels.

Source: interfaces(5), INTERFACE TEMPLATES; interfaces(5) of ifupdown-ng, inherit.
"""

from __future__ import annotations

from typing import Mapping

Parts = list[tuple[str, dict[str, str]]]  # method and options of each stanza of an interface
Stanzas = dict[str, Parts]
_LONGEST = 4096  # characters that are read again for each stanza
_READ = ("address", "netmask", "gateway", "vlan-raw-device", "bridge-ports", "slaves", "bond-slaves", "bond-members", "bond-mode")


class Inherited:
    """The options that the stanzas of each name hand on, of those that anything here asks for."""

    def __init__(self, bases: Stanzas) -> None:
        self._bases = bases
        self._known: dict[str, dict[str, str]] = {}

    def of(self, values: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
        """What a stanza has from others, and why this cannot be told."""
        name = values.get("inherit", "")
        if not name:
            return {}, ""
        found = self._options(name)
        if sum(map(len, found.values())) > _LONGEST:
            return {}, f"what it inherits from {name}, which is too long"
        return found, ""

    def _options(self, name: str) -> dict[str, str]:
        chain: dict[str, None] = {}
        while name in self._bases and name not in self._known and name not in chain:
            chain[name] = None
            name = self._next(name)
        for one in reversed(chain):
            above = self._known.get(self._next(one), {})
            self._known[one] = {**above, **{key: value for dummy, own in self._bases[one] for key, value in own.items() if key in _READ}}
        return self._known.get(next(iter(chain), name), {})

    def _next(self, name: str) -> str:
        """What the stanzas of a name extend themselves."""
        return next((own["inherit"] for dummy, own in self._bases[name] if "inherit" in own), "")
