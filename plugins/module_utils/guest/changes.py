# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes: what is intended for a guest, as plain data that can be shown, stored, reviewed and undone."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable, NamedTuple, Optional, Sequence, Union

from ..core.errors import InvalidInput
from .model import Concern, Stat

FORMAT = 1


@dataclass(frozen=True)
class WriteFile:
    """Replace the text of a file; `before` is what the plan saw, None where there was no file. `mode` and `owner` are for new files.

    The text of a `secret` file is neither shown nor stored: a plan as data has its digest instead.
    """

    path: str
    before: Optional[str]
    after: str
    reason: str
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    secret: bool = False

    def fits(self, data: Optional[bytes]) -> bool:
        """Whether `data` is the text that this change writes."""
        if data is None:
            return False
        return data == self.after.encode("utf-8", "surrogateescape") or (self.secret and self.after == _digest(data))

    def diff(self) -> str:
        if self.secret:
            return f"+++ {self.path} (not shown)\n"
        return _diff(self.before or "", self.after, self.path if self.before is not None else "/dev/null", self.path)


@dataclass(frozen=True)
class RemoveFile:
    """Take away a file, link or directory; it is moved into the backup. `kind` and `size` are what the plan saw."""

    path: str
    kind: str
    size: int
    reason: str

    def diff(self) -> str:
        return f"removed {self.kind}: {self.path}\n"


@dataclass(frozen=True)
class CopyFile:
    """Copy one of the guest's own files to a path where there is none, or in place of the file with the digest `replaces`."""

    source: str
    path: str
    reason: str
    replaces: str = ""

    def diff(self) -> str:
        return f"copied: {self.source} -> {self.path}\n"


@dataclass(frozen=True)
class MakeLink:
    """Make a symbolic link where there is nothing."""

    path: str
    target: str
    reason: str

    def diff(self) -> str:
        return f"linked: {self.path} -> {self.target}\n"


@dataclass(frozen=True)
class UploadFile:
    """Put a file of the conversion host into the guest; size and digest are what the plan saw.

    There must be no file yet, or the one with the digest `replaces`.
    """

    source: str
    path: str
    size: int
    sha256: str
    reason: str
    mode: int = 0o644
    replaces: str = ""

    def diff(self) -> str:
        return f"uploaded: {self.source} -> {self.path}\n"


@dataclass(frozen=True)
class ExtendInitramfs:
    """Append an archive with `modules` (guest paths), the guest's module indexes and `texts` (path, content) to an initramfs."""

    path: str
    size: int
    sha256: str
    modules: tuple[str, ...]
    indexes: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    reason: str

    def diff(self) -> str:
        lines = [f"+{name}\n" for name in self.modules] + [f"+{name}\n" for name, dummy in self.texts]
        return f"--- {self.path}\n+++ {self.path} (archive appended)\n" + "".join(lines)


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

    def diff(self) -> str:
        """Without the key, which is shown once for all its values."""
        lines = ""
        if self.before is not None:
            kind, dummy, content = self.before.partition(":")
            lines += f"-{self.name or '(default)'} = {_shown(int(kind), content)}\n"
        return lines + (f"+{self.name or '(default)'} = {_shown(self.kind, self.after)}\n" if self.after is not None else "")


@dataclass(frozen=True)
class EditHive:
    """Edit a Windows registry hive, replaying its logs first; digests of the file and of each log are what the plan saw.

    `forced`: the operator accepted that logs which cannot be replayed are lost.
    """

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


@dataclass(frozen=True)
class PatchDevice:
    """Overwrite a few bytes of a block device, outside files; `before` and `after` in hexadecimal digits, of the same length."""

    path: str
    offset: int
    before: str
    after: str
    reason: str

    def diff(self) -> str:
        return f"--- {self.path}\n+++ {self.path}\n@@ byte {self.offset} @@\n-{self.before}\n+{self.after}\n"


@dataclass(frozen=True)
class RunCommand:
    """Run one of the guest's own programs, confined; `touches` are the files it rewrites, kept in the backup.

    `revert` undoes what it did elsewhere. A command that need not succeed only reports its failure.
    """

    argv: tuple[str, ...]
    touches: tuple[str, ...]
    reason: str
    must: bool = True
    revert: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.argv[0]

    def diff(self) -> str:
        return f"run: {' '.join(self.argv)}\n"


