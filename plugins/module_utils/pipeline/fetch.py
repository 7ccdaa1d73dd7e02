# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH: from what the user named to a work directory with a checked, staged disk set."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from dataclasses import replace
from typing import Any, Callable, Iterator, Mapping, Sequence

from ..core import ahead, held, made, modes
from ..core import vm as vms
from ..core.concern import INFO, Concern
from ..core.errors import MigrationError, NotInPlace, SourceChanged
from ..core.manifest import Manifest
from ..core.progress import Progress
from ..core.trace import point
from ..core.vm import VmId
from ..disk import archive, fingerprint, qemu_img, staging
from ..disk.machine import SourceVm
from ..disk.source import open_source
from ..sources.source import Access, InPlace, Remote
from . import copied, places, power
from .sources import identified, is_remote, opened


def which(source: Sequence[str], access: Access) -> VmId:
    """Which VM a source is. Nothing is written for it, and of its disks no more is read than the ends; of one that is packed only the place is known."""
    if is_remote(source):
        return identified(source[0], access)
    if archive.packed(source):
        return fingerprint.packed(source)
    with held.sources():  # what is checked is what is read
        return fingerprint.identity(open_source(source, verify=False), source)


def from_here(
    paths: Sequence[str],
    work_dir: str,
    options: dict[str, Any],
    progress: Progress,
    *,
    accept: Sequence[str],
    check: bool,
    expected: VmId,
    admit: Callable[[VmId], None],
) -> dict[str, Any]:
    """Stage a local source, unpacked if it is packed. In check mode only look at it. Raises SourceChanged unless it is the VM that was `expected`,
    InvalidInput for a source in the work directory and for files of others in the place of its copy.

    `admit` may refuse the VM that was in a packed source; what was unpacked is removed then.
    """
    begin = time.monotonic()
    packed = archive.packed(paths)
    copied.require_apart(work_dir, paths)
    if packed:
        archive.require_distinct(paths)
        copied.require(work_dir) if check else copied.adopt(work_dir)
    if packed and check:
        return {**SourceVm(os.path.basename(paths[0]), "archive", ()).as_result(), places.IDENTITY: expected.as_data()}
    with held.sources():
        found = archive.unpacked(paths, copied.place(work_dir), progress) if packed else paths
        progress.phase("check the source")
        vm = open_source(found, bool(options["verify"]))
        copied.require_apart(work_dir, copied.of_others(work_dir, vm))
        vm.check_idle(accept)
        point("fetch.checked")
        identity = fingerprint.identity(vm, paths)
        _require(identity, expected)
        try:
            admit(identity)
        except MigrationError:
            if packed:
                copied.remove(work_dir)
            raise
        more = {places.IDENTITY: identity.as_data()}
        return {**vm.as_result(), **more} if check else staging.fetch(vm, paths, work_dir, options, begin, more)


def from_afar(
    url: str, access: Access, work_dir: str, options: dict[str, Any], progress: Progress, *, check: bool, stay: bool, expected: VmId
) -> tuple[dict[str, Any], tuple[Concern, ...]]:
    """Bring a source from elsewhere, then stage it. Gives the VM's description and the concerns that are worth a warning.

    With `stay` the disks stay where they are, and are read when the result is written. Raises NotInPlace for those that cannot be, SourceChanged unless
    the source is the VM that was `expected`.
    """
    begin = time.monotonic()
    progress.phase("look at the source")
    if not stay:
        copied.require(work_dir) if check else copied.adopt(work_dir)
    access = replace(access, stopping=functools.partial(power.note, work_dir, url, expected))
    # A snapshot would end with this block, and what stays must stay as it is.
    with opened(url, access, check or (stay and access.running == "snapshot")) as remote:
        _require(remote.which, expected)
        identity = {places.IDENTITY: remote.which.as_data()}
        told = tuple(concern for concern in remote.concerns if concern.severity != INFO)
        if check:
            wanted = sum(job.wanted for disk in remote.disks for job in disk.jobs)
            ahead.room(work_dir, 0 if stay else max(0, wanted - _held(copied.place(work_dir))), "The copy of the source")
            return {**remote.as_result(), **identity}, told
        if stay:
            if remote.in_place is None:
                raise NotInPlace(_NOT_IN_PLACE, "Stage it (migrate_fetch: stage).", source=url)
            streamed = {"source": url, "transport": remote.transport, "stream": _stamps(remote)}
            return staging.stream({**remote.as_result(), "origin": streamed, **identity}, work_dir, options, begin), told
        directory = copied.place(work_dir)
        modes.make_directory(directory)
        with made.filling(directory):
            arrived = remote.bring(directory, progress)
        point("fetch.arrived")
        origin = {"source": url, "transport": remote.transport, "files": [item.as_result() for item in arrived]}
        with held.sources():
            vm = remote.local(directory)
            return staging.fetch(vm, (), work_dir, options, begin, {"origin": origin, **identity}), told


def _held(directory: str) -> int:
    """The bytes that files below a directory take."""
    return sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for place, dummy, names in os.walk(directory) for name in names)


