# SPDX-License-Identifier: GPL-3.0-or-later
"""The same repairs on the running system: inspect, plan, apply and prove where this code executes, and take it all back."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from ..core.errors import InvalidInput, ProofFailed
from ..guest.apply import BACKUPS, apply, undo
from ..guest.changes import Plan
from ..guest.live import LiveGuest, packages_locked
from ..guest.model import GuestFacts
from ..linux.inspect import inspect
from ..linux.plan import Options, complete, make_plan
from ..linux.proof import prove
from . import systems
from .guest_work import GuestReport, Timer, boot_disk, check_space, refuse_blockers, require_proof


@dataclass(frozen=True)
class RolledBack:
    """The plans that were taken back, newest first, and what is left of earlier ones."""

    undone: tuple[str, ...]
    left: tuple[str, ...]


def _facts(guest: LiveGuest, options: Options) -> tuple[GuestFacts, Plan]:
    system = guest.system()
    facts = inspect(guest, system.root, system.subvolume, system.mounts, system.firmware, ())
    facts = replace(facts, live=True, boot_disk=boot_disk(system.firmware, guest.tables))
    facts, findings = complete(facts, guest, (), options.macs, system.interfaces)
    plan = make_plan(guest, facts, options).guarded(guest)
    return facts, replace(plan, concerns=(*findings.concerns, *plan.concerns))


def live_fix(options: Options, accept: tuple[str, ...], check: bool) -> GuestReport:
    """Repair the running system for its next boot on KVM; with `check` only plan.

    Raises Blocked, NotEnoughSpace or Busy before anything is written, ProofFailed when the next boot does not prove to work.
    """
    timer = Timer()
    guest = LiveGuest()
    with packages_locked():
        facts, plan = _facts(guest, options)
        timer.lap("plan")
        refuse_blockers(plan, accept)
        if check:
            return GuestReport(facts, plan, timings=timer.phases)
        check_space(guest, facts, plan)
        outcome = apply(guest, plan, systems.build)
        timer.lap("apply")
    proof = prove(guest, facts, guest.tables)
    timer.lap("prove")
    try:
        require_proof(proof, accept, plan)
    except ProofFailed as error:
        raise (error.kept(f"{outcome.backup}/plan.json") if plan.changes else error) from None
    return GuestReport(facts, plan, proof, outcome.output, timer.phases)


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
            undo(guest, Plan.from_json(guest.read(f"{BACKUPS}/{name}/plan.json")))
    return RolledBack(tuple(chosen), tuple(name for name in applied if name not in chosen))


def _written(name: str) -> float:
    return os.stat(f"{BACKUPS}/{name}/plan.json").st_mtime
