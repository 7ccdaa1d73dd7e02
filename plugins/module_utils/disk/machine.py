# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as its source describes it: what a disk file alone cannot say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional, Protocol, Sequence

from ..core import limits
from ..core.errors import Blocked, InvalidInput
from ..core.manifest import Identity

BARE = "disks"  # the kind of a source that says nothing of the hardware
# The order in which firmware and guests meet the controllers.
BUS_ORDER = ("scsi", "nvme", "sata", "ide")


class Link(Protocol):
    """One image of a chain."""

    @property
    def path(self) -> str:
        """Where it is."""


class Chain(Protocol):
    """A disk as the files that hold it, newest image first, every one of them checked."""

    @property
    def links(self) -> Sequence[Link]:
        """The images."""

    @property
    def virtual_size(self) -> int:
        """Bytes the guest sees."""

    @property
    def wwn(self) -> Optional[str]:
        """The disk's NAA identifier, where the source knows it."""

    def files(self) -> tuple[str, ...]:
        """Every file of the source that is read."""

    def identities(self) -> tuple[Identity, ...]:
        """These files as they are now."""

    def allocated(self) -> int:
        """An upper bound of the data in the source, in bytes."""

    def check_idle(self) -> None:
        """Raises Busy for a source that somebody writes to, as far as this host can see it."""

    def stage(self, directory: str, prefix: str) -> tuple[str, str]:
        """Make what qemu opens, without a copy of the data: its name, and its format."""


@dataclass(frozen=True)
class Nic:
    """A network card. `slot` is VMware's pciSlotNumber, which a systemd guest shows as ens<slot>."""

    mac: Optional[str]
    network: str = ""
    model: str = ""
    slot: Optional[int] = None


@dataclass(frozen=True)
class SourceDisk:
    """A disk with its place: bus, controller number, unit on it; None where the source does not say. `names`: see guest.resolver.Disk."""

    chain: Chain
    bus: Optional[str] = None
    controller: Optional[int] = None
    unit: Optional[int] = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceVm:
    """A VM with its disk set in bus order. None: the source does not say. `memory` in MiB.

    `uuid` is the half of which VM it is that does not depend on where it is, see core.vm.VmId; empty where the source has none.
    """

    name: str
    kind: str
    disks: tuple[SourceDisk, ...]
    nics: tuple[Nic, ...] = ()
    cpus: Optional[int] = None
    cores_per_socket: Optional[int] = None
    memory: Optional[int] = None
    firmware: Optional[str] = None
    secure_boot: bool = False
    guest_os: Optional[str] = None
    uuid: str = ""
    suspended: bool = False

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

    def check_idle(self, accept: Sequence[str]) -> None:
        """Raise Blocked for a VM whose memory is kept beside its disks, Busy for disks that somebody writes to, unless the operator accepts it."""
        if self.suspended and "source.suspended" not in accept:
            raise Blocked(
                f"The VM {self.name} is suspended: what is in its memory is not on its disks (source.suspended).",
                "Power it on, shut its guest down, and copy it then. Or accept by code (migrate_accept): as after a power failure.",
                concerns=["source.suspended"],
            )
        for disk in self.disks if "source.busy" not in accept else ():
            disk.chain.check_idle()

    def as_result(self) -> dict[str, Any]:
        """The metadata for people and manifests; disks as their files, sizes and places."""
        data = {key: value for key, value in asdict(self).items() if key not in ("disks", "nics", "uuid", "suspended")}
        data["nics"] = [asdict(nic) for nic in self.nics]
        data["disks"] = [
            {
                "path": disk.chain.links[0].path,
                "files": list(disk.chain.files()),
                "links": len(disk.chain.links),
                "wwn": disk.chain.wwn,
                "virtual_size": disk.chain.virtual_size,
                "bus": disk.bus,
                "controller": disk.controller,
                "unit": disk.unit,
                "names": list(disk.names),
            }
            for disk in self.disks
        ]
        return data


def bus_key(disk: SourceDisk) -> tuple[int, int, int]:
    """Sort key of a disk: bus, then controller, then unit."""
    bus = BUS_ORDER.index(disk.bus) if disk.bus in BUS_ORDER else len(BUS_ORDER)
    return bus, disk.controller or 0, disk.unit or 0
