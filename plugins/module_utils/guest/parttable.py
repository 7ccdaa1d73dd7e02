# SPDX-License-Identifier: GPL-3.0-or-later
"""Partition tables read from the bytes: MBR with logical partitions, and GPT.

Source: UEFI Specification 2.10 chapter 5; partition numbers as the Linux kernel gives them (block/partitions/{msdos,efi}.c).
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import Callable, Optional

SECTOR = 512
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
_EXTENDED = (0x05, 0x0F, 0x85)
_MAX_LOGICAL = 60
_MAX_ENTRIES = 512

# Reads (offset, size) in bytes from a disk; may return less at its end.
Reader = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Partition:
    """A partition: its number, place and size in bytes, type (GUID, or two hexadecimal digits), PARTUUID, label, boot flag."""

    number: int
    start: int
    size: int
    type: str
    uuid: str
    label: str = ""
    active: bool = False


@dataclass(frozen=True)
class Table:
    """scheme is gpt, mbr, or "" for a disk without a partition table; `boot_code` is the MBR's program area (440 bytes).

    `id` is the disk's GUID, or the MBR's signature in eight hexadecimal digits. `extended` is what holds an MBR's logical partitions.
    """

    scheme: str
    partitions: tuple[Partition, ...]
    boot_code: bytes
    id: str = ""
    extended: Optional[Partition] = None

    def get(self, number: int) -> Optional[Partition]:
        return next((part for part in self.partitions if part.number == number), None)


def parse(read: Reader) -> Table:
    """The partition table of a disk; damaged tables give no partitions, never an exception."""
    mbr = read(0, SECTOR)
    if len(mbr) < SECTOR or mbr[510:512] != b"\x55\xaa":
        return Table("", (), mbr[:440])
    entries = [mbr[446 + 16 * index : 462 + 16 * index] for index in range(4)]
    if any(entry[4] == 0xEE for entry in entries):
        parts = _gpt(read)
        if parts is not None:
            return Table("gpt", parts, mbr[:440], str(uuid.UUID(bytes_le=read(SECTOR, SECTOR)[56:72])))
    if any(entry[0] not in (0x00, 0x80) for entry in entries):  # a boot sector without a table, FAT or NTFS on the whole disk
        return Table("", (), mbr[:440])
    partitions, extended = _mbr(read, mbr, entries)
    return Table("mbr", tuple(partitions), mbr[:440], f"{struct.unpack_from('<I', mbr, 440)[0]:08x}", extended)


def _mbr(read: Reader, mbr: bytes, entries: list[bytes]) -> tuple[list[Partition], Optional[Partition]]:
    signature = struct.unpack_from("<I", mbr, 440)[0]
    parts: list[Partition] = []

    def partition(number: int, entry: bytes, base: int) -> Partition:
        start, count = struct.unpack_from("<II", entry, 8)
        return Partition(
            number, (base + start) * SECTOR, count * SECTOR, f"{entry[4]:02x}", f"{signature:08x}-{number:02x}", active=entry[0] == 0x80
        )

    container = None
    for index, entry in enumerate(entries):
        if entry[4] in _EXTENDED:
            container = partition(index + 1, entry, 0)
        elif entry[4]:
            parts.append(partition(index + 1, entry, 0))
    extended = container.start // SECTOR if container is not None else 0
    offset, number, seen = extended, 5, set()
    while extended and offset not in seen and number < 5 + _MAX_LOGICAL:
        seen.add(offset)
        ebr = read(offset * SECTOR, SECTOR)
        if len(ebr) < SECTOR or ebr[510:512] != b"\x55\xaa":
            break
        logical, following = ebr[446:462], ebr[462:478]
        if logical[4]:
            parts.append(partition(number, logical, offset))
            number += 1
        if following[4] not in _EXTENDED:
            break
        offset = extended + struct.unpack_from("<I", following, 8)[0]
    return parts, container


def _gpt(read: Reader) -> Optional[tuple[Partition, ...]]:
    header = read(SECTOR, SECTOR)
    if header[:8] != b"EFI PART":
        return None
    at, count, size = struct.unpack_from("<QII", header, 72)
    if size < 128 or size > 4096 or count > _MAX_ENTRIES:
        return None
    table = read(at * SECTOR, count * size)
    parts = []
    for index in range(len(table) // size):
        entry = table[index * size : (index + 1) * size]
        if entry[:16] == bytes(16):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        parts.append(
            Partition(
                index + 1,
                first * SECTOR,
                (last - first + 1) * SECTOR,
                str(uuid.UUID(bytes_le=entry[:16])),
                str(uuid.UUID(bytes_le=entry[16:32])),
                entry[56:128].decode("utf-16-le", "replace").split("\0", 1)[0],
                bool(entry[48] & 4),  # legacy_boot
            )
        )
    return tuple(parts)
