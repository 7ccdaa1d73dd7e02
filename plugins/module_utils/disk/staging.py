# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH and FLATTEN of local sources: a work directory with canonical descriptors and one overlay per disk, and no copy."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Callable, Iterable, Iterator, Optional, Sequence

from ..core import atomic, choice, device, files, held, modes, spared
from ..core.data import Rest, from_data, kept, to_data
from ..core.errors import Busy, InvalidInput
from ..core.locks import exclusive
from ..core.manifest import Form, Identity, Manifest
from ..core.shape import FILE, fits
from ..core.trace import point
from ..core.vm import VmId
from . import qemu_img
from .machine import FETCH, Fetched, Named, SourceVm, Transfer, VmSaid

FETCHED = "fetch.json"
FLATTENED = "flatten.json"
LINKS = "links.json"
FIXED = "fix.json"
PLANNED = "plan.json"  # of the repair
REFUSED = "plan-refused.json"  # of a repair whose proof failed
REPAIRING = "repairing"  # a stage, in FIXED as long as the overlays are neither as they were nor repaired
_HELD = "held"
_ALIAS = re.compile(r"disk[A-Za-z0-9._-]*")  # what stages call the links that lead to a source
_LONGEST_SOCKET = 107  # bytes


@dataclass(frozen=True)
class StagedDisk:
    """What qemu opens: the top of the staged chain in its format, the overlay over it, and the size the guest sees in bytes."""

    top: str
    overlay: str
    virtual_size: int
    format: str = "vmdk"


def source_identities(vm: SourceVm, paths: Sequence[str]) -> tuple[Identity, ...]:
    """Every file the migration reads, as it is now."""
    found = {identity.path: identity for disk in vm.disks for identity in disk.chain.identities()}
    for path in map(choice.file_of, paths):
        found.setdefault(os.path.abspath(path), Identity.of(path, source=True))
    return tuple(found[path] for path in sorted(found))


@dataclass(frozen=True)
class Flattened:
    """What FLATTEN has recorded."""

    overlays: tuple[Annotated[str, FILE], ...] = ()
    rest: Rest = kept()


@dataclass(frozen=True)
class Staging:
    """What FETCH has recorded of a VM, as it is on disk."""

    record: Manifest

    @property
    def inputs(self) -> tuple[Identity, ...]:
        """The files of the source as they were then; none of a source whose disks have stayed where they are."""
        return self.record.inputs

    @cached_property
    def source(self) -> tuple[str, ...]:
        """What the operator had named."""
        return from_data(Named, self.record.options, "options").source

    @cached_property
    def _least(self) -> Fetched:
        return from_data(Fetched, self.record.result, "result")

    @property
    def identity(self) -> Optional[VmId]:
        """Which VM it is; None in the record of an earlier version."""
        return self._least.identity

    @property
    def disks(self) -> int:
        """How many there are."""
        return len(self._least.disks)

    @cached_property
    def vm(self) -> VmSaid:
        """Raises InvalidInput for what is no VM as it is described today."""
        return from_data(VmSaid, self.record.result, "The record of FETCH")

    @property
    def whole(self) -> bool:
        """Whether the disks that were made here, since their source has no files of them, are as they were made.

        0.1.0 did not record how they were: they are at least there.
        """
        made = [] if self.record.outputs or self.stays else [disk.staged for disk in self.vm.disks if not disk.files]
        return self.record.holds() and all(map(os.path.exists, made))

    @property
    def digest(self) -> str:
        """Of the VM's configuration, where that is known."""
        return self.identity.digest if self.identity is not None else ""

    @property
    def stays(self) -> bool:
        """Whether the disks have stayed at their source."""
        return self.vm.transfer is not None and self.vm.transfer.stream is not None


def noted(work_dir: str) -> Optional[Staging]:
    """The record of an earlier FETCH, whatever has become of its source, which nothing is written to from here on."""
    manifest = Manifest.load(os.path.join(work_dir, FETCHED), "fetch", form=FETCH)
    ours = os.path.join(os.path.realpath(work_dir), "")
    spared.add(one.path for one in (manifest.inputs if manifest is not None else ()) if not _real(one.path).startswith(ours))
    return Staging(manifest) if manifest is not None else None


