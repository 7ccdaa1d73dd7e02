# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of change in one file: the mode of a file. A test drops it into a copy of the collection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Sequence

from ..change import Visible
from ..model import Stat
from ..protocol import Guest, WritableGuest


@dataclass(frozen=True)
class Touch(Visible):
    """Set the mode of a file; `before` is what the plan saw."""

    name = "touch"
    path: str
    before: int
    after: int
    reason: str

    def diff(self) -> str:
        return f"mode of {self.path}: {self.before:o} -> {self.after:o}\n"

    def holds(self, guest: Guest) -> bool:
        return self._mode(guest) == self.before

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        self._set(guest, self.after)
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        if self._mode(guest) == self.after:
            self._set(guest, self.before)

    def foreign(self, guest: Guest, backup: str) -> bool:
        return self._mode(guest) not in (self.before, self.after)

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [(self.path, 4096)]

    def entry(self, base: Guest) -> Optional[Stat]:
        there = base.stat(self.path)
        return None if there is None else replace(there, mode=self.after)

    def _mode(self, guest: Guest) -> Optional[int]:
        there = guest.stat(self.path)
        return None if there is None else there.mode

    def _set(self, guest: WritableGuest, mode: int) -> None:
        guest.write(self.path, guest.read(self.path) or b"", Stat("file", mode=mode))


KINDS = (Touch,)
