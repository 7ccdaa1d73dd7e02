# SPDX-License-Identifier: GPL-3.0-or-later
"""The only writer: carries out a plan, keeps what was there, and can take it all back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Sequence

from ..core.errors import InvalidInput, StalePlan
from .change import Change
from .model import Stat
from .plan import Plan
from .protocol import Guest, WritableGuest

BACKUPS = "/var/lib/hyper2kvm"


@dataclass(frozen=True)
class Outcome:
    """What was done: the plan's id, its backup directory in the guest, and what its commands printed."""

    id: str
    backup: str
    output: tuple[str, ...] = ()


def stale(guest: Guest, changes: Sequence[Change]) -> list[str]:
    """Paths whose present state is not what the plan saw."""
    return [change.path for change in changes if not change.holds(guest)]


def apply(guest: WritableGuest, plan: Plan, backups: str = "") -> Outcome:
    """Carry out `plan`, whole or not at all as far as its preconditions go; what it replaces is kept below the directory `backups`.

    Raises StalePlan, before anything is written, when the guest is no longer what the plan saw, and InvalidInput for a saved plan
    whose secrets were not stored.
    """
    sealed = plan.withheld()
    if sealed:
        raise InvalidInput(
            f"This plan does not hold what is secret in {sealed[0]}.",
            "Name the file that guest_plan or guest_fix wrote on the conversion host (plan_file).",
            path=sealed[0],
        )
    changed = stale(guest, plan.changes)
    if changed:
        raise StalePlan(
            f"The guest has changed since the plan was made: {', '.join(changed[:5])}.", "Make a new plan and review it.", paths=changed
        )
    backup = f"{backups or BACKUPS}/{plan.id}"
    output: list[str] = []
    if plan.changes:
        guest.mkdir(backup, 0o700)
        guest.write(f"{backup}/plan.json", json.dumps(plan.kept().as_data(), indent=1).encode("ascii"), Stat("file", mode=0o600))
    for change in plan.changes:
        output += change.apply(guest, backup)
    return Outcome(plan.id, backup, tuple(output))


def undo(guest: WritableGuest, plan: Plan, backups: str = "") -> None:
    """Take an applied plan back, from its own data and its backup, and remove the backup; what it had not come to yet stays.

    Raises StalePlan when a file was changed by somebody else after the plan.
    """
    backup = f"{backups or BACKUPS}/{plan.id}"
    rewritten = {path for change in plan.changes for path in change.beside()}
    foreign = [change.path for change in plan.changes if change.path not in rewritten and change.foreign(guest, backup)]
    if foreign:
        raise StalePlan(
            f"These files were changed after the plan was applied: {', '.join(foreign[:5])}.",
            "Restore them by hand from the backup.",
            paths=foreign,
        )
    for change in reversed(plan.changes):
        change.undo(guest, backup)
    guest.remove(backup)
