# SPDX-License-Identifier: GPL-3.0-or-later
"""Hives of a guest, read once and edited as drafts; one change carries all edits of a hive."""

from __future__ import annotations

from typing import Optional

from ..core.errors import InvalidInput
from ..guest.protocol import Guest
from . import hivefile, logs, paths, regf
from .edit_hive import EditHive, RegistryEdit
from .hivefile import HiveFile
from .regf import MAX_VALUE, Hive, Value


class Draft:
    """A hive with intended edits on top: what is set here is seen by every later look, and nothing is written."""

    def __init__(self, file: HiveFile) -> None:
        self.file = file
        self._hive = Hive(file.replay.data, file.path)
        self._edits: dict[tuple[str, str], RegistryEdit] = {}
        self._gone: list[str] = []
        self._reasons: list[str] = []

    @classmethod
    def of(cls, guest: Guest, path: str) -> Draft:
        """Of the hive at `path`, spelt as in the guest. Raises InvalidInput where there is none."""
        return cls(hivefile.load(guest, path))

    def has(self, path: str) -> bool:
        if self._is_gone(path):
            return False
        low = path.lower()
        pending = any(key == low or key.startswith(low + "\\") for (key, dummy), edit in self._edits.items() if edit.after is not None)
        return pending or self._hive.find(path) is not None

    def keys(self, path: str) -> list[str]:
        """Names of the keys directly below, those to come included."""
        key = None if self._is_gone(path) else self._hive.find(path)
        names = {child.name.lower(): child.name for child in key.children()} if key is not None else {}
        prefix = path.lower() + "\\"
        for (low, dummy), edit in self._edits.items():
            if low.startswith(prefix) and edit.after is not None:
                name = edit.key[len(prefix) :].split("\\", 1)[0]
                names.setdefault(name.lower(), name)
        return [name for low, name in names.items() if not self._is_gone(f"{path}\\{name}")]

    def value(self, path: str, name: str) -> Optional[Value]:
        edit = self._edits.get((path.lower(), name.lower()))
        if edit is not None:
            return None if edit.after is None else Value(edit.name, edit.kind, bytes.fromhex(edit.after))
        if self._is_gone(path):
            return None
        key = self._hive.find(path)
        return key.value(name) if key is not None else None

    def values(self, path: str) -> list[Value]:
        key = None if self._is_gone(path) else self._hive.find(path)
        names = {value.name.lower(): value.name for value in key.values()} if key is not None else {}
        names.update({name: edit.name for (low, name), edit in self._edits.items() if low == path.lower()})
        return [value for value in (self.value(path, name) for name in names.values()) if value is not None]

    def text(self, path: str, name: str) -> str:
        """A text value; empty where there is none."""
        value = self.value(path, name)
        return value.text if value is not None and value.kind in (regf.SZ, regf.EXPAND_SZ, regf.MULTI_SZ) else ""

    def texts(self, path: str, name: str) -> tuple[str, ...]:
        """A multiple text value, or a single text as one."""
        value = self.value(path, name)
        if value is None or value.kind not in (regf.SZ, regf.EXPAND_SZ, regf.MULTI_SZ):
            return ()
        return value.texts if value.kind == regf.MULTI_SZ else ((value.text,) if value.text else ())

    def number(self, path: str, name: str) -> Optional[int]:
        value = self.value(path, name)
        return value.number if value is not None else None

    def set(self, path: str, name: str, kind: int, content: object, reason: str) -> None:
        """Intend a value; its key and the keys above it come into being with it."""
        data = regf.encode(kind, content)
        if len(data) > MAX_VALUE:
            raise InvalidInput(f"The value {name} of {path} would have {len(data)} bytes; {MAX_VALUE} are the limit.")
        before = self.value(path, name)
        if before is None or (before.kind, before.data) != (kind, data):
            self._record(path, before.name if before is not None else name, kind, data.hex(), reason)

    def remove_value(self, path: str, name: str, reason: str) -> None:
        before = self.value(path, name)
        if before is not None:
            self._record(path, before.name, before.kind, None, reason)

    def remove_key(self, path: str, reason: str) -> None:
        """Intend to remove a key with all below it."""
        if self.has(path):
            for entry in [entry for entry in self._edits if entry[0] == path.lower() or entry[0].startswith(path.lower() + "\\")]:
                del self._edits[entry]
            if self._hive.find(path) is not None:
                self._gone.append(path)
                self._remember(reason)

    def change(self) -> list[EditHive]:
        """One change for all edits; none where there are none."""
        removed = [RegistryEdit(path, "", 0, None, None, True) for path in self._gone]
        edits = (*removed, *(edit for edit in self._edits.values() if edit.before != edit.after))
        if not edits:
            return []
        file = self.file
        return [EditHive(file.path, file.sha256, file.logs, edits, "; ".join(self._reasons), file.replay.state == logs.UNREPLAYABLE)]

    def _record(self, path: str, name: str, kind: int, after: Optional[str], reason: str) -> None:
        entry = (path.lower(), name.lower())
        key = None if self._is_gone(path) else self._hive.find(path)
        old = key.value(name) if key is not None else None
        before = f"{old.kind}:{old.data.hex()}" if old is not None else None
        if before is not None and after is not None and before == f"{kind}:{after}":
            self._edits.pop(entry, None)
            return
        self._edits[entry] = RegistryEdit(path, name, kind, before, after)
        self._remember(reason)

    def _remember(self, reason: str) -> None:
        if reason not in self._reasons:
            self._reasons.append(reason)

    def _is_gone(self, path: str) -> bool:
        low = path.lower()
        return any(low == gone.lower() or low.startswith(gone.lower() + "\\") for gone in self._gone)


def open_hives(guest: Guest, root: str) -> tuple[Draft, Optional[Draft]]:
    """Drafts of SYSTEM and SOFTWARE. Raises InvalidInput where SYSTEM is missing or no hive."""
    found = {}
    for name in ("SYSTEM", "SOFTWARE"):
        path = paths.find(guest, f"{root}/System32/config/{name}")
        found[name] = Draft.of(guest, path) if path is not None else None
    system = found["SYSTEM"]
    if system is None:
        raise InvalidInput(f"{root}/System32/config/SYSTEM is missing.", "Restore the registry at the source.")
    return system, found["SOFTWARE"]
