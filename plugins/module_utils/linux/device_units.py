# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd that are called after devices: what waits for one of the old hardware waits for its stable name.

Source: systemd.device(5), systemd.unit(5) (string escaping for inclusion in unit names, drop-ins).
"""

from __future__ import annotations

import re
from typing import Callable, Iterator

from ..guest.protocol import Guest, glob
from .swap_units import SYSTEM, unit_name

_UNIT = re.compile(r"(?<![\w:.\\-])(?P<name>dev-(?:[\w:.-]|\\x[0-9a-f]{2})+)\.device(?![\w-])")
_KINDS = (".mount", ".swap", ".service", ".automount", ".target", ".path", ".socket", ".timer")


def files(guest: Guest) -> Iterator[str]:
    """The units that the administrator wrote, and the drop-ins of any."""
    for path in glob(guest, SYSTEM):
        stat = guest.stat(path)
        if stat is not None and stat.kind == "file" and path.endswith(_KINDS):
            yield path
        elif stat is not None and stat.kind == "dir" and path.endswith(tuple(f"{kind}.d" for kind in _KINDS)):
            yield from glob(guest, path, ".conf")


def rewritten(content: str, stable: Callable[[str], str]) -> str:
    """`content` with the unit of each device called after what `stable` says of the device, as a path."""

    def renamed(match: re.Match[str]) -> str:
        device = path_of(match["name"])
        found = stable(device)
        return match[0] if found == device else unit_name(found, "device")

    return _UNIT.sub(renamed, content)


def path_of(name: str) -> str:
    """The path that the name of a unit, without its kind, stands for."""
    return "/" + re.sub(r"-|\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)) if match[1] else "/", name)
