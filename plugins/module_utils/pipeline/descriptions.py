# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that describe a VM, beside those of others: NAME-bootstrap.xml may be the first start of one VM, or what another one is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable, Sequence

from ..core import atomic, made, modes, spared
from ..core.errors import InvalidInput
from ..targets.domain import Domain
from ..targets.format import Format, require_said


@dataclass(frozen=True)
class Description:
    """A VM in one format, the file that this goes to, and the mode of that."""

    domain: Domain
    format: Format
    path: str
    text: str
    mode: int

    @property
    def stale(self) -> bool:
        """Whether the file says anything else, or is not there."""
        return atomic.read_text(self.path) != self.text

    def whose(self) -> str:
        """The VM that the file describes now; empty for what is no description."""
        found = atomic.read_text(self.path)
        return "" if found is None else self.format.whose(found, self.domain)


def of(domain: Domain, base: str, mode: int, formats: Iterable[Format]) -> tuple[Description, ...]:
    """The VM in each format, in files that begin with `base`.

    Raises InvalidInput for a VM that one of them cannot have, MigrationError for a text that says something else of its disks and NICs.
    """
    return tuple(_of(domain, base, mode, one) for one in formats)


def _of(domain: Domain, base: str, mode: int, one: Format) -> Description:
    text = one.text(domain)
    require_said(domain, one, text)
    return Description(domain, one, base + one.ending, text, modes.of_program(mode) if one.program else mode)


def require_ours(descriptions: Sequence[Description]) -> None:
    """Raise InvalidInput where something that is no description of the same VM would be replaced by one of these.

    What was written here is known by a list, and what an earlier version has written by what it says. Nothing is written.
    """
    for listed in {_list(one) for one in descriptions}:
        spared.require(os.path.join(*listed))
    for one in descriptions:
        name = one.domain.name
        whose = one.whose() if os.path.lexists(one.path) else name
        if whose != name and (whose or one.path not in made.noted(*_list(one))):
            raise InvalidInput(
                f"{one.path} is {f'the description of {whose}' if whose else 'no description that was written here'},"
                f" and would be replaced by one of {name}.",
                "Give this VM another name (migrate_name) or another directory, or move away what is there.",
                path=one.path,
            )


def write(descriptions: Sequence[Description]) -> None:
    """Write them into directories that are there. They are listed first, so that they are known even where the writing is cut short."""
    for directory, name in {_list(one) for one in descriptions}:
        new = sorted({one.path for one in descriptions} - made.noted(directory, name))
        if new:
            made.note(directory, *new, name=name)
    for one in descriptions:
        atomic.write_text(one.path, one.text, one.mode)


def _list(description: Description) -> tuple[str, str]:
    """The directory and the name of the list of what was written for a VM."""
    return os.path.dirname(description.path), f".{description.domain.name}.made"
