# SPDX-License-Identifier: GPL-3.0-or-later
"""extend_initramfs: one more archive at the end of an initramfs, made of the guest's own files; nothing of the guest runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Sequence

from ..core.errors import InvalidInput
from ..guest import secrets
from ..guest.change import Change, sha256, size_of
from ..guest.protocol import Guest, WritableGuest, exists
from . import newc


@dataclass(frozen=True)
class ExtendInitramfs(Change):
    """Append an archive with `modules` (guest paths), the guest's module indexes and `texts` (path, content) to an initramfs."""

    name = "extend_initramfs"
    path: str
    size: int
    sha256: str
    modules: tuple[str, ...]
    indexes: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    reason: str

    def archive(self, guest: Guest) -> bytes:
        """What is appended, read from the guest; the same guest gives the same bytes."""
        members: list[tuple[str, Optional[bytes]]] = [(name, content.encode("utf-8", "surrogateescape")) for name, content in self.texts]
        for path, inside in self._members():
            data = guest.read(path)
            if data is None:
                raise InvalidInput(
                    f"{path}, which the initramfs needs, cannot be read.",
                    "The kernel package is damaged; reinstall it in the guest before the migration.",
                )
            members.append((inside, data))
        return b"\0" * newc.padding(self.size) + newc.write(members)

    def diff(self) -> str:
        lines = [f"+{name}\n" for name in self.modules] + [f"+{name}\n" for name, dummy in self.texts]
        return f"--- {self.path}\n+++ {self.path} (archive appended)\n" + "".join(lines)

    def holds(self, guest: Guest) -> bool:
        data = guest.read(self.path)
        same = data is not None and len(data) == self.size and sha256(data) == self.sha256
        return same and all(exists(guest, path) for path, dummy in self._members())

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        guest.append(self.path, self.archive(guest))
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        """Cut what was appended. An image that the guest has built anew since stays: there is nothing of this in it."""
        try:
            built_anew = sha256((guest.read(self.path) or b"")[: self.size]) != self.sha256
        except InvalidInput:  # what was appended has made it larger than what is read of a guest
            built_anew = False
        if not built_anew:
            guest.truncate(self.path, self.size)

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [(self.path, sum(size_of(guest, path) for path, dummy in self._members()))]

    def shown(self) -> Change:
        return replace(self, texts=tuple((name, secrets.masked(text)) for name, text in self.texts))

    def withheld(self) -> bool:
        return any(secrets.NOT_SHOWN in text for dummy, text in self.texts)

    def _members(self) -> list[tuple[str, str]]:
        """Of each file of the guest that goes in: its path, and the one in the image."""
        split = (entry.partition(" -> ") for entry in (*self.modules, *self.indexes))
        return [(path, inside) for path, dummy, inside in split]


KINDS = (ExtendInitramfs,)
