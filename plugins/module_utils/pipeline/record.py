# SPDX-License-Identifier: GPL-3.0-or-later
"""The migration of one VM as its stages record it: what FETCH, FIX, CONVERT and BOOT have found and done, and the report of all of them.

Records of earlier versions are read; what is in them and not known here is kept, and written again as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Mapping, Optional

from ..core.concern import Concern
from ..core.data import Rest, formerly, kept
from ..core.machine import NicFacts
from ..core.manifest import Form
from ..core.shape import NUMBER, count, like
from ..disk.machine import Converted, VmSaid

FORMAT: Final = 1
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
    """Of what only Windows has: what its clock shows."""

    clock: Optional[Literal["localtime", "utc"]] = None
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
    windows: Optional[ClockFacts] = None  # of Windows alone
    rest: Rest = kept()


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


@dataclass(frozen=True)
class Repaired:
    """What FIX has recorded: facts, concerns, what was grown and changed, the proof, and the seconds of each phase."""

    facts: Facts = Facts()
    concerns: tuple[Concern, ...] = ()
    grown: tuple[str, ...] = ()
    changes: tuple[ChangeSaid, ...] = ()
    proof: ProofSaid = ProofSaid()
    timings: Mapping[str, Any] = field(default_factory=dict)
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
class Migration:
    """A report.json: the VM by its name, its `source` as FETCH recorded it, its results, and what came of the other stages."""

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
    rest: Rest = kept()


# What others may read of ours, by the name of its schema in docs/schemas.
SCHEMAS: Mapping[str, type] = {"boot": Booted, "disk": Converted, "facts": Facts, "guest": Repaired, "report": Migration, "vm": VmSaid}
