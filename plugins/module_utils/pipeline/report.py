# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of one VM, for machines (JSON) and for people (Markdown), from what the stages returned."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ..core import atomic
from ..core.manifest import Manifest
from ..core.markdown import block, code, text
from ..disk import qemu_img, staging

FORMAT = 1
PLANNED = "plan.json"  # of the repair, in a work directory
REFUSED = "plan-refused.json"  # of a repair whose proof failed, there
_PATHS = 400  # that are named for one reason


@dataclass(frozen=True)
class Recorded:
    """What a work directory says of its VM, of the repair of its guest, and the plan as text; empty where it says nothing."""

    vm: Mapping[str, Any] = field(default_factory=dict)
    guest: Mapping[str, Any] = field(default_factory=dict)
    plan: str = ""


def recorded(work_dir: str) -> Recorded:
    """From the records that the stages have left, as those of the run that writes the report."""
    if not work_dir:
        return Recorded()
    fetched, fixed = staging.noted(work_dir), Manifest.load(os.path.join(work_dir, staging.FIXED), "fix", staging.REPAIRING)
    if fixed is None or fixed.stage == staging.REPAIRING or (fetched is not None and fetched.inputs != fixed.inputs):
        return Recorded(fetched.result if fetched is not None else {})
    plan = atomic.read_text(os.path.join(work_dir, PLANNED))
    return Recorded(fetched.result if fetched is not None else {}, fixed.result, plan or "")


