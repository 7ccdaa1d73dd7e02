# SPDX-License-Identifier: GPL-3.0-or-later
"""The same repairs on the running system: inspect, plan, apply and prove where this code executes."""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import ProofFailed
from ..guest.apply import apply
from ..guest.live import LiveGuest, packages_locked
from ..guest.model import GuestFacts
from ..guest.plan import Plan
from ..linux.inspect import inspect
from ..linux.plan import Options, complete, make_plan
from ..linux.proof import prove
from .repair import GuestReport, Timer, boot_disk, check_space, refuse_blockers, require_proof


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
        outcome = apply(guest, plan)
        timer.lap("apply")
    proof = prove(guest, facts, guest.tables)
    timer.lap("prove")
    try:
        require_proof(proof, accept, plan)
    except ProofFailed as error:
        raise (error.kept(f"{outcome.backup}/plan.json") if plan.changes else error) from None
    return GuestReport(facts, plan, proof, outcome.output, timer.phases)
