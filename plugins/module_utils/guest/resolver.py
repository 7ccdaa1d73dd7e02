# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device a guest means by a name, answered from partition tables, identifiers and the order of the whole disk set.

A by-path name encodes a controller's PCI address and a unit on it. The address says nothing by itself once the hypervisor is
left; but addresses and units keep their order, the partition must exist, the file system must be of the stated type, and the
entry for / must be the root that was found. What these leave open is not guessed.
Source: udev's 60-persistent-storage.rules, systemd's udev-builtin-path_id.c, fstab(5); for Azure's names 66-azure-storage.rules of WALinuxAgent
and 80-azure-disk.rules of azure-vm-utils.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

from ..core.machine import Disk
from .model import BlockDevice

_PARTITION = re.compile(r"-part([0-9]{1,9})$")
_BY_PATH = re.compile(
    r"^/dev/disk/by-path/(?:virtio-)?pci-([0-9a-f:.]+?)-(scsi-[0-9]{1,9}:[0-9]{1,9}:([0-9]{1,9}):([0-9]{1,9})"
    r"|ata-([0-9]{1,9})(?:\.[0-9]{1,9})?|sas-(0x[0-9a-f]{1,16})-lun-[0-9]{1,9}"
    r"|sas-phy([0-9]{1,9})-lun-[0-9]{1,9}|nvme-([0-9]{1,9})|ide-([0-9]{1,9}):([0-9]{1,9}))(?:-part([0-9]{1,9}))?$"
)
_LETTER = re.compile(r"^/dev/(sd|hd|vd|xvd)([a-z])([0-9]{0,9})$")
_NVME = re.compile(r"^/dev/nvme([0-9]{1,9})n1(?:p([0-9]{1,9}))?$")
_WWN = re.compile(r"^/dev/disk/by-id/(?:scsi-3|scsi-SVMware_Virtual_disk_|wwn-0x)([0-9a-f]{32})(?:-part([0-9]{1,9}))?$")
_AZURE = re.compile(r"^/dev/disk/azure/(?:(root|os)|(?:scsi1/lun|data/by-lun/)([0-9]{1,9}))(?:-part([0-9]{1,9}))?$")
_REST = re.compile(r"^(?:(?:_[0-9]{1,9}|-ns-[0-9]{1,9})?(?:-part([0-9]{1,9}))?|([0-9]{1,9}))$")
_TAGS = {"uuid": "UUID", "partuuid": "PARTUUID", "label": "LABEL", "partlabel": "PARTLABEL"}
_MAX_CHOICES = 20000

Location = tuple[str, int]  # PCI address, unit


@dataclass(frozen=True)
class Use:
    """How a guest uses a name: mount point, file system type and options as fstab says (empty if unknown)."""

    spec: str
    mount_point: str = ""
    fstype: str = ""
    options: tuple[str, ...] = ()


