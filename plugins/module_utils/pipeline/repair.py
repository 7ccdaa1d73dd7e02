# SPDX-License-Identifier: GPL-3.0-or-later
"""INSPECT, PLAN, FIX and the proof in one appliance session: what the guest modules and the role are thin over."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Iterator, Mapping, Optional, Protocol, Sequence

from ..core.concern import BLOCKER, WARNING, Concern, remedies
from ..core.errors import Blocked, InvalidInput, NotEnoughSpace, ProofFailed, UnsupportedGuest
from ..core.progress import Progress, Silent
from ..guest import assemble, grow, parttable, secrets
from ..guest.apply import apply, undo
from ..guest.family import GuestRequest
from ..guest.first_code import boot_disk, system_disks
from ..guest.model import FirstStart, GuestFacts
from ..guest.offline import OfflineGuest, open_disks
from ..guest.plan import Plan
from ..guest.proof import Proof
from ..guest.protocol import Guest, WritableGuest
from . import families
from .kinds import KINDS

_SPARE = 20 << 20  # bytes that stay free in every file system that is written to


@dataclass
class Timer:
    """Seconds per phase, in order."""

    phases: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.phases[name] = round(self.phases.get(name, 0.0) + now - self._last, 2)
        self._last = now


@dataclass(frozen=True)
class GuestReport:
    """What a session found, planned, did and proved. `proof` is None where nothing was proved."""

    facts: GuestFacts
    plan: Plan
    proof: Optional[Proof] = None
    output: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    firstboot: Optional[FirstStart] = None
    grown: tuple[str, ...] = ()

    def as_result(self) -> dict[str, Any]:
        """All of it but the plan's secrets, as the work directory keeps it and the report shows it."""
        return {
            **({"firstboot": asdict(self.firstboot)} if self.firstboot is not None else {}),
            **({"grown": list(self.grown)} if self.grown else {}),
            "id": self.plan.id,
            "facts": self.facts.as_result(),
            "changes": self.plan.summary(),
            "concerns": masked([asdict(concern) for concern in self.plan.concerns]),
            "summary": self.plan.counts(),
            "plan_digest": self.plan.digest,
            "proof": masked(self.proof.as_result()) if self.proof is not None else None,
            "output": masked(list(self.output)),
            "timings": dict(self.timings),
        }


def masked(value: Any) -> Any:
    """What is said of a guest, without the passwords that lines of its files may hold."""
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return secrets.masked(value) if isinstance(value, str) else value


class SpaciousGuest(WritableGuest, Protocol):
    """A guest that knows what is free in its file systems."""

    def free(self, path: str) -> tuple[int, int]:
        """Free bytes and inodes of the file system at `path` (inodes -1 where it does not count them)."""


@contextlib.contextmanager
def opened(
    request: GuestRequest, writable: bool, timer: Timer, progress: Progress = Silent()
) -> Iterator[tuple[OfflineGuest, GuestFacts, tuple[Concern, ...]]]:
    """The guest with everything mounted, its facts, and the concerns of the inspection itself."""
    progress.phase("start the appliance")
    drivers = families.drivers(request)
    with open_disks(request.disks, writable, drivers.path if drivers.iso else "") as guest:
        timer.lap("launch")
        ends = grow.partitions(guest, request.grow) if writable and request.grow else []
        progress.phase("inspect")
        guest.locked = tuple(device.uuid for device in assemble.discover(guest, request.luks_keys))
        starts = firmware(request.firmware, guest.tables)
        facts, concerns = families.find(guest, replace(request, firmware=starts))
        facts = replace(facts, boot_disk=boot_disk(starts, guest, guest.tables, system_disks(guest, facts), request.first))
        for path in guest.unmounted:
            concerns.append(
                Concern(
                    "mounts.failed",
                    WARNING,
                    f"The file system of {path} could not be mounted.",
                    "Check it (fsck) at the source; it is copied as it is.",
                )
            )
        timer.lap("inspect")
        if ends:
            progress.phase("grow")
            ends = grow.contents(guest, ends)
            guest.grown = tuple(line for end in ends for line in end.said)
            concerns += [end.concern for end in ends if end.concern is not None]
            timer.lap("grow")
        yield guest, facts, tuple(concerns)
        progress.phase("stop the appliance")
    timer.lap("shutdown")


def firmware(choice: str, tables: Mapping[str, parttable.Table]) -> str:
    """bios or uefi: as the source or the operator says, else UEFI if there is an ESP and nothing for BIOS to start from."""
    if choice in ("bios", "uefi"):
        return choice
    types = {part.type for table in tables.values() for part in table.partitions}
    system = parttable.ESP in types or ("ef" in types and not any(table.boot_code.strip(b"\0") for table in tables.values()))
    return "uefi" if system and parttable.BIOS_BOOT not in types else "bios"


def planned(guest: Guest, facts: GuestFacts, concerns: Sequence[Concern], request: GuestRequest) -> Plan:
    """The plan for an opened guest, with every concern."""
    plan = families.of(facts).plan(guest, facts, request).guarded(guest)
    return replace(plan, concerns=(*concerns, *plan.concerns))


def refuse_blockers(plan: Plan, accept: Sequence[str]) -> None:
    """Raise Blocked for blockers whose code the operator did not accept; nothing has been written then."""
    blockers = [concern for concern in plan.concerns if concern.severity == BLOCKER and concern.code not in accept]
    if blockers:
        raise Blocked(
            masked("The VM would not work after the migration: " + " ".join(concern.cause for concern in blockers)),
            remedies(blockers),
            codes=sorted({concern.code for concern in blockers}),
        )


