# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware .vmx configuration files: disks in bus order, NICs with their MACs, size and firmware."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Iterator, Mapping, Optional

from ..core import files, limits
from ..core.errors import InvalidInput
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import chain, vmdk
from .machine import BUS_ORDER, Nic, SourceDisk, SourceVm, bus_key

_LINE = re.compile(r'^\s*([A-Za-z][\w.:-]*)\s*=\s*"(.*)"\s*$')
_ESCAPE = re.compile(r"\|([0-9A-Fa-f]{2})")
_DISK = re.compile(r"^(scsi|nvme|sata|ide)([0-9]{1,4}):([0-9]{1,4})\.filename$")
_NIC = re.compile(r"^ethernet([0-9]{1,4})\.present$")
_DISK_TYPES = ("disk", "plaindisk", "rawdisk", "scsi-harddisk", "ata-harddisk", "")


def parse(text: str) -> dict[str, str]:
    """Keys in lower case (they are case-insensitive), |HH escapes resolved; the last of a repeated key wins."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            values[match[1].lower()] = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), match[2])
    return values


def read(path: str) -> SourceVm:
    """The VM of a .vmx file; its disks must lie beside it.

    Raises InvalidInput when it names no disks or something that cannot be read.
    """
    data = files.read(path, limits.VMX, "The configuration")
    values = parse(data.decode("utf-8", "replace"))
    directory = os.path.dirname(os.path.abspath(path))
    disks = tuple(replace(disk, chain=chain.resolve(os.path.join(directory, name))) for name, disk in places(values, path))
    return replace(described(values, path), disks=disks)


def described(values: Mapping[str, str], path: str) -> SourceVm:
    """The VM of a configuration without its disks."""
    firmware = values.get("firmware", "bios").lower()
    return SourceVm(
        name=values.get("displayname") or os.path.splitext(os.path.basename(path))[0],
        kind="vmx",
        disks=(),
        nics=tuple(_nics(values)),
        cpus=said(values.get("numvcpus", "1"), "numvcpus", path),
        cores_per_socket=said(values.get("cpuid.corespersocket"), "cpuid.coresPerSocket", path),
        memory=said(values.get("memsize", "32"), "memSize", path),
        firmware="uefi" if firmware == "efi" else "bios",
        secure_boot=_true(values.get("uefi.secureboot.enabled")),
        guest_os=values.get("guestos"),
        uuid=uuid_of(values.get("vc.uuid")) or uuid_of(values.get("uuid.bios")),
    )


def places(values: Mapping[str, str], path: str) -> tuple[tuple[str, SourceDisk], ...]:
    """The file names of a VM's disks, all beside its configuration `path`, and where each is attached, in the order of the buses.

    Raises InvalidInput when there are none.
    """
    found = tuple(sorted(_named(values), key=lambda item: bus_key(item[1])))
    if not found:
        raise InvalidInput(f"{path} names no virtual disks.", "Name the .vmdk files as a list in migrate_source.", path=path)
    return found


def _named(values: Mapping[str, str]) -> Iterator[tuple[str, SourceDisk]]:
    for key, name in values.items():
        match = _DISK.match(key)
        if match is None or match[1] not in BUS_ORDER:
            continue
        device = f"{match[1]}{match[2]}:{match[3]}"
        kind = values.get(f"{device}.devicetype", "").lower()
        if not _true(values.get(f"{device}.present", "true")) or kind not in _DISK_TYPES or not name.lower().endswith(".vmdk"):
            continue
        yield vmdk.plain_name(name, f"the disk {device}"), SourceDisk(chain.Chain(()), match[1], int(match[2]), int(match[3]))


def _nics(values: Mapping[str, str]) -> list[Nic]:
    nics = []
    for number in sorted(int(match[1]) for match in map(_NIC.match, values) if match):
        key = f"ethernet{number}"
        if not _true(values[f"{key}.present"]):
            continue
        static = values.get(f"{key}.addresstype", "").lower() == "static"
        mac = values.get(f"{key}.address" if static else f"{key}.generatedaddress") or values.get(f"{key}.address")
        nics.append(
            Nic(
                mac.lower() if mac else None,
                values.get(f"{key}.networkname", ""),
                values.get(f"{key}.virtualdev", ""),
                decimal(values.get(f"{key}.pcislotnumber")),
            )
        )
    return nics


def _true(value: Optional[str]) -> bool:
    return (value or "").lower() == "true"
