# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot test (VALIDATE): a result is started, and must come up."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Optional, Sequence

from ..boot.model import BootNic, BootRequest
from ..boot.runner import boot
from ..core import ahead, atomic, files, modes, spared
from ..core.device import exists
from ..core.errors import BootFailed, InvalidInput
from ..core.machine import NicFacts
from ..core.macs import of_nic
from ..core.manifest import Identity, Manifest
from ..core.process import require
from ..disk import encrypted
from ..guest.nic_names import as_met
from ..targets.qemu_arguments import firmware_files
from . import record
from .record import BOOT, Facts
from .stage import Plain, Result, Run
from .subject import Subject

_LOG = "console.log"
_PICTURE = "console.png"
_LINES = 12  # of the console, in an error


@dataclass(frozen=True)
class BootTestOptions:
    """`request` is what is booted and how; what is read and written goes to `dest`, a directory, and need not be in it.

    `of_records`: its disks and its hardware are those that the work directory knows, where they are known. `description` is a file with a domain of libvirt
    that is started in place of a VM of qemu. `repeat`: a test that these disks have passed is run again.
    """

    dest: str
    subject: Subject = Subject()
    request: BootRequest = BootRequest(())
    of_records: bool = False
    description: str = ""
    repeat: bool = False


@dataclass(frozen=True)
class BootTest(Plain):
    """The boot test. Answers `boot`, its outcome, or `skipped` and why for a guest whose start nothing would tell."""

    options: BootTestOptions
    name = "boot test"

    @property
    def libraries(self) -> Sequence[str]:
        return ("libvirt",) if self.options.description else ()

    @property
    def mode(self) -> int:
        return self.options.request.mode

    @cached_property
    def _known(self) -> Optional[BootRequest]:
        """None for a guest whose start nothing would tell."""
        request = of_records(self.options) if self.options.of_records else self.options.request
        return None if request is None else replace(request, nics=_as_described(self.options.subject.work_dir, request.nics))

    @property
    def _request(self) -> BootRequest:
        return self._known or self.options.request

    @cached_property
    def _missing(self) -> str:
        return next((path for path, dummy in self._request.disks if not exists(path)), "")

    @cached_property
    def _description(self) -> str:
        return files.description(self.options.description) if self.options.description else ""

    def _path(self, name: str) -> str:
        return os.path.join(self.options.dest, name)

    def require(self, run: Run) -> None:
        self.options.subject.require_own(run)
        written = [self._path(name) for name in (record.BOOTED, _LOG, _PICTURE)]
        spared.require(*(name for path in written for name in (path, f"{path}{atomic.PARTIAL}")))
        _require_own_macs(self.options.request.nics)
        if self._known is None:
            return
        if run.check:
            self._require_tools()
        elif self._missing:
            raise InvalidInput(f"{self._missing} does not exist.", "Convert the VM first.", path=self._missing)

    def _require_tools(self) -> None:
        """Raise, for check mode, what a run would lack."""
        ahead.writable(self.options.dest)
        if not self.options.description:
            require("qemu-system-x86_64")
            if self._request.firmware == "uefi":
                firmware_files()

    def earlier(self, run: Run) -> Optional[Result]:
        if self._known is None:
            return {"skipped": True, "skip_reason": "Nothing tells whether a system that is not known has started."}
        if self._missing:
            return None
        before, made_from = Manifest.load(self._path(record.BOOTED), "boot", form=BOOT), _inputs(self._request)
        holds = before is not None and before.current("boot", made_from, recorded(self._request, self._description))
        return {"boot": before.result} if before is not None and holds and not self.options.repeat else None

    def would(self, run: Run) -> Result:
        return {"boot": {"verdict": "not run", "cause": "check mode: the disks are not there yet" if self._missing else "check mode"}}

    def run(self, run: Run) -> Result:
        inputs, log = _inputs(self._request), self._path(_LOG)
        request = replace(
            self._request,
            screenshot=self._path(_PICTURE),
            console_log=log,
            description=self._description,
            scratch=self.options.dest,
            encrypted=encrypted.require(self._request.disks, self._request.passphrase),
        )
        mode = modes.with_disks(self.mode)
        modes.make_directory(self.options.dest, mode, mode)
        outcome = boot(request, run.progress)
        if outcome.verdict != "passed":
            said = "\n".join(outcome.console[-_LINES:])
            raise BootFailed(
                f"The boot test failed: {outcome.cause}.",
                f"The console is in {log}. Its last lines:\n{said}",
                boot=outcome.as_result(),
            )
        Manifest("boot", inputs, recorded(request, self._description), (), outcome.as_result()).save(self._path(record.BOOTED))
        return {"boot": outcome.as_result()}


def recorded(request: BootRequest, description: str) -> dict[str, Any]:
    """What makes another test of the same disks."""
    same = ("firmware", "boot_disk", "disk_bus", "nic_model", "memory", "cpus", "timeout", "network")
    return {
        **{option: getattr(request, option) for option in same},
        "expect": list(request.expect),
        "nics": [asdict(nic) for nic in request.nics],  # what is booted: the records have less of a NIC than the facts
        **({"checks": [asdict(check) for check in request.checks]} if request.checks else {}),
        **({"description": description} if description else {}),
    }


def of_records(options: BootTestOptions) -> Optional[BootRequest]:
    """The request with the results of the work directory and the hardware that was found; None for a guest whose start nothing would tell."""
    before = record.so_far(options.subject.work_dir)
    vm, facts, asked = before.vm.machine, before.facts, options.request
    if not facts.tells:
        return None
    unknown = asked.firmware if asked.firmware != "bios" else vm.firmware or "bios"
    known = facts != Facts()
    return replace(
        asked,
        disks=tuple((disk.path, disk.format) for disk in before.disks),
        firmware=facts.firmware or unknown,
        nics=tuple(map(nic_of, facts.nics or [NicFacts(nic.mac) for nic in vm.nics if nic.mac])),
        boot_disk=facts.boot_disk if known else asked.boot_disk,
        disk_bus=facts.disk_bus or asked.disk_bus,
        nic_model=facts.nic_model or asked.nic_model,
    )


def nic_of(nic: NicFacts) -> BootNic:
    """The NIC of a test VM for one that the guest has, or is to have."""
    return BootNic(nic.mac, next((address for address in nic.addresses if ":" not in address), ""), nic.gateway)


def _as_described(work_dir: str, nics: Sequence[BootNic]) -> tuple[BootNic, ...]:
    """NICs in the order in which the VM is described, which is that of their slots at the source: names that only count them depend on it."""
    at_source = record.known(work_dir).vm.machine.nics if work_dir else ()
    return tuple(as_met(at_source, [nic.mac for nic in nics], nics))


def _inputs(request: BootRequest) -> tuple[Identity, ...]:
    return tuple(Identity.of(path) for path, dummy in request.disks)


def _require_own_macs(nics: Sequence[BootNic]) -> None:
    """Raise InvalidInput for what no NIC can have, and for a MAC that two would have: the guest would not come up as it is to."""
    for nic in nics:
        if of_nic(nic.mac) is None:
            raise InvalidInput(
                f"{nic.mac} is not the MAC address of a card, but that of a group or of none.",
                "Give each card one of its own, as 52:54:00:12:34:56.",
            )
    twice = [mac for mac, times in Counter(nic.mac for nic in nics).items() if times > 1]
    if twice:
        raise InvalidInput(f"{twice[0]} is the MAC address of two cards.", "Give each card one of its own (nics, migrate_nics).")
