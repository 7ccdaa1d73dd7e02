# SPDX-License-Identifier: GPL-3.0-or-later
"""The NICs that the operator names, and the MACs that all of them will have."""

from __future__ import annotations

import hashlib
from typing import Mapping, Optional, Sequence

from ..core.errors import InvalidInput
from ..core.machine import Nic, NicFacts
from ..core.macs import Mac, made_of, required
from .nic_names import slot_of


def named(given: Sequence[Mapping[str, str]]) -> tuple[Nic, ...]:
    """The NICs that the operator names by mac and network, in their order. Raises InvalidInput for what is not a MAC address."""
    return tuple(Nic(required(nic.get("mac") or ""), nic.get("network") or "") for nic in given)


def whole(nics: Sequence[Nic], facts: Sequence[NicFacts], macs: Mapping[Mac, Mac], seed: str) -> tuple[NicFacts, ...]:
    """How each NIC of the VM comes up, in the order of the VM's NICs, of which none is left out: one that nothing is known of has a MAC alone.

    A NIC whose MAC its source does not say takes that of one which the guest knows and nobody else has, first by the name of its slot, or one that is
    made of `seed`.
    """
    left = list(facts)
    owned = {macs.get(nic.mac, nic.mac) for nic in nics if nic.mac is not None}
    found: list[Optional[NicFacts]] = []
    for nic in nics:
        mac = None if nic.mac is None else macs.get(nic.mac, nic.mac)
        slot = None if mac is not None else slot_of(nic)
        own = next((one for one in left if one.mac == mac or (slot is not None and slot.called(one.name) and one.mac not in owned)), None)
        found.append(own)
        left = [one for one in left if one is not own]
    for number, nic in enumerate(nics):
        if found[number] is None and nic.mac is not None:
            found[number] = NicFacts(macs.get(nic.mac, nic.mac))
        elif found[number] is None:
            found[number] = left.pop(0) if left else NicFacts(made(seed, number))
    return (*(one for one in found if one is not None), *left)


def made(seed: str, number: int) -> Mac:
    """The MAC of a NIC that has none at its source, always the same for one VM."""
    return made_of(hashlib.sha256(f"{seed}/{number}".encode("utf-8", "surrogateescape")).hexdigest())


def mac_map(values: Mapping[str, str]) -> dict[Mac, Mac]:
    """Old MAC to new. Raises InvalidInput for what is not a MAC address and for a MAC that two NICs would have."""
    found = {required(old, " in the map of MACs"): required(new, " in the map of MACs") for old, new in values.items()}
    if len(set(found.values())) < len(values):
        raise InvalidInput("The map of MACs gives two cards the same MAC.", "Give every card a MAC of its own.")
    return found
