# SPDX-License-Identifier: GPL-3.0-or-later
"""The migration of one VM as its stages record it: what FETCH, FIX, CONVERT and BOOT have found and done, and the report of all of them.

Records of earlier versions are read; what is in them and not known here is kept, and written again as it was. A stage that runs alone finds here what
those before it have left in the work directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Mapping, Optional, Sequence

from ..core.concern import Concern
from ..core.data import Rest, formerly, from_data, kept, to_data
from ..core.errors import InvalidInput
from ..core.machine import NicFacts
from ..core.manifest import Form, Identity, Manifest
from ..core.shape import NUMBER, count, like
from ..disk import staging
from ..disk.machine import Converted, VmSaid

FORMAT: Final = 1
BOOTED = "boot.manifest.json"  # in the directory of the results
_CONVERTED = "convert.json"
Word = Annotated[str, like("a word", r"[\w.+-]+")]
Number = Annotated[float, NUMBER]


@dataclass(frozen=True)
class KernelFacts:
    """An installed kernel."""

    version: str
    image: str
    rest: Rest = kept()


@dataclass(frozen=True)
class ClockFacts:
    """Of what only Windows has: what its clock shows, and how many sockets it uses at most (0: nobody knows)."""

    clock: Optional[Literal["localtime", "utc"]] = None
    sockets: Annotated[int, count(0, (1 << 32) - 1)] = 0
    rest: Rest = kept()


@dataclass(frozen=True)
class Facts:
    """What later stages go by of what inspection found out, see guest.model.GuestFacts. Empty, and None: nobody has looked."""

    os: str = ""
    product: str = ""
    architecture: str = ""
    hostname: str = ""
    firmware: Optional[Literal["bios", "uefi"]] = None
    machine: Word = ""
    boot_disk: Annotated[int, count(0, 1 << 16)] = 0
    disk_bus: Optional[Literal["virtio", "sata", "ide"]] = None
    nic_model: Word = ""
    nics: tuple[NicFacts, ...] = field(default=(), metadata=formerly("cards"))
    kernels: tuple[KernelFacts, ...] = ()
    interfaces: tuple[tuple[str, str], ...] = ()
    phases: tuple[Literal["bootstrap", "final"], ...] = ()
    console: Optional[bool] = None
    first_steps: tuple[str, ...] = ()
    windows: Optional[ClockFacts] = None  # of Windows alone
    rest: Rest = kept()

    @property
    def tells(self) -> bool:
        """Whether the console tells that the system has started; records that do not say it yet go by the system."""
        return self.os in ("", "linux") if self.console is None else self.console

    @property
    def steps(self) -> tuple[str, ...]:
        """What a person does at the first start; of an earlier repair of Windows, which has not recorded it, that there is something."""
        if self.console is None and self.os == "windows":
            first = (
                "as {vm}-bootstrap.xml says, and then run windows_finish.yml"
                if "bootstrap" in self.phases
                else "as the .xml beside this page says"
            )
            return (f"Start it {first}. Windows finishes by itself at its first start (docs/windows.md).",)
        return self.first_steps


@dataclass(frozen=True)
class ChangeSaid:
    """A change of a guest, for people."""

    kind: str
    path: str
    reason: str
    diff: Optional[str] = None


@dataclass(frozen=True)
class CheckSaid:
    """One thing that was looked at for the proof, or asked of the guest that was booted."""

    passed: bool
    name: str
    detail: str


@dataclass(frozen=True)
class ProofSaid:
    """Whether the guest proves to boot, from its bytes; empty where nothing was proved."""

    verdict: str = ""
    checks: tuple[CheckSaid, ...] = ()


Seconds = Mapping[str, Optional[Number]]


@dataclass(frozen=True)
class Repaired:
    """What FIX has recorded: facts, concerns, what was grown and changed, how many changes there are of each kind, the proof, and the seconds of each phase."""

    facts: Facts = Facts()
    concerns: tuple[Concern, ...] = ()
    grown: tuple[str, ...] = ()
    changes: tuple[ChangeSaid, ...] = ()
    summary: Mapping[str, int] = field(default_factory=dict)
    proof: ProofSaid = ProofSaid()
    timings: Seconds = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    rest: Rest = kept()


@dataclass(frozen=True)
class Booted:
    """What BOOT has recorded; `signals` are seconds after power-on. Empty where no test was run."""

    verdict: Optional[Literal["passed", "failed", "not run"]] = None
    cause: str = ""
    signals: Mapping[str, Number] = field(default_factory=dict)
    screenshot: str = ""
    seconds: Optional[Number] = None
    checks: tuple[CheckSaid, ...] = ()
    rest: Rest = kept()


@dataclass(frozen=True)
class Results:
    """What CONVERT has recorded of all disks together."""

    disks: tuple[Converted, ...]


FIX, CONVERT, BOOT = Form(Repaired), Form(Results), Form(Booted)  # of their manifests


@dataclass(frozen=True)
class Timings:
    """The seconds of each stage; of FIX by phase, of CONVERT by disk."""

    fetch: Optional[Number] = None
    fix: Seconds = field(default_factory=dict)
    convert: tuple[Optional[Number], ...] = ()
    boot: Optional[Number] = None
    rest: Rest = kept()


@dataclass(frozen=True)
class Migration:
    """A report.json: the VM by its name, its `source` as FETCH recorded it, its results, and what came of the other stages.

    Sizes in bytes; `tools` are versions by name.
    """

    format: Literal[1]
    vm: str
    source: VmSaid
    facts: Facts
    disks: tuple[Converted, ...]
    concerns: tuple[Concern, ...] = ()
    grown: tuple[str, ...] = ()
    changes: tuple[ChangeSaid, ...] = ()
    proof: ProofSaid = ProofSaid()
    boot: Booted = Booted()
    timings: Timings = Timings()
    bytes_read: int = 0
    bytes_written: int = 0
    tools: Mapping[str, str] = field(default_factory=dict)
    rest: Rest = kept()


# What others may read of ours, by the name of its schema in docs/schemas.
SCHEMAS: Mapping[str, type] = {"boot": Booted, "disk": Converted, "facts": Facts, "guest": Repaired, "report": Migration, "vm": VmSaid}


@dataclass(frozen=True)
class Known:
    """The VM as its source describes it, and what was found out of its guest; nothing of what was not done."""

    vm: VmSaid = VmSaid()
    facts: Facts = Facts()


@dataclass(frozen=True)
class SoFar(Known):
    """With its results."""

    disks: tuple[Converted, ...] = ()


def known(work_dir: str) -> Known:
    """What FETCH and FIX have left that still holds."""
    base, fixed = staging.fetched(work_dir), Manifest.load(os.path.join(work_dir, staging.FIXED), "fix", staging.REPAIRING, form=FIX)
    vm = base.vm if base is not None else VmSaid()
    holds = base is not None and fixed is not None and fixed.holds()
    return Known(vm, from_data(Repaired, fixed.result, "The record of FIX").facts if holds and fixed is not None else Facts())


def converted(work_dir: str, overlays: Sequence[Identity], disks: Sequence[Converted]) -> None:
    """Record the results, and the overlays that they were made from."""
    record, path = Manifest("convert", tuple(overlays), {}, (), {"disks": to_data(disks)}), os.path.join(work_dir, _CONVERTED)
    if Manifest.load(path, "convert", form=CONVERT) != record:
        record.save(path)


def so_far(work_dir: str) -> SoFar:
    """Raises InvalidInput for a VM that has not come as far as CONVERT, or whose repair is newer than its results."""
    staging.require_fetched(work_dir)
    made = _made(work_dir)
    if made is None:
        raise InvalidInput(f"{work_dir} records no results.", "Run CONVERT first (--tags convert).", path=work_dir)
    if not all(overlay.holds() for overlay in made.inputs):
        raise InvalidInput(
            "The disks have been repaired again since the results were written.", "Run CONVERT again (--tags convert).", path=work_dir
        )
    before = known(work_dir)
    return SoFar(before.vm, before.facts, _disks(made))


def results(work_dir: str) -> tuple[Converted, ...]:
    """The results that were made from the disks as they are repaired now; none where there are no such."""
    made = _made(work_dir)
    holds = made is not None and all(overlay.holds() for overlay in made.inputs)
    return _disks(made) if made is not None and holds else ()


def booted(directory: str) -> Booted:
    """What the boot test there said, if its disks are still as they were then."""
    test = Manifest.load(os.path.join(directory, BOOTED), "boot", form=BOOT)
    holds = test is not None and all(disk.holds() for disk in test.inputs)
    return from_data(Booted, test.result, "The record of BOOT") if test is not None and holds else Booted()


def _disks(made: Manifest) -> tuple[Converted, ...]:
    return from_data(Results, made.result, "The record of CONVERT").disks


def _made(work_dir: str) -> Optional[Manifest]:
    return Manifest.load(os.path.join(work_dir, _CONVERTED), "convert", form=CONVERT)
