# SPDX-License-Identifier: GPL-3.0-or-later
"""A report over many VMs: who is ready, who is not and why, how much data there is and about how long it takes."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import Any, Optional, Sequence

from ..core.concern import BLOCKER, WARNING, Concern
from ..core.markdown import text

GIB = 1 << 30
_FORMULA = re.compile(r"((?:^|[;,])[\s\"']*)([=+\-@\uff1d\uff0b\uff0d\uff20])")


@dataclass(frozen=True)
class Assessed:
    """A VM with its concerns, as vsphere_vm_info returns it, see model.Vm; memory in MiB, sizes in bytes."""

    name: str
    path: str
    power: str
    firmware: str
    size: int
    concerns: tuple[Concern, ...]
    disks: tuple[Any, ...] = ()
    guest_name: str = ""
    guest_id: str = ""
    cpus: Optional[int] = None
    memory: Optional[int] = None
    committed: int = 0


@dataclass(frozen=True)
class Row:
    """A VM in the report."""

    vm: str
    path: str
    verdict: str
    power: str
    guest: str
    firmware: str
    cpus: Optional[int]
    memory_mib: Optional[int]
    disks: int
    size_gib: float
    used_gib: float
    minutes: float
    concerns: str


COLUMNS = tuple(column.name for column in fields(Row))


def rows(vms: Sequence[Assessed], rate: float) -> list[Row]:
    """One row a VM, blocked ones first; `rate` in MiB a second.

    Minutes are those of the copy alone, of what the disks occupy where vSphere knows it, else of their size.
    """
    found = []
    for vm in vms:
        severities = {concern.severity for concern in vm.concerns}
        moved = min(vm.size, vm.committed) if vm.committed else vm.size
        found.append(
            Row(
                vm=vm.name,
                path=vm.path,
                verdict="blocked" if BLOCKER in severities else "look" if WARNING in severities else "ready",
                power=vm.power,
                guest=vm.guest_name or vm.guest_id,
                firmware=vm.firmware,
                cpus=vm.cpus,
                memory_mib=vm.memory,
                disks=len(vm.disks),
                size_gib=round(vm.size / GIB, 1),
                used_gib=round(moved / GIB, 1),
                minutes=round(moved / (rate * (1 << 20)) / 60, 1),
                concerns=" ".join(concern.code for concern in vm.concerns),
            )
        )
    return sorted(found, key=lambda row: (("blocked", "look", "ready").index(row.verdict), row.path))


def as_csv(table: Sequence[Row]) -> str:
    """The rows for a spreadsheet. A value that one would take for a formula is quoted."""
    table_text = io.StringIO()
    writer = csv.DictWriter(table_text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({key: _plain(value) if isinstance(value, str) else value for key, value in asdict(row).items()})
    return table_text.getvalue()


def as_markdown(vms: Sequence[Assessed], table: Sequence[Row], rate: float) -> str:
    """The report for people."""
    verdicts = Counter(row.verdict for row in table)
    lines = [
        "# Readiness",
        "",
        f"{len(table)} VMs: {verdicts['ready']} ready, {verdicts['look']} to look at, {verdicts['blocked']} blocked. "
        f"{sum(row.size_gib for row in table):.1f} GiB of disks, {sum(row.used_gib for row in table):.1f} GiB to move, "
        f"{sum(row.minutes for row in table) / 60:.1f} hours one after the other at {rate:g} MiB/s.",
        "",
        "| VM | verdict | power | guest | disks | GiB | to move | minutes | concerns |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table:
        cells = (
            row.path,
            row.verdict,
            row.power,
            row.guest,
            row.disks,
            row.size_gib,
            row.used_gib,
            row.minutes,
            row.concerns,
        )
        lines.append("| " + " | ".join(text(value) for value in cells) + " |")
    lines += ["", "## What to do", ""]
    for code, found in sorted(_by_code(vms).items()):
        first = found[0][1]
        lines += [f"### {text(code)} ({first.severity}, {len(found)} VMs)", "", text(first.remedy), ""]
        lines += [f"- {text(path)}: {text(concern.cause)}" for path, concern in found] + [""]
    return "\n".join(lines)


def _by_code(vms: Sequence[Assessed]) -> dict[str, list[tuple[str, Concern]]]:
    found: dict[str, list[tuple[str, Concern]]] = {}
    for vm in vms:
        for concern in vm.concerns:
            found.setdefault(concern.code, []).append((vm.path, concern))
    return found


def _plain(value: str) -> str:
    """A value that no spreadsheet computes, whatever it takes for the end of a cell."""
    return _FORMULA.sub(r"\1'\2", "".join(" " if ord(letter) < 32 else letter for letter in value))
