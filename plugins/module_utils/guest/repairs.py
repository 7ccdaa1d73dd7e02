# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs of a family by their names, in the order that they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Generic, Iterable, Sequence, TypeVar

from .change import Change

Work = TypeVar("Work")


@dataclass(frozen=True)
class Repair(Generic[Work]):
    """A repair that the operator may choose by its name. `after` names those whose changes it builds on; they come before it."""

    name: str
    changes: Callable[[Work], Sequence[Change]]
    after: tuple[str, ...] = ()


def ordered(repairs: Iterable[Repair[Work]]) -> tuple[Repair[Work], ...]:
    """Each repair after those that it builds on, and otherwise as they are listed. Raises ValueError for some that wait for each other."""
    done: list[Repair[Work]] = []
    waiting = list(repairs)
    while waiting:
        ready = next((repair for repair in waiting if not any(other.name in repair.after for other in waiting)), None)
        if ready is None:
            raise ValueError(f"These repairs wait for each other: {', '.join(repair.name for repair in waiting)}.")
        waiting.remove(ready)
        done.append(ready)
    return tuple(done)


def chosen(repairs: Iterable[Repair[Work]], names: Sequence[str]) -> tuple[Repair[Work], ...]:
    """Those that the operator chose, all of them where none is named, in their order."""
    return tuple(repair for repair in ordered(repairs) if not names or repair.name in names)