Change = Union[WriteFile, RemoveFile, CopyFile, MakeLink, UploadFile, ExtendInitramfs, EditHive, PatchDevice, RunCommand]
_KINDS: dict[str, Any] = {
    "write": WriteFile,
    "remove": RemoveFile,
    "copy": CopyFile,
    "link": MakeLink,
    "upload": UploadFile,
    "extend_initramfs": ExtendInitramfs,
    "registry": EditHive,
    "patch": PatchDevice,
    "run": RunCommand,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class Plan:
    """Ordered changes with the concerns they were made from. Commands come last."""

    changes: tuple[Change, ...] = ()
    concerns: tuple[Concern, ...] = ()

    @property
    def id(self) -> str:
        """Short digest of the changes; names the backup inside the guest."""
        return hashlib.sha256(json.dumps(self.as_data()["changes"], sort_keys=True).encode("ascii")).hexdigest()[:12]

    def as_data(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "changes": [{"change": _NAMES[type(change)], **asdict(_sealed(change))} for change in self.changes],
            "concerns": [asdict(concern) for concern in self.concerns],
        }

    @classmethod
    def from_data(cls, data: Any) -> Plan:
        """The inverse of `as_data`. Raises InvalidInput for anything else."""
        try:
            if data["format"] != FORMAT:
                raise InvalidInput(f"The plan has format {data['format']}, this version reads {FORMAT}.", "Make a new plan.")
            return cls(tuple(_change(item) for item in data["changes"]), tuple(Concern(**item) for item in data["concerns"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"The saved plan cannot be read: {error!r}.", "Make a new plan with guest_plan.") from error

    @classmethod
    def from_json(cls, text: Optional[bytes]) -> Plan:
        """The plan that a guest keeps beside its backups. Raises InvalidInput for anything else; the guest may have written there since."""
        try:
            data = json.loads(text or b"null")
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"The plan that the guest keeps is no JSON: {error}.", "Take the result anew from the source.") from error
        return cls.from_data(data)

    def summary(self) -> list[dict[str, Any]]:
        """For people: kind, path, reason and diff of each change."""
        return [
            {"kind": _NAMES[type(change)], "path": change.path, "reason": change.reason, "diff": change.diff()} for change in self.changes
        ]

    def diff(self) -> list[dict[str, str]]:
        """As Ansible's --diff shows it."""
        return [{"prepared": change.diff()} for change in self.changes]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _sealed(change: Change) -> Change:
    if isinstance(change, WriteFile) and change.secret and not change.after.startswith("sha256:"):
        return replace(change, after=_digest(change.after.encode("utf-8", "surrogateescape")))
    return change


def _change(item: dict[str, Any]) -> Change:
    values = dict(item)
    kind = _KINDS[values.pop("change")]
    frozen = {
        key: tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value) if isinstance(value, list) else value
        for key, value in values.items()
    }
    if kind is EditHive:
        frozen["edits"] = tuple(RegistryEdit(*edit) for edit in frozen["edits"])
    change: Change = kind(**frozen)
    return change


def merge(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change per text file, in order of first appearance, without those that come to nothing; commands last."""
    merged: dict[Any, Change] = {}
    for change in changes:
        key = (type(change), change.path if not isinstance(change, RunCommand) else change.argv)
        earlier = merged.get(key)
        if isinstance(change, WriteFile) and isinstance(earlier, WriteFile):
            reason = earlier.reason if change.reason in earlier.reason else f"{earlier.reason}; {change.reason}"
            change = replace(earlier, after=change.after, reason=reason)
        merged[key] = change
    kept = [change for change in merged.values() if not (isinstance(change, WriteFile) and change.before == change.after)]
    return tuple(sorted(kept, key=lambda change: isinstance(change, RunCommand)))


def edit(path: str, before: Optional[str], after: str, reason: str, mode: int = 0o644) -> Sequence[Change]:
    """A change if there is anything to change."""
    return [] if before == after else [WriteFile(path, before, after, reason, mode)]


def remove(path: str, stat: Optional[Stat], reason: str) -> Sequence[Change]:
    """A removal if there is anything to remove; `stat` is the directory entry itself, so that a link is taken for a link."""
    return [] if stat is None else [RemoveFile(path, stat.kind, stat.size, reason)]


_REG_TEXTS, _REG_NUMBERS = (1, 2, 7), (4, 11)


def _shown(kind: int, content: str) -> str:
    data = bytes.fromhex(content)
    if kind in _REG_TEXTS:
        return json.dumps("|".join(part for part in data.decode("utf-16-le", "replace").split("\0") if part))
    return str(int.from_bytes(data, "little")) if kind in _REG_NUMBERS else f"hex({kind}):{content[:256]}"


def _diff(before: str, after: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), old, new)
    return (
        "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)
        .encode("utf-8", "replace")
        .decode("utf-8")
    )
