# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device a guest means by a name, answered from partition tables, identifiers and the order of the whole disk set.

A by-path name encodes a controller's PCI address and a unit on it. The address says nothing by itself once the hypervisor is
left; but addresses and units keep their order, the partition must exist, the file system must be of the stated type, and the
entry for / must be the root that was found. What these leave open is not guessed.
Source: udev's 60-persistent-storage.rules, systemd's udev-builtin-path_id.c, fstab(5); for Azure's names 66-azure-storage.rules of WALinuxAgent
and 80-azure-disk.rules of azure-vm-utils.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

from ..core.machine import Disk
from .device_names import Counted, Located, NameSpace, Place, parse
from .disk_orders import Key, Orders, at_place, key_of, located
from .model import BlockDevice

_PARTITION = re.compile(r"-part([0-9]{1,9})$")
_WWN = re.compile(r"^/dev/disk/by-id/(?:scsi-3|scsi-SVMware_Virtual_disk_|wwn-0x)([0-9a-f]{32})(?:-part([0-9]{1,9}))?$")
_AZURE = re.compile(r"^/dev/disk/azure/(?:(root|os)|(?:scsi1/lun|data/by-lun/)([0-9]{1,9}))(?:-part([0-9]{1,9}))?$")
_REST = re.compile(r"^(?:(?:_[0-9]{1,9}|-ns-[0-9]{1,9})?(?:-part([0-9]{1,9}))?|([0-9]{1,9}))$")
_TAGS = {"uuid": "UUID", "partuuid": "PARTUUID", "label": "LABEL", "partlabel": "PARTLABEL"}


@dataclass(frozen=True)
class Use:
    """How a guest uses a name: mount point, file system type and options as fstab says (empty if unknown)."""

    spec: str
    mount_point: str = ""
    fstype: str = ""
    options: tuple[str, ...] = ()


_VIRTUAL = ("36000c29", "3600224")  # of VMware and of Hyper-V


