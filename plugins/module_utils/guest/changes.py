# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes: what is intended for a guest, as plain data that can be shown, stored, reviewed and undone."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable, NamedTuple, Optional, Sequence, Union

from ..core.concern import Concern
from ..core.errors import InvalidInput
from . import diffs, secrets
from .model import Stat
from .protocol import Guest

FORMAT = 1
_WAS_SEALED = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class WriteFile:
    """Replace the text of a file; `before` is what the plan saw, None where there was no file. `mode` and `owner` are for new files.

    The text of a `secret` file is not shown; one that is `sealed` has lost it, and has digests in its place.
    """

    path: str
    before: Optional[str]
    after: str
    reason: str
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    secret: bool = False
    sealed: bool = False

    def fits(self, data: Optional[bytes]) -> bool:
        """Whether `data` is the text that this change writes."""
        if data is None:
            return False
        return self._is(data, self.after)

    def began(self, data: Optional[bytes]) -> bool:
        """Whether `data` is what the plan saw."""
        return self.before is None if data is None else self.before is not None and self._is(data, self.before)

    def _is(self, data: bytes, text: str) -> bool:
        return data == _bytes(text) or (self.sealed and text.startswith("sha256:") and secrets.digest(data).startswith(text))

    @property
    def is_long(self) -> bool:
        """Whether nobody would read what it changes, and looking for secrets in it would take long."""
        return len(self.before or "") + len(self.after) > diffs.LONGEST_FILE

    def seal(self) -> WriteFile:
        """The same without its texts."""
        if self.sealed:
            return self
        before = None if self.before is None else secrets.digest(_bytes(self.before))
        return replace(self, before=before, after=secrets.digest(_bytes(self.after)), sealed=True)

    def diff(self) -> str:
        old = self.path if self.before is not None else "/dev/null"
        if self.secret or self.sealed or self.is_long:
            sealed = self.seal()
            was = "" if sealed.before is None else f"-{sealed.before}\n"
            return f"--- {old}\n+++ {self.path} {secrets.NOT_SHOWN}\n{was}+{sealed.after}\n"
        return diffs.unified(secrets.masked(self.before or ""), secrets.masked(self.after), old, self.path)


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

    @property
    def secret(self) -> bool:
        return secrets.in_registry(self.key, self.name)

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
        return f"run: {secrets.masked(' '.join(self.argv))}\n"


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
        told = [{key: value for key, value in _data(_kept(change)).items() if key != "sealed"} for change in self.changes]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode("ascii")).hexdigest()[:12]

    def as_data(self) -> dict[str, Any]:
        """All of it, secrets of the guest too: for a file that its owner alone reads."""
        return {
            "format": FORMAT,
            "changes": [_data(change) for change in self.changes],
            "concerns": [asdict(concern) for concern in self.concerns],
        }

    def text(self) -> str:
        """All of it as the file that it is kept in."""
        return json.dumps(self.as_data(), indent=1, sort_keys=True) + "\n"

    @property
    def digest(self) -> str:
        """Of `text`."""
        return hashlib.sha256(self.text().encode("ascii")).hexdigest()

    def kept(self) -> Plan:
        """What is kept in the guest: without the texts of secret files, which the backup beside it has."""
        return replace(self, changes=tuple(map(_kept, self.changes)))

    def shown(self) -> Plan:
        """What anybody may see: without whatever is not shown. It can be carried out only where that was nothing."""
        concerns = (replace(item, cause=secrets.masked(item.cause), remedy=secrets.masked(item.remedy)) for item in self.concerns)
        return replace(self, changes=tuple(map(_open, self.changes)), concerns=tuple(concerns))

    def withheld(self) -> list[str]:
        """Paths of the changes that were made for showing, and have lost what they would need."""
        return [change.path for change in self.changes if _withheld(change)]

    def guarded(self, guest: Guest) -> Plan:
        """The same, with the files that are secrets in `guest` marked so."""
        return replace(
            self,
            changes=tuple(
                replace(change, secret=True)
                if isinstance(change, WriteFile) and secrets.in_guest(guest, change.path, change.mode, change.before, change.after)
                else change
                for change in self.changes
            ),
        )

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

    def counts(self) -> dict[str, int]:
        """How many changes there are of each kind."""
        return dict(sorted(Counter(_NAMES[type(change)] for change in self.changes).items()))

    def summary(self) -> list[dict[str, Any]]:
        """For people: kind, path, reason and diff of each change, each diff and all of them cut where they are long."""
        shown = diffs.cut([change.diff() for change in self.changes])
        return [
            {"kind": _NAMES[type(change)], "path": change.path, "reason": change.reason, "diff": diff}
            for change, diff in zip(self.changes, shown)
        ]

    def diff(self) -> list[dict[str, str]]:
        """As Ansible's --diff shows it."""
        return [{"prepared": diff} for diff in diffs.cut([change.diff() for change in self.changes]) if diff]


def _data(change: Change) -> dict[str, Any]:
    return {"change": _NAMES[type(change)], **asdict(change)}


def _kept(change: Change) -> Change:
    return change.seal() if isinstance(change, WriteFile) and change.secret else change


def _open(change: Change) -> Change:
    if isinstance(change, EditHive):
        return replace(change, edits=tuple(edit.seal() for edit in change.edits))
    if isinstance(change, ExtendInitramfs):
        return replace(change, texts=tuple((name, secrets.masked(text)) for name, text in change.texts))
    if isinstance(change, RunCommand):
        return replace(change, argv=tuple(map(secrets.masked, change.argv)), revert=tuple(map(secrets.masked, change.revert)))
    known = (change.before or "", change.after) if isinstance(change, WriteFile) else ()
    if isinstance(change, WriteFile) and (change.secret or change.is_long or any(secrets.masked(text) != text for text in known)):
        return change.seal()
    return change


def _withheld(change: Change) -> bool:
    if isinstance(change, EditHive):
        return any((content or "").startswith("sha256:") for edit in change.edits for content in (edit.before, edit.after))
    if isinstance(change, ExtendInitramfs):
        return any(secrets.NOT_SHOWN in text for dummy, text in change.texts)
    if isinstance(change, RunCommand):
        return any(secrets.NOT_SHOWN in word for word in (*change.argv, *change.revert))
    return isinstance(change, WriteFile) and change.sealed


def _change(item: dict[str, Any]) -> Change:
    values = dict(item)
    if values.get("secret") and "sealed" not in values:  # of 0.1.0, which kept the digest of what was written
        values["sealed"] = _WAS_SEALED.fullmatch(str(values.get("after"))) is not None
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
            change = replace(earlier, after=change.after, reason=reason, secret=earlier.secret or change.secret)
        merged[key] = change
    kept = [change for change in merged.values() if not (isinstance(change, WriteFile) and change.before == change.after)]
    return tuple(sorted(kept, key=lambda change: isinstance(change, RunCommand)))


def edit(path: str, before: Optional[str], after: str, reason: str, mode: int = 0o644, secret: bool = False) -> Sequence[Change]:
    """A change if there is anything to change."""
    return [] if before == after else [WriteFile(path, before, after, reason, mode, secret=secret)]


def remove(path: str, stat: Optional[Stat], reason: str) -> Sequence[Change]:
    """A removal if there is anything to remove; `stat` is the directory entry itself, so that a link is taken for a link."""
    return [] if stat is None else [RemoveFile(path, stat.kind, stat.size, reason)]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _registry_text(content: str) -> str:
    kind, dummy, digits = content.rpartition(":")
    return diffs.registry(int(kind or 1), digits)
