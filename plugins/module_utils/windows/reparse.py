# SPDX-License-Identifier: GPL-3.0-or-later
"""Files whose content Windows keeps elsewhere behind a reparse point: compressed (CompactOS, WIMBoot) or deduplicated.

ntfs-3g shows such a file as a link whose target names the tag, where it has no plugin for it; then nothing of it can be read here.
Sources: Microsoft, "[MS-FSCC] 2.1.2.1 Reparse Tags" and "Compact OS"; ntfs-3g(8), and its reparse plugins; wimlib (win32_apply.c) for what boot
loaders read: XPRESS4K, which compact /compactos takes, from the first Windows 10 on, the other algorithms from 1903 on. The link does not say which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from ..core.concern import INFO, WARNING, Findings, listed
from ..guest.protocol import Guest
from . import paths

WOF, DEDUP = 0x80000017, 0x80000013
_SHOWN = re.compile(r"unsupported reparse (?:tag 0x(?P<tag>[0-9a-f]{8})|point)", re.IGNORECASE)
_LOADED = (10, 0)  # since when boot loaders read compressed files
_STORE = "System Volume Information/Dedup/ChunkStore"
_NEEDED = ("System32/ntoskrnl.exe", "System32/winload.exe", "System32/winload.efi", "System32/cmd.exe")


@dataclass(frozen=True)
class Held:
    """Why a file cannot be read here, and what to do; `starts`: whether Windows itself reads it while it starts."""

    why: str
    remedy: str
    starts: bool = False


def held(guest: Guest, path: str, nt: tuple[int, int] = (0, 0)) -> Optional[Held]:
    """What keeps the content of a file from us; None for every other file. `path` as it is spelt in the guest, `nt` the release."""
    found = guest.stat(path)
    match = _SHOWN.search(found.target) if found is not None and found.kind == "link" else None
    if match is None:
        return None
    tag = int(match["tag"], 16) if match["tag"] else 0
    if tag == WOF:
        return Held(
            "is compressed by Windows (CompactOS)",
            "Undo it at the source: compact /compactos:never (files of its own: compact /u /exe); then shut down and copy again.",
            nt >= _LOADED,
        )
    if tag == DEDUP:
        return Held(
            "is deduplicated by Windows Server",
            "Undo it at the source: Start-DedupJob -Type Unoptimization on its volume; then shut down and copy again.",
        )
    return Held(
        f"is behind a reparse point that is not known ({tag:#010x})",
        "Look at the source which program makes such files, and undo it there.",
    )


def concerns(guest: Guest, system_root: str, nt: tuple[int, int], findings: Findings) -> None:
    """What of the programs of this Windows cannot be read."""
    there = filter(None, (paths.find(guest, f"{system_root}/{name}") for name in _NEEDED))
    found = [(path, one) for path, one in ((path, held(guest, path, nt)) for path in there) if one is not None]
    for one in dict.fromkeys(one for dummy, one in found):
        findings.add(
            "windows.unreadable-programs",
            WARNING,
            f"{listed([path for path, its in found if its == one])} {one.why} and cannot be read here:"
            " what kind of processor Windows is for is taken from its registry, and the proof goes by names alone.",
            f"{'Nothing, Windows reads it by itself; for the whole proof: ' if one.starts else ''}{one.remedy}",
        )


def deduplicated(guest: Guest, device: str, findings: Findings) -> None:
    """Say that the mounted volume keeps its files in a store of chunks, which is copied as it is."""
    if paths.find(guest, f"{paths.VOLUME}/{_STORE}") is not None:
        findings.add(
            "windows.deduplicated",
            INFO,
            f"Files on {device} are deduplicated: they come along as they are, and only Windows Server with Data Deduplication reads them.",
            "Nothing, if this guest goes on using the volume; for anybody else Start-DedupJob -Type Unoptimization at the source.",
        )
