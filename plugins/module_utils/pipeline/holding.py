# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run goes, and what it holds while it works: the work directory, and the places that belong to one VM."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Callable, Iterator, Optional

from ..core import ahead, memory, modes
from ..core.errors import Busy
from ..core.locks import exclusive
from ..core.progress import Progress, Silent
from ..core.vm import VmId
from . import places


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
def belonging(run: Run, place: places.Place, vm: Optional[VmId] = None, mode: int = modes.FILE) -> Iterator[None]:
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


def done_with(run: Run, *ended: places.Place) -> None:
    """The migration has ended: whoever comes next need not wait."""
    if run.by is not None and not run.check:
        for place in ended:
            memory.release(place.path, run.by)
