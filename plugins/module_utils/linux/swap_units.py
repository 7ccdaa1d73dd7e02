# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap units of systemd, which are called after their device: one that names another is not loaded.

Source: systemd.swap(5), systemd.unit(5) (escaping of paths).
"""

from __future__ import annotations

from typing import Iterator

from ..guest.change import Change
from ..guest.changes.entries import MakeLink, remove
from ..guest.changes.write import WriteFile, edit
from ..guest.protocol import Guest, glob
from ..guest.protocol import text as read

SYSTEM = "/etc/systemd/system"


def unit_name(device: str, kind: str = "swap") -> str:
    """The name of the unit of a device, as systemd-escape --path writes it."""
    parts = []
    for number, character in enumerate("/".join(part for part in device.split("/") if part)):
        if character == "/":
            parts.append("-")
        elif character.isascii() and (character.isalnum() or character in ":_" or (character == "." and number)):
            parts.append(character)
        else:
            parts.append("".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape")))
    return f"{''.join(parts)}.{kind}"


def renamed(guest: Guest, path: str, *, text: str, device: str, reason: str) -> Iterator[Change]:
    """The unit at `path`, whose text is to be `text`, under the name of the device in it, with the links that start it."""
    new = f"{SYSTEM}/{unit_name(device)}"
    stat = guest.stat(path)
    yield from remove(path, stat, reason)
    if guest.stat(new) is None:
        yield WriteFile(new, None, text, reason, mode=stat.mode & 0o777 if stat is not None else 0o644)
    old_name, new_name = path.rsplit("/", 1)[1], unit_name(device)
    for part in glob(guest, f"{path}.d", ".conf"):
        yield WriteFile(f"{new}.d/{part.rsplit('/', 1)[1]}", None, read(guest, part) or "", reason)
    yield from remove(f"{path}.d", guest.stat(f"{path}.d"), reason)
    for other in glob(guest, SYSTEM):
        said = read(guest, other) if other not in (path, new) else None
        if said is not None:
            yield from edit(other, said, said.replace(old_name, new_name), reason)
    for directory in (*glob(guest, SYSTEM, ".wants"), *glob(guest, SYSTEM, ".requires")):
        link = f"{directory}/{path.rsplit('/', 1)[1]}"
        found = guest.stat(link)
        if found is not None and found.kind == "link":
            yield from remove(link, found, reason)
            if guest.stat(f"{directory}/{unit_name(device)}") is None:
                yield MakeLink(f"{directory}/{unit_name(device)}", new, reason)
