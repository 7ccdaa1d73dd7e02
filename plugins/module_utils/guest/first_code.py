# SPDX-License-Identifier: GPL-3.0-or-later
"""What the firmware starts: which disk, by what its boot code is and not by its being there, and whether that leads anywhere.

libparted and Windows' Disk Management write a boot code into every MBR that they make. It starts the active partition, and on a data disk there is none.
Source: UEFI Specification 2.10 chapter 3; GRUB's boot/i386/pc/boot.S (offset 0x5c holds the sector of the core image) and GRUB
legacy's stage1.S (0x44); syslinux's mbr and gptmbr (the attribute legacy_boot of a GPT).
"""

from __future__ import annotations

import struct
from typing import Collection, Mapping, Optional, Protocol

from .model import GuestFacts
from .parttable import ESP, Partition, Table
from .protocol import Guest

_SIGNATURE = b"\x55\xaa"
_OWN_WAY = (b"LILO", b"ISOLINUX", b"EXTLINUX")  # loaders that know their sectors, whatever is active


class Reads(Protocol):
    """What reads devices."""

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        """Bytes of a disk; less at its end."""


def leads_on(disks: Reads, disk: str, table: Table) -> bool:
    """Whether BIOS, when it starts this disk, comes to a boot loader."""
    code = table.boot_code
    if not code.strip(b"\0"):
        return False
    if b"GRUB" in code:
        # GRUB 2 keeps the sector of what comes next at one place, GRUB legacy at another.
        sectors = (*struct.unpack_from("<Q", code.ljust(0x64, b"\0"), 0x5C), *struct.unpack_from("<I", code.ljust(0x64, b"\0"), 0x44))
        return any(0 < sector < 1 << 40 and disks.read_device(disk, sector * 512, 512).strip(b"\0") for sector in sectors)
    if any(name in code for name in _OWN_WAY) or not table.partitions:
        return True
    containers = [table.extended] if table.extended is not None else []
    return any(_startable(disks, disk, part) for part in (*table.partitions, *containers) if part.active)


def _startable(disks: Reads, disk: str, part: Partition) -> bool:
    sector = disks.read_device(disk, part.start, 512)
    return sector[510:512] == _SIGNATURE


def boot_disk(firmware: str, disks: Reads, tables: Mapping[str, Table], system: Collection[int] = (), first: Optional[int] = None) -> int:
    """The number of the disk that the firmware is to start from: one that leads to a boot loader.

    Of several it is the one that the source's firmware tries `first`, where that is known, else one that the `system` is on.
    """
    named = list(tables.items())
    if firmware == "uefi":
        found = [number for number, (dummy, table) in enumerate(named) if any(part.type in (ESP, "ef") for part in table.partitions)]
    else:
        found = [number for number, (name, table) in enumerate(named) if leads_on(disks, name, table)]
        found = found or [number for number, (dummy, table) in enumerate(named) if table.boot_code.strip(b"\0")]
    if first is not None and first in found:
        return first
    return next((number for number in found if number in system), found[0] if found else 0)


def system_disks(guest: Guest, facts: GuestFacts) -> set[int]:
    """The disks that the EFI system partition, or else /boot and the root, are on, whatever lies between."""
    devices = {device.name: device for device in guest.devices()}
    mounted = {mount.path: mount.device for mount in facts.mounts}
    system = [
        name
        for name in mounted.values()
        if facts.firmware == "uefi" and name in devices and devices[name].parttype in (ESP, "ef")
    ]  # fmt: skip
    todo = system or [name for name in (mounted.get("/boot"), facts.root) if name]
    found: set[int] = set()
    seen: set[str] = set()
    while todo:
        device = devices.get(todo.pop())
        if device is None or device.name in seen:
            continue
        seen.add(device.name)
        if device.disk is not None:
            found.add(device.disk)
        todo += device.parents
    return found
