# SPDX-License-Identifier: GPL-3.0-or-later
"""An event source of Event-Driven Ansible: the entries of a folder, whenever they have become others, and when it starts."""

from __future__ import annotations

import asyncio
import os
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
"""

EXAMPLES = r"""
- hyper2kvm.migration.drop_folder:
    path: /srv/drop
"""

_PLACES = ("processed", "failed", "duplicates")


def entries(path: str) -> dict[str, int]:
    """What lies in the folder and is not put away, with the nanosecond of its last change."""
    found = {}
    for entry in os.scandir(path):
        if not entry.name.startswith(".") and entry.name not in _PLACES:
            found[entry.name] = entry.stat(follow_symlinks=False).st_mtime_ns
    return found


async def main(queue: asyncio.Queue, args: dict[str, Any]) -> None:
    """Put an event into `queue` for every new state of the folder that is not empty."""
    path, delay = str(args["path"]), float(args.get("delay", 5))
    seen: dict[str, int] = {}
    while True:
        try:
            now = entries(path)
        except FileNotFoundError:
            now = {}  # something was moved away meanwhile, or the folder is not mounted yet
        if now and now.keys() - seen.keys():
            await queue.put({"drop_folder": {"path": path, "entries": sorted(now)}})
        seen = now
        await asyncio.sleep(delay)
