# SPDX-License-Identifier: GPL-3.0-or-later
"""An event source of Event-Driven Ansible: the entries of a folder, when it starts, when something new is there, and now and then as long as something is."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

DOCUMENTATION = r"""
short_description: Tell when something is dropped into a folder
description:
  - An event has the entries of the folder as V(drop_folder.entries). Whether they have arrived whole is for the playbook to find out.
  - Every V(delay) seconds the folder is looked at, so network file systems, which tell nobody of changes, work too.
options:
  path:
    description: The folder.
    type: str
    required: true
  delay:
    description: Seconds between two looks.
    type: float
    default: 5
  again:
    description:
      - Seconds after which the same entries are told once more while they still lie there.
      - A VM that has changed since it arrived, or whose conversion host could not be reached, stays in the folder for the next run.
    type: float
    default: 600
"""

EXAMPLES = r"""
- hyper2kvm.migration.drop_folder:
    path: /srv/drop
"""

_PLACES = ("processed", "failed", "duplicates", "lost+found", "@eaDir")
_ON_THEIR_WAY = (".part", ".partial", ".tmp")


def entries(path: str) -> list[str]:
    """What lies in the folder, is not put away and not still on its way."""
    try:
        names = os.listdir(path)
    except OSError:  # it is not mounted yet, or its server is away; a later look may find it
        return []
    return sorted(name for name in names if not name.startswith(".") and not name.endswith(_ON_THEIR_WAY) and name not in _PLACES)


async def main(queue: asyncio.Queue, args: dict[str, Any]) -> None:
    """Put an event into `queue` for every new entry of the folder, and every `again` seconds while it is not empty."""
    path, delay, again = str(args["path"]), float(args.get("delay", 5)), float(args.get("again", 600))
    seen: list[str] = []
    told = 0.0
    while True:
        now = entries(path)
        if set(now) - set(seen) or (now and time.monotonic() - told >= again):
            await queue.put({"drop_folder": {"path": path, "entries": now}})
            told = time.monotonic()
        seen = now
        await asyncio.sleep(delay)
