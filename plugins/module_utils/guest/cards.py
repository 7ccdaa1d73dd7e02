# SPDX-License-Identifier: GPL-3.0-or-later
"""The network cards of a VM as its source describes them, and the MACs they will have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from ..core.errors import InvalidInput

MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Card:
    """A network card of the VM: its MAC and the slot that its name was made from; None where the source does not say."""

    mac: Optional[str]
    slot: Optional[int] = None


def named(nics: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cards that the operator names, in their order, with the slots that the source knows of those it has too.

    Raises InvalidInput for what is no MAC.
    """
    slots = {nic["mac"]: nic.get("slot") for nic in known}
    wrong = [nic["mac"] for nic in nics if not MAC.fullmatch(nic["mac"])]
    if wrong:
        raise InvalidInput(f"{wrong[0]!r} is no MAC.", "Write MACs as 52:54:00:12:34:56.")
    return [{**nic, "mac": nic["mac"].lower(), "slot": slots.get(nic["mac"].lower())} for nic in nics]


def mac_map(values: Mapping[str, str]) -> dict[str, str]:
    """Old MAC to new, in lower case. Raises InvalidInput for what is no MAC and for a MAC that two cards would have."""
    wrong = [mac for pair in values.items() for mac in pair if not MAC.fullmatch(mac)]
    if wrong:
        raise InvalidInput(f"{wrong[0]!r} in the map of MACs is no MAC.", "Write MACs as 52:54:00:12:34:56.")
    if len({mac.lower() for mac in values.values()}) < len(values):
        raise InvalidInput("The map of MACs gives two cards the same MAC.", "Give every card a MAC of its own.")
    return {old.lower(): new.lower() for old, new in values.items()}
