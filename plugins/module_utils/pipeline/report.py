# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of one VM, for machines (JSON) and for people (Markdown), from what the stages returned."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from ..core import atomic
from ..core.data import from_data, to_data
from ..core.manifest import Manifest
from ..core.markdown import block, code, text
from ..disk import qemu_img, staging
from ..disk.machine import Converted, VmSaid
from ..guest.nics import made
from .record import FIX, FORMAT, Booted, ChangeSaid, Facts, Migration, ProofSaid, Repaired, Timings

_DRY = "Dry run: nothing was written."
_PATHS = 400  # that are named for one reason


@dataclass(frozen=True)
class Recorded:
    """What a work directory says of its VM, of the repair of its guest, and the plan as text; None and empty where it says nothing."""

    vm: Optional[VmSaid] = None
    guest: Optional[Repaired] = None
    plan: str = ""


def recorded(work_dir: str) -> Recorded:
    """From the records that the stages have left, as those of the run that writes the report."""
    if not work_dir:
        return Recorded()
    fetched, fixed = staging.noted(work_dir), Manifest.load(os.path.join(work_dir, staging.FIXED), "fix", staging.REPAIRING, form=FIX)
    vm = fetched.vm if fetched is not None else None
    if fixed is None or fixed.stage == staging.REPAIRING or (fetched is not None and fetched.inputs != fixed.inputs):
        return Recorded(vm)
    plan = atomic.read_text(os.path.join(work_dir, staging.PLANNED))
    return Recorded(vm, from_data(Repaired, fixed.result, "The record of FIX"), plan or "")


def of(vm: VmSaid, guest: Repaired, disks: Sequence[Converted], boot: Booted) -> Migration:
    """The whole report. The same inputs give the same report."""
    return Migration(
        FORMAT,
        vm.machine.name,
        vm,
        guest.facts,
        tuple(disks),
        (*vm.concerns, *guest.concerns),
        guest.grown,
        guest.changes,
        guest.proof,
        boot,
        Timings(vm.seconds, guest.timings, tuple(disk.seconds for disk in disks), boot.seconds),
        sum(disk.bytes_read for disk in disks),
        sum(disk.bytes_written for disk in disks),
        {"qemu-img": qemu_img.version(), "python": platform.python_version()},
    )


def as_data(done: Migration) -> dict[str, Any]:
    """What is written. The name of the VM and all concerns are there once; where nobody has looked, nothing is said."""
    data: dict[str, Any] = to_data(done)
    source = {key: value for key, value in data["source"].items() if key not in ("name", "concerns")}
    nothing = {"facts": Facts(), "proof": ProofSaid(), "boot": Booted()}
    return {**data, "source": source, **{key: {} for key, none in nothing.items() if getattr(done, key) == none}}


def as_json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def as_markdown(done: Migration) -> str:
    """A page a person can read and forward."""
    facts, proof, boot, source = done.facts, done.proof, done.boot, done.source
    lines = [
        f"# Migration of {text(done.vm)}",
        "",
        f"**{verdict(done)}**",
        "",
        "## What was found",
        "",
        f"- Source: {text(source.machine.kind)}, {len(source.disks)} disk(s),"
        f" firmware {text(facts.firmware or source.machine.firmware or 'unknown')}",
        f"- Guest: {text(facts.product or 'unknown')}{f' ({text(facts.architecture)})' if facts.architecture else ''},"
        f" host name {text(facts.hostname or 'unknown')}",
    ]
    lines += [f"- Kernel {text(kernel.version)} ({text(kernel.image)})" for kernel in facts.kernels]
    lines += [
        f"- Network card {text(nic.name or '(no profile)')}: {text(nic.mac)},"
        f" {text(', '.join(nic.addresses) or nic.method)}"
        f"{' on ' + text(nic.on) if nic.on else ''}{' by ' + text(nic.backend) if nic.backend else ''}"
        for nic in facts.nics
    ]
    lines += ["", "## What to know", ""] + (
        [f"- **{text(item.severity)}** {code(item.code)}: {text(item.cause)} {text(item.remedy)}" for item in done.concerns] or ["Nothing."]
    )
    lines += ["", f"## What was changed{f' ({len(done.changes)} changes)' if len(done.changes) > 1 else ''}", ""]
    lines += [f"- Grown: {text(line)}" for line in done.grown]
    lines += [line for reason, changes in _by_reason(done.changes) for line in _change(reason, changes)] or ["Nothing."]
    lines += ["", "## What was copied", "", "| disk | format | size | written | digest of the content |", "| --- | --- | --- | --- | --- |"]
    kinds = [f"{disk.format}{', encrypted' if disk.encrypted else ''}" for disk in done.disks]
    lines += [
        f"| {text(disk.path)} | {text(kind)} | {_mib(disk.virtual_size)} | {_mib(disk.allocated)} | {code(disk.content_digest or disk.sha256)} |"
        for disk, kind in zip(done.disks, kinds)
    ]
    lines += ["", f"## What was proved: {text(proof.verdict or 'nothing')}", ""]
    lines += [f"- {'ok' if check.passed else 'FAILED'} {text(check.name)}: {text(check.detail)}" for check in proof.checks]
    lines += ["", f"## Boot test: {text(boot.verdict or 'not run')}", ""]
    lines += [
        f"- {text(name)} after {seconds} s" for name, seconds in sorted(boot.signals.items(), key=lambda item: (item[1], item[0]))
    ] + ([f"- {text(boot.cause)}"] if boot.cause else [])
    lines += ["", "![console](console.png)"] if boot.screenshot else []
    lines += ["", "## What is left to do", ""] + [f"- {text(step)}" for step in _left(done)]
    return "\n".join(lines) + "\n"


