# SPDX-License-Identifier: GPL-3.0-or-later
"""write: the text of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Sequence

from .. import diffs, secrets
from ..change import Change, Visible, keep, parent, put_back
from ..model import Stat
from ..protocol import Guest, WritableGuest, exists

_WAS_SEALED = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class WriteFile(Visible):
    """Replace the text of a file; `before` is what the plan saw, None where there was no file. `mode` and `owner` are for new files.

    The text of a `secret` file is not shown; one that is `sealed` has lost it, and has digests in its place.
    """

    name = "write"
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
        return data is not None and self._is(data, self.after)

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

    def holds(self, guest: Guest) -> bool:
        return self.began(guest.read(self.path))

    def apply(self, guest: WritableGuest, backup: str) -> Sequence[str]:
        new = None
        if self.before is not None:
            keep(guest, self.path, backup)
        else:
            guest.mkdir(parent(self.path))
            new = Stat("file", mode=self.mode, uid=self.owner[0], gid=self.owner[1])
        guest.write(self.path, _bytes(self.after), new)
        return ()

    def undo(self, guest: WritableGuest, backup: str) -> None:
        if self.before is None:
            guest.remove(self.path)
        elif self.fits(guest.read(self.path)):
            if self.sealed:
                put_back(guest, self.path, backup)
            else:
                guest.write(self.path, _bytes(self.before), None)

    def foreign(self, guest: Guest, backup: str) -> bool:
        data = guest.read(self.path)
        return exists(guest, self.path) if data is None and self.before is None else not (self.fits(data) or self.began(data))

    def needs(self, guest: Guest) -> Sequence[tuple[str, int]]:
        return [(self.path, len(self.after))]

    def merged(self, earlier: Change) -> Change:
        if not isinstance(earlier, WriteFile):
            return self
        reason = earlier.reason if self.reason in earlier.reason else f"{earlier.reason}; {self.reason}"
        return replace(earlier, after=self.after, reason=reason, secret=earlier.secret or self.secret)

    @property
    def void(self) -> bool:
        return self.before == self.after

    def guarded(self, guest: Guest) -> Change:
        return replace(self, secret=True) if secrets.in_guest(guest, self.path, self.mode, self.before, self.after) else self

    def kept(self) -> Change:
        return self.seal() if self.secret else self

    def shown(self) -> Change:
        closed = self.secret or self.is_long or any(secrets.masked(text) != text for text in (self.before or "", self.after))
        return self.seal() if closed else self

    def withheld(self) -> bool:
        return self.sealed

    def entry(self, base: Guest) -> Optional[Stat]:
        return Stat("file", len(self.after), self.mode)

    def content(self, base: Guest) -> Optional[bytes]:
        return _bytes(self.after)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Change:
        if data.get("secret") and "sealed" not in data:  # of 0.1.0, which kept the digest of what was written
            data = {**data, "sealed": _WAS_SEALED.fullmatch(str(data.get("after"))) is not None}
        return super().from_data(data)


KINDS = (WriteFile,)


def edit(path: str, before: Optional[str], after: str, reason: str, mode: int = 0o644, secret: bool = False) -> Sequence[Change]:
    """A change if there is anything to change."""
    return [] if before == after else [WriteFile(path, before, after, reason, mode, secret=secret)]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
