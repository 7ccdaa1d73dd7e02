# SPDX-License-Identifier: GPL-3.0-or-later
"""The network cards of a VM as its source describes them, and the MACs they will have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from ..core import macs
from ..core.errors import InvalidInput


@dataclass(frozen=True)
class Card:
    """A network card of the VM: its MAC and the slot that its name was made from; None where the source does not say."""

    mac: Optional[str]
    slot: Optional[int] = None


def named(nics: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cards that the operator names, in their order, with the slots that the source knows of those it has too.

    Raises InvalidInput for what is not a MAC address.
    """
    slots = {nic["mac"]: nic.get("slot") for nic in known}
    found = [_canonical(nic["mac"], "") for nic in nics]
    return [{**nic, "mac": mac, "slot": slots.get(mac)} for nic, mac in zip(nics, found)]


def mac_map(values: Mapping[str, str]) -> dict[str, str]:
    """Old MAC to new, in lower case. Raises InvalidInput for what is not a MAC address and for a MAC that two cards would have."""
    found = {_canonical(old, " in the map of MACs"): _canonical(new, " in the map of MACs") for old, new in values.items()}
    if len(set(found.values())) < len(values):
        raise InvalidInput("The map of MACs gives two cards the same MAC.", "Give every card a MAC of its own.")
    return found


def _canonical(text: str, where: str) -> str:
    mac = macs.canonical(text)
    if mac is None:
        raise InvalidInput(f"{text!r}{where} is not a MAC address.", "Write MACs as 52:54:00:12:34:56.")
    return mac
