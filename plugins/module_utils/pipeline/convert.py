# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT: the overlays become images, or the content of block devices."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Callable, Optional, Sequence, Union

from ..core import ahead, modes, names
from ..core.data import to_data
from ..core.device import absolute
from ..core.errors import InvalidInput
from ..core.manifest import Identity
from ..core.process import require
from ..core.shape import require_texts
from ..disk import convert, earlier, sizes, staging
from ..disk.convert import Planned
from ..disk.machine import Converted
from ..disk.request import Request
from . import places, record
from .fetch import reading
from .stage import Claims, Result, Run
from .subject import OnSubject, Subject


@dataclass(frozen=True)
class ConvertOptions:
    """The images go to `dest`, under names that begin with `name`. `resize` has a size for each disk as disk/sizes reads it, or an empty text; `devices` a
    block device for each that shall not become an image. The others are those of disk/request.Request.
    """

    subject: Subject
    name: str
    dest: str
    format: str = "qcow2"
    compression: str = "none"
    resize: tuple[str, ...] = ()
    preallocation: str = "off"
    cluster_size: int = 0
    devices: tuple[str, ...] = ()
    passphrase: str = field(default="", repr=False)
    mode: int = modes.FILE
    overwrite: bool = False
    file_digest: bool = False

    def __post_init__(self) -> None:
        """Raises InvalidInput for one text in place of several."""
        require_texts(resize=self.resize, devices=self.devices)


@dataclass(frozen=True)
class _Staged:
    """What FETCH has recorded, and what its disks are to become."""

    base: staging.Staging
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class _Wanted:
    """A result, what it is made from, and what an earlier run has reported of the same."""

    request: Request
    made_from: tuple[Identity, ...]
    before: Optional[Converted]


@dataclass(frozen=True)
class Convert(OnSubject):
    """CONVERT. Answers `disks`, the results, or in check mode what they would be."""

    options: ConvertOptions
    name = "convert"

    @property
    def mode(self) -> int:
        return self.options.mode

    @cached_property
    def _only_source(self) -> bool:
        """Whether a run would fetch or flatten first, so that check mode can only ask the source."""
        subject = self.options.subject
        return bool(subject.source) and not (subject.fetched() and staging.flattened(subject.work_dir))

    @cached_property
    def _staged(self) -> _Staged:
        base = self.options.subject.require_fetched()
        return _Staged(base, requests(self.options, staging.staged_disks(base.vm, self.options.subject.work_dir)))

    @cached_property
    def _wanted(self) -> list[_Wanted]:
        return self._looked_up(quick=False)

    def _looked_up(self, quick: bool) -> list[_Wanted]:
        base, asked = self._staged.base, self._staged.requests
        staging.require_whole(self.options.subject.work_dir)
        made = [(request, (*base.inputs, Identity.of(request.source))) for request in asked]
        return [_Wanted(request, made_from, earlier.done_before(request, made_from, quick)) for request, made_from in made]

    def claims(self, run: Run) -> Claims:
        if run.check and self._only_source:
            return Claims()
        place = places.results(self.options.dest, self.options.name, self.options.subject.work_dir)
        return Claims((place,), self._staged.base.identity)

    def earlier(self, run: Run) -> Optional[Result]:
        if run.check and self._only_source:
            return None
        wanted = self._looked_up(quick=True) if run.probe else self._wanted
        done = [one.before for one in wanted if one.before is not None]
        if len(done) < len(wanted):
            return None
        if not run.check:
            self._record(wanted, done)
        return {"disks": to_data(done)}

    def would(self, run: Run) -> Result:
        if self._only_source:
            return self._of_source()
        with self._read():
            planned: list[Union[Planned, Converted]] = [one.before or convert.plan(one.request, one.made_from) for one in self._wanted]
        return self._ahead([one.request for one in self._wanted if one.before is None], planned)

    def run(self, run: Run) -> Result:
        with self._read() as unchanged:
            results = [one.before or convert.convert(one.request, one.made_from, run.progress, unchanged) for one in self._wanted]
        self._record(self._wanted, results)
        return {"disks": to_data(results)}

    def _read(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """For the time of a block the overlays read their source. Raises InvalidInput where they are not whole."""
        subject = self.options.subject
        staging.require_whole(subject.work_dir)
        return reading(self._staged.base, subject.work_dir, subject.access, cached=False)

    def _record(self, wanted: Sequence[_Wanted], results: Sequence[Converted]) -> None:
        record.converted(self.options.subject.work_dir, [one.made_from[-1] for one in wanted], results)

    def _of_source(self) -> Result:
        """What check mode says of disks that have no overlays yet."""
        with self.options.subject.looked_at() as found:
            disks = found.sizes()
        asked = requests(self.options, [staging.StagedDisk("", "", disk.virtual_size) for disk in disks])
        return self._ahead(
            asked, [convert.looked_at(request, disk.virtual_size, disk.data, disk.files) for request, disk in zip(asked, disks)]
        )

    def _ahead(self, asked: Sequence[Request], planned: Sequence[Union[Planned, Converted]]) -> Result:
        """The plans, unless the run would lack a tool, rights or space."""
        require("qemu-img")
        ahead.writable(self.options.dest)
        plans = {plan.path: plan for plan in planned if isinstance(plan, Planned)}
        convert.check_room([(request, plans[request.output]) for request in asked])
        return {"disks": to_data(planned)}


def requests(options: ConvertOptions, disks: Sequence[staging.StagedDisk]) -> tuple[Request, ...]:
    """One request for each disk. Raises InvalidInput for sizes and devices that are not one for each."""
    named = [os.path.realpath(absolute(device)) for device in options.devices if device]
    if options.devices and not named:
        raise InvalidInput("The list of devices names none: its texts are empty.", "Name a device, or leave the list out to make images.")
    if disks:  # of an archive nothing is known before it is unpacked
        sizes.require_at_most_one_each(options.resize, len(disks))
    if len(options.devices) > len(disks) > 0 or len(set(named)) < len(named):
        raise InvalidInput(
            f"{', '.join(options.devices)} are not one device for each of {len(disks)} disks.",
            "Name each device once, in the order of the disks.",
        )
    wishes, devices = dict(enumerate(options.resize)), dict(enumerate(options.devices))
    return tuple(_request(options, number, disk, wishes.get(number, ""), devices.get(number, "")) for number, disk in enumerate(disks))


def _request(options: ConvertOptions, number: int, disk: staging.StagedDisk, wish: str, device: str) -> Request:
    """What a device gets is raw, and as large as the device."""
    fmt = "raw" if device else options.format
    return Request(
        disk.overlay,
        "qcow2",
        os.path.abspath(os.path.join(options.dest, f"{names.safe(options.name)}-disk{number}.{fmt}")),
        fmt,
        compression="none" if device else options.compression,
        size=sizes.new_size(wish, disk.virtual_size) if wish else None,
        overwrite=options.overwrite,
        preallocation="off" if device else options.preallocation,
        cluster_size=0 if device else options.cluster_size,
        device=absolute(device) if device else "",
        passphrase=options.passphrase,
        mode=options.mode,
        file_digest=options.file_digest,
    )
