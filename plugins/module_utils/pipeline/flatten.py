# SPDX-License-Identifier: GPL-3.0-or-later
"""FLATTEN: what was staged gets an overlay for each disk, or a flat copy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from ..core import ahead
from ..core.data import to_data
from ..core.errors import InvalidInput
from ..core.names import safe
from ..core.process import require
from ..core.progress import Silent
from ..disk import convert, earlier, staging
from ..disk.machine import Converted
from ..disk.request import Request
from . import places
from .stage import Claims, Result, Run
from .subject import OnSubject, Subject


@dataclass(frozen=True)
class FlattenOptions:
    """With `dest` the disks are copied into that directory, each as an image of `format`; without it they get overlays in the work directory."""

    subject: Subject
    dest: str = ""
    format: str = "qcow2"


@dataclass(frozen=True)
class Flatten(OnSubject):
    """FLATTEN. Answers `disks`: where each is, its format, and its size in bytes."""

    options: FlattenOptions
    name = "flatten"

    @cached_property
    def _only_source(self) -> bool:
        """Whether a run would fetch first, so that check mode can only ask the source."""
        return bool(self.options.subject.source) and self.options.subject.fetched() is None

    @cached_property
    def _base(self) -> staging.Staging:
        return self.options.subject.require_fetched()

    @cached_property
    def _copies(self) -> list[tuple[Request, Optional[Converted]]]:
        """What is to be copied, each with what an earlier run has reported of the same."""
        if self._base.stays:
            raise InvalidInput("The disks were not staged, so there is nothing to copy.", "Stage them (migrate_fetch: stage).")
        disks = staging.staged_disks(self._base.vm, self.options.subject.work_dir)
        wanted = [
            Request(disk.top, disk.format, self._copy(self._base.vm.machine.name, number), self.options.format)
            for number, disk in enumerate(disks)
        ]
        return [(request, earlier.done_before(request, self._base.inputs)) for request in wanted]

    def _copy(self, name: str, number: int) -> str:
        return os.path.join(self.options.dest, f"{safe(name)}-disk{number}.{self.options.format}")

    def require(self, run: Run) -> None:
        super().require(run)
        if run.check:
            require("qemu-img")

    def claims(self, run: Run) -> Claims:
        if not self.options.dest or (run.check and self._only_source):
            return Claims()
        place = places.results(self.options.dest, self._base.vm.machine.name, self.options.subject.work_dir)
        return Claims((place,), self._base.identity)

    def earlier(self, run: Run) -> Optional[Result]:
        if run.check and self._only_source:
            return None
        if self.options.dest:
            done = [before for dummy, before in self._copies if before is not None]
            return {"disks": to_data(done)} if len(done) == len(self._copies) else None
        staging.require_apart(staging.staged_disks(self._base.vm, self.options.subject.work_dir), self._base.inputs)
        return self._overlays() if staging.flattened(self.options.subject.work_dir) else None

    def would(self, run: Run) -> Result:
        if self._only_source:
            return self._of_source()
        if not self.options.dest:
            return self._overlays()
        ahead.writable(self.options.dest)
        with staging.holding(self._base, self.options.subject.work_dir):
            return {"disks": [to_data(before or convert.plan(request, self._base.inputs)) for request, before in self._copies]}

    def run(self, run: Run) -> Result:
        base, directory = self._base, self.options.subject.work_dir
        with staging.holding(base, directory) as unchanged:
            if self.options.dest:
                done = [before or convert.convert(request, base.inputs, Silent(), unchanged) for request, before in self._copies]
                return {"disks": to_data(done)}
            staging.flatten(base.vm, directory, base.inputs)
        return self._overlays()

    def _overlays(self) -> Result:
        disks = staging.staged_disks(self._base.vm, self.options.subject.work_dir)
        return {"disks": [{"path": disk.overlay, "format": "qcow2", "virtual_size": disk.virtual_size} for disk in disks]}

    def _of_source(self) -> Result:
        """What check mode says of disks that were not fetched. Raises InvalidInput for a copy that would take the place of one of them."""
        with self.options.subject.looked_at() as found:
            sizes = found.sizes()
        for number, disk in enumerate(sizes if self.options.dest else ()):
            if disk.files:
                earlier.refuse_source(Request("", "raw", self._copy(disk.vm, number), self.options.format), disk.files)
        paths = [staging.overlay(self.options.subject.work_dir, number) for number in range(len(sizes))]
        return {"disks": [{"path": path, "format": "qcow2", "virtual_size": disk.virtual_size} for path, disk in zip(paths, sizes)]}
