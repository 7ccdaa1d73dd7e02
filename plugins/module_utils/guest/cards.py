# SPDX-License-Identifier: GPL-3.0-or-later
"""The network cards of a VM as its source describes them, and the MACs they will have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Optional

from ..core.errors import InvalidInput

MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Card:
    """A network card of the VM: its MAC and the slot that its name was made from; None where the source does not say."""

    mac: Optional[str]
    slot: Optional[int] = None


def mac_map(values: Mapping[str, str]) -> dict[str, str]:
    """Old MAC to new, in lower case. Raises InvalidInput for what is no MAC and for a MAC that two cards would have."""
    wrong = [mac for pair in values.items() for mac in pair if not MAC.fullmatch(mac)]
    if wrong:
        raise InvalidInput(f"{wrong[0]!r} in the map of MACs is no MAC.", "Write MACs as 52:54:00:12:34:56.")
    if len({mac.lower() for mac in values.values()}) < len(values):
        raise InvalidInput("The map of MACs gives two cards the same MAC.", "Give every card a MAC of its own.")
    return {old.lower(): new.lower() for old, new in values.items()}
