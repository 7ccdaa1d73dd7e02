# SPDX-License-Identifier: GPL-3.0-or-later
"""The geometry in the NTFS boot sector, by which boot code before Vista finds its files.

Source: Microsoft, "BIOS parameter block" (number of heads at 0x1a); the heads that BIOSes assume by the size of the disk.
"""

from __future__ import annotations

import struct

from ..guest.change import Change
from ..guest.changes.patch import PatchDevice
from ..guest.protocol import Guest

_HEADS = 0x1A
_SMALL, _MEDIUM = 2114445312, 4228374780  # bytes


def heads(size: int) -> int:
    """What a BIOS counts for a disk of `size` bytes."""
    return 0x40 if size < _SMALL else 0x80 if size < _MEDIUM else 0xFF


def plan(guest: Guest, device: str, disk_size: int, nt: tuple[int, int]) -> list[Change]:
    """Set the heads where an old Windows needs them right."""
    boot = guest.read_device(device, 0, 512)
    if nt >= (6, 0) or len(boot) < 512 or boot[3:7] != b"NTFS":
        return []
    before, after = boot[_HEADS : _HEADS + 2], struct.pack("<H", heads(disk_size))
    reason = "the boot sector counts heads as the new BIOS does"
    return [] if before == after else [PatchDevice(device, _HEADS, before.hex(), after.hex(), reason)]
