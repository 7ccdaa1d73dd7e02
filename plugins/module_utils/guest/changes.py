# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes: what is intended for a guest, as plain data that can be shown, stored, reviewed and undone."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable, Optional, Sequence, Union

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
    """Copy one of the guest's own files to a path where there is none."""

    source: str
    path: str
    reason: str

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
    """Put a file of the conversion host into the guest where there is none; size and digest are what the plan saw."""

    source: str
    path: str
    size: int
    sha256: str
    reason: str
    mode: int = 0o644

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


Change = Union[WriteFile, RemoveFile, CopyFile, MakeLink, UploadFile, ExtendInitramfs, RunCommand]
_KINDS: dict[str, Any] = {
    "write": WriteFile,
    "remove": RemoveFile,
    "copy": CopyFile,
    "link": MakeLink,
    "upload": UploadFile,
    "extend_initramfs": ExtendInitramfs,
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
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"The saved plan cannot be read: {error!r}.", "Make a new plan with guest_plan.") from error

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


def _diff(before: str, after: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), old, new)
    return (
        "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)
        .encode("utf-8", "replace")
        .decode("utf-8")
    )
