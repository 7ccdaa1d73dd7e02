# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of long work, as a small JSON file that whoever shows it can read at any time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional, Protocol

from . import atomic

_EVERY = 0.5  # seconds between two writes of the file


class Progress(Protocol):
    """Where long work says how far it is. Amounts are bytes; a `total` of 0 means that the amount is not known."""

    def phase(self, name: str, total: int = 0) -> None:
        """A new phase begins."""

    def update(self, done: int) -> None:
        """`done` of the phase's total is through."""


class Silent:
    """Nobody watches."""

    def phase(self, name: str, total: int = 0) -> None:
        pass

    def update(self, done: int) -> None:
        pass


@dataclass
class ToFile:
    """Keeps {phase, done, total, rate, eta, updated} in `path`; rate in bytes a second, eta in seconds, both None if unknown."""

    path: str
    _name: str = ""
    _total: int = 0
    _started: float = 0.0
    _written: float = 0.0

    def phase(self, name: str, total: int = 0) -> None:
        self._name, self._total, self._started, self._written = name, total, time.monotonic(), 0.0
        self.update(0)

    def update(self, done: int) -> None:
        now = time.monotonic()
        if now - self._written < _EVERY and done < self._total:
            return
        self._written = now
        rate = done / (now - self._started) if done and now > self._started else None
        eta = (self._total - done) / rate if rate and self._total else None
        atomic.write_json(
            self.path, {"phase": self._name, "done": done, "total": self._total, "rate": rate, "eta": eta, "updated": time.time()}
        )


def sink(path: Optional[str]) -> Progress:
    """A progress sink for an optional file."""
    return ToFile(path) if path else Silent()
