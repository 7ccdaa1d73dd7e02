# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH: from what the user named to a work directory with a checked, staged disk set."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Callable, Iterator, Optional, Sequence

from ..core import ahead, memory, modes, spared
from ..core import vm as vms
from ..core.concern import INFO, Concern
from ..core.data import to_data
from ..core.errors import AccessDenied, InvalidInput, MigrationError, MissingTool, SourceChanged, TransferFailed, Unreachable
from ..core.progress import Progress
from ..core.shape import require_texts
from ..core.trace import point
from ..core.vm import VmId
from ..disk import staging
from ..disk.machine import ArrivedFile, Transfer, VmSaid
from ..sources.opened import Here, Opened
from ..sources.source import Access
from . import copied, places, power
from .sources import brought, identified, is_remote, libraries_of, opened, require_in_place
from .stage import Claims, Plain, Result, Run


@dataclass(frozen=True)
class FetchOptions:
    """`source` is a URL, or paths that are absolute. `stay`: the disks stay at their source, where it is elsewhere, and are read when the result is written.

    `verify`: digests that a package has of its files are compared. `needs` are paths that later stages will look for. `name` is what the VM is called in
    `dest`, where its images go, and in `report_dir`; both may be empty.
    """

    source: tuple[str, ...]
    work_dir: str
    access: Access = Access()
    verify: bool = True
    stay: bool = False
    needs: tuple[str, ...] = ()
    name: str = ""
    dest: str = ""
    report_dir: str = ""
    mode: int = modes.FILE

    def __post_init__(self) -> None:
        """Raises InvalidInput for a source that is one text, and for a place of results without the name of the VM there."""
        require_texts(source=self.source, needs=self.needs)
        if (self.dest or self.report_dir) and not self.name:
            raise InvalidInput("dest and report_dir need name, the name of the VM there.", "Give name too.")

    @property
    def streamed(self) -> bool:
        """Whether the disks stay; those that are here are staged without a copy anyway."""
        return self.stay and is_remote(self.source)

    def recorded(self) -> dict[str, Any]:
        """What makes another staging of the same source."""
        return {"source": list(self.source), "verify": self.verify, **({"fetch": "stream"} if self.streamed else {})}


@dataclass(frozen=True)
class Fetch(Plain):
    """FETCH: a source becomes a checked, staged disk set in a work directory, which belongs to its VM from then on, as do the places of its results.

    Answers `vm`, its description.
    """

    options: FetchOptions
    name = "fetch"
    gives_back = True  # leases and snapshots

    @property
    def libraries(self) -> Sequence[str]:
        return libraries_of(self.options.source)

    @property
    def holds(self) -> str:
        return self.options.work_dir

    @property
    def mode(self) -> int:
        return self.options.mode

    @cached_property
    def _which(self) -> tuple[VmId, str]:
        """Which VM the source is, and why it was not asked: what was fetched of a place that does not answer now is still known."""
        try:
            return identified(self.options.source, self.options.access), ""
        except (Unreachable, AccessDenied, MissingTool, TransferFailed) as error:
            earlier = self._recorded()
            known = earlier.identity if earlier is not None else None
            if known is None or not is_remote(self.options.source):
                raise
            return known, f"The source was not asked whether it still is what was fetched of it: {error}"

    def _recorded(self) -> Optional[staging.Staging]:
        earlier = staging.fetched(self.options.work_dir)
        return earlier if earlier is not None and earlier.record.options == self.options.recorded() else None

    @cached_property
    def _owned(self) -> tuple[places.Place, ...]:
        wanted = self.options
        there = dict.fromkeys(directory for directory in (wanted.dest, wanted.report_dir) if directory)
        return (places.work_dir(wanted.work_dir), *(places.results(directory, wanted.name, wanted.work_dir) for directory in there))

    def require(self, run: Run) -> None:
        _require_needs(self.options.needs)
        vm, why = self._which
        if why:
            run.warn(why)
        copied.require_apart(self.options.work_dir, spared.paths())
        self._admit(run, vm)

    def _admit(self, run: Run, vm: VmId) -> None:
        """Raise InvalidInput where anything that the VM is to have belongs to another one."""
        for place in self._owned:
            place.require(vm, run.moved)
        if self.options.report_dir:
            places.require_report(self.options.report_dir, vm, run.moved)

    def claims(self, run: Run) -> Claims:
        return Claims(self._owned, self._which[0])

    def earlier(self, run: Run) -> Optional[Result]:
        earlier = self._recorded()
        return {"vm": earlier.record.result} if earlier is not None and unchanged(earlier.identity, self._which[0]) else None

    def would(self, run: Run) -> Result:
        return self._fetched(run, lambda vm: self._admit(run, vm))

    def run(self, run: Run) -> Result:
        def admit(vm: VmId) -> None:
            self._admit(run, vm)
            for place in self._owned:
                memory.claim(place.path, place.what, vm, None, moved=run.moved)

        return self._fetched(run, admit)

    def _fetched(self, run: Run, admit: Callable[[VmId], None]) -> Result:
        wanted = self.options
        vm, concerns = fetch(
            wanted.source,
            replace(wanted.access, verify=wanted.verify),
            wanted.work_dir,
            wanted.recorded(),
            run.progress,
            check=run.check,
            stay=wanted.streamed,
            expected=self._which[0],
            admit=admit,
        )
        for concern in concerns:
            run.warn(str(concern))
        return {"vm": to_data(vm)}


