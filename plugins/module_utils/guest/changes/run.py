# SPDX-License-Identifier: GPL-3.0-or-later
"""run: a program of the guest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

from ...core.errors import ToolFailed
from .. import secrets
from ..change import Change, keep, size_of
from ..protocol import Guest, WritableGuest, exists


@dataclass(frozen=True)
class RunCommand(Change):
    """Run one of the guest's own programs, confined; `touches` are the files it rewrites, kept in the backup.

    `revert` undoes what it did elsewhere. A command that need not succeed only reports its failure.
    """

    name = "run"
    last = True
    argv: tuple[str, ...]
    touches: tuple[str, ...]
    reason: str
    must: bool = True
    revert: tuple[str, ...] = ()

    @property
    def path(self) -> str:  # type: ignore[override]  # nobody writes it: a frozen field, as in the other kinds
        return self.argv[0]

    @property
    def key(self) -> object:
        return self.argv

    def diff(self) -> str:
        return f"run: {secrets.masked(' '.join(self.argv))}\n"

    def holds(self, guest: Guest) -> bool:
        return exists(guest, self.path)

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        for path in self.touches:
            if exists(guest, path):
                keep(guest, path, backup)
        try:
            return [guest.run(self.argv)]
        except ToolFailed as error:
            if self.must:
                raise
            return [f"{error.msg} {error.hint}"]

    def undo(self, guest: WritableGuest, backup: str) -> None:
        if self.revert:
            guest.run(self.revert)
        for path in self.touches:
            if exists(guest, backup + path):
                guest.rename(backup + path, path)

    def beside(self) -> tuple[str, ...]:
        return self.touches

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [("/", size_of(guest, path)) for path in self.touches]  # where the backup is

    def shown(self) -> Change:
        return replace(self, argv=tuple(map(secrets.masked, self.argv)), revert=tuple(map(secrets.masked, self.revert)))

    def withheld(self) -> bool:
        return any(secrets.NOT_SHOWN in word for word in (*self.argv, *self.revert))


KINDS = (RunCommand,)