def as_data(vm: Mapping[str, Any], guest: Mapping[str, Any], disks: Sequence[Mapping[str, Any]], boot: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report; sizes in bytes, times in seconds. The same inputs give the same report."""
    return {
        "format": FORMAT,
        "vm": vm.get("name"),
        "source": {key: value for key, value in vm.items() if key != "name"},
        "disks": list(disks),
        "facts": guest.get("facts") or {},
        "concerns": guest.get("concerns") or [],
        "grown": guest.get("grown") or [],
        "changes": guest.get("changes") or [],
        "proof": guest.get("proof") or {},
        "boot": dict(boot),
        "timings": {
            "fetch": vm.get("seconds"),
            "fix": guest.get("timings") or {},
            "convert": [disk.get("seconds") for disk in disks],
            "boot": boot.get("seconds"),
        },
        "bytes_read": sum(disk.get("bytes_read") or 0 for disk in disks),
        "bytes_written": sum(disk.get("bytes_written") or 0 for disk in disks),
        "tools": {"qemu-img": qemu_img.version(), "python": platform.python_version()},
    }


def as_json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def as_markdown(data: Mapping[str, Any]) -> str:
    """A page a person can read and forward."""
    facts, proof, boot, source = data["facts"], data["proof"], data["boot"], data["source"]
    lines = [
        f"# Migration of {text(data['vm'])}",
        "",
        f"**{verdict(data)}**",
        "",
        "## What was found",
        "",
        f"- Source: {text(source.get('kind', ''))}, {len(source.get('disks') or [])} disk(s),"
        f" firmware {text(facts.get('firmware') or source.get('firmware') or 'unknown')}",
        f"- Guest: {text(facts.get('product') or 'not inspected')} ({text(facts.get('architecture', ''))}),"
        f" host name {text(facts.get('hostname') or 'unknown')}",
    ]
    lines += [f"- Kernel {text(kernel['version'])} ({text(kernel['image'])})" for kernel in facts.get("kernels") or []]
    lines += [
        f"- Network card {text(card.get('name') or '(no profile)')}: {text(card['mac'])},"
        f" {text(', '.join(card.get('addresses') or ()) or card.get('method') or '')}"
        f"{' on ' + text(card['on']) if card.get('on') else ''}{' by ' + text(card['backend']) if card.get('backend') else ''}"
        for card in facts.get("cards") or []
    ]
    lines += ["", "## What to know", ""] + (
        [f"- **{text(item['severity'])}** {code(item['code'])}: {text(item['cause'])} {text(item['remedy'])}" for item in data["concerns"]]
        or ["Nothing."]
    )
    lines += ["", "## What was changed", ""]
    lines += [f"- Grown: {text(line)}" for line in data["grown"]]
    lines += [line for reason, changes in _by_reason(data["changes"]) for line in _change(reason, changes)] or ["Nothing."]
    lines += ["", "## What was copied", "", "| disk | format | size | written | digest of the content |", "| --- | --- | --- | --- | --- |"]
    kinds = [f"{disk.get('format', '')}{', encrypted' if disk.get('encrypted') else ''}" for disk in data["disks"]]
    lines += [
        f"| {text(disk['path'])} | {text(kind)} | {_mib(disk.get('virtual_size') or 0)} | {_mib(disk.get('allocated') or 0)} | {code(_digest(disk))} |"
        for disk, kind in zip(data["disks"], kinds)
    ]
    lines += ["", f"## What was proved: {text(proof.get('verdict') or 'nothing')}", ""]
    lines += [
        f"- {'ok' if check['passed'] else 'FAILED'} {text(check['name'])}: {text(check['detail'])}" for check in proof.get("checks") or []
    ]
    lines += ["", f"## Boot test: {text(boot.get('verdict') or 'not run')}", ""]
    lines += [
        f"- {text(name)} after {seconds} s"
        for name, seconds in sorted((boot.get("signals") or {}).items(), key=lambda item: (item[1], item[0]))
    ] + ([f"- {text(boot['cause'])}"] if boot.get("cause") else [])
    lines += ["", "![console](console.png)"] if boot.get("screenshot") else []
    lines += ["", "## What is left to do", ""] + [f"- {text(step)}" for step in _left(data)]
    return "\n".join(lines) + "\n"


def _digest(disk: Mapping[str, Any]) -> str:
    return str(disk.get("content_digest") or disk.get("sha256") or "")


def verdict(data: Mapping[str, Any]) -> str:
    if not data["disks"]:
        return "Planned; nothing was converted."
    if data["boot"].get("verdict") == "passed":
        return "Migrated, proved and booted."
    return "Migrated and proved; not booted." if data["proof"].get("verdict") == "passed" else "Migrated; not proved."


def _by_reason(changes: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    reasons: dict[str, list[Mapping[str, Any]]] = {}
    for change in changes:
        reasons.setdefault(change["reason"], []).append(change)
    return list(reasons.items())


def _change(reason: str, changes: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"### {text(reason)}", ""]
    removed = [change["path"] for change in changes if change["kind"] == "remove"]
    added = [change["path"] for change in changes if change["kind"] in ("upload", "copy")]
    for change in changes:
        # The package database is long and says nothing that the removed files do not say.
        if change["kind"] not in ("remove", "upload", "copy") and not change["path"].endswith("/dpkg/status"):
            lines += [*block(change.get("diff") or "", "diff"), ""]
    if added:
        lines += [f"Put in: {_paths(added)}", ""]
    if removed:
        lines += [f"Removed: {_paths(removed)}", ""]
    return lines


def _paths(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _PATHS} more, which the plan has" if len(paths) > _PATHS else ""
    return ", ".join(map(text, paths[:_PATHS])) + more


def _left(data: Mapping[str, Any]) -> list[str]:
    known = [nic["mac"] for nic in data["source"].get("nics") or [] if nic.get("mac")] + [
        mac for dummy, mac in data["facts"].get("interfaces") or []
    ]
    facts = data["facts"]
    macs = ", ".join([card["mac"] for card in facts.get("cards") or []] or dict.fromkeys(known))
    disks = {"sata": "SATA", "ide": "IDE"}.get(facts.get("disk_bus", ""), "virtio")
    steps = [
        f"Define the VM on the target with {disks} disks, {facts.get('nic_model') or 'virtio'} network cards"
        f" and {facts.get('firmware') or 'the same'} firmware; it starts from disk {facts.get('boot_disk') or 0}."
        + (" The .xml beside this page says so to libvirt." if data["disks"] else "")
    ]
    steps += [step.replace("{vm}", str(data["vm"])) for step in facts.get("first_steps") or ()]
    steps += [f"Give its network cards these MACs, in this order: {macs}."] if macs else []
    return steps + ["Keep the source until the VM has run on the target for as long as you need to be sure."]


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
