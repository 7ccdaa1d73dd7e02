# SPDX-License-Identifier: GPL-3.0-or-later
"""registry: edits of a hive, written by hivex on a copy, and verified by a parser that is not hivex."""

from __future__ import annotations

import os
import tempfile
import traceback
from dataclasses import dataclass, replace
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from ..core.errors import InvalidInput, MissingTool, ToolFailed, naming
from ..guest import diffs, secrets
from ..guest.change import Change, keep, put_back, sha256, size_of
from ..guest.model import Stat
from ..guest.protocol import Guest, WritableGuest
from . import logs, regf
from .hivefile import load
from .regf import Hive

try:
    import hivex

    HIVEX_ERROR = None
except ImportError:  # reported when a hive is to be written
    hivex = None
    HIVEX_ERROR = traceback.format_exc()


class RegistryEdit(NamedTuple):
    """One value of a key, by its path from the root of the hive; `kind` is a REG_ type, `after` its new content in hexadecimal digits.

    `before` is kind:content as the plan saw it. Without `after` the value goes, with `whole_key` the key with all below it.
    """

    key: str
    name: str
    kind: int
    before: Optional[str]
    after: Optional[str]
    whole_key: bool = False

    @property
    def secret(self) -> bool:
        return secrets.in_registry(self.key, self.name, self.kind == regf.DWORD)

    def diff(self) -> str:
        """Without the key, which is shown once for all its values."""
        lines = ""
        if self.before is not None:
            kind, dummy, content = self.before.partition(":")
            lines += f"-{self.name or '(default)'} = {self._shown(int(kind), content)}\n"
        return lines + (f"+{self.name or '(default)'} = {self._shown(self.kind, self.after)}\n" if self.after is not None else "")

    def _shown(self, kind: int, content: str) -> str:
        return secrets.digest(bytes.fromhex(content)) if self.secret else secrets.masked(diffs.registry(kind, content))

    def seal(self) -> RegistryEdit:
        """The same without a content that is not shown; it cannot be carried out."""
        texts = [content for content in (self.before, self.after) if content is not None]
        if not self.secret and all(shown == secrets.masked(shown) for shown in (_registry_text(content) for content in texts)):
            return self
        before, after = (None if content is None else secrets.digest(content.encode("ascii")) for content in (self.before, self.after))
        return self._replace(before=before, after=after)


@dataclass(frozen=True)
class EditHive(Change):
    """Edit a Windows registry hive, replaying its logs first; digests of the file and of each log are what the plan saw.

    `forced`: the operator accepted that logs which cannot be replayed are lost.
    """

    name = "registry"
    path: str
    sha256: str
    logs: tuple[tuple[str, str], ...]
    edits: tuple[RegistryEdit, ...]
    reason: str
    forced: bool = False

    def diff(self) -> str:
        lines, shown = [f"--- {self.path}\n+++ {self.path}\n"], ""
        for edit in self.edits:
            if edit.whole_key:
                lines.append(f"-[{edit.key}]\n")
                continue
            lines.append("" if edit.key == shown else f" [{edit.key}]\n")
            lines.append(edit.diff())
            shown = edit.key
        return "".join(lines)

    def holds(self, guest: Guest) -> bool:
        return all(sha256(guest.read(path)) == digest for path, digest in ((self.path, self.sha256), *self.logs))

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        data = _edited(guest, self)
        for path in (self.path, *(log for log, dummy in self.logs)):
            keep(guest, path, backup)
        guest.write(self._note(backup), sha256(data).encode("ascii"), Stat("file", mode=0o600))
        guest.write(self.path, data, None)
        if guest.read(self.path) != data:
            raise ToolFailed(f"{self.path} cannot be read back as it was written.", "The file system of the guest may be damaged.")
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        put_back(guest, self.path, backup)

    def foreign(self, guest: Guest, backup: str) -> bool:
        written = (guest.read(self._note(backup)) or b"").decode("ascii", "replace")
        return sha256(guest.read(self.path)) not in (self.sha256, written)

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [(self.path, 2 * size_of(guest, self.path))]  # the backup, and what the hive grows by

    def shown(self) -> Change:
        return replace(self, edits=tuple(edit.seal() for edit in self.edits))

    def withheld(self) -> bool:
        return any((content or "").startswith("sha256:") for edit in self.edits for content in (edit.before, edit.after))

    def _note(self, backup: str) -> str:
        """The file with the digest of what was written."""
        return f"{backup}{self.path}.sha256"

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Change:
        return super().from_data({**data, "edits": [RegistryEdit(*edit) for edit in data["edits"]]})


KINDS = (EditHive,)


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


def _edited(guest: Guest, change: EditHive) -> bytes:
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
        with naming(path), open(path, "wb") as out:
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


def _registry_text(content: str) -> str:
    kind, dummy, digits = content.rpartition(":")
    return diffs.registry(int(kind or 1), digits)