def _real(path: str) -> str:
    """Where a name really lies, whatever it leads to."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def fetched(work_dir: str) -> Optional[Staging]:
    """The record of an earlier FETCH whose source has not changed since."""
    found = noted(work_dir)
    holds = found is not None and all(identity.holds() for identity in found.inputs) and found.whole
    return found if holds else None


def fetch(
    vm: SourceVm,
    paths: Sequence[str],
    work_dir: str,
    options: dict[str, Any],
    begin: float,
    *,
    identity: Optional[VmId] = None,
    transfer: Optional[Transfer] = None,
) -> VmSaid:
    """Stage the chains of `vm` in `work_dir` and record it; returns the VM's description with the staged paths.

    `begin` is when the work on the source began (time.monotonic), for the record of seconds.
    """
    modes.make_directory(work_dir)
    said = replace(vm.said(), identity=identity, transfer=transfer)
    staged = [disk.chain.stage(os.path.abspath(work_dir), f"disk{index}") for index, disk in enumerate(vm.disks)]
    result = _staged(said, staged, begin)
    atomic.write_json(os.path.join(work_dir, LINKS), held.links_in(work_dir))
    point("fetch.staged")
    inputs = source_identities(vm, paths)
    held.compare()
    made = tuple(Identity.of(disk.staged) for disk in result.disks if not disk.files)
    Manifest("fetch", inputs, options, made, to_data(result)).save(os.path.join(work_dir, FETCHED))
    point("fetch.recorded")
    return result


def _staged(vm: VmSaid, staged: Iterable[tuple[str, str]], begin: float) -> VmSaid:
    """A VM with what qemu opens of each disk, and its format."""
    disks = tuple(replace(disk, staged=path, staged_format=fmt) for disk, (path, fmt) in zip(vm.disks, staged))
    return replace(vm, disks=disks, seconds=round(time.monotonic() - begin, 2))


@contextlib.contextmanager
def holding(base: Staging, work_dir: str) -> Iterator[Callable[[], None]]:
    """For the time of a block the staged disks lead to the very files that FETCH has checked, whatever their names lead to.

    Yields what raises SourceChanged when they have changed since; it is asked at the end of the block too. Raises it for other files at once.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(os.path.join(work_dir, _HELD), f"the staged disks in {work_dir}"))
            links = _links(work_dir)
        except Busy:  # whoever looks meanwhile is led by the links of who works, which lead to the same files
            links = {}
        kept = stack.enter_context(held.sources())
        for known in base.inputs:
            os.close(files.descriptor(known.path, "The source", devices=True))
            if not known.holds():
                raise held.changed(known.path, "is no longer what it was")
        if not set(links.values()) <= {known.path for known in base.inputs}:
            raise InvalidInput(
                f"{os.path.join(work_dir, LINKS)} names files that the VM does not come from.",
                f"Remove {work_dir}, then run again.",
                path=work_dir,
            )
        for alias, path in links.items():
            held.link(path, os.path.join(work_dir, alias))
        yield kept.compare
        kept.compare()


def _links(work_dir: str) -> dict[str, str]:
    """The symbolic links of a staging, each with what it stands for."""
    try:
        links = json.loads(files.record(os.path.join(work_dir, LINKS)) or b"")
    except (InvalidInput, ValueError, RecursionError):  # of an earlier version, which has not written it
        links = None
    if not fits(links, {"": FILE}) or not all(_ALIAS.fullmatch(alias) for alias in links):
        links = {
            entry.name: os.readlink(entry.path) for entry in os.scandir(work_dir) if entry.is_symlink() and _ALIAS.fullmatch(entry.name)
        }
    return dict(links)


def stream(vm: VmSaid, work_dir: str, options: dict[str, Any], begin: float) -> VmSaid:
    """Record a VM whose disks stay where they are: overlays read them through exports on `sockets`, which whoever opens them provides."""
    modes.make_directory(work_dir)
    result = _staged(vm, [(f"nbd+unix:///?socket={socket}", "raw") for socket in sockets(vm, work_dir)], begin)
    Manifest("fetch", (), options, (), to_data(result)).save(os.path.join(work_dir, FETCHED))
    return result


def sockets(vm: VmSaid, work_dir: str) -> list[str]:
    """Where the disks of a streamed VM are exported while they are read.

    Raises InvalidInput where that is a longer path than a socket can have (unix(7)).
    """
    found = [os.path.join(os.path.abspath(work_dir), f"d{number}") for number in range(len(vm.disks))]
    if any(len(os.fsencode(path)) > _LONGEST_SOCKET for path in found):
        raise InvalidInput(f"{work_dir} is too long a path for sockets.", "Choose a shorter output directory.", path=work_dir)
    return found


