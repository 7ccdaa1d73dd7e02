# SPDX-License-Identifier: GPL-3.0-or-later
"""Hives of a guest: read once, edited as a draft, written once by hivex, and verified by a parser that is not hivex."""

from __future__ import annotations

import hashlib
import os
import tempfile
import traceback
from dataclasses import dataclass
from typing import Any, Optional

from ..core import limits
from ..core.errors import InvalidInput, MissingTool, ToolFailed
from ..guest.changes import EditHive, RegistryEdit
from ..guest.protocol import Guest, too_large
from . import logs, paths, regf
from .logs import Replay
from .regf import MAX_VALUE, Hive, Value

try:
    import hivex

    HIVEX_ERROR = None
except ImportError:  # reported when a hive is to be written
    hivex = None
    HIVEX_ERROR = traceback.format_exc()


@dataclass(frozen=True)
class HiveFile:
    """A hive as it lies in the guest: path, digest of the file and of each log beside it, and the replayed content."""

    path: str
    sha256: str
    logs: tuple[tuple[str, str], ...]
    replay: Replay


def load(guest: Guest, path: str) -> HiveFile:
    """A hive with its pending logs replayed in memory; `path` as it is spelt in the guest. Raises InvalidInput where there is none."""
    data = _read(guest, path, limits.HIVE)
    if data is None:
        raise InvalidInput(
            f"The registry hive {path} is missing.", "Give all disks of the VM; without its registry Windows does not start."
        )
    beside = [found for found in (paths.find(guest, path + suffix) for suffix in (".LOG1", ".LOG2", ".LOG")) if found is not None]
    texts = {name: _read(guest, name, limits.HIVE_LOG) or b"" for name in dict.fromkeys(beside)}
    replay = logs.replay(data, list(texts.values()))
    return HiveFile(path, _digest(data), tuple((name, _digest(log)) for name, log in texts.items()), replay)


def _read(guest: Guest, path: str, limit: int) -> Optional[bytes]:
    found = guest.stat(path)
    if found is not None and found.size > limit:
        raise too_large(path, found.size)
    return guest.read(path)


class Draft:
    """A hive with intended edits on top: what is set here is seen by every later look, and nothing is written."""

    def __init__(self, file: HiveFile) -> None:
        self.file = file
        self._hive = Hive(file.replay.data, file.path)
        self._edits: dict[tuple[str, str], RegistryEdit] = {}
        self._gone: list[str] = []
        self._reasons: list[str] = []

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


def opens(data: bytes) -> bool:
    """Whether hivex, the other parser, takes the hive as it is."""
    if hivex is None:
        return True
    with tempfile.NamedTemporaryFile(prefix="hyper2kvm-hive-") as scratch:
        scratch.write(data)
        scratch.flush()
        try:
            return bool(hivex.Hivex(scratch.name).root())
        except (RuntimeError, OSError):
            return False


def build(guest: Guest, change: EditHive) -> bytes:
    """The new content of a hive: logs replayed, edits made by hivex on a copy, the whole tree read back by the other parser.

    Raises ToolFailed when what came out is not exactly what was intended; the hive in the guest is untouched then.
    """
    if hivex is None:
        raise MissingTool(
            "The hivex Python bindings are not installed for this interpreter.",
            "Install python3-hivex (Debian, Ubuntu) or python3-hivex of hivex (Fedora, RHEL).",
            traceback=HIVEX_ERROR,
        )
    file = load(guest, change.path)
    if file.replay.state == logs.INVALID or (file.replay.state == logs.UNREPLAYABLE and not change.forced):
        raise InvalidInput(
            f"The registry hive {change.path} is dirty and its logs cannot be replayed.", "Start the source once, shut it down."
        )
    start = logs.mended(file.replay.data)
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-hive-") as scratch:
        path = os.path.join(scratch, "hive")
        with open(path, "wb") as out:
            out.write(start)
        try:
            handle = hivex.Hivex(path, write=True)
            for edit in change.edits:
                _carry_out(handle, edit)
            handle.commit(None)
        except (RuntimeError, OSError) as error:  # an error leaves the copy half written: it is thrown away
            raise ToolFailed(f"hivex could not edit {change.path}: {error}.", "The hive may be damaged: check it at the source.") from error
        with open(path, "rb") as result:
            data = result.read()
    _verify(start, data, change)
    return data


def _carry_out(handle: Any, edit: RegistryEdit) -> None:
    node = handle.root()
    for part in filter(None, edit.key.split("\\")):
        child = handle.node_get_child(node, part)
        if child is None and edit.after is None:
            return
        node = child if child is not None else handle.node_add_child(node, part)
    if edit.whole_key:
        handle.node_delete_child(node)
    elif edit.after is not None:
        handle.node_set_value(node, {"key": edit.name, "t": edit.kind, "value": bytes.fromhex(edit.after)})
    else:
        kept = [value for value in handle.node_values(node) if handle.value_key(value).lower() != edit.name.lower()]
        items = [(handle.value_key(value), *handle.value_value(value)) for value in kept]
        handle.node_set_values(node, [{"key": name, "t": kind, "value": content} for name, kind, content in items])


def _verify(start: bytes, data: bytes, change: EditHive) -> None:
    if not logs.is_clean(data):
        raise ToolFailed(f"{change.path} came out with a wrong base block.", "This is a defect: nothing was written.")
    expected = _flat(Hive(start, change.path))
    for edit in change.edits:
        low = edit.key.lower()
        if edit.whole_key:
            for path in [path for path in expected if path == low or path.startswith(low + "\\")]:
                del expected[path]
            continue
        if edit.after is None:
            expected.get(low, {}).pop(edit.name.lower(), None)
            continue
        parts = low.split("\\")
        for end in range(1, len(parts) + 1):
            expected.setdefault("\\".join(parts[:end]), {})
        expected[low][edit.name.lower()] = (edit.kind, bytes.fromhex(edit.after))
    if _flat(Hive(data, change.path)) != expected:
        raise ToolFailed(
            f"Read back by a second parser, {change.path} does not hold what was intended, or something else changed in it.",
            "The hive may be damaged: check it at the source. Nothing was written.",
        )


def _flat(hive: Hive) -> dict[str, dict[str, tuple[int, bytes]]]:
    return {path.lower(): {value.name.lower(): (value.kind, value.data) for value in values} for path, values in hive.walk()}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
