# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT: the one full copy, from the overlay to the result, published only when complete, checked and flushed."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

from ..core import ahead, atomic, modes, rbd, secret
from ..core.data import to_data
from ..core.errors import MigrationError
from ..core.manifest import Identity, Manifest, beside, sha256
from ..core.progress import Progress
from ..core.trace import point
from . import earlier, qemu_img, tap, target
from .content import Content
from .machine import Converted
from .request import STAGE, Request

Unchanged = Callable[[], None]


@dataclass(frozen=True)
class Planned:
    """What a conversion would make, and how much `data` it would copy for it. Sizes in bytes."""

    path: str
    format: str
    virtual_size: int
    data: int
    device: bool
    encrypted: bool


def plan(request: Request, inputs: tuple[Identity, ...] = ()) -> Planned:
    """What a conversion would do. Reads metadata only. Raises what `looked_at` raises."""
    return looked_at(request, *_sizes(request), inputs)


def _sizes(request: Request) -> tuple[int, int]:
    """Of the source: the bytes that it has, and those that hold data."""
    size = qemu_img.info(request.source, request.source_format).virtual_size
    return size, qemu_img.map_allocated(request.source, request.source_format)


def looked_at(request: Request, size: int, data: int, inputs: tuple[Identity, ...] = ()) -> Planned:
    """The plan for a disk of `size` bytes with `data` bytes of data, which need not be here yet.

    Raises InvalidInput for less than the source has and for a place that holds something else, or the source (`inputs`), Busy for a device that is in use.
    """
    with _held(request, inputs) as room:
        return _planned(request, size, data, room)


def _held(request: Request, inputs: tuple[Identity, ...]) -> contextlib.AbstractContextManager[int]:
    earlier.refuse_source(request, inputs)
    return target.held(request.device, inputs) if request.device else contextlib.nullcontext(0)


def _planned(request: Request, size: int, data: int, room: int) -> Planned:
    virtual_size = request.virtual_size(size, room)
    earlier.refuse_used(request)
    return Planned(request.output, request.format, virtual_size, data, bool(request.device), bool(request.passphrase))


@contextlib.contextmanager
def _new_file(request: Request, planned: Planned) -> Iterator[str]:
    """Where to write until the result is published; removed when something fails."""
    partial, directory = f"{request.dest}{atomic.PARTIAL}", os.path.dirname(os.path.abspath(request.dest))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    atomic.need_space(directory, _least(request, planned), f"The disk {os.path.basename(request.dest)}")
    try:
        yield partial
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def _least(request: Request, planned: Planned) -> int:
    """Bytes for an image. Metadata of every format stay far below 1 % and 16 MiB."""
    least = planned.virtual_size if request.preallocation in ("falloc", "full") else planned.data
    return least + least // 100 + (16 << 20)


def check_room(wanted: Sequence[tuple[Request, Planned]]) -> None:
    """Raise what `convert` would raise for where images go and what they take, all of them together; for requests with their plans."""
    needed: dict[str, int] = {}
    for request, planned in wanted:
        if not request.device:
            directory = os.path.dirname(os.path.abspath(request.dest))
            needed[directory] = needed.get(directory, 0) + _least(request, planned)
    for directory, size in needed.items():
        ahead.room(directory, size, "The result")


@contextlib.contextmanager
def _on_device(request: Request, inputs: tuple[Identity, ...]) -> Iterator[str]:
    """Where to write: the device, after a manifest that says so."""
    earlier.claim(request, inputs)
    yield request.device