def _require_needs(needs: Sequence[str]) -> None:
    """Raise InvalidInput for what a later stage would look for in vain, perhaps hours later."""
    missing = next((path for path in needs if not os.path.exists(path)), "")
    if missing:
        raise InvalidInput(
            f"{missing} does not exist on the conversion host. The repair of the guest reads it.",
            "Check migrate_virtio_win, migrate_guest_agent_packages and migrate_windows_wrapper; paths are on the conversion host.",
            path=missing,
        )


def fetch(
    source: Sequence[str],
    access: Access,
    work_dir: str,
    options: dict[str, Any],
    progress: Progress,
    *,
    check: bool,
    stay: bool,
    expected: VmId,
    admit: Callable[[VmId], None] = lambda found: None,
) -> tuple[VmSaid, tuple[Concern, ...]]:
    """Stage a source, which is brought or unpacked first if it must be. Gives the VM's description and the concerns that are worth a warning.

    With `stay` the disks stay where they are, and are read when the result is written. `admit` may refuse the VM that was in a packed source; what was
    unpacked is removed then. In check mode the source is only looked at.

    Raises SourceChanged unless it is the VM that was `expected`, InvalidInput for a source in the work directory and for files of others in the place
    of its copy, NotInPlace for disks that shall stay and cannot.
    """
    begin = time.monotonic()
    progress.phase("look at the source")
    copied.require_apart(work_dir, source)
    if stay:
        require_in_place(source)
    elif brought(source):
        copied.require(work_dir) if check else copied.adopt(work_dir)
    access = replace(access, stopping=functools.partial(power.note, work_dir, source[0], expected))
    # A snapshot would end with this block, and what stays must stay as it is.
    with opened(source, access, check or (stay and access.running == "snapshot")) as found:
        found.require_idle(access.accept)
        _require(found.which, expected)
        told = _told(found.concerns)
        if check:
            ahead.room(work_dir, 0 if stay else max(0, found.missing() - _held(copied.place(work_dir))), "The copy of the source")
            return replace(found.said(), identity=found.which), told
        if stay:
            found.exports()
            streamed = Transfer(source[0], found.transport, stream=found.stamps())
            return staging.stream(replace(found.said(), identity=found.which, transfer=streamed), work_dir, options, begin), told
        with found.here(copied.place(work_dir), progress) as here:
            _admitted(here, work_dir, expected, admit)
            transfer = None
            if here.arrived is not None:
                files = tuple(ArrivedFile(item.name, item.size, item.transferred, item.digest) for item in here.arrived)
                transfer = Transfer(source[0], found.transport, files)
            told = _told((*found.concerns, *here.vm.concerns))
            return staging.fetch(here.vm, here.paths, work_dir, options, begin, identity=here.which, transfer=transfer), told


def _told(concerns: Sequence[Concern]) -> tuple[Concern, ...]:
    """What is worth a warning, each once."""
    return tuple(dict.fromkeys(concern for concern in concerns if concern.severity != INFO))


def _admitted(here: Here, work_dir: str, expected: VmId, admit: Callable[[VmId], None]) -> None:
    """Raise what speaks against a VM that is seen only now that its files are here."""
    copied.require_apart(work_dir, copied.of_others(work_dir, here.vm))
    point("fetch.checked")
    _require(here.which, expected)
    try:
        if here.which != expected:
            admit(here.which)
    except MigrationError:
        if here.arrived is None and brought(here.paths):
            copied.remove(work_dir)
        raise


def _held(directory: str) -> int:
    """The bytes that files below a directory take."""
    return sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for place, dummy, names in os.walk(directory) for name in names)


def unchanged(known: Optional[VmId], found: VmId) -> bool:
    """Whether a source is still the VM that was fetched, with the same hardware. Of one that is packed its file tells that."""
    return known is not None and vms.same(known, found) and found.digest in ("", known.digest)


def _require(found: VmId, expected: VmId) -> None:
    """What is read must be what was looked at."""
    if expected.digest and (found.uuid, found.place) != (expected.uuid, expected.place):
        raise SourceChanged(
            f"The source was {expected}, and is now {found}.", "Wait until nobody works on the VM, then run again.", vm=to_data(found)
        )


@contextlib.contextmanager
def reading(base: staging.Staging, work_dir: str, access: Access, cached: bool) -> Iterator[Callable[[], None]]:
    """For the time of a block the overlays of a VM read its source: the files that FETCH has checked, or disks that were not staged, where they are.

    Yields what raises SourceChanged when the source is no longer what it was; it is asked at the end of the block too. Raises it at once when it
    has changed since the overlays were made, and NotInPlace when the VM runs.
    """
    vm, transfer = base.vm, base.vm.transfer
    if transfer is None or transfer.stream is None:
        with staging.holding(base, work_dir) as unchanged:
            yield unchanged
        return

    source, before = transfer.source, transfer.stream

    def same(found: Opened) -> None:
        now = found.stamps()
        if now != before:
            changed = [one[0] for one, then in zip(now, before) if one != then]
            raise SourceChanged(
                f"The disks of {vm.machine.name} have changed since its migration began: {', '.join(map(str, changed)) or 'their number'}.",
                f"Nothing was published. Remove {work_dir} and run again; keep the VM off meanwhile.",
                source=source,
            )

    def as_before() -> None:
        with opened([source], access, check=True) as again:
            again.exports()
            same(again)

    with opened([source], access, check=True) as found:
        exported = found.exports()
        same(found)
        with exported(staging.sockets(vm, work_dir), cached):
            yield as_before
            as_before()
