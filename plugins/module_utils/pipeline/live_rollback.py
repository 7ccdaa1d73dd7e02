# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs of the running system taken back. Little is imported for it: all of this is sent to every host."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..core.errors import InvalidInput
from ..guest.apply import BACKUPS, undo
from ..guest.live import LiveGuest, packages_locked
from ..guest.plan import Plan
from .live_kinds import KINDS


@dataclass(frozen=True)
class RolledBack:
    """The plans that were taken back, newest first, and what is left of earlier ones."""

    undone: tuple[str, ...]
    left: tuple[str, ...]


def rollback(wanted: str, check: bool) -> RolledBack:
    """Take back the plan with the id `wanted`, or every applied one, newest first; with `check` only name them.

    Raises InvalidInput for an id that was never applied, StalePlan when somebody else changed a file since.
    """
    guest = LiveGuest()
    applied = sorted((name for name in guest.listdir(BACKUPS) if guest.stat(f"{BACKUPS}/{name}/plan.json")), key=_written, reverse=True)
    chosen = [name for name in applied if not wanted or name == wanted]
    if wanted and not chosen:
        raise InvalidInput(f"No repair with the id {wanted} was made here.", f"Known ones: {', '.join(applied) or 'none'}.")
    with packages_locked():
        for name in chosen if not check else ():
            undo(guest, Plan.from_json(guest.read(f"{BACKUPS}/{name}/plan.json"), KINDS))
    return RolledBack(tuple(chosen), tuple(name for name in applied if name not in chosen))


def _written(name: str) -> float:
    return os.stat(f"{BACKUPS}/{name}/plan.json").st_mtime
