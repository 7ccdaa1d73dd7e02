# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest on VMware calls its NICs, by VMware's pciSlotNumber.

The number packs a device (5 bits), a bridge (5 bits) and a function of that bridge. Bridge 1 is one of PCI, whose devices are the NICs; the others are
ports of PCI Express, each with one device behind it, and functions are further ports of the same one.
Source: VMware KB 2047927; the addresses that VMware's firmware gives (bus 2, then 3, 11, 19, 27 for the ports 5 to 8, one more for each function);
systemd's udev-builtin-net_id.c for the names (ens by hotplug slot, enp by address, eno by the index that the firmware reports).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Sequence, TypeVar

from ..core.machine import Nic
from ..core.macs import Mac

_ENS = re.compile(r"^ens(\d{1,9})(?:np0|d0)?$")
_ENP = re.compile(r"^enp(\d{1,9})s(\d{1,9})(?:f0)?(?:np0)?$")
_ENO = re.compile(r"^eno(\d{8,10})$")
_COUNTED = re.compile(r"^(?:eth|em)(\d{1,9})$")
_T = TypeVar("_T")


@dataclass(frozen=True, order=True)
class Slot:
    """A slot, in the order in which a kernel meets them."""

    bridge: int
    function: int
    device: int

    @classmethod
    def of(cls, number: int) -> Slot:
        """From VMware's pciSlotNumber."""
        return cls(number >> 5 & 0x1F, number >> 10, number & 0x1F)

    @classmethod
    def named(cls, name: str) -> Optional[Slot]:
        """The slot of a NIC with a name that was made of it; None for other names. Behind a port of PCI Express there is one device."""
        ens, enp = _ENS.match(name), _ENP.match(name)
        if ens is not None:
            bridge, rest = int(ens[1]) >> 5, int(ens[1]) & 0x1F
            return cls(bridge, 0, rest) if bridge <= 1 else cls(bridge, rest, 0)
        if enp is None:
            return None
        bus, device = int(enp[1]), int(enp[2])
        if bus == 2:
            return cls(1, 0, device)
        return cls(5 + (bus - 3) // 8, (bus - 3) % 8, device) if 3 <= bus < 35 else None

    @property
    def hotplug(self) -> int:
        """The number that the firmware gives the slot."""
        return (self.bridge << 5) + self.device + self.function

    @property
    def bus(self) -> Optional[int]:
        """The bus behind the bridge; None where its number is not fixed."""
        if self.bridge <= 1:
            return 2 if self.bridge else 0
        return 3 + 8 * (self.bridge - 5) + self.function if 5 <= self.bridge <= 8 else None

    @property
    def address(self) -> str:
        """The address of PCI as the kernel writes it; empty where it is not fixed."""
        return "" if self.bus is None else f"0000:{self.bus:02x}:{self.device:02x}.0"

    @property
    def name(self) -> str:
        """What a present systemd calls a NIC there."""
        return f"ens{self.hotplug}"

    def called(self, name: str) -> bool:
        """Whether a name of a NIC is that of one in this slot."""
        ens, enp, eno = _ENS.match(name), _ENP.match(name), _ENO.match(name)
        if ens is not None:
            return int(ens[1]) == self.hotplug
        if enp is not None:
            return (int(enp[1]), int(enp[2])) == (self.bus, self.device)
        # Before systemd 218: a count in the high byte, then bus, device and function.
        return eno is not None and int(eno[1]) & 0xFFFF == ((self.bus or 0) << 8 | self.device << 3) and self.bus is not None


def slot_of(nic: Nic) -> Optional[Slot]:
    """The slot of a NIC, where its source says it."""
    return None if nic.slot is None or nic.slot < 0 else Slot.of(nic.slot)


def in_order(nics: Sequence[Nic]) -> tuple[Nic, ...]:
    """NICs as a kernel on the old hardware counts them: eth0 is the first of these. As they are where a slot is not known."""
    slots = [slot_of(nic) for nic in nics]
    known = [slot for slot in slots if slot is not None]
    if len(known) < len(nics) or len(set(known)) < len(known):
        return tuple(nics)
    return tuple(nic for dummy, nic in sorted(zip(known, nics), key=lambda pair: pair[0]))


def as_met(at_source: Sequence[Nic], macs: Sequence[Mac], things: Sequence[_T]) -> list[_T]:
    """`things`, one for each NIC with these MACs, in the order in which a kernel met the NICs of the source; as they are where there are not as many."""
    if len(things) != len(at_source):
        return list(things)
    first = {id(nic): number for number, nic in enumerate(in_order(at_source))}
    known = {nic.mac: nic for nic in at_source if nic.mac}
    places = [first[id(known.get(mac, at_source[number]))] for number, mac in enumerate(macs)]
    return [thing for dummy, thing in sorted(zip(places, things), key=lambda pair: pair[0])]


def counted(name: str) -> Optional[int]:
    """The number in a name that only counts NICs, from 0; biosdevname counts from 1."""
    match = _COUNTED.match(name)
    return None if match is None else int(match[1]) - name.startswith("em")
