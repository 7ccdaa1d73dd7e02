# SPDX-License-Identifier: GPL-3.0-or-later
"""patch: bytes of a block device, outside files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from ..change import Change
from ..protocol import Guest, WritableGuest


@dataclass(frozen=True)
class PatchDevice(Change):
    """Overwrite a few bytes of a block device; `before` and `after` in hexadecimal digits, of the same length."""

    name = "patch"
    path: str
    offset: int
    before: str
    after: str
    reason: str

    def diff(self) -> str:
        return f"--- {self.path}\n+++ {self.path}\n@@ byte {self.offset} @@\n-{self.before}\n+{self.after}\n"

    def holds(self, guest: Guest) -> bool:
        return self._there(guest) == bytes.fromhex(self.before)

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        guest.write_device(self.path, self.offset, bytes.fromhex(self.after))
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        if self._there(guest) == bytes.fromhex(self.after):
            guest.write_device(self.path, self.offset, bytes.fromhex(self.before))

    def _there(self, guest: Guest) -> bytes:
        return guest.read_device(self.path, self.offset, len(self.before) // 2)


KINDS = (PatchDevice,)