def overlay(work_dir: str, number: int) -> str:
    """Where the overlay of a disk is, or will be."""
    return os.path.join(os.path.abspath(work_dir), f"disk{number}-overlay.qcow2")


def staged_disks(vm: VmSaid, work_dir: str) -> tuple[StagedDisk, ...]:
    """The disks of a fetched VM with the overlays they have, or will have, in `work_dir`."""
    return tuple(
        StagedDisk(disk.staged, overlay(work_dir, number), disk.virtual_size, disk.staged_format or "vmdk")
        for number, disk in enumerate(vm.disks)
    )


def flattened(work_dir: str) -> bool:
    """Whether overlays over the present staging exist, and no repair has left them half done."""
    manifest, base = Manifest.load(os.path.join(work_dir, FLATTENED), "flatten", form=Form(Flattened)), fetched(work_dir)
    fixed = Manifest.load(os.path.join(work_dir, FIXED))
    return (
        manifest is not None
        and base is not None
        and (fixed is None or fixed.stage != REPAIRING)
        and manifest.inputs == base.inputs
        and manifest.options == _made_for(base.digest)
        and len(from_data(Flattened, manifest.result, "The record of FLATTEN").overlays) == base.disks
        and all(os.path.exists(overlay(work_dir, number)) for number in range(base.disks))
    )


def require_whole(work_dir: str) -> None:
    """Raise InvalidInput where the overlays are not whole: none, older than the source, or left by a repair that did not come to its end."""
    if not flattened(work_dir):
        raise InvalidInput(
            f"The overlays in {work_dir} are not whole: they were not made, or their repair did not come to its end.",
            "Run FIX again (guest_fix), or FLATTEN (disk_flatten) for disks that are not repaired.",
            work_dir=work_dir,
        )


def require_apart(disks: Sequence[StagedDisk], inputs: Sequence[Identity]) -> None:
    """Raise InvalidInput where an overlay would take the place of a file of the source."""
    for disk, known in itertools.product(disks, inputs):
        if device.meet(disk.overlay, known.path):
            raise InvalidInput(
                f"{known.path} is in the place of an overlay, {disk.overlay}.",
                "The source is never written. Move it out of the work directory, or name another one; then begin with FETCH (vmdk_fetch).",
                path=known.path,
            )


def flatten(vm: VmSaid, work_dir: str, inputs: tuple[Identity, ...]) -> tuple[StagedDisk, ...]:
    """Make fresh overlays; whatever was in older ones is dropped. Raises what `require_apart` raises."""
    disks = staged_disks(vm, work_dir)
    require_apart(disks, inputs)
    for record in (FLATTENED, FIXED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(work_dir, record))
    for disk in disks:
        qemu_img.create_overlay(disk.overlay, disk.top, disk.format, disk.virtual_size)
        point("flatten.overlay")
    made_for = _made_for(vm.identity.digest if vm.identity is not None else "")
    Manifest("flatten", inputs, made_for, (), {"overlays": [disk.overlay for disk in disks]}).save(os.path.join(work_dir, FLATTENED))
    return disks


def _made_for(digest: str) -> dict[str, str]:
    """What overlays are made for beside the disks: another configuration is another migration."""
    return {"vm": digest}


@contextlib.contextmanager
def temporary(vm: SourceVm, paths: Sequence[str]) -> Iterator[tuple[VmSaid, tuple[StagedDisk, ...], list[int]]]:
    """A throw-away staging of a VM that is held, for looking without leaving anything behind; nothing of it is brought from elsewhere."""
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-") as work_dir:
        said = fetch(vm, paths, work_dir, {}, time.monotonic())
        yield said, flatten(said, work_dir, ()), []
        held.compare()


def require_fetched(work_dir: str, source: Sequence[str] = ()) -> Staging:
    """The record of FETCH, which the later stages need; of this `source`, if one is named."""
    found = fetched(work_dir)
    if found is None:
        raise InvalidInput(
            f"{work_dir} holds no staging of the present source.",
            "Run FETCH first (vmdk_fetch, or Fetch of the library); it is repeated when the source has changed.",
            work_dir=work_dir,
        )
    if source and found.source and tuple(source) != found.source:
        raise InvalidInput(
            f"{work_dir} holds the staging of {', '.join(found.source)}, and not of {', '.join(source)}.",
            "Run FETCH first (vmdk_fetch, or Fetch of the library), which says whether both are one VM; or name the work directory of this VM.",
            work_dir=work_dir,
        )
    return found
