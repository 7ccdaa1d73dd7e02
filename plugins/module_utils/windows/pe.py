# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Windows program says of itself: machine, subsystem, checksum, imports, and the signature that it carries.

Source: Microsoft, "PE Format" (learn.microsoft.com/windows/win32/debug/pe-format).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Optional

MACHINES = {0x14C: "i686", 0x8664: "x86_64", 0xAA64: "aarch64"}
NATIVE = 1
_PKCS = 2  # WIN_CERT_TYPE_PKCS_SIGNED_DATA
_MAX_IMPORTS = 256


@dataclass(frozen=True)
class Program:
    """`machine` as the guest's architecture is named; `checksum` whether the header's is right, None where it has none.

    `imports` are the programs that it needs, in lower case.
    """

    machine: str
    subsystem: int
    checksum: Optional[bool]
    imports: tuple[str, ...]


def parse(data: Optional[bytes]) -> Optional[Program]:
    """None for bytes that are no program of a known machine."""
    try:
        return _parse(data or b"")
    except (struct.error, IndexError):
        return None


def machine(data: Optional[bytes]) -> str:
    """The architecture of a program; empty for anything else."""
    program = parse(data)
    return program.machine if program is not None else ""


def certificate(data: bytes) -> bytes:
    """The signature that a program carries, as PKCS #7 (Microsoft, "PE Format", The Attribute Certificate Table); empty where there is none."""
    try:
        start, size = _security(data)
        length, dummy, kind = struct.unpack_from("<IHH", data, start)
        return data[start + 8 : start + min(length, size)] if size > 8 and kind == _PKCS else b""
    except (struct.error, IndexError):
        return b""


def _security(data: bytes) -> tuple[int, int]:
    """Where the certificates lie, and how long they are."""
    header = struct.unpack_from("<I", data, 0x3C)[0] + 24
    directories = header + (96 if struct.unpack_from("<H", data, header)[0] == 0x10B else 112)
    if struct.unpack_from("<I", data, directories - 4)[0] < 5:
        return 0, 0
    start, size = struct.unpack_from("<II", data, directories + 32)
    return start, size


def _parse(data: bytes) -> Optional[Program]:
    at = struct.unpack_from("<I", data, 0x3C)[0] if data[:2] == b"MZ" else 0
    if not at or data[at : at + 4] != b"PE\0\0":
        return None
    kind, sections, optional = struct.unpack_from("<HH12xH", data, at + 4)
    header = at + 24
    magic = struct.unpack_from("<H", data, header)[0]
    if kind not in MACHINES or magic not in (0x10B, 0x20B):
        return None
    subsystem = struct.unpack_from("<H", data, header + 68)[0]
    stored = struct.unpack_from("<I", data, header + 64)[0]
    directories = header + (96 if magic == 0x10B else 112)
    count = struct.unpack_from("<I", data, directories - 4)[0]
    table = [struct.unpack_from("<II", data, directories + 8 * index) for index in range(min(count, 16))]
    places = [struct.unpack_from("<8x4I", data, header + optional + 40 * index) for index in range(sections)]
    imports = _imports(data, places, table[1][0] if len(table) > 1 else 0)
    right = None if stored == 0 else stored == checksum(data, header + 64)
    return Program(MACHINES[kind], subsystem, right, imports)


def _imports(data: bytes, places: list[tuple[int, ...]], address: int) -> tuple[str, ...]:
    names: list[str] = []
    at = _offset(places, address)
    while at is not None and len(names) < _MAX_IMPORTS:
        name = struct.unpack_from("<I", data, at + 12)[0]
        where = _offset(places, name) if name else None
        if where is None:
            break
        names.append(data[where : where + 256].split(b"\0", 1)[0].decode("latin-1").lower())
        at += 20
    return tuple(names)


def _offset(places: list[tuple[int, ...]], address: int) -> Optional[int]:
    return next((raw + address - start for size, start, length, raw in places if start <= address < start + max(size, length)), None)


def checksum(data: bytes, field: int) -> int:
    """The checksum of an image whose own checksum lies at `field`: 16-bit words added with carry, and the length."""
    padded = data[:field] + bytes(4) + data[field + 4 :]
    padded += bytes(len(padded) % 2)
    total: int = sum(struct.unpack(f"<{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(data)