def verdict(done: Migration) -> str:
    if not done.disks:
        return "Planned; nothing was converted."
    if done.boot.verdict == "passed":
        return "Migrated, proved and booted."
    return "Migrated and proved; not booted." if done.proof.verdict == "passed" else "Migrated; not proved."


def verdict_ahead(planned: Optional[Repaired], earlier: Optional[Repaired]) -> str:
    """What a dry run says of the repair that was `planned`, or else of that which an `earlier` run has made."""
    found = planned or earlier
    if found is None:
        return f"{_DRY} The guest was not looked into: what would change, and whether it would boot, is not known."
    number = sum(found.summary.values()) or len(found.changes)
    changes = f"{number} change{'' if number == 1 else 's'} would be made to the guest" if planned else "The guest is repaired already"
    proof = {"passed": "it is proved to boot", "failed": "the proof that it boots fails"}.get(
        found.proof.verdict, "nothing proves that it boots"
    )
    return f"{_DRY} {changes}; {proof}."


def _by_reason(changes: Sequence[ChangeSaid]) -> list[tuple[str, list[ChangeSaid]]]:
    reasons: dict[str, list[ChangeSaid]] = {}
    for change in changes:
        reasons.setdefault(change.reason, []).append(change)
    return list(reasons.items())


def _change(reason: str, changes: Sequence[ChangeSaid]) -> list[str]:
    lines = [f"### {text(reason)}", ""]
    removed = [change.path for change in changes if change.kind == "remove"]
    added = [change.path for change in changes if change.kind in ("upload", "copy")]
    for change in changes:
        if change.path.endswith("/dpkg/status"):  # which is long and says nothing that the removed files do not say
            lines += [f"Changed: {text(change.path)}, whose diff is in report.json", ""]
        elif change.kind not in ("remove", "upload", "copy"):
            lines += [*block(change.diff or "", "diff"), ""]
    if added:
        lines += [f"Put in: {_paths(added)}", ""]
    if removed:
        lines += [f"Removed: {_paths(removed)}", ""]
    return lines


def _paths(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _PATHS} more, which the plan has" if len(paths) > _PATHS else ""
    return ", ".join(map(text, paths[:_PATHS])) + more


def _left(done: Migration) -> list[str]:
    facts = done.facts
    at_source = [nic.mac or made(done.source.seed, number) for number, nic in enumerate(done.source.machine.nics)]
    macs = ", ".join([nic.mac for nic in facts.nics] or dict.fromkeys([*at_source, *(mac for dummy, mac in facts.interfaces)]))
    disks = {"sata": "SATA", "ide": "IDE"}.get(facts.disk_bus or "", "virtio")
    steps = [
        f"Define the VM on the target with {disks} disks, {facts.nic_model or 'virtio'} network cards"
        f" and {facts.firmware or 'the same'} firmware; it starts from disk {facts.boot_disk}."
        + (" The .xml beside this page says so to libvirt (virsh define)." if done.disks else "")
    ]
    networks = ", ".join(dict.fromkeys(nic.network for nic in done.source.machine.nics if nic.network))
    steps += (
        [f"Look on which network each card is; at the source there were {networks} (migrate_network_map)."]
        if networks and done.disks
        else []
    )
    steps += [step.replace("{vm}", done.vm) for step in facts.steps]
    steps += [f"Give its network cards these MACs, in this order: {macs}."] if macs else []
    return steps + ["Keep the source until the VM has run on the target for as long as you need to be sure."]


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
