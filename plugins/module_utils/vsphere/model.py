# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM as vSphere knows it, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ..core.machine import Disk, Nic

DRIVES = ("VirtualCdrom", "VirtualFloppy")


@dataclass(frozen=True)
class VmDisk:
    """A virtual disk. `files` are the descriptors of its chain, newest first, as "[datastore] path"; capacity in bytes.

    `backing` is the API's name of how it is stored (FlatVer2, SparseVer2, SeSparse, RawDiskMappingVer1, RawDiskVer2, LocalPMem, ...), `sectors` its word for
    how large they are (native_512, emulated_512, native_4k); empty before vSphere 7.
    """

    key: int
    label: str
    place: Disk
    capacity: int
    backing: str
    files: tuple[str, ...]
    mode: str = "persistent"
    sharing: str = ""
    rdm: str = ""
    thin: bool = False
    encrypted: bool = False
    uuid: str = ""
    change_id: str = ""
    bus_sharing: str = ""
    sectors: str = ""


@dataclass(frozen=True)
class VmNic:
    """A network card. `connected` is how it is now, `starts` how it is when the VM starts; of a VM that is off only that means anything."""

    key: int
    label: str
    nic: Nic
    connected: bool = True
    starts: bool = True


@dataclass(frozen=True)
class VmDevice:
    """A device that does not come along: its type in the API, its label, and what of the host is behind it."""

    kind: str
    label: str = ""
    backing: str = ""

    def __str__(self) -> str:
        """For people."""
        named = self.label or self.kind
        return f"{named} ({self.backing})" if self.backing else named


@dataclass(frozen=True)
class Snapshot:
    """A snapshot with its place in the tree (names from the root, "/" between)."""

    id: str
    name: str
    path: str
    created: str = ""
    quiesced: bool = False
    current: bool = False


@dataclass(frozen=True)
class Vm:
    """A VM; memory in MiB, sizes in bytes; `files` is its configuration file, "[datastore] directory/name.vmx". None and empty: vSphere does not say.

    `devices` are those that do not come along, `media` what is in drives. `boots`: what the firmware tries, in order.
    `settings`: where the guest looks for settings that it is given by vSphere.
    """

    id: str
    name: str
    path: str
    datacenter: str = ""
    folder: str = ""
    host: str = ""
    cluster: str = ""
    power: str = "unknown"
    connection: str = "connected"
    template: bool = False
    uuid: str = ""
    files: str = ""
    instance_uuid: str = ""
    guest_id: str = ""
    guest_name: str = ""
    hardware_version: int = 0
    cpus: Optional[int] = None
    cores_per_socket: Optional[int] = None
    memory: Optional[int] = None
    firmware: str = "bios"
    secure_boot: bool = False
    boot_order: tuple[int, ...] = ()
    boots: tuple[str, ...] = ()
    vtpm: bool = False
    encrypted: bool = False
    disks: tuple[VmDisk, ...] = ()
    nics: tuple[VmNic, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    cbt: bool = False
    cbt_supported: bool = False
    consolidation_needed: bool = False
    fault_tolerance: bool = False
    tools: str = ""
    guest_hostname: str = ""
    addresses: tuple[str, ...] = ()
    guest_free: dict[str, int] = field(default_factory=dict)
    committed: int = 0
    devices: tuple[VmDevice, ...] = ()
    media: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    cpu_affinity: bool = False
    numa_affinity: bool = False
    host_clock: bool = False
    memory_reservation_locked: bool = False
    cpu_hot_add: bool = False
    memory_hot_add: bool = False
    disk_uuid_enabled: bool = False
    host_maintenance: bool = False
    moved_by_drs: bool = False
    host_rules: tuple[str, ...] = ()
    datastore_free: Optional[int] = None
    tags: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all disks as the guest sees them."""
        return sum(disk.capacity for disk in self.disks)

    @property
    def others(self) -> tuple[str, ...]:
        """The types of devices that do not come along, but for drives."""
        return tuple(sorted({device.kind for device in self.devices if device.kind not in DRIVES}))

    def as_result(self) -> dict[str, Any]:
        """For people, inventories and reports: what a disk or a NIC is everywhere stands beside what only vSphere says of it."""
        disks = [_flat(asdict(disk), "place", ("bus", "controller", "unit")) for disk in self.disks]
        nics = [_flat(asdict(nic), "nic", ("model", "mac", "network", "slot")) for nic in self.nics]
        nics = [{**nic, "mac": nic["mac"] or ""} for nic in nics]
        return {**asdict(self), "disks": disks, "nics": nics, "others": self.others, "size": self.size}


def _flat(data: dict[str, Any], part: str, names: tuple[str, ...]) -> dict[str, Any]:
    inner = data.pop(part)
    return {**data, **{name: inner[name] for name in names}}
