# SPDX-License-Identifier: GPL-3.0-or-later
"""Every transport of vSphere that there is: those of each module below that has TRANSPORTS."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

import contextlib
from typing import Mapping

from ..core import registry
from ..core.errors import InvalidInput
from ..vsphere.model import Vm
from . import vsphere_export, vsphere_files, vsphere_vddk
from .opened import Remote
from .source import Access
from .vsphere_transport import Transport, Wanted

AUTO = "auto"
TRANSPORTS: Mapping[str, Transport] = {one.name: one for found in registry.entries(globals(), "TRANSPORTS") for one in found}


def require_possible(vm: Vm, access: Access) -> None:
    """Raise InvalidInput for a VM that would stay on while its transport wants it off; nothing has been changed there then."""
    chosen = TRANSPORTS.get(access.transport)
    if chosen is not None and chosen.needs_off and vm.power == "on" and access.running == "snapshot":
        raise InvalidInput(
            f"{vm.name} runs, and {access.transport} exports no VM that does.",
            "Shut it down (migrate_running: shutdown), or use another transport.",
            vm=vm.name,
        )


def opened(wanted: Wanted, running: bool) -> Remote:
    """The VM by the transport that was asked for, else by the first whose turn it is and that can read its disks.

    `running`: it is only looked at while it runs, and not frozen.
    """
    by_itself = sorted((one for one in TRANSPORTS.values() if one.automatic), key=lambda one: one.automatic)
    asked = by_itself if wanted.access.transport == AUTO else [TRANSPORTS[wanted.access.transport]]
    *earlier, last = [one for one in asked if not (running and one.shut_out)] or [one for one in by_itself if not one.shut_out]
    for one in earlier:
        with contextlib.suppress(InvalidInput):
            return one.opened(wanted)
    return last.opened(wanted)
