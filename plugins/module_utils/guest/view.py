# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest as it will look once pending changes are applied: what the next fix in line gets to see."""

from __future__ import annotations

from typing import Optional

from .changes import Change, CopyFile, MakeLink, RemoveFile, UploadFile, WriteFile
from .model import BlockDevice, Stat
from .protocol import Guest


class PendingView:
    """`base` with `pending` on top. Archives and commands are opaque here: nothing reads their results before they ran."""

    def __init__(self, base: Guest, pending: tuple[Change, ...]) -> None:
        self._base = base
        self._pending = {
            change.path: change for change in pending if isinstance(change, (WriteFile, RemoveFile, CopyFile, MakeLink, UploadFile))
        }

    def read(self, path: str) -> Optional[bytes]:
        change = self._pending.get(path)
        if isinstance(change, WriteFile):
            return change.after.encode("utf-8", "surrogateescape")
        if isinstance(change, CopyFile):
            return self._base.read(change.source)
        return None if self._removed(path) else self._base.read(path)

    def stat(self, path: str) -> Optional[Stat]:
        change = self._pending.get(path)
        if isinstance(change, WriteFile):
            return Stat("file", len(change.after), change.mode)
        if isinstance(change, CopyFile):
            return self._base.stat(change.source)
        if isinstance(change, MakeLink):
            return Stat("link", len(change.target), 0o777, target=change.target)
        if isinstance(change, UploadFile):
            return Stat("file", change.size, change.mode)
        return None if self._removed(path) else self._base.stat(path)

    def listdir(self, path: str) -> tuple[str, ...]:
        prefix = path.rstrip("/") + "/"
        names = set(() if self._removed(path) else self._base.listdir(path))
        for pending, change in self._pending.items():
            if pending.startswith(prefix):
                name, slash, dummy = pending[len(prefix) :].partition("/")
                if not isinstance(change, RemoveFile):
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
        while path != "/":
            if isinstance(self._pending.get(path), RemoveFile):
                return True
            path = path.rpartition("/")[0] or "/"
        return False
