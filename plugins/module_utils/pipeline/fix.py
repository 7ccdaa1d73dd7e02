# SPDX-License-Identifier: GPL-3.0-or-later
"""FIX: the guest is repaired on fresh overlays, and proves that it will boot."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Any, Mapping, Optional, Sequence

from ..core import atomic
from ..core.errors import InvalidInput, NotInPlace, ProofFailed
from ..core.machine import Nic
from ..core.manifest import Identity, Manifest
from ..core.progress import Silent
from ..core.shape import require_texts
from ..core.trace import point
from ..disk import sizes, staging
from ..disk.machine import VmSaid
from ..guest.family import GuestRequest
from ..guest.plan import Plan
from ..linux.plan import Options as LinuxOptions
from ..windows import driver_source
from ..windows.work import Options as WindowsOptions
from . import families, repaired
from .engines import OWN, Engine, repair
from .fetch import reading
from .record import FIX
from .stage import Result, Run
from .subject import OnSubject, Subject


@dataclass(frozen=True)
class FixOptions:
    """`chosen` is what the operator chose for each family of guests. `nics` stand in for those that the source describes.

    `firmware` is auto, bios or uefi; `luks_keys` are passphrases by UUID or device, `root` is the device of the root file system where it is not found.
    `grow` has a size for each disk as disk/sizes reads it, or an empty text. `plan`, if there is one, is carried out in place of a new one.
    """

    subject: Subject
    chosen: tuple[object, ...] = field(default=(LinuxOptions(), WindowsOptions()), repr=False)
    firmware: str = "auto"
    luks_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    root: str = ""
    nics: tuple[Nic, ...] = ()
    grow: tuple[str, ...] = ()
    engine: Engine = Engine()
    plan: Optional[Plan] = None
    plan_too: bool = False

    def __post_init__(self) -> None:
        """Raises InvalidInput for one text in place of several."""
        require_texts(grow=self.grow)

    def recorded(self, vm: str) -> dict[str, Any]:
        """What makes another repair of the same disks. `vm`: the digest of the VM's configuration."""
        linux = next((one for one in self.chosen if isinstance(one, LinuxOptions)), LinuxOptions())
        windows = next((one for one in self.chosen if isinstance(one, WindowsOptions)), WindowsOptions())
        # What is for Linux, and the name, are in the digest of the Linux options.
        customize = replace(windows.customize, hostname="", elsewhere=())
        return {
            "fixes": list(linux.fixes),
            "fstab_mode": linux.fstab_mode,
            "initramfs": linux.initramfs_mode,
            "firmware": self.firmware,
            "options": options_digest(self.root, self.chosen),
            "accept": sorted(self.subject.access.accept),
            "keys": sorted(self.luks_keys),
            "nics": [nic.mac for nic in self.nics],
            "plan": self.plan.id if self.plan is not None else None,
            "vm": vm,
            **({"engine": [self.engine.name, *self.engine.options]} if self.engine.name != OWN else {}),
            **({"grow": list(self.grow)} if any(self.grow) else {}),
            **({"pin": linux.pin} if linux.pin != LinuxOptions().pin else {}),
            **({"additions": list(windows.additions)} if windows.additions != WindowsOptions().additions else {}),
            **({"customize": _digest(astuple(customize))} if customize != WindowsOptions().customize else {}),
        }


def options_digest(root: str, chosen: Sequence[object]) -> str:
    """Of everything else that the operator chose; customizations may hold secrets, so only their digest is recorded."""
    given = [one.virtio_win for one in chosen if isinstance(one, WindowsOptions) and one.virtio_win]
    stamp = driver_source.stamp(given[0]) if given else ""
    return _digest((root, *chosen, stamp))


def _digest(what: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(what).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Fix(OnSubject):
    """FIX. Answers what repaired.answer says of the guest; in check mode of the same repair on throw-away overlays."""

    options: FixOptions
    name = "fix"

    @property
    def libraries(self) -> Sequence[str]:
        return ("guestfs", *super().libraries)

    def _path(self, name: str) -> str:
        return os.path.join(self.options.subject.work_dir, name)

    @cached_property
    def _base(self) -> Optional[staging.Staging]:
        """What FETCH has staged; it is first asked when the work directory is held."""
        return self.options.subject.fetched()

    @cached_property
    def _recorded(self) -> dict[str, Any]:
        return self.options.recorded(self._base.digest if self._base is not None else "")

    def earlier(self, run: Run) -> Optional[Result]:
        base = self._base
        before = Manifest.load(self._path(staging.FIXED), "fix", staging.REPAIRING, form=FIX)
        if base is None or before is None or not before.current("fix", base.inputs, self._recorded):
            return None
        plan = {"plan": repaired.load_plan(self._path(staging.PLANNED)).shown().as_data()} if self.options.plan_too else {}
        return {**repaired.of_record(before.result, self._path(staging.PLANNED)), **plan}

    def would(self, run: Run) -> Result:
        """The repair on throw-away overlays; a source that must be fetched first is only said to be one."""
        subject = self.options.subject
        if not subject.source:
            raise InvalidInput("In check mode the repair needs the source, since nothing is staged.", "Give source beside work_dir.")
        try:
            with subject.looked_at() as found, found.looked_at() as (vm, staged, moved):
                report = repair(self.options.engine, self._request(vm, staged), Silent(), self.options.plan)
                result = repaired.answer(report, run, plan_too=self.options.plan_too)
        except NotInPlace as error:
            run.warn(f"The guest was not inspected. {error}")
            return {}
        return {**result, "read": sum(moved)} if moved else result

    def run(self, run: Run) -> Result:
        subject = self.options.subject
        base, recorded = subject.require_fetched(), self._recorded
        with reading(base, subject.work_dir, subject.access, cached=True):
            # Always on fresh overlays: an earlier run may have been killed in the middle of its writes.
            staged = staging.flatten(base.vm, subject.work_dir, base.inputs)
            Manifest(staging.REPAIRING, base.inputs, recorded).save(self._path(staging.FIXED))
            point("fix.begun")
            try:
                report = repair(self.options.engine, self._request(base.vm, staged), run.progress, self.options.plan)
            except ProofFailed as error:
                atomic.write_text(self._path(staging.REFUSED), error.plan)
                raise error.kept(self._path(staging.REFUSED)) from None
            point("fix.done")
        point("fix.compared")
        outputs = tuple(Identity.of(disk.overlay) for disk in staged)
        atomic.write_text(self._path(staging.PLANNED), report.plan.text())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(staging.REFUSED))
        Manifest("fix", base.inputs, recorded, outputs, report.as_result()).save(self._path(staging.FIXED))
        point("fix.recorded")
        return repaired.answer(report, run, self._path(staging.PLANNED), self.options.plan_too)

    def _request(self, vm: VmSaid, disks: Sequence[staging.StagedDisk]) -> GuestRequest:
        """What is to be repaired; fresh overlays get the sizes that the operator wishes."""
        wanted = self.options
        request = families.guest_request(
            vm,
            disks,
            wanted.firmware,
            wanted.luks_keys,
            wanted.root,
            wanted.chosen,
            wanted.subject.access.accept,
            wanted.nics,
        )
        return replace(request, grow=sizes.enlarge(disks, wanted.grow))
