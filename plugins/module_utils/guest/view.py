# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest as it will look once pending changes are applied: what the next fix in line gets to see."""

from __future__ import annotations

from typing import Iterator, Optional

from .change import Change, Visible
from .model import BlockDevice, Stat
from .protocol import Guest


class PendingView:
    """`base` with `pending` on top. Archives and commands are opaque here: nothing reads their results before they ran."""

    def __init__(self, base: Guest, pending: tuple[Change, ...]) -> None:
        self._base = base
        self._pending = {change.path: change for change in pending if isinstance(change, Visible)}
        self._gone = frozenset(path for path, change in self._pending.items() if change.removes)
        self._below_gone = tuple(f"{path}/" for path in self._gone)
        self._above = frozenset(above for path in self._pending for above in _directories(path))

    def read(self, path: str) -> Optional[bytes]:
        change = self._pending.get(path)
        if change is not None:
            return change.content(self._base)
        return None if self._removed(path) else self._base.read(path)

    def stat(self, path: str) -> Optional[Stat]:
        change = self._pending.get(path)
        if change is not None:
            return change.entry(self._base)
        return None if self._removed(path) else self._base.stat(path)

    def listdir(self, path: str) -> tuple[str, ...]:
        if path.rstrip("/") not in self._above:
            return () if self._removed(path) else self._base.listdir(path)
        prefix = path.rstrip("/") + "/"
        names = set(() if self._removed(path) else self._base.listdir(path))
        for pending, change in self._pending.items():
            if pending.startswith(prefix):
                name, slash, dummy = pending[len(prefix) :].partition("/")
                if not change.removes:
                    names.add(name)
                elif not slash:
                    names.discard(name)
        return tuple(sorted(names))

    def devices(self) -> tuple[BlockDevice, ...]:
        return self._base.devices()

    def device(self, spec: str) -> Optional[BlockDevice]:
        return self._base.device(spec)

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        return self._base.read_device(name, offset, size)

    def _removed(self, path: str) -> bool:
        return path in self._gone or path.startswith(self._below_gone)


def _directories(path: str) -> Iterator[str]:
    """Those that a path lies in, without a slash at their end."""
    while path:
        path = path.rpartition("/")[0]
        yield path
