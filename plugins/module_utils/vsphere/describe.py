# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM and its concerns as data for people, inventories and reports."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, Sequence

from ..core.concern import Concern
from .model import Vm

_WINDOWS = re.compile(r"^(win|longhorn)", re.IGNORECASE)
_LINUX = re.compile(
    r"linux|ubuntu|debian|centos|rhel|redhat|sles|suse|fedora|oracle|photon|amazon|coreos|asianux|mandr|turbo|almalinux|rocky|crx",
    re.IGNORECASE,
)


def described(vm: Vm, concerns: Sequence[Concern]) -> dict[str, Any]:
    return {**vm.as_result(), "concerns": [asdict(concern) for concern in concerns]}


def family(guest_id: str) -> str:
    """linux, windows or other, by vSphere's identifier of the guest (API reference, VirtualMachineGuestOsIdentifier)."""
    if _WINDOWS.search(guest_id):
        return "windows"
    return "linux" if _LINUX.search(guest_id) else "other"
