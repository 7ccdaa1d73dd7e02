# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage of a migration, and the one way to carry one out: who may work, what is done already, what check mode says, and what stays when it fails.

A stage says what it needs and what it does; when it is asked what, and under which locks, is here alone.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import Any, Optional, Protocol, Sequence

from ..core import modes
from ..core.vm import VmId
from .holding import Pending, Run, belonging, done_with, working_on
from .places import Place

Result = dict[str, Any]


@dataclass(frozen=True)
class Claims:
    """Places that must belong to a VM; `vm` is None for one of which an earlier version has not noted which it is."""

    places: Sequence[Place] = ()
    vm: Optional[VmId] = None


class Stage(Protocol):
    """What `carry_out` asks of a stage, in this order, each once. A stage may keep what it has found out for the next question (cached_property)."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def libraries(self) -> Sequence[str]:
        """The libraries of Python that it cannot do without."""

    @property
    def gives_back(self) -> bool:
        """Whether it takes something elsewhere that must be given back when it is ended, as a snapshot."""

    @property
    def holds(self) -> str:
        """The work directory that nobody else may work in meanwhile; empty for none."""

    @property
    def mode(self) -> int:
        """That of the files that come of it, which the directories that are made for them follow."""

    def require(self, run: Run) -> None:
        """Raise what speaks against the stage before anything is held or made: wrong options, a work directory of another VM."""

    def claims(self, run: Run) -> Claims:
        """What must belong to the VM; the work directory is held from here on."""

    def earlier(self, run: Run) -> Optional[Result]:
        """What an earlier run has made, if it still holds: there is nothing to do then."""

    def would(self, run: Run) -> Result:
        """What `run` would answer, for check mode, with whatever would stop it raised. Nothing is written."""

    def run(self, run: Run) -> Result:
        """Do the work, record it, and say what has come of it."""

    def ended(self) -> Sequence[Place]:
        """The places that nobody works on any more once the stage is through."""


class Plain:
    """What a stage is that needs and holds nothing; each says what is otherwise."""

    gives_back = False

    @property
    def libraries(self) -> Sequence[str]:
        return ()

    @property
    def holds(self) -> str:
        return ""

    @property
    def mode(self) -> int:
        return modes.FILE

    def require(self, run: Run) -> None:
        pass

    def claims(self, run: Run) -> Claims:
        return Claims()

    def ended(self) -> Sequence[Place]:
        return ()


def carry_out(stage: Stage, run: Run) -> Result:
    """Carry out a stage; gives what it says, with `changed`, and `pending` if a probe finds that there is something to do.

    Raises Busy when another run works on the VM, InvalidInput where a place belongs to another one. A run that fails keeps no place that it was the
    first to take.
    """
    stage = copy.copy(stage)  # what it finds out holds for one run
    stage.require(run)
    try:
        with contextlib.ExitStack() as held:
            if stage.holds:
                held.enter_context(working_on(run, stage.holds, stage.mode))
            claims = stage.claims(run)
            for place in claims.places:
                held.enter_context(belonging(run, place, claims.vm, stage.mode))
            result = _done(stage, run)
            done_with(run, *stage.ended())
            return result
    except Pending:
        return _pending()


def _done(stage: Stage, run: Run) -> Result:
    earlier = stage.earlier(run)
    if earlier is not None:
        return {"changed": False, **earlier}
    if run.probe:
        return _pending()
    return {"changed": True, **(stage.would(run) if run.check else stage.run(run))}


def _pending() -> Result:
    return {"changed": False, "pending": True}
