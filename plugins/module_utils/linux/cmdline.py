# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel command lines, edited token by token: what is not a device of this guest keeps every byte.

Source: Documentation/admin-guide/kernel-parameters.rst, dracut.cmdline(7).
"""

from __future__ import annotations

import re
from typing import Callable, Optional

from ..guest.protocol import Guest

_TOKEN = re.compile(r'(?:[^\s"]|"[^"]*")+')
# Names that the order of discovery or the controller gives; everything else survives the move.
UNSTABLE = re.compile(
    r"^/dev/(sd[a-z]+\d*|hd[a-z]\d*|vd[a-z]\d*|xvd[a-z]\d*|nvme\d+n\d+(p\d+)?|mapper/mpath[a-z]+\S*|disk/(by-path|by-id|azure|cloud)/\S+)$"
)
_PORTABLE_ID = re.compile(r"^/dev/disk/by-id/(dm-name-|dm-uuid-|lvm-pv-uuid-|md-uuid-|md-name-)")


def unstable(spec: str) -> bool:
    """Whether a device name may mean something else, or nothing, after the move."""
    return bool(UNSTABLE.match(spec)) and not _PORTABLE_ID.match(spec)


def rewrite(line: str, guest: Guest, missing: Optional[Callable[[str, str], None]] = None) -> str:
    """`line` with root= by a stable name, and resume= by a stable name or, when its device is not there, dropped.

    `missing(parameter, spec)` is told of a root that cannot be resolved; the token is then left alone.
    """
    out, position = "", 0
    for match in _TOKEN.finditer(line):
        token = _replaced(match[0], guest, missing)
        gap = line[position : match.start()]
        if token is not None:
            out += gap + token
        elif not out.strip():  # without the white space on one side
            out += gap
            position = match.end() + len(line[match.end() :]) - len(line[match.end() :].lstrip(" \t"))
            continue
        position = match.end()
    return out + line[position:]


def _replaced(token: str, guest: Guest, missing: Optional[Callable[[str, str], None]]) -> Optional[str]:
    """What a token becomes; None for one that is dropped."""
    name, equals, value = token.partition("=")
    spec = value.strip('"')
    if not equals or name not in ("root", "resume") or spec in ("", "none"):
        return token
    if name == "root" and not unstable(spec):
        return token
    device = guest.device(spec)
    if name == "resume":
        if device is None or device.fstype not in ("swap", "swsuspend"):
            return None
        return f"resume=UUID={device.uuid}" if unstable(spec) and device.uuid else token
    stable = device.stable_spec(("UUID", "PARTUUID")) if device is not None else None
    if stable is None:
        if missing is not None:
            missing(name, spec)
        return token
    return f"root={stable}"


def values(line: str, name: str) -> list[str]:
    """Every value of a parameter, in order."""
    return [token.partition("=")[2].strip('"') for token in _TOKEN.findall(line) if token.partition("=")[0] == name]
