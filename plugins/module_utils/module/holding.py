# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module holds while it works: the work directory, and the places that belong to one VM."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from ..core import ahead, memory, modes
from ..core.locks import exclusive
from ..core.memory import Run
from ..core.progress import sink
from ..core.vm import VmId
from ..pipeline import places
from .runtime import Pending


@contextlib.contextmanager
def working_on(module: AnsibleModule, directory: str, mode: int = modes.FILE) -> Iterator[None]:
    """Hold the VM's work directory for a stage, and keep others from it until the migration ends. Check mode only finds out whether a run could.

    What is made above the work directory is for files of `mode`.
    Raises Busy when another run works on the VM. What a run that has ended left at work is waited for.
    """
    if module.check_mode:
        ahead.writable(directory)
        yield
        return
    modes.make_directory(directory, above=modes.with_disks(mode))
    what, place = f"the VM in {directory}", places.work_dir(directory)
    run_of, known_dead = _run_of(module.params)

    def wait_for() -> str:
        known = memory.recall(place.path)
        if known.run is None:
            return ""
        if not (known.run == run_of or known.run.gone() or memory.same_run(known.run, known_dead)):
            raise memory.busy(what, known)
        if module.params.get("probe"):
            raise Pending(f"A stage of {known.run} still works on {what}.")
        return f"wait for the last stage of {'this run' if known.run == run_of else f'a run that has ended, {known.run}'}"

    with (
        exclusive(os.path.join(directory, "lock"), what, wait_for, sink(module.params.get("progress_file")).phase),
        belonging(module, place),
    ):
        yield


@contextlib.contextmanager
def belonging(module: AnsibleModule, place: places.Place, vm: Optional[VmId] = None, mode: int = modes.FILE) -> Iterator[None]:
    """For the time of a block a place belongs to a VM and to this run, which keeps it afterwards; a run that fails gives it back.

    Its directory is made for files of `mode`.

    Raises InvalidInput where the place belongs to another VM, also in check mode; Busy when another run works on it.
    """
    moved = bool(module.params.get("moved"))
    if vm is not None:
        place.require(vm, moved)
    directory = os.path.dirname(place.path)
    if module.check_mode:
        ahead.writable(directory)
        yield
        return
    there = os.path.isdir(directory)
    modes.make_directory(directory, modes.with_disks(mode), modes.with_disks(mode))
    run_of, known_dead = _run_of(module.params)
    made = memory.claim(place.path, place.what, vm, run_of, moved=moved, known_dead=known_dead)
    try:
        yield
    except BaseException:
        memory.release(place.path, run_of, forget=made and vm is not None)
        if not there:
            with contextlib.suppress(OSError):  # something has come of it
                os.rmdir(directory)
        raise


def done_with(module: AnsibleModule, *ended: places.Place) -> None:
    """The migration has ended: whoever comes next need not wait."""
    run_of = _run_of(module.params)[0]
    if run_of is not None and not module.check_mode:
        for place in ended:
            memory.release(place.path, run_of)


def _run_of(params: Mapping[str, Any]) -> tuple[Optional[Run], str]:
    """Who runs the migration, as the action plugin says, and which run it has found dead."""
    data = params.get("run") or {}
    return (Run.from_data(data) if data else None), str(data.get("known_dead") or "")
