# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a hive is clean, and the replay of its transaction logs where it is not.

hivex opens a dirty hive without a word and drops what its logs hold; Windows would have replayed them. Both log formats are known:
that of Windows 8.1 and later (entries "HvLE") and the older one (a bitmap of sectors, "DIRT").
Source: the specification of the format by M. Suhanov (github.com/msuhanov/regf), chapter "Format of transaction log files".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Optional, Sequence, Union

from .regf import BASE_BLOCK

CLEAN, REPLAYED, UNREPLAYABLE, INVALID = "clean", "replayed", "unreplayable", "invalid"
_SECTOR = 512
_MAX_BINS = 0x7FFFE000
_MARVIN_SEED = 0x82EF4D887A4E55C5
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Replay:
    """A hive ready to be read: its bytes, its state, and how many log entries were carried out."""

    data: bytes
    state: str
    entries: int = 0


def checksum(block: Union[bytes, bytearray]) -> int:
    """Of a base block: the exclusive or of its first 127 words, never 0 or all ones."""
    value = 0
    for word in struct.unpack_from("<127I", block):
        value ^= word
    return {0: 1, _MASK: _MASK - 1}.get(value, value)


def _sound(block: bytes) -> bool:
    return len(block) >= _SECTOR and block[:4] == b"regf" and checksum(block) == struct.unpack_from("<I", block, 508)[0]


def is_clean(data: bytes) -> bool:
    """Both sequence numbers are the same and the checksum is right: Windows then ignores the logs."""
    return _sound(data) and data[4:8] == data[8:12]


def replay(data: bytes, logs: Sequence[bytes]) -> Replay:
    """The hive as Windows would recover it. An `unreplayable` one is as it was, an `invalid` one is no hive."""
    if len(data) < BASE_BLOCK or data[:4] != b"regf":
        return Replay(data, INVALID)
    if is_clean(data):
        return Replay(data, CLEAN)
    heads = [log for log in logs if _sound(log)]
    if not _sound(data):
        # The interrupted write was that of the base block itself; each log holds a copy of it.
        if not heads:
            return Replay(data, UNREPLAYABLE)
        best = max(heads, key=lambda log: int(struct.unpack_from("<I", log, 4)[0]))
        data = best[:_SECTOR] + data[_SECTOR:]
    return _replay_entries(data, heads) or _replay_sectors(data, heads) or Replay(data, UNREPLAYABLE)


def mended(data: bytes) -> bytes:
    """A hive whose logs are given up: marked clean as it is."""
    return _finish(bytearray(data), max(struct.unpack_from("<II", data, 4)))


def _finish(hive: bytearray, sequence: int) -> bytes:
    struct.pack_into("<II", hive, 4, sequence & _MASK, sequence & _MASK)
    struct.pack_into("<I", hive, 28, 0)
    struct.pack_into("<I", hive, 508, checksum(hive))
    return bytes(hive)


@dataclass(frozen=True)
class _Entry:
    sequence: int
    bins: int
    pages: tuple[tuple[int, bytes], ...]


def _entries(log: bytes) -> list[_Entry]:
    """The valid entries of a log from its first on; they end where a hash or a sequence number is wrong."""
    found: list[_Entry] = []
    at = _SECTOR
    while log[at : at + 4] == b"HvLE":
        entry = _entry(log, at)
        if entry is None or (found and entry.sequence != (found[-1].sequence + 1) & _MASK):
            break
        found.append(entry)
        at += struct.unpack_from("<I", log, at + 4)[0]
    return found


def _entry(log: bytes, at: int) -> Optional[_Entry]:
    if len(log) < at + 40:
        return None
    size, dummy, sequence, bins, count, content, head = struct.unpack_from("<5I2Q", log, at + 4)
    raw = log[at : at + size]
    if size < 40 + 8 * count or size % _SECTOR or len(raw) < size or bins > _MAX_BINS:
        return None
    if _marvin(raw[:32]) != head or _marvin(raw[40:]) != content:
        return None
    pages, data = [], 40 + 8 * count
    for index in range(count):
        offset, length = struct.unpack_from("<II", raw, 40 + 8 * index)
        if offset + length > bins or data + length > size:
            return None
        pages.append((offset, raw[data : data + length]))
        data += length
    return _Entry(sequence, bins, tuple(pages))


def _replay_entries(data: bytes, logs: Sequence[bytes]) -> Optional[Replay]:
    """Newer logs: those whose entries go on where the hive stopped, oldest first, without a gap."""
    secondary = struct.unpack_from("<I", data, 8)[0]
    runs = sorted((entries for entries in map(_entries, logs) if entries), key=lambda entries: entries[0].sequence)
    hive, applied, last = bytearray(data), 0, None
    for entries in runs:
        if entries[0].sequence < secondary:
            continue
        if last is not None and entries[0].sequence != (last + 1) & _MASK:
            break
        for entry in entries:
            hive.extend(bytes(max(0, BASE_BLOCK + entry.bins - len(hive))))
            for offset, page in entry.pages:
                hive[BASE_BLOCK + offset : BASE_BLOCK + offset + len(page)] = page
            struct.pack_into("<I", hive, 40, entry.bins)
            last = entry.sequence
            applied += 1
    return Replay(_finish(hive, last + 1), REPLAYED, applied) if last is not None else None


def _replay_sectors(data: bytes, logs: Sequence[bytes]) -> Optional[Replay]:
    """Older logs: one bitmap of the sectors that follow; the log with the highest sequence number counts."""
    complete = [log for log in logs if log[_SECTOR : _SECTOR + 4] == b"DIRT" and log[4:8] == log[8:12]]
    if not complete:
        return None
    log = max(complete, key=lambda log: int(struct.unpack_from("<I", log, 4)[0]))
    sequence, bins = struct.unpack_from("<I", log, 4)[0], struct.unpack_from("<I", log, 40)[0]
    if sequence < struct.unpack_from("<I", data, 8)[0] or bins > _MAX_BINS or bins % BASE_BLOCK:
        return None
    length = bins // _SECTOR // 8
    bitmap = log[_SECTOR + 4 : _SECTOR + 4 + length]
    at = -(-(_SECTOR + 4 + length) // _SECTOR) * _SECTOR
    sectors = [8 * index + bit for index, byte in enumerate(bitmap) for bit in range(8) if byte >> bit & 1]
    if len(bitmap) < length or len(log) < at + _SECTOR * len(sectors):
        return None
    hive = bytearray(data)
    hive.extend(bytes(max(0, BASE_BLOCK + bins - len(hive))))
    for index, sector in enumerate(sectors):
        offset = BASE_BLOCK + _SECTOR * sector
        hive[offset : offset + _SECTOR] = log[at + _SECTOR * index : at + _SECTOR * (index + 1)]
    hive[:_SECTOR] = log[:_SECTOR]
    return Replay(_finish(hive, sequence), REPLAYED, len(sectors))


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK


def _marvin(data: bytes) -> int:
    """Marvin32 with the seed that Windows uses for its logs."""
    low, high = _MARVIN_SEED & _MASK, _MARVIN_SEED >> 32
    whole = len(data) & ~3
    tail = data[whole:]
    words = struct.unpack_from(f"<{whole // 4}I", data)
    last = int.from_bytes(tail, "little") | 0x80 << 8 * len(tail)
    for word in (*words, last, 0):
        low = (low + word) & _MASK
        high ^= low
        low = (_rotate(low, 20) + high) & _MASK
        high = _rotate(high, 9) ^ low
        low = (_rotate(low, 27) + high) & _MASK
        high = _rotate(high, 19)
    return high << 32 | low