class DeviceTable:
    """Answers `resolve`; `learn` first tells it every name the guest uses, so that their order can speak."""

    def __init__(self, disks: Sequence[Disk], devices: Iterable[BlockDevice]) -> None:
        self._disks = tuple(disks)
        self.devices = tuple(devices)
        self._places: dict[Place, Optional[int]] = {}
        self._orders = Orders(self._disks)
        self._names: dict[str, str] = {}

    def alias(self, name: str, device: str) -> None:
        """The guest calls the device with the known name or alias `device` also `name`."""
        self._names[name] = device

    def multipath(self, name: str, wwid: str) -> None:
        """The guest calls the disk with a World Wide Identifier (3 and the NAA identifier) /dev/mapper/`name`.

        A VM's only disk, of whose identifier nothing is known, is the one with an identifier as hypervisors make them; others are of storage elsewhere.
        """
        disk = next((number for number, known in enumerate(self._disks) if known.wwn and f"3{known.wwn}" == wwid), None)
        if disk is None and len(self._disks) == 1 and not self._disks[0].wwn and wwid.startswith(_VIRTUAL):
            disk = 0
        for device in self.devices if disk is not None else ():
            for form in (f"{name}{device.part or ''}", f"{name}p{device.part}", f"{name}-part{device.part}"):
                if device.disk == disk:
                    self._names.setdefault(f"/dev/mapper/{form}", device.name)

    def learn(self, uses: Iterable[Use], root: Optional[BlockDevice]) -> None:
        """Settle which disk each by-path location and each counted name is; what stays ambiguous resolves to nothing."""
        demands: dict[Place, list[tuple[int, Use]]] = {}
        counted: dict[Key, list[tuple[int, Use]]] = {}
        for use in uses:
            if use.fstype and set(use.fstype.split(",")) <= {"iso9660", "udf", "cd9660"}:  # a drive
                continue
            found = parse(use.spec)
            if isinstance(found, Located):
                tagged = self._tagged(_TAGS[found.tag[0]], found.tag[1]) if found.tag is not None else None
                demands.setdefault(found.place, []).append((found.part if tagged is None else tagged.part or 0, use))
            elif found is not None and self._named(use.spec) is None:
                counted.setdefault(key_of(found), []).append((found.part, use))
        checks = {key: functools.partial(self._fits, demands=wanted, root=root) for key, wanted in counted.items()}
        roots = {key for key, wanted in counted.items() if any(use.mount_point == "/" for dummy, use in wanted)}
        self._orders.learn(checks, {key: checks[key] for key in roots})
        places = sorted(demands)
        fitting = located(
            self._disks, places, lambda place, disk: at_place(self._disks[disk], place) and self._fits(disk, demands[place], root)
        )
        natural = [choice for choice in fitting if all(self._natural(place, disk) for place, disk in zip(places, choice))]
        for index, place in enumerate(places):
            answers = {choice[index] for choice in (fitting if len(fitting) == 1 else natural)}
            self._places[place] = answers.pop() if len(answers) == 1 else None

    def resolve(self, spec: str) -> Optional[BlockDevice]:
        """The device behind a name of fstab(5), crypttab(5) or the kernel command line; None when it is not certain."""
        tag, equals, value = spec.partition("=")
        if equals and tag in _TAGS.values():
            return self._tagged(tag, value.strip("\"'"))
        named = self._named(spec)
        if named is not None:
            return self._part(*named)
        if spec.startswith("/dev/disk/by-"):
            kind, dummy, name = spec[len("/dev/disk/by-") :].partition("/")
            if kind in _TAGS:
                return self._tagged(_TAGS[kind], re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), name))
            found = parse(spec)
            if isinstance(found, Located):
                return self._located(found)
            if kind == "id" and found is None:
                return self._by_id(spec)
        azure = _AZURE.match(spec)
        if azure is not None:
            return self._on_azure(None if azure[1] else int(azure[2]), int(azure[3] or 0))
        counted = parse(spec)
        if isinstance(counted, (Counted, NameSpace)):
            number = self._orders.disk(counted)
            return self._part(number, counted.part) if number is not None else None
        spec = self._names.get(spec, spec)
        return next((device for device in self.devices if spec in device.aliases or spec == device.name), None)

    def _tagged(self, tag: str, value: str) -> Optional[BlockDevice]:
        if not value:
            return None
        fold = tag in ("UUID", "PARTUUID")
        for device in self.devices:
            own = {"UUID": device.uuid, "PARTUUID": device.partuuid, "LABEL": device.label, "PARTLABEL": device.partlabel}[tag]
            if own == value or (fold and own.lower() == value.lower()):
                return device
        return None

    def _by_id(self, spec: str) -> Optional[BlockDevice]:
        match = _WWN.match(spec)
        if match is not None:
            disk = next((number for number, known in enumerate(self._disks) if known.wwn == match[1]), None)
            if disk is not None:
                return self._part(disk, int(match[2] or 0))
        name = spec.rsplit("/", 1)[1]
        if name.startswith(("dm-name-", "lvm-pv-uuid-", "md-uuid-", "dm-uuid-", "md-name-")):
            return next((device for device in self.devices if spec in device.aliases), None)
        part = _PARTITION.search(spec)
        # Serial numbers of virtual disks are not in every descriptor; with a single disk there is nothing to confuse.
        return self._part(0, int(part[1]) if part else 0) if len(self._disks) == 1 else None

    def _named(self, spec: str) -> Optional[tuple[int, int]]:
        """The disk whose source says that it has this name, and the partition. udev appends the number of an NVMe name space."""
        for number, disk in enumerate(self._disks):
            for name in disk.names:
                match = _REST.match(spec[len(name) :]) if spec.startswith(name) else None
                if match is not None:
                    return number, int(match[1] or match[2] or 0)
        return None

    def _on_azure(self, lun: Optional[int], part: int) -> Optional[BlockDevice]:
        """The system disk (no number) is on a controller of its own, data disks are numbered on another. Without places the first is the system's."""
        place = (0, 0) if lun is None else (1, lun)
        found = [number for number, disk in enumerate(self._disks) if (disk.controller, disk.unit) == place]
        if not found and lun is None:
            found = [0]
        return self._part(found[0], part) if len(found) == 1 else None

    def _part(self, disk: int, part: int) -> Optional[BlockDevice]:
        return next((device for device in self.devices if device.disk == disk and (device.part or 0) == part), None)

    def _located(self, name: Located) -> Optional[BlockDevice]:
        disk = self._places.get(name.place)
        if disk is None:
            return None
        if name.tag is None:
            return self._part(disk, name.part)
        found = self._tagged(_TAGS[name.tag[0]], name.tag[1])
        return found if found is not None and found.disk == disk else None

    def _fits(self, disk: int, demands: Sequence[tuple[int, Use]], root: Optional[BlockDevice]) -> bool:
        for part, use in demands:
            device = self._part(disk, part)
            if device is None:
                return False
            if use.mount_point == "/" and root is not None and device.name != root.name:
                return False
            if (
                use.fstype not in ("", "auto")
                and device.fstype
                and use.fstype != device.fstype
                and not (use.fstype.startswith("ext") and device.fstype.startswith("ext"))
            ):
                return False
        return True

    def _natural(self, place: Place, number: int) -> bool:
        """Without a controller in the metadata, unit N of SCSI is the Nth disk (VMware leaves unit 7 to the adapter). Ports of ATA have CD drives too."""
        disk = self._disks[number]
        if disk.controller is not None or len(self._disks) == 1:
            return True
        return place.kind == "scsi" and number == (place.unit if place.unit < 7 else place.unit - 1)
