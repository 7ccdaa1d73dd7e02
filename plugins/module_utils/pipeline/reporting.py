# SPDX-License-Identifier: GPL-3.0-or-later
"""REPORT: what the stages have recorded becomes the report of one VM, and its migration ends."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Optional, Sequence

from ..core import ahead, atomic, modes
from ..core.errors import InvalidInput
from ..disk.machine import Converted, VmSaid
from . import places, record, report
from .record import Booted, Migration, Repaired
from .stage import Plain, Result, Run
from .subject import Subject


@dataclass(frozen=True)
class ReportOptions:
    """The report goes to `dest`; the images went to `results`, or there too where that is empty. `name` is what the VM is called on the target.

    `vm`, `guest`, `disks` and `boot` are what FETCH, FIX, CONVERT and the boot test have answered. A work directory knows better of the first two, and
    of the others where they are None.
    """

    dest: str
    subject: Subject = Subject()
    name: str = ""
    vm: Optional[VmSaid] = None
    guest: Optional[Repaired] = None
    disks: Optional[tuple[Converted, ...]] = None
    boot: Optional[Booted] = None
    results: str = ""
    mode: int = modes.FILE


@dataclass(frozen=True)
class Report(Plain):
    """REPORT, the last stage. Answers `report`, the page for people, and the `verdict`."""

    options: ReportOptions
    name = "report"

    @property
    def mode(self) -> int:
        return self.options.mode

    @cached_property
    def _noted(self) -> report.Recorded:
        return report.recorded(self.options.subject.work_dir)

    @property
    def _vm(self) -> Optional[VmSaid]:
        return self._noted.vm or self.options.vm

    @cached_property
    def _done(self) -> Migration:
        wanted, noted, work_dir = self.options, self._noted, self.options.subject.work_dir
        vm, disks, boot = self._vm, wanted.disks, wanted.boot
        if vm is None:
            raise InvalidInput(
                f"There is nothing to report: {work_dir or 'no work_dir'} says of no VM that it was fetched.",
                "Run the migration first, or name the source and the places as they were in that run.",
            )
        if work_dir:
            disks = record.results(work_dir) if disks is None else disks
            boot = record.booted(wanted.dest) if boot is None else boot
        named = replace(vm, machine=replace(vm.machine, name=wanted.name or vm.machine.name))
        return report.of(named, noted.guest or wanted.guest or Repaired(), disks or (), boot or Booted())

    @cached_property
    def _changes(self) -> dict[str, str]:
        """The files that are to be written, and what is to be in them."""
        guest, done = self.options.guest, self._done
        plan = self._noted.plan or report.as_json(guest.plan if guest is not None else {})
        texts = {"report.json": report.as_json(report.as_data(done)), "report.md": report.as_markdown(done), "plan.json": plan}
        return {name: text for name, text in texts.items() if atomic.read_text(self._path(name)) != text}

    def _path(self, name: str) -> str:
        return os.path.join(self.options.dest, name)

    def require(self, run: Run) -> None:
        self.options.subject.require_own(run)
        whose = self._done.source.identity
        if whose is not None:
            places.require_report(self.options.dest, whose, run.moved)
        for name in self._changes:
            ahead.file(self._path(name))

    def earlier(self, run: Run) -> Optional[Result]:
        return None if self._changes else self._answer()

    def would(self, run: Run) -> Result:
        return {"verdict": report.verdict_ahead(self.options.guest, self._noted.guest)}

    def run(self, run: Run) -> Result:
        mode = modes.with_disks(self.mode)
        modes.make_directory(self.options.dest, mode, mode)
        for name, text in self._changes.items():
            atomic.write_text(self._path(name), text, modes.FILE if name == "plan.json" else self.mode)
        return self._answer()

    def _answer(self) -> Result:
        return {"report": self._path("report.md"), "verdict": report.verdict(self._done)}

    def ended(self) -> Sequence[places.Place]:
        wanted, work_dir = self.options, self.options.subject.work_dir
        ended = [places.work_dir(work_dir)] if work_dir else []
        name = wanted.name or (self._vm.machine.name if self._vm is not None else "")
        if name:
            there = sorted({wanted.dest, wanted.results or wanted.dest})
            ended += [places.results(directory, name) for directory in there]
        return ended