def unchanged(description: Mapping[str, Any], found: VmId) -> bool:
    """Whether a source is still the VM that was fetched, with the same hardware. Of one that is packed its file tells that."""
    known = places.recorded(description)
    return known is not None and vms.same(known, found) and found.digest in ("", known.digest)


def _require(found: VmId, expected: VmId) -> None:
    """What is read must be what was looked at."""
    if expected.digest and (found.uuid, found.place) != (expected.uuid, expected.place):
        raise SourceChanged(
            f"The source was {expected}, and is now {found}.", "Wait until nobody works on the VM, then run again.", vm=found.as_data()
        )


def look_at(source: Sequence[str], access: Access) -> list[dict[str, Any]]:
    """The disks of a source: what the guest sees (`virtual_size`) and how much of it holds data at most (`data`), in bytes.

    Of one that is here the `name` of the VM, too, and its `files` as they are now. Of an archive nothing is known before it is unpacked.
    """
    if is_remote(source):
        with opened(source[0], access, check=True) as remote:
            return [{"virtual_size": disk.size, "data": sum(job.wanted for job in disk.jobs) or disk.size} for disk in remote.disks]
    if archive.packed(source):
        return []
    with held.sources():
        vm = open_source(source, verify=False)
        inputs = staging.source_identities(vm, source)
        return [
            {"virtual_size": disk.chain.virtual_size, "data": disk.chain.allocated(), "files": inputs, "name": vm.name} for disk in vm.disks
        ]


@contextlib.contextmanager
def looked_at(source: Sequence[str], access: Access) -> Iterator[tuple[dict[str, Any], tuple[staging.StagedDisk, ...], list[int]]]:
    """Throw-away overlays over a source: over local files, or over a source that is elsewhere, of which only what is read moves.

    The list gets, after the block, the bytes that were read from each disk of a source that is elsewhere.
    Raises NotInPlace for a source that cannot be read in place; it must be fetched first.
    """
    if not is_remote(source):
        if archive.packed(source):
            raise NotInPlace("The source is packed.", "Fetch it first (the role does so in a real run), or unpack it.", source=source[0])
        with staging.temporary(source) as (description, staged):
            yield description, staged, []
        return
    moved: list[int] = []
    with contextlib.ExitStack() as stack:
        remote = stack.enter_context(opened(source[0], access, check=True))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="hyper2kvm-"))
        if remote.in_place is None:
            raise NotInPlace(_NOT_IN_PLACE, "Fetch it first (the role does so in a real run), then look at the copy.", source=source[0])
        with remote.in_place([""] * len(remote.disks), True) as exports:
            disks = []
            for number, (disk, export) in enumerate(zip(remote.disks, exports)):
                overlay = os.path.join(directory, f"disk{number}-overlay.qcow2")
                qemu_img.create_overlay(overlay, export.uri, "raw", disk.size)
                disks.append(staging.StagedDisk(export.uri, overlay, disk.size))
            yield remote.as_result(), tuple(disks), moved
        moved += [export.moved for export in exports]


@contextlib.contextmanager
def reading(base: Manifest, work_dir: str, access: Access, cached: bool) -> Iterator[Callable[[], None]]:
    """For the time of a block the overlays of a VM read its source: the files that FETCH has checked, or disks that were not staged, where they are.

    Yields what raises SourceChanged when the source is no longer what it was; it is asked at the end of the block too. Raises it at once when it
    has changed since the overlays were made, and NotInPlace when the VM runs.
    """
    description = base.result
    origin = description.get("origin") or {}
    if "stream" not in origin:
        with staging.holding(base, work_dir) as unchanged:
            yield unchanged
        return

    def same(remote: Remote) -> InPlace:
        if remote.in_place is None:
            raise NotInPlace(_NOT_IN_PLACE, "Shut the VM down, then run again.", source=origin["source"])
        if _stamps(remote) != origin["stream"]:
            changed = [now[0] for now, then in zip(_stamps(remote), origin["stream"]) if now != then]
            raise SourceChanged(
                f"The disks of {description['name']} have changed since its migration began: {', '.join(map(str, changed)) or 'their number'}.",
                f"Nothing was published. Remove {work_dir} and run again; keep the VM off meanwhile.",
                source=origin["source"],
            )
        return remote.in_place

    def as_before() -> None:
        with contextlib.ExitStack() as again:
            same(again.enter_context(opened(origin["source"], access, check=True)))

    with contextlib.ExitStack() as stack:
        remote = stack.enter_context(opened(origin["source"], access, check=True))
        stack.enter_context(same(remote)(staging.sockets(description, work_dir), cached))
        yield as_before
        as_before()


def _stamps(remote: Remote) -> list[list[Any]]:
    """What tells whether the disks are still the same; what has no files (VDDK) is told by its sizes."""
    return [[job.path, job.size, job.stamp] for disk in remote.disks for job in disk.jobs] or [[disk.size] for disk in remote.disks]


_NOT_IN_PLACE = (
    "This source cannot be read where it is: its disks are chains of snapshots, or come by a lease or from a cloud, or the VM is running."
)
