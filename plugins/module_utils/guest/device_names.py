# SPDX-License-Identifier: GPL-3.0-or-later
"""What the names of disks say that a guest has from its old hardware: a count of disks, or a place on a controller.

Source: Documentation/admin-guide/devices.txt (letters, IDE channels), drivers/nvme/host/core.c (nvme<controller>n<name space>),
systemd's udev-builtin-path_id.c and 60-persistent-storage.rules; for Xen's device numbers docs/man/xen-vbd-interface.7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Union

_LETTERS = re.compile(r"^/dev/(sd|hd|vd|xvd)([a-z]{1,2})([0-9]{0,9})$")
_NVME = re.compile(r"^/dev/nvme([0-9]{1,9})n([1-9][0-9]{0,8})(?:p([0-9]{1,9}))?$")
_NVME_ID = re.compile(
    r"^/dev/disk/by-id/nvme-VMware_Virtual_NVMe_Disk_VMWARE_NVME_([0-9]{4})(?:_([1-9][0-9]{0,8}))?(?:-part([0-9]{1,9}))?$"
)
_PCI = re.compile(
    r"^/dev/disk/by-path/(?:virtio-)?pci-([0-9a-f:.]+?)"
    r"(?:-(?:scsi-[0-9]{1,9}:[0-9]{1,9}:(?P<target>[0-9]{1,9}):(?P<lun>[0-9]{1,9})"
    r"|ata-(?P<port>[0-9]{1,9})(?:\.(?P<device>[0-9]{1,9}))?(?:\.0)?"
    r"|sas-(?P<sas>0x[0-9a-f]{1,16})-lun-[0-9]{1,9}|sas-phy(?P<phy>[0-9]{1,9})-lun-[0-9]{1,9}"
    r"|nvme-(?P<space>[0-9]{1,9})|ide-(?P<channel>[0-9]{1,9}):(?P<drive>[0-9]{1,9})))?(?P<rest>-part.*)?$"
)
_VMBUS = re.compile(
    r"^/dev/disk/by-path/((?:acpi-[A-Za-z0-9]+:[0-9a-f]+-)?(?:vmbus-[0-9a-f-]{32,36}(?:-lun-(?P<lun>[0-9]{1,9}))?"
    r"|scsi-[0-9]{1,9}:[0-9]{1,9}:(?P<target>[0-9]{1,9}):(?P<unit>[0-9]{1,9})))(?P<rest>-part.*)?$"
)
_XEN = re.compile(r"^/dev/disk/by-path/xen-vbd-([0-9]{1,9})(?P<rest>-part.*)?$")
_PART = re.compile(r"^-part(?:([0-9]{1,9})|/by-partnum/([0-9]{1,9}))$")
_TAG = re.compile(r"^-part/by-(uuid|label|partuuid|partlabel)/(.+)$")
_IDE_MAJORS = {3: 0, 22: 2, 33: 4, 34: 6}  # of /dev/hda, hdc, hde, hdg


@dataclass(frozen=True)
class Counted:
    """A name that counts disks: `kind` is sd, hd, vd or xvd, and `index` counts from 0. `part` is the partition, 0 the whole disk."""

    kind: str
    index: int
    part: int = 0


@dataclass(frozen=True)
class NameSpace:
    """A name of NVMe: the controller from 0, the name space from 1."""

    controller: int
    number: int
    part: int = 0


@dataclass(frozen=True, order=True)
class Place:
    """Where a by-path name puts a disk: `address` of the controller on its bus, and `unit` on it from 0; `kind` is what the name says of the bus."""

    address: str
    unit: int
    kind: str


@dataclass(frozen=True)
class Located:
    """A name that says a place. `tag` is a (kind of identifier, value) that newer udev writes instead of the partition's number."""

    place: Place
    part: int = 0
    tag: Optional[tuple[str, str]] = None


Name = Union[Counted, NameSpace, Located]


def parse(spec: str) -> Optional[Name]:
    """What a name says; None for one that says neither a count nor a place."""
    counted = _LETTERS.match(spec)
    if counted is not None:
        return Counted(counted[1], _index(counted[2]), int(counted[3] or 0))
    for pattern in (_NVME, _NVME_ID):
        match = pattern.match(spec)
        if match is not None:
            return NameSpace(int(match[1]), int(match[2] or 1), int(match[3] or 0))
    xen = _XEN.match(spec)
    if xen is not None:
        return _of_xen(int(xen[1]), xen["rest"])
    match = _PCI.match(spec)
    if match is not None:
        return _located(Place(match[1], *_unit(match)), match["rest"])
    match = _VMBUS.match(spec)
    if match is not None:
        # A channel of the VM bus is a controller; its number is made anew by each VM.
        return _located(
            Place(re.sub(r"-lun-[0-9]+$|-scsi-.*$|^scsi-.*$", "", match[1]), int(match["lun"] or match["target"] or 0), "vmbus"),
            match["rest"],
        )
    return None


def letters(number: int) -> str:
    """The letters of a disk: 0 is a, 25 is z, 26 is aa."""
    return chr(97 + number) if number < 26 else chr(96 + number // 26) + chr(97 + number % 26)


def _index(lettered: str) -> int:
    index = 0
    for letter in lettered:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def _unit(match: re.Match[str]) -> tuple[int, str]:
    """The unit on a controller of PCI, and what the name says of the bus."""
    if match["target"] is not None:
        target, lun = int(match["target"]), int(match["lun"])
        return target * 256 + lun if lun else target, "scsi"
    if match["port"] is not None:
        # libata counts ports from 1. On a port of IDE, a channel, there are two devices.
        port, device = int(match["port"]) - 1, match["device"]
        return (port, "ata") if device in (None, "0") else (port * 2 + int(device), "ide")
    if match["space"] is not None:
        return int(match["space"]) - 1, "nvme"
    if match["channel"] is not None:
        return int(match["channel"]) * 2 + int(match["drive"]), "ide"
    if match["sas"] is not None:
        return int(match["sas"], 16), "sas"
    return (int(match["phy"]), "phy") if match["phy"] is not None else (0, "pci")


def _located(place: Place, rest: Optional[str]) -> Optional[Located]:
    if place.unit < 0:
        return None
    if not rest:
        return Located(place)
    number, tag = _PART.match(rest), _TAG.match(rest)
    if number is not None:
        return Located(place, int(number[1] or number[2]))
    return Located(place, tag=(tag[1], tag[2])) if tag is not None else None


def _of_xen(number: int, rest: Optional[str]) -> Optional[Counted]:
    """A virtual block device of Xen: its number is that of the device which it stands for."""
    part = _PART.match(rest) if rest else None
    if rest and part is None:
        return None
    at = int((part[1] or part[2]) if part is not None else 0)
    if number >> 28 == 1:
        return Counted("xvd", (number >> 8) & 0xFFFFF, at)
    major, minor = number >> 8, number & 0xFF
    if major in (202, 8):  # Linux shows what is configured as sda, or as hda, as xvda
        return Counted("xvd", minor >> 4, at)
    return Counted("xvd", _IDE_MAJORS[major] + (minor >> 6), at) if major in _IDE_MAJORS else None
