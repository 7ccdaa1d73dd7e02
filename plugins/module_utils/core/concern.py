# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know before migrating: of a guest, a source or a machine. Pure data; every code is in concerns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

BLOCKER, WARNING, INFO = "blocker", "warning", "info"
_NAMED = 20  # of one kind; what comes after them is counted


@dataclass(frozen=True)
class Concern:
    """Something a person should know before migrating."""

    code: str
    severity: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        """All of it in a line, as a module warns of it."""
        return f"{self.code} ({self.severity}): {self.cause} {self.remedy}"


def listed(names: Sequence[object], longest: int = 80) -> str:
    """The first of some names, for people; `longest` are the characters of each that are said."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(str(name)[:longest] for name in names[:_NAMED]) + more


def remedies(concerns: Sequence[Concern]) -> str:
    """What to do about concerns that stop a migration: each remedy once, and last the codes by which they are accepted."""
    accepted = f"Or migrate all the same (migrate_accept: [{', '.join(sorted({concern.code for concern in concerns}))}])."
    return " ".join((*dict.fromkeys(concern.remedy for concern in concerns), accepted))


@dataclass
class Findings:
    """Concerns as they are gathered during planning; each code and cause once."""

    concerns: list[Concern] = field(default_factory=list)
    _known: set[Concern] = field(default_factory=set, repr=False, compare=False)

    def add(self, code: str, severity: str, cause: str, remedy: str) -> None:
        self.take(Concern(code, severity, cause, remedy))

    def take(self, *found: Concern) -> None:
        """Concerns that were gathered elsewhere."""
        for concern in found:
            if concern not in self._known:
                self._known.add(concern)
                self.concerns.append(concern)