class DeviceTable:
    """Answers `resolve`; `learn` first tells it every name the guest uses, so that their order can speak."""

    def __init__(self, disks: Sequence[Disk], devices: Iterable[BlockDevice]) -> None:
        self._disks = tuple(disks)
        self.devices = tuple(devices)
        self._places: dict[Location, Optional[int]] = {}
        self._letters: dict[str, tuple[Optional[int], ...]] = {}
        self._names: dict[str, str] = {}

    def alias(self, name: str, device: str) -> None:
        """The guest calls the device with the known name or alias `device` also `name`."""
        self._names[name] = device

    def multipath(self, name: str, wwid: str) -> None:
        """The guest calls the disk with a World Wide Identifier (3 and the NAA identifier) /dev/mapper/`name`."""
        disk = next((number for number, known in enumerate(self._disks) if known.wwn and f"3{known.wwn}" == wwid), None)
        if disk is None and len(self._disks) == 1:
            disk = 0
        for device in self.devices if disk is not None else ():
            for form in (f"{name}{device.part or ''}", f"{name}p{device.part}", f"{name}-part{device.part}"):
                if device.disk == disk:
                    self._names.setdefault(f"/dev/mapper/{form}", device.name)

    def learn(self, uses: Iterable[Use], root: Optional[BlockDevice]) -> None:
        """Settle which disk each by-path location and each letter is; what stays ambiguous resolves to nothing."""
        uses = list(uses)
        self._learn_letters(uses, root)
        demands: dict[Location, list[tuple[int, Use]]] = {}
        for use in uses:
            found = location(use.spec)
            if found is not None:
                demands.setdefault(found[0], []).append((found[1], use))
        places = sorted(demands)
        fitting = []
        choices = itertools.islice(itertools.combinations(range(len(self._disks)), len(places)), _MAX_CHOICES)
        for choice in choices:
            if self._consistent(places, choice) and all(self._fits(disk, demands[place], root) for place, disk in zip(places, choice)):
                fitting.append(choice)
        natural = [choice for choice in fitting if all(self._natural(place, disk) for place, disk in zip(places, choice))]
        for index, place in enumerate(places):
            answers = {choice[index] for choice in (fitting if len(fitting) == 1 else natural)}
            self._places[place] = answers.pop() if len(answers) == 1 else None

    def _learn_letters(self, uses: Sequence[Use], root: Optional[BlockDevice]) -> None:
        """sda is the first disk, unless what the guest says of its names fits another order alone."""
        for prefix, order in self._orders().items():
            demands: dict[int, list[tuple[int, Use]]] = {}
            for use in uses:
                found = _lettered(use.spec)
                if found is not None and found[0] == prefix and found[1] < len(order):
                    demands.setdefault(found[1], []).append((found[2], use))
            if not demands or all(self._fits(order[index], wanted, root) for index, wanted in demands.items()):
                continue
            fitting = [
                choice
                for choice in itertools.islice(itertools.permutations(order, len(demands)), _MAX_CHOICES)
                if all(self._fits(disk, demands[index], root) for disk, index in zip(choice, sorted(demands)))
            ]
            settled: list[Optional[int]] = [None] * len(order)
            # A wrong entry for a data disk says nothing about the others, as long as the root is where its letter says.
            rooted = all(
                self._fits(order[index], [one for one in wanted if one[1].mount_point == "/"], root) for index, wanted in demands.items()
            )
            for position, index in enumerate(sorted(demands)):
                if fitting:
                    settled[index] = fitting[0][position] if len({choice[position] for choice in fitting}) == 1 else None
                elif rooted and self._fits(order[index], demands[index], root):
                    settled[index] = order[index]
            self._letters[prefix] = tuple(settled)

    def _orders(self) -> dict[str, list[int]]:
        """The disks that letters and NVMe numbers count, by the kind of name."""
        numbered = list(enumerate(self._disks))
        letters = [number for number, disk in numbered if disk.bus != "nvme"]
        return {
            **dict.fromkeys(("sd", "hd", "vd", "xvd"), letters),
            "nvme": [number for number, disk in numbered if disk.bus in (None, "nvme")],
        }

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
            if kind == "path":
                found = location(spec)
                place = self._places.get(found[0]) if found is not None else None
                return self._part(place, found[1]) if found is not None and place is not None else None
            if kind == "id":
                return self._by_id(spec)
        azure = _AZURE.match(spec)
        if azure is not None:
            return self._on_azure(None if azure[1] else int(azure[2]), int(azure[3] or 0))
        found_letter = _lettered(spec)
        if found_letter is not None:
            prefix, index, part = found_letter
            order = self._letters.get(prefix) or tuple(self._orders()[prefix])
            number = order[index] if index < len(order) else None
            return self._part(number, part) if number is not None else None
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

    def _consistent(self, places: Sequence[Location], choice: Sequence[int]) -> bool:
        controllers: dict[str, tuple[Optional[str], Optional[int]]] = {}
        for (address, unit), number in zip(places, choice):
            disk = self._disks[number]
            if disk.unit is not None and disk.bus == "scsi" and disk.unit != unit:
                return False
            if disk.controller is not None and controllers.setdefault(address, (disk.bus, disk.controller)) != (disk.bus, disk.controller):
                return False
        return len(set(controllers.values())) == len(controllers)

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

    def _natural(self, place: Location, number: int) -> bool:
        """Without a controller in the metadata, unit N is the Nth disk (VMware leaves unit 7 to the adapter)."""
        disk, unit = self._disks[number], place[1]
        return disk.controller is not None or number == (unit if unit < 7 else unit - 1)


def _lettered(spec: str) -> Optional[tuple[str, int, int]]:
    """(kind of name, index of the disk, partition or 0) of sda2, nvme0n1p2 and the like; None for other names."""
    match = _LETTER.match(spec)
    if match is not None:
        return match[1], ord(match[2]) - ord("a"), int(match[3] or 0)
    match = _NVME.match(spec)
    return ("nvme", int(match[1]), int(match[2] or 0)) if match is not None else None


def location(spec: str) -> Optional[tuple[Location, int]]:
    """(PCI address, unit) and partition number of a by-path name; None for other names."""
    match = _BY_PATH.match(spec)
    if match is None:
        return None
    if match[3] is not None:
        unit = int(match[3]) * 256 + int(match[4]) if int(match[4]) else int(match[3])
    elif match[6] is not None:
        unit = int(match[6], 16)
    elif match[9] is not None:
        unit = int(match[9]) * 2 + int(match[10])
    else:
        unit = int(next(value for value in (match[5], match[7], match[8]) if value is not None))
    return (match[1], unit), int(match[11] or 0)
