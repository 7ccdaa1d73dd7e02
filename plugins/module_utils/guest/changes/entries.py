# SPDX-License-Identifier: GPL-3.0-or-later
"""remove and link: entries of directories, whatever they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from ..change import Change, Visible, parent
from ..model import Stat
from ..protocol import Guest, WritableGuest, exists


@dataclass(frozen=True)
class RemoveFile(Visible):
    """Take away a file, link or directory; it is moved into the backup. `kind` and `size` are what the plan saw."""

    name = "remove"
    removes = True
    path: str
    kind: str
    size: int
    reason: str

    def diff(self) -> str:
        return f"removed {self.kind}: {self.path}\n"

    def holds(self, guest: Guest) -> bool:
        stat = guest.stat(self.path)
        return stat is not None and stat.kind == self.kind and (stat.kind == "dir" or stat.size == self.size)

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        guest.mkdir(parent(backup + self.path))
        guest.rename(self.path, backup + self.path)
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        if exists(guest, backup + self.path):
            guest.rename(backup + self.path, self.path)

    def entry(self, base: Guest) -> Optional[Stat]:
        return None

    def content(self, base: Guest) -> Optional[bytes]:
        return None


@dataclass(frozen=True)
class MakeLink(Visible):
    """Make a symbolic link where there is nothing."""

    name = "link"
    path: str
    target: str
    reason: str

    def diff(self) -> str:
        return f"linked: {self.path} -> {self.target}\n"

    def holds(self, guest: Guest) -> bool:
        return not exists(guest, self.path)

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        guest.mkdir(parent(self.path))
        guest.symlink(self.target, self.path)
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        """Remove it. What somebody else has put in its place stays."""
        there = guest.stat(self.path)
        if there is not None and (there.kind, there.target) == ("link", self.target):
            guest.remove(self.path)

    def entry(self, base: Guest) -> Optional[Stat]:
        return Stat("link", len(self.target), 0o777, target=self.target)


KINDS = (RemoveFile, MakeLink)


def remove(path: str, stat: Optional[Stat], reason: str) -> Sequence[Change]:
    """A removal if there is anything to remove; `stat` is the directory entry itself, so that a link is taken for a link."""
    return [] if stat is None else [RemoveFile(path, stat.kind, stat.size, reason)]
