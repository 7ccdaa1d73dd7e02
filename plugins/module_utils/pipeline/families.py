# SPDX-License-Identifier: GPL-3.0-or-later
"""The families of guests that there are: each module below that has a FAMILY. They do not know each other, and nothing else knows them."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Optional, Sequence

from ..core import registry
from ..core.concern import Concern, Findings
from ..core.errors import UnsupportedGuest
from ..core.machine import Nic
from ..disk import staging
from ..disk.machine import VmSaid
from ..guest import copied
from ..guest.family import DriverSource, Family, GuestRequest
from ..guest.live import LiveGuest
from ..guest.model import GuestFacts
from ..guest.nics import mac_map, whole
from ..guest.offline import Attached, OfflineGuest
from ..linux import family as linux
from ..windows import family as windows

# The first that finds its system has it. They are asked in the order of their names.
FAMILIES: tuple[Family, ...] = tuple(sorted(registry.entries(globals(), "FAMILY"), key=lambda family: (family.fallback, family.name)))


def guest_request(
    vm: VmSaid,
    disks: Sequence[staging.StagedDisk],
    firmware: str = "auto",
    luks_keys: Optional[Mapping[str, str]] = None,
    root: str = "",
    options: Sequence[object] = (),
    accept: Sequence[str] = (),
    nics: Sequence[Nic] = (),
) -> GuestRequest:
    """What is to be repaired: the overlays of a fetched VM, with the places and NICs that its source gives them.

    `options` are what the operator chose for each family; `firmware` auto takes what the source says. `nics` stand in for those of the source, with the
    slots that it knows of those it has too.
    """
    attached = tuple(Attached(disk.overlay, "qcow2", said.place) for disk, said in zip(disks, vm.disks))
    starts = firmware if firmware != "auto" else vm.machine.firmware or "auto"
    known = vm.machine.nics
    slots = {nic.mac: nic.slot for nic in known}
    return GuestRequest(
        attached,
        tuple(replace(nic, slot=slots.get(nic.mac)) for nic in nics) or known,
        starts,
        luks_keys or {},
        root,
        tuple(options),
        tuple(accept),
        seed=vm.seed,
        first=next((number for number, said in enumerate(vm.disks) if vm.starts is not None and said.place.at == vm.starts), None),
        secure_boot=vm.machine.secure_boot,
    )


def find(guest: OfflineGuest, request: GuestRequest) -> tuple[GuestFacts, list[Concern]]:
    """Mount the guest's file systems and say what it is. The firmware of `request` is bios or uefi; `guest.locked` is known."""
    device = guest.device(request.root) if request.root else None
    named = [family for family in FAMILIES if device is not None and device.fstype in family.filesystems]
    # A root that the operator names is a system of the family that has such file systems, or of none that has any.
    asked = [family for family in FAMILIES if not named or family in named or not family.filesystems]
    findings = Findings()
    answers = (family.found(guest, request, findings) for family in asked)
    facts = next(facts for facts in answers if facts is not None)
    macs = mac_map(next((chosen for chosen in (getattr(options, "macs", None) for options in request.options) if chosen), {}))
    return replace(facts, nics=whole(request.nics, facts.nics, macs, request.seed)), findings.concerns


def find_running(guest: LiveGuest, request: GuestRequest) -> tuple[GuestFacts, list[Concern]]:
    """What the running system is. Raises UnsupportedGuest for one that no family repairs while it runs."""
    findings = Findings()
    for family in FAMILIES:
        facts = family.running(guest, request, findings)
        if facts is not None:
            return facts, findings.concerns
    raise UnsupportedGuest(
        "This system is of no family that is repaired while it runs.", "Shut it down and migrate it with the role migrate."
    )


def of(facts: GuestFacts) -> Family:
    """The family whose facts these are."""
    return next(family for family in FAMILIES if family.name == facts.os)


def drivers(request: GuestRequest) -> DriverSource:
    """Where drivers come from, if a family has been given some."""
    return next((source for source in (family.drivers(request) for family in FAMILIES) if source.path), DriverSource())


def fixes() -> Sequence[str]:
    """The names of all fixes, each once."""
    return tuple(dict.fromkeys(name for family in FAMILIES for name in family.fixes))
