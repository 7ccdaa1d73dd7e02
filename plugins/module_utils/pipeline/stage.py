# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage of a migration, and the one way to carry one out: who may work, what is done already, what check mode says, and what stays when it fails.

A stage says what it needs and what it does; when it is asked what, and under which locks, is here alone.
"""

from __future__ import annotations

import contextlib
import copy
import os
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Protocol, Sequence

from ..core import ahead, memory, modes
from ..core.errors import Busy
from ..core.locks import exclusive
from ..core.progress import Progress, Silent
from ..core.vm import VmId
from . import places
from .places import Place

Result = dict[str, Any]


class Pending(Busy):
    """A stage of a run that has ended is still at work, which is not waited for while only asking."""


def _unheard(text: str) -> None:
    """Nobody reads warnings."""


@dataclass(frozen=True)
class Run:
    """How a stage is carried out.

    `check`: nothing is written, and what a run would meet is found out. `probe`: only whether there is anything to do is asked. `moved`: the VM may be
    one that was known at another place. `diff`: what is changed in files is told too. `warn` takes what a person should know although the run goes on.
    `by` is the process that runs the whole migration, which keeps others from its VM between the stages; None for a stage that runs alone.
    `known_dead`: a run that somebody else has found dead.
    """

    check: bool = False
    probe: bool = False
    moved: bool = False
    diff: bool = False
    progress: Progress = Silent()
    warn: Callable[[str], None] = _unheard
    by: Optional[memory.Run] = None
    known_dead: str = ""


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
            if not result.get("pending"):
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


@contextlib.contextmanager
def working_on(run: Run, directory: str, mode: int = modes.FILE) -> Iterator[None]:
    """Hold the VM's work directory for a stage, and keep others from it until the migration ends. Check mode only finds out whether a run could.

    What is made above the work directory is for files of `mode`.
    Raises Busy when another run works on the VM. What a run that has ended left at work is waited for, or Pending is raised while only asking.
    """
    if run.check:
        ahead.writable(directory)
        yield
        return
    modes.make_directory(directory, above=modes.with_disks(mode))
    what, place = f"the VM in {directory}", places.work_dir(directory)

    def wait_for() -> str:
        known = memory.recall(place.path)
        if known.run is None:
            return ""
        if not (known.run == run.by or known.run.gone() or memory.same_run(known.run, run.known_dead)):
            raise memory.busy(what, known)
        if run.probe:
            raise Pending(f"A stage of {known.run} still works on {what}.")
        return f"wait for the last stage of {'this run' if known.run == run.by else f'a run that has ended, {known.run}'}"

    with exclusive(os.path.join(directory, "lock"), what, wait_for, run.progress.phase), belonging(run, place):
        yield


@contextlib.contextmanager
def belonging(run: Run, place: Place, vm: Optional[VmId] = None, mode: int = modes.FILE) -> Iterator[None]:
    """For the time of a block a place belongs to a VM and to this run, which keeps it afterwards; a run that fails gives it back.

    Its directory is made for files of `mode`.

    Raises InvalidInput where the place belongs to another VM, also in check mode; Busy when another run works on it.
    """
    if vm is not None:
        place.require(vm, run.moved)
    directory = os.path.dirname(place.path)
    if run.check:
        ahead.writable(directory)
        yield
        return
    there = os.path.isdir(directory)
    modes.make_directory(directory, modes.with_disks(mode), modes.with_disks(mode))
    made = memory.claim(place.path, place.what, vm, run.by, moved=run.moved, known_dead=run.known_dead)
    try:
        yield
    except BaseException:
        memory.release(place.path, run.by, forget=made and vm is not None)
        if not there:
            with contextlib.suppress(OSError):  # something has come of it
                os.rmdir(directory)
        raise


def done_with(run: Run, *ended: Place) -> None:
    """The migration has ended: whoever comes next need not wait."""
    if run.by is not None and not run.check:
        for place in ended:
            memory.release(place.path, run.by)
