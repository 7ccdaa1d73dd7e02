# SPDX-License-Identifier: GPL-3.0-or-later
"""The same repairs on the running system: inspect, plan, apply and prove where this code executes."""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import ProofFailed
from ..guest.apply import apply
from ..guest.family import GuestRequest
from ..guest.first_code import boot_disk, system_disks
from ..guest.live import LiveGuest, packages_locked
from . import families
from .repair import GuestReport, Timer, check_space, planned, refuse_blockers, require_proof


def live_fix(request: GuestRequest, check: bool) -> GuestReport:
    """Repair the running system for its next boot on KVM; with `check` only plan.

    Raises Blocked, NotEnoughSpace or Busy before anything is written, ProofFailed when the next boot does not prove to work.
    """
    timer = Timer()
    guest = LiveGuest()
    with packages_locked():
        facts, concerns = families.find_running(guest, request)
        facts = replace(facts, boot_disk=boot_disk(facts.firmware, guest, guest.tables, system_disks(guest, facts)))
        plan = planned(guest, facts, concerns, request)
        timer.lap("plan")
        refuse_blockers(plan, request.accept)
        if check:
            return GuestReport(facts, plan, timings=timer.phases)
        check_space(guest, facts, plan)
        outcome = apply(guest, plan)
        timer.lap("apply")
    proof = families.of(facts).prove(guest, facts, guest.tables)
    timer.lap("prove")
    try:
        if proof is not None:
            require_proof(proof, request.accept, plan)
    except ProofFailed as error:
        raise (error.kept(f"{outcome.backup}/plan.json") if plan.changes else error) from None
    return GuestReport(facts, plan, proof, outcome.output, timer.phases)
