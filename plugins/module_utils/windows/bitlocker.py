# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that BitLocker encrypts, and whether it is suspended: then the key lies open on the disk, and what is on it is encrypted all the same.

Source: libbde, "BitLocker Drive Encryption (BDE) format": the volume header, and the metadata with its key protectors.
"""

from __future__ import annotations

import struct
from typing import Iterator

from ..guest.model import BlockDevice
from ..guest.protocol import Guest

_SIGNATURE = b"-FVE-FS-"
_VISTA = b"\xeb\x52\x90"
_BLOCK, _HEADER, _LONGEST = 64, 48, 64 << 10
_MASTER_KEY, _AS_MASTER_KEY, _CLEAR = 2, 8, 0x0000


def encrypted(guest: Guest, device: BlockDevice) -> bool:
    """By the boot sector alone where nobody knows better: other tools also want metadata behind it that are whole."""
    return device.fstype == "BitLocker" or (not device.fstype and guest.read_device(device.name, 0, 11)[3:11] == _SIGNATURE)


def suspended(guest: Guest, device: BlockDevice) -> bool:
    """Whether one of the protectors of the master key is a clear key, as while protection is suspended, not yet on, or taken off."""
    boot = guest.read_device(device.name, 0, 512)
    if len(boot) < 512:
        return False
    for place in _places(boot):
        block = guest.read_device(device.name, place, _LONGEST)
        if block[:8] == _SIGNATURE and len(block) > _BLOCK + _HEADER:
            return any(kind == _CLEAR for kind in _protectors(block))
    return False


def _places(boot: bytes) -> tuple[int, ...]:
    """Where the copies of the metadata lie; Vista names the first alone, in clusters."""
    if boot[:3] == _VISTA:
        sector, per_cluster = struct.unpack_from("<HB", boot, 11)
        return (struct.unpack_from("<Q", boot, 56)[0] * sector * per_cluster,)
    places: tuple[int, ...] = struct.unpack_from("<3Q", boot, 176)
    return places


def _protectors(block: bytes) -> Iterator[int]:
    """The kinds of all protectors of the volume's master key."""
    size, dummy, header = struct.unpack_from("<3I", block, _BLOCK)
    at, end = _BLOCK + header, min(_BLOCK + size, len(block))
    while header >= _HEADER and at + 8 <= end:
        length, entry, value = struct.unpack_from("<3H", block, at)
        if length < 8:
            return
        if (entry, value) == (_MASTER_KEY, _AS_MASTER_KEY) and length >= 36 and at + length <= end:
            yield struct.unpack_from("<H", block, at + 8 + 26)[0]
        at += length
