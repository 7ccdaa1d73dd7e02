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
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ..core import atomic, device, files, held, modes, spared
from ..core.errors import Busy, InvalidInput
from ..core.locks import exclusive
from ..core.manifest import Identity, Manifest
from ..core.shape import FILE, fits
from ..core.trace import point
from . import qemu_img
from .machine import FETCH, SourceVm

FETCHED = "fetch.json"
FLATTENED = "flatten.json"
LINKS = "links.json"
FIXED = "fix.json"
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
    for path in paths:
        found.setdefault(os.path.abspath(path), Identity.of(path, source=True))
    return tuple(found[path] for path in sorted(found))


def noted(work_dir: str) -> Optional[Manifest]:
    """The record of an earlier FETCH, whatever has become of its source, which nothing is written to from here on."""
    manifest = Manifest.load(os.path.join(work_dir, FETCHED), "fetch", form=FETCH)
    ours = os.path.join(os.path.realpath(work_dir), "")
    spared.add(one.path for one in (manifest.inputs if manifest is not None else ()) if not _real(one.path).startswith(ours))
    return manifest


def _real(path: str) -> str:
    """Where a name really lies, whatever it leads to."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def fetched(work_dir: str) -> Optional[Manifest]:
    """The record of an earlier FETCH whose source has not changed since."""
    manifest = noted(work_dir)
    if manifest is None or not all(identity.holds() for identity in manifest.inputs):
        return None
    return manifest


def fetch(
    vm: SourceVm, paths: Sequence[str], work_dir: str, options: dict[str, Any], begin: float, more: Optional[dict[str, Any]] = None
) -> dict[str, Any]:
    """Stage the chains of `vm` in `work_dir` and record it; returns the VM's description with the staged paths.

    `begin` is when the work on the source began (time.monotonic), for the record of seconds. `more` is recorded with the description.
    """
    modes.make_directory(work_dir)
    result = {**vm.as_result(), **(more or {})}
    for index, (disk, entry) in enumerate(zip(vm.disks, result["disks"])):
        entry["staged"], entry["staged_format"] = disk.chain.stage(os.path.abspath(work_dir), f"disk{index}")
    result["seconds"] = round(time.monotonic() - begin, 2)
    atomic.write_json(os.path.join(work_dir, LINKS), held.links_in(work_dir))
    point("fetch.staged")
    inputs = source_identities(vm, paths)
    held.compare()
    Manifest("fetch", inputs, options, (), result).save(os.path.join(work_dir, FETCHED))
    point("fetch.recorded")
    return result


@contextlib.contextmanager
def holding(base: Manifest, work_dir: str) -> Iterator[Callable[[], None]]:
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


def stream(description: dict[str, Any], work_dir: str, options: dict[str, Any], begin: float) -> dict[str, Any]:
    """Record a VM whose disks stay where they are: overlays read them through exports on `sockets`, which whoever opens them provides."""
    modes.make_directory(work_dir)
    result = {**description, "seconds": round(time.monotonic() - begin, 2)}
    for entry, socket in zip(result["disks"], sockets(description, work_dir)):
        entry["staged"], entry["staged_format"] = f"nbd+unix:///?socket={socket}", "raw"
    Manifest("fetch", (), options, (), result).save(os.path.join(work_dir, FETCHED))
    return result


def sockets(description: Mapping[str, Any], work_dir: str) -> list[str]:
    """Where the disks of a streamed VM are exported while they are read.

    Raises InvalidInput where that is a longer path than a socket can have (unix(7)).
    """
    found = [os.path.join(os.path.abspath(work_dir), f"d{number}") for number in range(len(description["disks"]))]
    if any(len(os.fsencode(path)) > _LONGEST_SOCKET for path in found):
        raise InvalidInput(f"{work_dir} is too long a path for sockets.", "Choose a shorter output directory.", path=work_dir)
    return found


def staged_disks(description: dict[str, Any], work_dir: str) -> tuple[StagedDisk, ...]:
    """The disks of a fetched VM with the overlays they have, or will have, in `work_dir`."""
    return tuple(
        StagedDisk(
            entry["staged"],
            os.path.join(os.path.abspath(work_dir), f"disk{index}-overlay.qcow2"),
            entry["virtual_size"],
            entry.get("staged_format", "vmdk"),
        )
        for index, entry in enumerate(description["disks"])
    )


def flattened(work_dir: str) -> bool:
    """Whether overlays over the present staging exist, and no repair has left them half done."""
    manifest, base = Manifest.load(os.path.join(work_dir, FLATTENED)), fetched(work_dir)
    fixed = Manifest.load(os.path.join(work_dir, FIXED))
    return (
        manifest is not None
        and base is not None
        and (fixed is None or fixed.stage != REPAIRING)
        and manifest.inputs == base.inputs
        and manifest.options == _of_vm(base.result)
        and all(os.path.exists(disk.overlay) for disk in staged_disks(base.result, work_dir))
    )


def require_whole(work_dir: str) -> None:
    """Raise InvalidInput where the overlays are not whole: none, older than the source, or left by a repair that did not come to its end."""
    if not flattened(work_dir):
        raise InvalidInput(
            f"The overlays in {work_dir} are not whole: they were not made, or their repair did not come to its end.",
            "Run guest_fix again (or disk_flatten, for disks that are not repaired).",
            work_dir=work_dir,
        )


def require_apart(disks: Sequence[StagedDisk], inputs: Sequence[Identity]) -> None:
    """Raise InvalidInput where an overlay would take the place of a file of the source."""
    for disk, known in itertools.product(disks, inputs):
        if device.meet(disk.overlay, known.path):
            raise InvalidInput(
                f"{known.path} is in the place of an overlay, {disk.overlay}.",
                "The source is never written. Move it out of the work directory, or name another one; then begin with vmdk_fetch.",
                path=known.path,
            )


def flatten(description: dict[str, Any], work_dir: str, inputs: tuple[Identity, ...]) -> tuple[StagedDisk, ...]:
    """Make fresh overlays; whatever was in older ones is dropped. Raises what `require_apart` raises."""
    disks = staged_disks(description, work_dir)
    require_apart(disks, inputs)
    for record in (FLATTENED, FIXED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(work_dir, record))
    for disk in disks:
        qemu_img.create_overlay(disk.overlay, disk.top, disk.format, disk.virtual_size)
        point("flatten.overlay")
    Manifest("flatten", inputs, _of_vm(description), (), {"overlays": [disk.overlay for disk in disks]}).save(
        os.path.join(work_dir, FLATTENED)
    )
    return disks


def _of_vm(description: Mapping[str, Any]) -> dict[str, Any]:
    """What overlays are made for beside the disks: another configuration is another migration."""
    return {"vm": (description.get("identity") or {}).get("digest", "")}


@contextlib.contextmanager
def temporary(vm: SourceVm, paths: Sequence[str]) -> Iterator[tuple[dict[str, Any], tuple[StagedDisk, ...], list[int]]]:
    """A throw-away staging of a VM that is held, for looking without leaving anything behind; nothing of it is brought from elsewhere."""
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-") as work_dir:
        description = fetch(vm, paths, work_dir, {}, time.monotonic())
        yield description, flatten(description, work_dir, ()), []
        held.compare()


def require_fetched(work_dir: str, source: Sequence[str] = ()) -> Manifest:
    """The record of FETCH, which the later stages need; of this `source`, if one is named."""
    manifest = fetched(work_dir)
    if manifest is None:
        raise InvalidInput(
            f"{work_dir} holds no staging of the present source.",
            "Run vmdk_fetch first; it is repeated when the source has changed.",
            work_dir=work_dir,
        )
    fetched_of = [str(one) for one in manifest.options.get("source") or ()]
    if source and fetched_of and list(source) != fetched_of:
        raise InvalidInput(
            f"{work_dir} holds the staging of {', '.join(fetched_of)}, and not of {', '.join(source)}.",
            "Run vmdk_fetch first, which says whether both are one VM; or name the work directory of this VM.",
            work_dir=work_dir,
        )
    return manifest
