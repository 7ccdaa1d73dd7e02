# SPDX-License-Identifier: GPL-3.0-or-later
"""The NICs that the operator names, and the MACs that all of them will have."""

from __future__ import annotations

from typing import Mapping, Sequence

from ..core.errors import InvalidInput
from ..core.machine import Nic
from ..core.macs import Mac, required


def named(given: Sequence[Mapping[str, str]], known: Sequence[Nic]) -> tuple[Nic, ...]:
    """The NICs that the operator names by mac and network, in their order, with the slots that the source knows of those it has too.

    Raises InvalidInput for what is not a MAC address.
    """
    slots = {nic.mac: nic.slot for nic in known}
    macs = [required(nic["mac"]) for nic in given]
    return tuple(Nic(mac, nic.get("network") or "", slot=slots.get(mac)) for nic, mac in zip(given, macs))


def mac_map(values: Mapping[str, str]) -> dict[Mac, Mac]:
    """Old MAC to new. Raises InvalidInput for what is not a MAC address and for a MAC that two NICs would have."""
    found = {required(old, " in the map of MACs"): required(new, " in the map of MACs") for old, new in values.items()}
    if len(set(found.values())) < len(values):
        raise InvalidInput("The map of MACs gives two cards the same MAC.", "Give every card a MAC of its own.")
    return found
