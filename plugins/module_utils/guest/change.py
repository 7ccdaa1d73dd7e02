# SPDX-License-Identifier: GPL-3.0-or-later
"""A change: what is intended for one place of a guest, as data that can be shown, stored, carried out and taken back.

Each kind of change is a frozen dataclass in a file of its own, which names it in KINDS; registries of them are in pipeline.
"""

from __future__ import annotations

import abc
import hashlib
from dataclasses import asdict
from typing import Any, Callable, ClassVar, Mapping, Optional, Sequence, cast

from ..core import registry
from .model import Stat
from .protocol import Guest, WritableGuest


class Change(abc.ABC):
    """What every change can be asked. What most kinds answer is the answer here.

    `backup` is the directory in the guest that keeps what the plan replaces, each file below it by its path. Methods that are given a
    guest raise what the guest raises: ToolFailed, or InvalidInput for files that nothing here reads.
    """

    name: ClassVar[str]  # of the kind, in a saved plan
    last: ClassVar[bool] = False  # whether it comes after the changes of all other kinds
    path: str
    reason: str

    @abc.abstractmethod
    def diff(self) -> str:
        """What people see of it, without secrets."""

    @abc.abstractmethod
    def holds(self, guest: Guest) -> bool:
        """Whether the guest still is what the plan saw."""

    @abc.abstractmethod
    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        """Carry it out where it holds, keeping what it replaces; gives what programs of the guest printed."""

    @abc.abstractmethod
    def undo(self, guest: WritableGuest, backup: str) -> None:
        """Take it back; nothing happens where it was not carried out."""

    def foreign(self, guest: Guest, backup: str) -> bool:
        """Whether somebody else has changed since what taking it back would overwrite, as far as that can be told."""
        return False

    def beside(self) -> tuple[str, ...]:
        """Paths that it rewrites beside its own: what other changes wrote there is then no longer to be found."""
        return ()

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        """Bytes that it takes up at most, each with a path in the file system that must have them free."""
        return ()

    @property
    def key(self) -> object:
        """What two changes of this kind have in common that are merged."""
        return self.path

    def merged(self, earlier: Change) -> Change:
        """One change in place of an earlier one with the same key and this."""
        return self

    @property
    def void(self) -> bool:
        """Whether it comes to nothing."""
        return False

    def guarded(self, guest: Guest) -> Change:
        """The same, marked as a secret where its file is one in `guest`."""
        return self

    def kept(self) -> Change:
        """The same without secrets that the backup has: what is kept in the guest."""
        return self

    def shown(self) -> Change:
        """The same without any secret: what anybody may see."""
        return self

    def withheld(self) -> bool:
        """Whether it was made for showing, and has lost what it would need."""
        return False

    def as_data(self) -> dict[str, Any]:
        """All of it as it is saved."""
        return {"change": self.name, **asdict(cast(Any, self))}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Change:
        """The inverse of `as_data`, which is given without the name of the kind. Raises KeyError, TypeError or ValueError."""
        make: Callable[..., Change] = cls
        return make(**{field: _frozen(value) for field, value in data.items()})


class Visible(Change):
    """A change whose result can be told before it is carried out: later looks of the same planning see it."""

    removes: ClassVar[bool] = False  # whether nothing is left, there or below

    @abc.abstractmethod
    def entry(self, base: Guest) -> Optional[Stat]:
        """What there will be at its path; `base` is the guest before."""

    def content(self, base: Guest) -> Optional[bytes]:
        """What will be read from its path, as far as a later fix has to know; `base` is the guest before."""
        return base.read(self.path)


Kinds = Sequence[type[Change]]


def collected(names: Mapping[str, Any]) -> Kinds:
    """The kinds of every module among the `names` of a registry: those in its KINDS, as another registry has them, too."""
    return tuple(kind for found in registry.entries(names, "KINDS") for kind in found)


def parent(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


def keep(guest: WritableGuest, path: str, backup: str) -> None:
    """Copy a file into the backup."""
    guest.mkdir(parent(backup + path))
    guest.copy(path, backup + path)


def put_back(guest: WritableGuest, path: str, backup: str) -> None:
    """Write a file as the backup has it, if it does."""
    kept = guest.read(backup + path)
    if kept is not None:
        guest.write(path, kept, None)


def size_of(guest: Guest, path: str) -> int:
    """Bytes of what is at `path`; 0 where there is nothing."""
    stat = guest.stat(path)
    return stat.size if stat is not None else 0


def sha256(data: Optional[bytes]) -> str:
    return hashlib.sha256(data or b"").hexdigest()


def _frozen(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)
