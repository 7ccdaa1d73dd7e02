# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters that are what other modules have answered, as the records that these are. Raise InvalidInput, which names the option, for what is none."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..core.data import each_from_data, from_data, to_data
from ..core.machine import Nic
from ..core.manifest import of_today
from ..disk.machine import Converted, VmSaid
from ..guest.nics import named
from ..pipeline import record
from ..pipeline.record import Booted, Facts, Repaired

_VM = "Give what vmdk_fetch returned as vm, or leave it out where there is a work_dir."


def vm_of(params: Mapping[str, Any]) -> Optional[VmSaid]:
    return from_data(VmSaid, params["vm"], "vm", _VM) if params["vm"] else None


def whole_vm_of(params: Mapping[str, Any]) -> Optional[VmSaid]:
    """With what the records of the work directory know of the VM and `vm` does not say."""
    if not params["vm"]:
        return None
    known = to_data(record.known(params["work_dir"]).vm) if params["work_dir"] else {}
    return from_data(VmSaid, {**known, **params["vm"]}, "vm", _VM)


def facts_of(params: Mapping[str, Any]) -> Optional[Facts]:
    hint = "Give what guest_fix returned as facts, or leave it out where there is a work_dir."
    return from_data(Facts, params["facts"], "facts", hint) if params["facts"] else None


def guest_of(params: Mapping[str, Any]) -> Optional[Repaired]:
    hint = "Give what guest_fix returned, or the work_dir."
    return from_data(Repaired, of_today(params["guest"]), "guest", hint) if params["guest"] else None


def disks_of(params: Mapping[str, Any]) -> Optional[tuple[Converted, ...]]:
    """None where nothing is said of them, which is not the same as that there are none."""
    hint = "Give what qemu_convert returned as disks."
    return each_from_data(Converted, params["disks"], "disks", hint) if params["disks"] is not None else None


def boot_of(params: Mapping[str, Any]) -> Optional[Booted]:
    return from_data(Booted, params["boot"], "boot", "Give what boot_test returned as boot.") if params["boot"] is not None else None


def nics_of(params: Mapping[str, Any]) -> tuple[Nic, ...]:
    """The NICs that the operator names by mac and network."""
    return named(params["nics"])
