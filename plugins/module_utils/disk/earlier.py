# SPDX-License-Identifier: GPL-3.0-or-later
"""What an earlier run has left where a result goes: the same result, one that may be replaced, a half one, or what somebody else has put there.

A result is published in two steps. First its manifest is written, which knows the file already that is still called .partial, and the one that it
replaces; then the file gets its name. A run that ends in between is completed by the next. What goes to a block device cannot appear at once
there: its manifest says `writing` until it is complete, and what there is of the device's head was either there before, or is zeros, or is ours.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from dataclasses import replace
from typing import Any, Optional, Sequence

from ..core import atomic, device, spared
from ..core.data import from_data, to_data
from ..core.errors import InvalidInput, MigrationError
from ..core.manifest import Identity, Manifest, beside, sha256
from ..core.trace import point
from . import encrypted, qemu_img, tap, target
from .machine import Converted
from .request import RECORD, STAGE, WRITING, Request, Written

HEAD = 34 * 512  # bytes: the boot sector, and a GPT with its 128 entries


def done_before(request: Request, inputs: tuple[Identity, ...], quick: bool = False) -> Optional[Converted]:
    """What an earlier run reported, if it made the same result from the same input and the result is untouched.

    `quick`: not if the whole result would have to be read to know.
    """
    manifest = _earlier(request)
    same = manifest is not None and manifest.says(STAGE, inputs, request.options()) and _as_made(request, manifest, quick)
    if manifest is None or not same or not _opens(request) or (request.file_digest and "sha256" not in manifest.result):
        return None
    return _said(request, manifest)


def finished(request: Request, inputs: tuple[Identity, ...]) -> Optional[Converted]:
    """Do what is left to do of an earlier run that made this result: its name, or a digest that was not wanted then. None where there is none."""
    manifest = _earlier(request)
    if manifest is None or not manifest.says(STAGE, inputs, request.options()):
        return None
    if not manifest.holds() and not request.device and _waits(request, manifest):
        atomic.rename(_partial(request), request.dest)
    if not _as_made(request, manifest) or not _opens(request):
        return None
    if request.file_digest and "sha256" not in manifest.result:
        manifest = replace(manifest, result={**manifest.result, "sha256": sha256(request.output)})
        manifest.save(beside(request.dest))
    return _said(request, manifest)


def _said(request: Request, manifest: Manifest) -> Optional[Converted]:
    """What was reported of a result; None where that is not what this one is, so that it is made again."""
    with contextlib.suppress(InvalidInput):
        said = from_data(Converted, manifest.result, "The record of CONVERT")
        wanted = (request.output, request.format, bool(request.device), bool(request.passphrase))
        return said if (said.path, said.format, said.device, said.encrypted) == wanted and said.virtual_size > 0 else None
    return None


def _waits(request: Request, manifest: Manifest) -> bool:
    """Whether a whole result waits for its name, and nothing has that name but what it was to replace."""
    free = not os.path.lexists(request.dest) or request.overwrite or _not_yet(manifest)
    return free and os.path.exists(_partial(request)) and manifest.outputs == (_as_published(request),)


def _partial(request: Request) -> str:
    return f"{request.dest}{atomic.PARTIAL}"


def _as_published(request: Request) -> Identity:
    """What the file that is not published yet will be; a new name changes neither its time nor its number."""
    return replace(Identity.of(_partial(request)), path=os.path.abspath(request.dest))


def publish(request: Request, inputs: tuple[Identity, ...], result: Converted) -> None:
    """Make the file at its .partial name the result."""
    partial = _partial(request)
    os.chmod(partial, request.mode)
    atomic.flush(partial)
    point("convert.flushed")
    Manifest(STAGE, inputs, request.options(), (_as_published(request),), to_data(result), _replaced(request)).save(beside(request.dest))
    point("convert.announced")
    atomic.rename(partial, request.dest)
    point("convert.published")


def claim(request: Request, inputs: tuple[Identity, ...]) -> None:
    """Say that the device is being written, and let nobody take what it held for whole."""
    manifest = _earlier(request)
    held: dict[str, Any] = manifest.result if manifest is not None else {}
    said: dict[str, Any] = {key: held[key] for key in ("content_digest", "sha256", "virtual_size") if key in held}
    said["head"] = _sha256(qemu_img.read_start(request.source, request.source_format, HEAD))
    Manifest(WRITING, inputs, request.options(), (), said, _replaced(request)).save(beside(request.dest))
    point("convert.claimed")
    target.clear(request.device)
    point("convert.cleared")


def _replaced(request: Request) -> tuple[Identity, ...]:
    """What is there now, and was made by an earlier run."""
    manifest = _earlier(request)
    return tuple(one for one in (*manifest.outputs, *manifest.replaces) if one.holds()) if manifest is not None else ()


def refuse_source(request: Request, inputs: Sequence[Identity]) -> None:
    """Raise InvalidInput where a file that is written would replace one that the VM comes from, whichever way that is named. No option allows it."""
    written = [beside(request.dest), *([] if request.device else [request.dest])]
    names = [place for name in written for place in (name, f"{name}{atomic.PARTIAL}")]
    for one in (*(known.path for known in inputs), request.source):
        for name in names:
            if os.path.lexists(name) and device.meet(name, one):
                raise spared.replaced(name, one)


def refuse_used(request: Request) -> None:
    """Raise InvalidInput for a place that somebody else has written to: it may be the disk of a VM by now."""
    if request.overwrite or not device.exists(request.output):
        return
    manifest = _earlier(request)
    if request.device and (manifest is None or manifest.stage == WRITING):
        holds = target.content(request.device)
        if holds and (manifest is None or not _half_written(request, manifest)):
            raise InvalidInput(
                f"{request.device} holds {holds}, and not what an earlier run wrote there.",
                "Name another device, or set migrate_overwrite: true (overwrite of qemu_convert) if what it holds may be lost.",
                path=request.device,
            )
        return
    if manifest is None or not _untouched(request, manifest):
        raise InvalidInput(
            f"{request.output} is no longer as it was made: a VM may have run on it, and a new conversion would destroy its data.",
            "Move it away, or set migrate_overwrite: true (overwrite of qemu_convert) if it may be lost.",
            path=request.output,
        )


def _half_written(request: Request, manifest: Manifest) -> bool:
    """Whether a device that was claimed holds what the claim left there, or still what it was to replace."""
    head = qemu_img.read_start(request.device, "raw", HEAD)
    if "head" not in manifest.result:  # of an earlier version
        return bool(request.source) and head == qemu_img.read_start(request.source, request.source_format, HEAD)
    return not any(head) or _sha256(head) == manifest.result["head"] or _untouched(request, manifest)


def _earlier(request: Request) -> Optional[Manifest]:
    """The manifest of this result: of the same device, or of the file."""
    manifest = Manifest.load(beside(request.dest), STAGE, WRITING, form=RECORD)
    return manifest if manifest is not None and manifest.options.get("device", "") == request.device else None


def _opens(request: Request) -> bool:
    """Whether the passphrase, which nothing records, is the one of an encrypted result."""
    return not request.passphrase or encrypted.opens(request.output, request.format, request.passphrase)


def _as_made(request: Request, manifest: Manifest, quick: bool = False) -> bool:
    """Whether what is there is what the manifest says. The kernel forgets what it has counted of a device, and a restored file is another one;
    then the content decides.
    """
    if manifest.outputs and manifest.holds():
        return True
    if quick or _not_yet(manifest) or not device.readable(request.output):
        return False
    return _same_content(request, manifest)


def _not_yet(manifest: Manifest) -> bool:
    """Whether what was to be replaced is still there."""
    return any(one.holds() for one in manifest.replaces)


def _untouched(request: Request, manifest: Manifest) -> bool:
    """Whether what is there is as it was made, or still what was to be replaced."""
    return _not_yet(manifest) or _as_made(request, manifest)


def _same_content(request: Request, manifest: Manifest) -> bool:
    said, there = manifest.result, request.output
    if "content_digest" not in said:  # of an earlier version
        return bool(request.device and "sha256" in said and _digest(Identity.of(there)) == said["sha256"])
    fmt = manifest.options.get("format", request.format)
    if manifest.options.get("encrypted", False):
        return False  # a VM may have run on it, and the key is not ours to try
    with contextlib.suppress(MigrationError):  # what cannot be read is not what was made
        return bool(
            _content(Identity.of(there), fmt, from_data(Written, said, "The record of CONVERT").virtual_size) == said["content_digest"]
        )
    return False


@functools.cache
def _digest(place: Identity) -> str:
    return sha256(place.path)


@functools.cache
def _content(place: Identity, fmt: str, size: int) -> str:
    found = qemu_img.info(place.path, fmt)
    return tap.digest(place.path, fmt, size) if found.virtual_size == size and found.backing is None else ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
