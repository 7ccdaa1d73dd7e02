# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT: the one full copy, from the overlay to the result, published only when complete, checked and flushed."""

from __future__ import annotations

import contextlib
import os
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
# What each format can do beside leaving out what is not used.
PREALLOCATIONS = {"qcow2": ("off", "metadata", "falloc", "full"), "raw": ("off", "falloc", "full"), "vdi": ("off",)}
_CLUSTERS = tuple(1 << bits for bits in range(9, 22))
_HEAD = 34 * 512  # the boot sector, and a GPT with its 128 entries


@dataclass(frozen=True)
class Request:
    """One disk to convert. `size` is what the result is to have, in bytes; None to keep the size.

    `cluster_size` is that of a qcow2 in bytes, 0 for qemu's choice.
    `overwrite`: a result may be replaced although it is no longer as it was made, as after a VM has run on it.
    """

    source: str
    source_format: str
    dest: str
    format: str = "qcow2"
    compression: str = "none"
    size: Optional[int] = None
    overwrite: bool = False
    preallocation: str = "off"
    cluster_size: int = 0

    def __post_init__(self) -> None:
        if self.compression != "none" and self.format != "qcow2":
            raise InvalidInput(
                f"{self.format} images cannot be compressed.", "Use qcow2, or set the compression to none.", format=self.format
            )
        if self.preallocation not in PREALLOCATIONS[self.format] or (self.preallocation != "off" and self.compression != "none"):
            raise InvalidInput(
                f"{'Compressed' if self.compression != 'none' else self.format} images cannot be preallocated ({self.preallocation}).",
                "Set the preallocation to off; full and falloc are for raw and for qcow2 without compression.",
                preallocation=self.preallocation,
            )
        if self.cluster_size and (self.format != "qcow2" or self.cluster_size not in _CLUSTERS):
            raise InvalidInput(
                f"{self.format} images cannot have clusters of {self.cluster_size} bytes.",
                "qcow2 has clusters of a power of two from 512 bytes to 2 MiB.",
                cluster_size=self.cluster_size,
            )

    def options(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key not in ("source", "dest", "overwrite")}


def manifest_path(dest: str) -> str:
    return f"{dest}.manifest.json"


def done_before(request: Request, inputs: tuple[Identity, ...]) -> Optional[dict[str, Any]]:
    """What an earlier run reported, if it made the same result from the same input and the result is untouched."""
    manifest = Manifest.load(manifest_path(request.dest))
    return manifest.result if manifest is not None and manifest.current("convert", inputs, request.options()) else None


def plan(request: Request) -> dict[str, Any]:
    """What a conversion would do: sizes in bytes. Reads metadata only. Raises InvalidInput for less than the source has."""
    image = qemu_img.info(request.source, request.source_format)
    if request.size is not None and request.size < image.virtual_size:
        raise InvalidInput(
            f"{request.source} has {image.virtual_size} bytes already and is never shrunk to {request.size}.",
            "Give the sizes that guest_fix had (grow).",
            path=request.source,
        )
    data = qemu_img.map_allocated(request.source, request.source_format)
    return {"path": request.dest, "format": request.format, "virtual_size": request.size or image.virtual_size, "data": data}


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
    least = planned["virtual_size"] if request.preallocation in ("falloc", "full") else planned["data"]
    atomic.need_space(directory, least + least // 100 + (16 << 20), f"The disk {os.path.basename(request.dest)}")
    progress.phase(f"convert {os.path.basename(request.dest)}", planned["data"])
    options = ["lazy_refcounts=on"] if request.format == "qcow2" else []
    if request.compression != "none":
        options.append(f"compression_type={request.compression}")
    if request.preallocation != "off":
        options.append(f"preallocation={request.preallocation}")
    if request.cluster_size:
        options.append(f"cluster_size={request.cluster_size}")
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
    if request.size is None or request.size == qemu_img.info(request.source, request.source_format).virtual_size:
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
