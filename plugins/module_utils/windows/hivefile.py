# SPDX-License-Identifier: GPL-3.0-or-later
"""Hives as they lie in a guest: read once, with what their logs still hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..core import limits
from ..core.errors import InvalidInput
from ..guest.change import sha256
from ..guest.protocol import Guest, too_large
from . import logs, paths, reparse
from .logs import Replay


@dataclass(frozen=True)
class HiveFile:
    """A hive as it lies in the guest: path, digest of the file and of each log beside it, and the replayed content."""

    path: str
    sha256: str
    logs: tuple[tuple[str, str], ...]
    replay: Replay


def load(guest: Guest, path: str) -> HiveFile:
    """A hive with its pending logs replayed in memory; `path` as it is spelt in the guest. Raises InvalidInput where there is none."""
    data = _read(guest, path, limits.HIVE)
    shut = reparse.held(guest, path) if data is None else None
    if shut is not None:
        raise InvalidInput(f"The registry hive {path} {shut.why} and cannot be read here.", shut.remedy)
    if data is None:
        raise InvalidInput(
            f"The registry hive {path} is missing.", "Give all disks of the VM; without its registry Windows does not start."
        )
    beside = [found for found in (paths.find(guest, path + suffix) for suffix in (".LOG1", ".LOG2", ".LOG")) if found is not None]
    texts = {name: _read(guest, name, limits.HIVE_LOG) or b"" for name in dict.fromkeys(beside)}
    replay = logs.replay(data, list(texts.values()))
    return HiveFile(path, sha256(data), tuple((name, sha256(log)) for name, log in texts.items()), replay)


def _read(guest: Guest, path: str, limit: int) -> Optional[bytes]:
    found = guest.stat(path)
    if found is not None and found.size > limit:
        raise too_large(path, found.size)
    return guest.read(path)
