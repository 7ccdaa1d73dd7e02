# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM, a disk's place and a NIC are in this house, wherever they come from and go to: one type each.

Whoever knows more of one has it in a type of its own with one of these within.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Optional

from . import limits
from .errors import InvalidInput
from .macs import Mac
from .shape import count, one_of

# The order in which firmware and guests meet the controllers.
BUS_ORDER = ("scsi", "nvme", "sata", "ide")


@dataclass(frozen=True)
class Nic:
    """A network card. `slot` is VMware's pciSlotNumber, which a systemd guest shows as ens<slot>. None: nobody says.

    `network` is the one that it is on: at its source or, in the description for a target, there.
    """

    mac: Optional[Mac] = None
    network: str = ""
    model: str = ""
    slot: Optional[int] = None


@dataclass(frozen=True)
class NicFacts:
    """How the NIC with this MAC will come up: its name, dhcp, static or none, addresses as CIDR, the profile's backend and file.

    `on` is the bond, bridge or VLAN that carries the addresses, where it is not the NIC itself.
    """

    mac: Mac
    name: str = ""
    method: str = "none"
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    backend: str = ""
    path: str = ""
    on: str = ""


@dataclass(frozen=True)
class Disk:
    """Where a disk is: bus, number of its controller, unit on that. None where its source does not say.

    `wwn` is its NAA identifier, `names` are what its guest may call it, without partitions.
    """

    bus: Optional[str] = None
    controller: Optional[int] = None
    unit: Optional[int] = None
    wwn: Optional[str] = None
    names: tuple[str, ...] = ()

    @property
    def at(self) -> tuple[Optional[str], Optional[int], Optional[int]]:
        """Bus, controller and unit."""
        return self.bus, self.controller, self.unit

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key: bus, then controller, then unit."""
        bus = BUS_ORDER.index(self.bus) if self.bus in BUS_ORDER else len(BUS_ORDER)
        return bus, self.controller or 0, self.unit or 0


@dataclass(frozen=True)
class Machine:
    """A VM as its source describes it, but for its disks. None, and empty: nobody says. `memory` in MiB, `kind` that of the source."""

    name: str = ""
    kind: str = ""
    nics: tuple[Nic, ...] = ()
    cpus: Optional[Annotated[int, count(1, limits.VM_CPUS)]] = None
    cores_per_socket: Optional[Annotated[int, count(0, limits.VM_CPUS)]] = None
    memory: Optional[Annotated[int, count(1, limits.VM_MEMORY // limits.MIB)]] = None
    firmware: Optional[Annotated[str, one_of("bios", "uefi")]] = None
    secure_boot: bool = False
    guest_os: Optional[str] = None

    def __post_init__(self) -> None:
        """What no VM has would become a domain that no host starts, or a number that its XML cannot hold."""
        for what, value, least, most in (
            ("CPUs", self.cpus, 1, limits.VM_CPUS),
            ("cores per socket", self.cores_per_socket, 0, limits.VM_CPUS),
            ("MiB of memory", self.memory, 1, limits.VM_MEMORY // limits.MIB),
        ):
            if value is not None and not least <= value <= most:
                raise InvalidInput(
                    f"The description of the VM {self.name} gives it {value} {what}; from {least} to {most} can be.",
                    "Correct it in the description, or export the VM again.",
                    name=self.name,
                )
