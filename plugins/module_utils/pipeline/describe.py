# SPDX-License-Identifier: GPL-3.0-or-later
"""DESCRIBE: the files that tell a target what its new VM is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Mapping, Optional, Sequence

from ..core import ahead, modes, names, spared
from ..core.errors import InvalidInput, ToolFailed
from ..core.shape import TEXT, require, require_texts
from ..disk import qemu_img
from ..disk.machine import Converted, VmSaid
from ..guest.model import BOOTSTRAP, FINAL
from ..targets import libvirt_xml
from ..targets.domain import Domain
from ..targets.formats import FORMATS
from . import descriptions, domains, places, record
from .record import Facts
from .stage import Claims, Plain, Result, Run
from .subject import Subject

SIDE_DISK_SIZE = 64 << 20  # bytes


@dataclass(frozen=True)
class DescribeOptions:
    """The files go to `dest`, under names that begin with `name`; beside libvirt's one for each of `formats`, of targets/formats.

    `vm`, `facts` and `disks` are what FETCH, FIX and CONVERT have answered; where there is a work directory it knows what is None.
    `network`, `networks`: see domains.describe.
    """

    name: str
    dest: str
    subject: Subject = Subject()
    vm: Optional[VmSaid] = None
    facts: Optional[Facts] = None
    disks: Optional[tuple[Converted, ...]] = None
    phase: str = FINAL
    network: str = "default"
    networks: Mapping[str, str] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    mode: int = modes.FILE

    def __post_init__(self) -> None:
        """Raises InvalidInput for one text in place of several."""
        require_texts(formats=self.formats)


@dataclass(frozen=True)
class _Known:
    """What is described."""

    vm: VmSaid
    facts: Facts
    phase: str
    disks: tuple[Converted, ...]


@dataclass(frozen=True)
class Describe(Plain):
    """DESCRIBE. Answers `path`, the description for libvirt, the `files` in other formats, and the `side_disk` that a first start of Windows needs.

    In check mode files that a run would write are left out.
    """

    options: DescribeOptions
    name = "describe"

    @property
    def mode(self) -> int:
        return self.options.mode

    @cached_property
    def _known(self) -> _Known:
        wanted, work_dir = self.options, self.options.subject.work_dir
        before = record.known(work_dir) if work_dir else record.Known()
        phase = wanted.phase if wanted.facts is not None else next(iter(before.facts.phases), wanted.phase)
        disks = record.so_far(work_dir).disks if work_dir and wanted.disks is None else wanted.disks
        return _Known(wanted.vm or before.vm, wanted.facts or before.facts, phase, disks or ())

    @cached_property
    def _side(self) -> str:
        """The small disk that lets Windows install its driver; empty where there is no such first start."""
        name = f"{names.safe(self.options.name)}-driver.qcow2"
        return os.path.join(self.options.dest, name) if self._known.phase == BOOTSTRAP else ""

    @cached_property
    def _domain(self) -> Domain:
        wanted, known = self.options, self._known
        name = names.safe(wanted.name)
        return domains.describe(name, known.vm, known.facts, known.disks, known.phase, wanted.network, self._side, wanted.networks)

    @cached_property
    def _described(self) -> tuple[descriptions.Description, ...]:
        wanted, known, name = self.options, self._known, names.safe(self.options.name)
        strange = next((fmt for fmt in wanted.formats if fmt not in FORMATS), "")
        if strange:
            raise InvalidInput(f"{strange!r} is not a format of descriptions.", f"Use {', '.join(FORMATS)}.", option="formats")
        formats = [FORMATS[fmt] for fmt in dict.fromkeys(wanted.formats)] if known.phase == FINAL else []
        base = os.path.join(wanted.dest, f"{name}-bootstrap" if known.phase == BOOTSTRAP else name)
        return descriptions.of(self._domain, base, wanted.mode, [libvirt_xml.FORMAT, *formats])

    @cached_property
    def _stale(self) -> list[descriptions.Description]:
        return [one for one in self._described if one.stale]

    def require(self, run: Run) -> None:
        self.options.subject.require_own(run)
        known, networks = self._known, self.options.networks
        _require_networks(networks)
        domains.require_each_disk(known.vm, known.facts, known.disks)
        told = (
            *domains.unmapped(known.vm, self.options.network, networks),
            *domains.assumed(known.vm, known.facts),
            *domains.left_out(known.vm, self._domain),
            *domains.other_topology(self._domain),
        )
        for concern in told:
            run.warn(str(concern))

    def claims(self, run: Run) -> Claims:
        return Claims((places.results(self.options.dest, self.options.name),), self._known.vm.identity)

    def earlier(self, run: Run) -> Optional[Result]:
        if not self._known.disks:  # said only now: whose the place is comes first
            raise InvalidInput("disks is empty: a VM needs one to start from.", "Give what qemu_convert returned as disks.", option="disks")
        _require_side(self._side)
        for one in self._stale:
            ahead.file(one.path)
        descriptions.require_ours(self._stale)
        missing = self._side and not os.path.exists(self._side)
        return None if self._stale or missing else self._answer(self._described, self._side)

    def would(self, run: Run) -> Result:
        ahead.writable(self.options.dest)
        there = [one for one in self._described if one not in self._stale]
        return self._answer(there, self._side if os.path.exists(self._side) else "")

    def run(self, run: Run) -> Result:
        mode = modes.with_disks(self.options.mode)
        modes.make_directory(self.options.dest, mode, mode)
        if self._side and not os.path.exists(self._side):
            qemu_img.create_empty(self._side, SIDE_DISK_SIZE)
            os.chmod(self._side, self.options.mode)
        descriptions.write(self._stale)
        return self._answer(self._described, self._side)

    def _answer(self, there: Sequence[descriptions.Description], side: str) -> Result:
        path = self._described[0].path  # libvirt's
        named = [one.path for one in there]
        answer = {"files": [file for file in named if file != path], "side_disk": side}
        return {**answer, "path": path} if path in named else answer


def _require_networks(networks: Mapping[str, str]) -> None:
    """Raise InvalidInput, which names the option, for networks that are none."""
    require(
        "networks",
        networks,
        {"": TEXT},
        "Write the name of a network, or bridge: and that of a bridge, for each network at the source.",
    )


def _require_side(path: str) -> None:
    """Raise InvalidInput where something else has the name of the small disk, which Windows writes to."""
    if not path or not os.path.lexists(path):
        return
    spared.require(path)
    try:
        image = None if os.path.islink(path) else qemu_img.info(path, "qcow2")
    except ToolFailed:
        image = None
    if image is None or image.virtual_size != SIDE_DISK_SIZE or image.backing:
        raise InvalidInput(
            f"{path} is not the small disk that lets Windows install its driver.",
            "Give the VM another name (migrate_name) or another directory, or move away what is there.",
            path=path,
        )
