# SPDX-License-Identifier: GPL-3.0-or-later
"""copy and upload: whole files, of the guest itself and of the conversion host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from ...core import files
from ...core.errors import InvalidInput
from ..change import Visible, keep, parent, put_back, sha256, size_of
from ..model import Stat
from ..protocol import Guest, WritableGuest, exists


@dataclass(frozen=True)
class CopyFile(Visible):
    """Copy one of the guest's own files to a path where there is none, or in place of the file with the digest `replaces`."""

    name = "copy"
    source: str
    path: str
    reason: str
    replaces: str = ""

    def diff(self) -> str:
        return f"copied: {self.source} -> {self.path}\n"

    def holds(self, guest: Guest) -> bool:
        return exists(guest, self.source) and _free(guest, self.path, self.replaces)

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        _make_way(guest, self.path, self.replaces, backup)
        guest.copy(self.source, self.path)
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        _take_away(guest, self.path, self.replaces, backup)

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [(self.path, size_of(guest, self.source))]

    def entry(self, base: Guest) -> Optional[Stat]:
        return base.stat(self.source)

    def content(self, base: Guest) -> Optional[bytes]:
        return base.read(self.source)


@dataclass(frozen=True)
class UploadFile(Visible):
    """Put a file of the conversion host into the guest; size and digest are what the plan saw.

    There must be no file yet, or the one with the digest `replaces`.
    """

    name = "upload"
    source: str
    path: str
    size: int
    sha256: str
    reason: str
    mode: int = 0o644
    replaces: str = ""

    @classmethod
    def of(cls, source: str, path: str, data: bytes, reason: str, replaces: str = "") -> UploadFile:
        """The change that brings a file of the host, which holds `data`, to `path`."""
        return cls(source, path, len(data), sha256(data), reason, replaces=replaces)

    def diff(self) -> str:
        return f"uploaded: {self.source} -> {self.path}\n"

    def holds(self, guest: Guest) -> bool:
        return self._source() is not None and _free(guest, self.path, self.replaces)

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        _make_way(guest, self.path, self.replaces, backup)
        guest.write(self.path, self._source() or b"", Stat("file", mode=self.mode))
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        _take_away(guest, self.path, self.replaces, backup)

    def foreign(self, guest: Guest, backup: str) -> bool:
        data = guest.read(self.path)
        return exists(guest, self.path) if data is None else sha256(data) not in (self.sha256, self.replaces)

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [(self.path, 5 * self.size)]  # and what comes out of a package

    def entry(self, base: Guest) -> Optional[Stat]:
        return Stat("file", self.size, self.mode)

    def _source(self) -> Optional[bytes]:
        """The bytes that the plan saw; None when they are others now."""
        try:
            data = files.read(self.source, self.size)
        except InvalidInput:
            return None
        return data if len(data) == self.size and sha256(data) == self.sha256 else None


KINDS = (CopyFile, UploadFile)


def _free(guest: Guest, path: str, replaces: str) -> bool:
    return sha256(guest.read(path)) == replaces if replaces else not exists(guest, path)


def _make_way(guest: WritableGuest, path: str, replaces: str, backup: str) -> None:
    if replaces:
        keep(guest, path, backup)
    else:
        guest.mkdir(parent(path))


def _take_away(guest: WritableGuest, path: str, replaces: str, backup: str) -> None:
    if replaces:
        put_back(guest, path, backup)
    else:
        guest.remove(path)
