# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT: the one full copy, from the overlay to the result, published only when complete, checked and flushed."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any, Iterator, Optional

from ..core import atomic
from ..core.errors import InvalidInput, MigrationError
from ..core.manifest import Identity, Manifest, sha256
from ..core.progress import Progress
from . import qemu_img

FORMATS = ("qcow2", "raw", "vdi")
COMPRESSIONS = ("none", "zstd", "zlib")
_HEAD = 34 * 512  # the boot sector, and a GPT with its 128 entries
_SIZE = re.compile(r"^(\+?)(\d+)([KMGT]?)$")


@dataclass(frozen=True)
class Request:
    """One disk to convert. `resize` is "+10G" or "50G" (powers of 1024), None to keep the size.

    `overwrite`: a result may be replaced although it is no longer as it was made, as after a VM has run on it.
    """

    source: str
    source_format: str
    dest: str
    format: str = "qcow2"
    compression: str = "none"
    resize: Optional[str] = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.compression != "none" and self.format != "qcow2":
            raise InvalidInput(
                f"{self.format} images cannot be compressed.", "Use qcow2, or set the compression to none.", format=self.format
            )
        if self.resize is not None and not _SIZE.match(self.resize):
            raise InvalidInput(f"{self.resize!r} is not a size.", 'Write "+10G" to add, or "50G" for the whole size.', resize=self.resize)

    def options(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key not in ("source", "dest", "overwrite")}


def manifest_path(dest: str) -> str:
    return f"{dest}.manifest.json"


def done_before(request: Request, inputs: tuple[Identity, ...]) -> Optional[dict[str, Any]]:
    """What an earlier run reported, if it made the same result from the same input and the result is untouched."""
    manifest = Manifest.load(manifest_path(request.dest))
    return manifest.result if manifest is not None and manifest.current("convert", inputs, request.options()) else None


def plan(request: Request) -> dict[str, Any]:
    """What a conversion would do: sizes in bytes. Reads metadata only."""
    image = qemu_img.info(request.source, request.source_format)
    data = qemu_img.map_allocated(request.source, request.source_format)
    return {"path": request.dest, "format": request.format, "virtual_size": _new_size(request.resize, image.virtual_size), "data": data}


def _refuse_used(request: Request) -> None:
    """Raise InvalidInput for a result that somebody else has written to: it may be the disk of a VM by now."""
    if request.overwrite or not os.path.exists(request.dest):
        return
    manifest = Manifest.load(manifest_path(request.dest))
    if manifest is None or not all(output.holds() for output in manifest.outputs):
        raise InvalidInput(
            f"{request.dest} is no longer as it was made: a VM may have run on it, and a new conversion would destroy its data.",
            "Move it away, or set migrate_overwrite: true (overwrite of qemu_convert) if it may be lost.",
            path=request.dest,
        )


def convert(request: Request, inputs: tuple[Identity, ...], progress: Progress) -> dict[str, Any]:
    """Make `request.dest`. A killed run leaves only a .partial file, which the next one replaces.

    Raises InvalidInput and NotEnoughSpace before anything is written, and MigrationError when the result differs from its source.
    """
    _refuse_used(request)
    begin, planned = time.monotonic(), plan(request)
    directory = os.path.dirname(os.path.abspath(request.dest))
    os.makedirs(directory, exist_ok=True)
    partial = f"{request.dest}{atomic.PARTIAL}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    # Metadata of every format stays far below 1 % and 16 MiB.
    atomic.need_space(directory, planned["data"] + planned["data"] // 100 + (16 << 20), f"The disk {os.path.basename(request.dest)}")
    progress.phase(f"convert {os.path.basename(request.dest)}", planned["data"])
    options = ["lazy_refcounts=on"] if request.format == "qcow2" else []
    if request.compression != "none":
        options.append(f"compression_type={request.compression}")
    limit = planned["virtual_size"] + planned["virtual_size"] // 50 + (64 << 20)
    try:
        with _grown(request, planned["virtual_size"]) as (source, source_format):
            compress = request.compression != "none"
            qemu_img.convert(source, source_format, partial, request.format, options, compress, progress, planned["data"], limit)
        _compare_heads(request, partial)
        qemu_img.check(partial, request.format)
        progress.phase(f"digest {os.path.basename(request.dest)}")
        digest = sha256(partial)
        atomic.publish(partial, request.dest)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise
    written = os.stat(request.dest).st_blocks * 512
    result = {
        **planned,
        "allocated": written,
        "sha256": digest,
        "bytes_read": planned["data"],
        "bytes_written": written,
        "seconds": round(time.monotonic() - begin, 2),
    }
    Manifest("convert", inputs, request.options(), (Identity.of(request.dest),), result).save(manifest_path(request.dest))
    return result


@contextlib.contextmanager
def _grown(request: Request, size: int) -> Iterator[tuple[str, str]]:
    """What to convert from, and its format: the source, or an empty larger overlay over it, since not every format can be resized afterwards."""
    if request.resize is None:
        yield request.source, request.source_format
        return
    with tempfile.TemporaryDirectory(prefix="grown-", dir=os.path.dirname(request.source)) as scratch:
        path = os.path.join(scratch, "grown.qcow2")
        qemu_img.create_overlay(path, request.source, request.source_format, size)
        yield path, "qcow2"


def _compare_heads(request: Request, partial: str) -> None:
    if qemu_img.read_start(request.source, request.source_format, _HEAD) != qemu_img.read_start(partial, request.format, _HEAD):
        raise MigrationError(
            f"The boot sector or partition table of {request.dest} differs from its source after the copy.",
            "Do not use the result. Check the storage of the conversion host, then run again.",
            path=request.dest,
        )


def _new_size(resize: Optional[str], size: int) -> int:
    match = _SIZE.match(resize) if resize is not None else None
    if match is None:
        return size
    amount = int(match[2]) << (10 * " KMGT".index(match[3] or " "))
    if not match[1] and amount < size:
        raise InvalidInput(
            f"The disk has {size} bytes and is never shrunk to {resize}.",
            "Shrink it at the source first, or choose a larger size.",
            resize=resize,
        )
    return size + amount if match[1] else amount