def convert(request: Request, inputs: tuple[Identity, ...], progress: Progress, unchanged: Unchanged = lambda: None) -> Converted:
    """Make `request.dest`. A killed run leaves a .partial file, or a device that is half written, which the next one completes or replaces.

    `unchanged` raises SourceChanged when the source is no longer what it was; asked after the last byte, before anything is published.
    Raises InvalidInput and NotEnoughSpace before anything is written, and MigrationError when the result differs from its source.
    """
    begin = time.monotonic()
    with _held(request, inputs) as room:
        done = earlier.finished(request, inputs)
        if done is not None:
            return done
        had, data = _sizes(request)
        planned = _planned(request, had, data, room)
        modes.make_directory(os.path.dirname(os.path.abspath(request.dest)), modes.with_disks(request.mode))
        point("convert.planned")
        with (
            secret.readable(request.passphrase) as key,
            _on_device(request, inputs) if request.device else _new_file(request, planned) as place,
        ):
            content, whole = _written(request, place, planned, planned.virtual_size > had, key, progress)
            ended = time.monotonic()
            unchanged()
            point("convert.compared")
            written = planned.data if request.device else os.stat(place).st_blocks * 512
            result = Converted(
                planned.path,
                planned.format,
                device=planned.device,
                encrypted=planned.encrypted,
                luks=qemu_img.info(place, request.format).luks if request.passphrase else "",
                virtual_size=planned.virtual_size,
                data=planned.data,
                allocated=written,
                bytes_read=planned.data,
                bytes_written=written,
                seconds=round(time.monotonic() - begin, 2),
                content_digest=content,
                sha256=whole,
            )
            if not request.device:
                earlier.publish(request, inputs, result)
        if rbd.is_image(request.device):
            progress.phase("wait until Ceph can distinguish later writes")
            rbd.settle(request.device, ended)
        if request.device:
            point("convert.flushed")
            Manifest(STAGE, inputs, request.options(), (Identity.of(request.output),), to_data(result)).save(beside(request.dest))
            point("convert.published")
    return result


def _written(request: Request, place: str, planned: Planned, larger: bool, key: str, progress: Progress) -> tuple[str, str]:
    """Write, the disk as it is or `larger`, and compare. Returns the digests of the content and, where that is wanted, of the file."""
    name, compress, size = os.path.basename(request.dest), request.compression != "none", planned.virtual_size
    options = ["lazy_refcounts=on"] if request.format == "qcow2" else []
    if compress:
        options.append(f"compression_type={request.compression}")
    if request.preallocation != "off":
        options.append(f"preallocation={request.preallocation}")
    if request.cluster_size:
        options.append(f"cluster_size={request.cluster_size}")
    limit = size + size // 50 + (64 << 20)
    progress.phase(f"convert {name}", planned.data)
    content = Content(size, earlier.HEAD)
    with _grown(request, size if larger else 0) as grown, tap.tapped(*grown, content) as tapped:
        qemu_img.convert(tapped, "raw", place, request.format, options, compress, progress, planned.data, limit, key)
    point("convert.copied")
    _compare_heads(request, bytes(content.head), place, key)
    qemu_img.check(place, request.format, key)
    point("convert.checked")
    digest = content.digest()
    if content.late:
        progress.phase(f"digest {name}")
        digest = tap.digest(place, request.format, size, key)
    if not request.file_digest:
        return digest, ""
    progress.phase(f"digest {name}")
    return digest, sha256(place)


@contextlib.contextmanager
def _grown(request: Request, size: int) -> Iterator[tuple[str, str]]:
    """What to convert from, and its format: the source, or an overlay of `size` over it, since not every format can be resized afterwards."""
    if not size:
        yield request.source, request.source_format
        return
    with tempfile.TemporaryDirectory(prefix="grown-", dir=os.path.dirname(request.source)) as scratch:
        path = os.path.join(scratch, "grown.qcow2")
        qemu_img.create_overlay(path, request.source, request.source_format, size)
        yield path, "qcow2"


def _compare_heads(request: Request, head: bytes, place: str, key: str) -> None:
    if head != qemu_img.read_start(place, request.format, earlier.HEAD, key):
        raise MigrationError(
            f"The boot sector or partition table of {request.output} differs from its source after the copy.",
            "Do not use the result. Check the storage of the conversion host, then run again.",
            path=request.output,
        )