def check_space(guest: SpaciousGuest, facts: GuestFacts, plan: Plan) -> None:
    """Raise NotEnoughSpace when the changes do not fit the guest's file systems; computed before anything is written."""
    points = sorted((mount.path for mount in facts.mounts), key=len, reverse=True)
    needs: dict[str, int] = {}
    for change in plan.changes:
        for path, size in change.needs(guest):
            at = next((point for point in points if path == point or path.startswith(point.rstrip("/") + "/")), "/")
            needs[at] = needs.get(at, 0) + size
    for point, need in needs.items():
        free, inodes = guest.free(point)
        spare = _SPARE if point == "/" else 1 << 20
        if free < need + spare or 0 <= inodes < 100:
            raise NotEnoughSpace(
                f"The guest's file system {point} has {free >> 20} MiB and {inodes} inodes free; the repair needs {(need + spare) >> 20} MiB and 100 inodes.",
                "Free space in the guest before the migration (old kernels, logs, package caches).",
                mount=point,
                needed=need + spare,
                free=free,
            )


def fix(request: GuestRequest, progress: Progress, saved: Optional[Plan] = None) -> GuestReport:
    """Inspect, plan (or take `saved`), apply, prove and trim, writing to the attached overlays.

    Raises Blocked or NotEnoughSpace before anything is written, StalePlan for a saved plan of another state, ProofFailed when
    the result does not prove to boot and the operator did not accept proof.failed.
    """
    timer = Timer()
    with opened(request, True, timer, progress) as (guest, facts, concerns):
        progress.phase("plan")
        plan = saved if saved is not None else planned(guest, facts, concerns, request)
        timer.lap("plan")
        refuse_blockers(plan, request.accept)
        check_space(guest, facts, plan)
        progress.phase("apply")
        family = families.of(facts)
        family.prepare(guest, facts, request)
        outcome = apply(guest, plan, family.backups(facts))
        timer.lap("apply")
        progress.phase("prove")
        proof = family.prove(guest, facts, guest.tables)
        timer.lap("prove")
        if proof is not None:
            require_proof(proof, request.accept, plan)
        progress.phase("trim")
        guest.trim()
        timer.lap("trim")
    return GuestReport(facts, plan, proof, outcome.output, timer.phases, grown=guest.grown)


def require_proof(proof: Proof, accept: Sequence[str], plan: Plan) -> None:
    """Raise ProofFailed, with the plan, unless the proof holds or the operator accepts proof.failed."""
    if not proof.holds and "proof.failed" not in accept:
        failures = proof.failures()
        error = ProofFailed(
            masked("The proof that the guest boots failed: " + "; ".join(f"{check.name}: {check.detail}" for check in failures) + "."),
            "Check these places in the guest, or accept proof.failed and rely on the boot test.",
            failures=[check.name for check in failures],
        )
        error.plan = plan.text()
        raise error


def look(request: GuestRequest, plan_too: bool) -> GuestReport:
    """Inspect and, if wanted, plan; nothing reaches the images."""
    timer = Timer()
    with opened(request, False, timer) as (guest, facts, concerns):
        plan = planned(guest, facts, concerns, request) if plan_too else Plan((), concerns)
        timer.lap("plan")
    return GuestReport(facts, plan, timings=timer.phases)


def validate(request: GuestRequest) -> GuestReport:
    """The static proof of disks as they are."""
    timer = Timer()
    with opened(request, False, timer) as (guest, facts, concerns):
        proof = families.of(facts).prove(guest, facts, guest.tables)
        timer.lap("prove")
    return GuestReport(facts, Plan((), concerns), proof, timings=timer.phases)


def first_start(request: GuestRequest) -> GuestReport:
    """How far the first start of Windows has come, and the proof of the disks as Windows left them. Raises UnsupportedGuest for others."""
    timer = Timer()
    with opened(request, False, timer) as (guest, facts, concerns):
        progress = families.of(facts).first_start(guest, facts)
        if progress is None:
            raise UnsupportedGuest(f"{facts.product or 'This guest'} is not Windows.", "Only Windows has work left for its first boot.")
        proof = families.of(facts).prove(guest, facts, guest.tables)
        timer.lap("prove")
    return GuestReport(facts, Plan((), concerns), proof, timings=timer.phases, firstboot=progress)


def take_back(request: GuestRequest, wanted: str, check: bool) -> tuple[str, ...]:
    """Undo the repair with the id `wanted`, or the only one that was made, on disks that are switched off; with `check` only name it.

    Returns the ids that were taken back. Raises InvalidInput where it is not clear which repair is meant, StalePlan when the guest has
    changed one of its files since.
    """
    with opened(request, not check, Timer()) as (guest, facts, dummy):
        family = families.of(facts)
        backups = family.backups(facts)
        known = [name for name in guest.listdir(backups) if guest.stat(f"{backups}/{name}/plan.json") is not None]
        chosen = [name for name in known if name == wanted or not wanted]
        if len(chosen) > 1 or (wanted and not chosen):
            raise InvalidInput(
                f"{wanted or 'No id'} does not name a repair of this guest.", f"Known ones: {', '.join(known) or 'none'}.", known=known
            )
        if chosen and not check:
            plan = Plan.from_json(guest.read(f"{backups}/{chosen[0]}/plan.json"), KINDS)
            family.prepare(guest, facts, request)
            undo(guest, plan, backups)
    return tuple(chosen)
