# SPDX-License-Identifier: GPL-3.0-or-later
"""Who repairs the guest: this collection, virt-v2v, or one after the other. Whoever did, the proof is ours.

Source: virt-v2v-in-place(1), "Minimal XML for -i libvirtxml option".
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from typing import Mapping, Optional

from ..core.accel import accelerator
from ..core.errors import InvalidInput, ToolFailed
from ..core.process import Limits, run
from ..core.progress import Progress
from ..guest.family import GuestRequest
from ..guest.plan import Plan
from ..targets import libvirt_xml
from ..targets.domain import Domain
from . import families
from .repair import GuestReport, fix, refuse_blockers, require_proof, validate

OWN, V2V, V2V_THEN_OWN, OWN_THEN_V2V = "own", "v2v", "v2v_then_own", "own_then_v2v"
ENGINES = (OWN, V2V, V2V_THEN_OWN, OWN_THEN_V2V)
_PROGRAM = "virt-v2v-in-place"
_LIMITS = Limits(timeout=4 * 3600.0)
_OURS = ("-i", "-o", "--key", "--keys-from-stdin", "--machine-readable", "--print-source")
_LINES = 40


@dataclass(frozen=True)
class Engine:
    """An engine, and `options` of virt-v2v-in-place for it."""

    name: str = OWN
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises InvalidInput for options that are set here, and for those of an engine that is not used."""
        wrong = next((option for option in self.options if option.startswith(_OURS)), None)
        if wrong is not None:
            raise InvalidInput(f"{wrong} cannot be given to virt-v2v: the collection sets it.", "Leave it out of migrate_v2v_options.")
        if self.options and self.name == OWN:
            raise InvalidInput("There are options for virt-v2v, which is not used.", "Choose another migrate_engine, or leave them out.")


def repair(engine: Engine, request: GuestRequest, progress: Progress, saved: Optional[Plan] = None) -> GuestReport:
    """Repair the guest on its overlays and prove it, as `fix` does. Raises ToolFailed for what virt-v2v does not get through."""
    if engine.name == V2V and request.grow:
        raise InvalidInput("virt-v2v does not grow partitions.", "Choose migrate_engine: v2v_then_own, or leave migrate_grow out.")
    if engine.name == OWN:
        return fix(request, progress, saved)
    if engine.name == V2V_THEN_OWN:
        said = convert(engine, request, progress)
        report = fix(request, progress, saved)
        return replace(report, output=(*said, *report.output))
    earlier = fix(request, progress, saved) if engine.name == OWN_THEN_V2V else None
    said = convert(engine, request, progress)
    progress.phase("prove")
    report = validate(request)
    refuse_blockers(report.plan, request.accept)
    if report.proof is not None:
        require_proof(report.proof, request.accept, report.plan if earlier is None else earlier.plan)
    if earlier is None:
        return replace(report, output=said)
    return replace(earlier, facts=report.facts, proof=report.proof, output=(*earlier.output, *said))


def convert(engine: Engine, request: GuestRequest, progress: Progress) -> tuple[str, ...]:
    """Let virt-v2v convert the guest on its overlays; gives the end of what it said."""
    progress.phase("virt-v2v")
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-v2v-") as scratch:
        description = os.path.join(scratch, "guest.xml")
        firmware = "uefi" if request.firmware == "uefi" else "bios"
        # On SATA the guest's disks have the names that they had on SCSI, and virt-v2v renames by them.
        with open(description, "w", encoding="utf-8") as file:
            disks = tuple((disk.path, disk.format) for disk in request.disks)
            file.write(libvirt_xml.FORMAT.text(Domain("guest", disks, firmware=firmware, disk_bus="sata")))
        argv = [_PROGRAM, "-i", "libvirtxml", *_keys(request.luks_keys, scratch), *engine.options, description]
        environment = {**os.environ, "LIBGUESTFS_BACKEND": "direct"}
        drivers = families.drivers(request)
        if drivers.path:
            environment["VIRTIO_WIN"] = drivers.path
        if accelerator() == "tcg":
            environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
        done = run(argv, _LIMITS, check=False, env=environment)
    said = tuple(line for line in (done.stdout + done.stderr).splitlines() if line.strip())[-_LINES:]
    if done.rc != 0:
        raise ToolFailed(
            f"virt-v2v does not convert this guest: {' / '.join(said[-5:])}",
            "Let this collection repair it (migrate_engine: own), or repair it before virt-v2v looks at it (own_then_v2v).",
            rc=done.rc,
        )
    return said


def _keys(keys: Mapping[str, str], scratch: str) -> list[str]:
    """Keys in files of our own, never in arguments. virt-v2v takes them by device or UUID, and "all" for all of them."""
    argv = []
    for number, (name, key) in enumerate(keys.items()):
        path = os.path.join(scratch, f"key{number}")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(key)
        argv += ["--key", f"{name}:file:{path}"]
    return argv
