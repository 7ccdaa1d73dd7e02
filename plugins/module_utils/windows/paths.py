# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths as Windows means them: without regard to case, with its own roots."""

from __future__ import annotations

import re
from typing import Optional

from ..guest.protocol import Guest

VOLUME = "/c"  # where the system volume is mounted
_PREFIXES = re.compile(r"^(?:\\\?\?\\)?(?:%systemroot%|\\?systemroot)\\", re.IGNORECASE)
_DRIVE = re.compile(r"^(?:\\\?\?\\)?([a-z]):\\", re.IGNORECASE)


def find(guest: Guest, path: str) -> Optional[str]:
    """The path as it is spelt in the guest; None where there is nothing."""
    found = ""
    for part in filter(None, path.split("/")):
        name = entry(guest, found or "/", part)
        if name is None:
            return None
        found = f"{found}/{name}"
    return found or "/"


def entry(guest: Guest, directory: str, name: str) -> Optional[str]:
    """How a name is spelt in a directory."""
    names = guest.listdir(directory)
    if name in names:
        return name
    wanted = name.lower()
    return next((known for known in names if known.lower() == wanted), None)


def place(guest: Guest, path: str) -> str:
    """Where a new file goes: what exists of the path as it is spelt in the guest, the rest as it is given."""
    found, parts = "", list(filter(None, path.split("/")))
    while parts:
        name = entry(guest, found or "/", parts[0])
        if name is None:
            break
        found = f"{found}/{name}"
        parts.pop(0)
    return "/".join((found, *parts)) or "/"


def image(system_root: str, value: str, service: str, drive: str = "c") -> Optional[str]:
    """The guest path of a driver's ImagePath; None on another drive than the system's. `system_root` is the path of the Windows directory.

    A missing ImagePath means System32\\drivers\\<service>.sys; a relative one is relative to the Windows directory.
    """
    text = value.strip().strip('"') or f"system32\\drivers\\{service}.sys"
    match = _DRIVE.match(text)
    if match is not None:
        return f"{VOLUME}/{text[match.end() :]}".replace("\\", "/") if match.group(1).lower() == drive.lower() else None
    return f"{system_root}/{_PREFIXES.sub('', text)}".replace("\\", "/")
