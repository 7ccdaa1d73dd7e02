# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan: ordered changes and the concerns they were made from, as data that can be shown, stored, reviewed and undone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable, Mapping, Optional

from ..core.concern import Concern
from ..core.errors import InvalidInput
from . import diffs, secrets
from .change import Change, Kinds
from .protocol import Guest

FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """Changes in their order, and the concerns they were made from."""

    changes: tuple[Change, ...] = ()
    concerns: tuple[Concern, ...] = ()

    @property
    def id(self) -> str:
        """Short digest of the changes; names the backup inside the guest."""
        # Without `sealed`: how a change is kept says nothing of what it does.
        told = [{key: value for key, value in change.kept().as_data().items() if key != "sealed"} for change in self.changes]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode("ascii")).hexdigest()[:12]

    def as_data(self) -> dict[str, Any]:
        """All of it, secrets of the guest too: for a file that its owner alone reads."""
        return {
            "format": FORMAT,
            "changes": [change.as_data() for change in self.changes],
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
        return replace(self, changes=tuple(change.kept() for change in self.changes))

    def shown(self) -> Plan:
        """What anybody may see: without whatever is not shown. It can be carried out only where that was nothing."""
        concerns = (replace(item, cause=secrets.masked(item.cause), remedy=secrets.masked(item.remedy)) for item in self.concerns)
        return replace(self, changes=tuple(change.shown() for change in self.changes), concerns=tuple(concerns))

    def withheld(self) -> list[str]:
        """Paths of the changes that were made for showing, and have lost what they would need."""
        return [change.path for change in self.changes if change.withheld()]

    def guarded(self, guest: Guest) -> Plan:
        """The same, with the files that are secrets in `guest` marked so."""
        return replace(self, changes=tuple(change.guarded(guest) for change in self.changes))

    @classmethod
    def from_data(cls, data: Any, kinds: Kinds) -> Plan:
        """The inverse of `as_data`, for changes of the given kinds. Raises InvalidInput for anything else."""
        try:
            if data["format"] != FORMAT:
                raise InvalidInput(f"The plan has format {data['format']}, this version reads {FORMAT}.", "Make a new plan.")
            known = {kind.name: kind for kind in kinds}
            changes = tuple(_change(dict(item), known) for item in data["changes"])
            return cls(changes, tuple(Concern(**item) for item in data["concerns"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"The saved plan cannot be read: {error!r}.", "Make a new plan with guest_plan.") from error

    @classmethod
    def from_json(cls, text: Optional[bytes], kinds: Kinds) -> Plan:
        """The plan that a guest keeps beside its backups. Raises InvalidInput for anything else; the guest may have written there since."""
        try:
            data = json.loads(text or b"null")
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"The plan that the guest keeps is not JSON: {error}.", "Take the result anew from the source.") from error
        return cls.from_data(data, kinds)

    def counts(self) -> dict[str, int]:
        """How many changes there are of each kind."""
        return dict(sorted(Counter(change.name for change in self.changes).items()))

    def summary(self) -> list[dict[str, Any]]:
        """For people: kind, path, reason and diff of each change, each diff and all of them cut where they are long."""
        shown = diffs.cut([change.diff() for change in self.changes])
        return [
            {"kind": change.name, "path": change.path, "reason": change.reason, "diff": diff} for change, diff in zip(self.changes, shown)
        ]

    def diff(self) -> list[dict[str, str]]:
        """As Ansible's --diff shows it."""
        return [{"prepared": diff} for diff in diffs.cut([change.diff() for change in self.changes]) if diff]


def merge(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change per kind and key, in order of first appearance, without those that come to nothing; those that are `last` after all others."""
    merged: dict[object, Change] = {}
    for change in changes:
        earlier = merged.get((type(change), change.key))
        merged[type(change), change.key] = change if earlier is None else change.merged(earlier)
    return tuple(sorted((change for change in merged.values() if not change.void), key=lambda change: change.last))


def _change(item: dict[str, Any], known: Mapping[str, type[Change]]) -> Change:
    kind = known[item.pop("change")]
    return kind.from_data(item)
