# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT: the one full copy, from the overlay to the result, published only when complete, checked and flushed.

What goes to a block device cannot appear at once there. Its manifest says `writing` until it is complete, so that a run that was killed is
repeated, and nothing else is taken for one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Iterator, Mapping, Optional

from ..core import atomic, device, modes, rbd, secret
from ..core.errors import InvalidInput, MigrationError
from ..core.manifest import Identity, Manifest, sha256
from ..core.progress import Progress
from . import encrypted, qemu_img, target

FORMATS = ("qcow2", "raw", "vdi")
COMPRESSIONS = ("none", "zstd", "zlib")
# What each format can do beside leaving out what is not used.
PREALLOCATIONS = {"qcow2": ("off", "metadata", "falloc", "full"), "raw": ("off", "falloc", "full"), "vdi": ("off",)}
_CLUSTERS = tuple(1 << bits for bits in range(9, 22))
_HEAD = 34 * 512  # the boot sector, and a GPT with its 128 entries
_WRITING = "writing"


@dataclass(frozen=True)
class Request:
    """One disk to convert. `size` is what the result is to have, in bytes; None to keep the size.

    `cluster_size` is that of a qcow2 in bytes, 0 for qemu's choice.
    `overwrite`: a result may be replaced although it is no longer as it was made, as after a VM has run on it.
    `device`: the block device that gets the result, as raw and as large as it is; `dest` is then where the manifest is.
    `passphrase`: opens the result, a qcow2 that is encrypted by it; empty for one that is not. `mode` is the mode of the file.
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
    device: str = ""
    passphrase: str = field(default="", repr=False)
    mode: int = modes.FILE

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

        if self.passphrase and (self.format != "qcow2" or self.compression != "none"):
            raise InvalidInput(
                f"{'Compressed qcow2' if self.format == 'qcow2' else self.format} images cannot be encrypted.",
                "Encrypted results are qcow2 without compression. What lies below a block device can be (cryptsetup).",
                format=self.format,
            )

    def options(self) -> dict[str, Any]:
        known = {key: value for key, value in asdict(self).items() if key not in ("source", "dest", "overwrite", "passphrase", "mode")}
        return {**known, "encrypted": bool(self.passphrase)}

    @property
    def output(self) -> str:
        """Where the result is read."""
        return self.device or self.dest

    def virtual_size(self, had: int, room: int) -> int:
        """The size of the result of a disk that has `had` bytes, on a device of `room`. Raises InvalidInput for less than it has."""
        size = self.size or had
        if size < had:
            raise InvalidInput(
                f"{self.source} has {had} bytes already and is never shrunk to {size}.",
                "Give the sizes that guest_fix had (grow).",
                path=self.source,
            )
        if self.device and size > room:
            raise InvalidInput(
                f"{self.device} has {room} bytes, and the disk needs {size}.", "Make the device larger (LVM: lvextend).", path=self.device
            )
        return room if self.device else size


def manifest_path(dest: str) -> str:
    return f"{dest}.manifest.json"


def done_before(request: Request, inputs: tuple[Identity, ...], quick: bool = False) -> Optional[dict[str, Any]]:
    """What an earlier run reported, if it made the same result from the same input and the result is untouched.

    `quick`: not if a whole device would have to be read to know.
    """
    manifest = _earlier(request)
    same = manifest is not None and manifest.says("convert", inputs, request.options()) and _untouched(request, manifest, quick)
    return manifest.result if manifest is not None and same and _opens(request) else None


def _opens(request: Request) -> bool:
    """Whether the passphrase, which nothing records, is the one of an encrypted result."""
    return not request.passphrase or encrypted.opens(request.output, request.format, request.passphrase)


def _earlier(request: Request) -> Optional[Manifest]:
    """The manifest of this result: of the same device, or of the file."""
    manifest = Manifest.load(manifest_path(request.dest))
    return manifest if manifest is not None and manifest.options.get("device", "") == request.device else None


def _untouched(request: Request, manifest: Manifest, quick: bool = False) -> bool:
    """Whether a result is as it was made. The kernel forgets what it has counted of a device; then its content decides."""
    return manifest.holds() or (
        not quick
        and device.is_device(request.device)
        and device.exists(request.device)
        and _digest(Identity.of(request.device)) == manifest.result.get("sha256")
    )


@functools.cache
def _digest(place: Identity) -> str:
    return sha256(place.path)


def plan(request: Request, inputs: tuple[Identity, ...] = ()) -> dict[str, Any]:
    """What a conversion would do: sizes in bytes. Reads metadata only. Raises what `looked_at` raises."""
    return looked_at(request, *_sizes(request), inputs)


def _sizes(request: Request) -> tuple[int, int]:
    """Of the source: the bytes that it has, and those that hold data."""
    size = qemu_img.info(request.source, request.source_format).virtual_size
    return size, qemu_img.map_allocated(request.source, request.source_format)


def looked_at(request: Request, size: int, data: int, inputs: tuple[Identity, ...] = ()) -> dict[str, Any]:
    """The plan for a disk of `size` bytes with `data` bytes of data, which need not be here yet.

    Raises InvalidInput for less than the source has and for a place that holds something else, Busy for a device that is in use.
    """
    with _held(request, inputs) as room:
        return _planned(request, size, data, room)


def _held(request: Request, inputs: tuple[Identity, ...]) -> contextlib.AbstractContextManager[int]:
    return target.held(request.device, inputs) if request.device else contextlib.nullcontext(0)


def _planned(request: Request, size: int, data: int, room: int) -> dict[str, Any]:
    virtual_size = request.virtual_size(size, room)
    _refuse_used(request)
    return {
        "path": request.output,
        "format": request.format,
        "virtual_size": virtual_size,
        "data": data,
        "device": bool(request.device),
        "encrypted": bool(request.passphrase),
    }


def _refuse_used(request: Request) -> None:
    """Raise InvalidInput for a place that somebody else has written to: it may be the disk of a VM by now."""
    if request.overwrite or not device.exists(request.output):
        return
    manifest = _earlier(request)
    if request.device and (manifest is None or manifest.stage == _WRITING):
        holds = target.content(request.device)
        if holds and (manifest is None or not request.source or _head(request) != qemu_img.read_start(request.device, "raw", _HEAD)):
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


@contextlib.contextmanager
def _new_file(request: Request, planned: Mapping[str, Any]) -> Iterator[str]:
    """Where to write; it gets its name at the end, and is removed if there is none."""
    partial, directory = f"{request.dest}{atomic.PARTIAL}", os.path.dirname(os.path.abspath(request.dest))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    # Metadata of every format stays far below 1 % and 16 MiB.
    least = planned["virtual_size"] if request.preallocation in ("falloc", "full") else planned["data"]
    atomic.need_space(directory, least + least // 100 + (16 << 20), f"The disk {os.path.basename(request.dest)}")
    try:
        yield partial
        os.chmod(partial, request.mode)
        atomic.publish(partial, request.dest)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


@contextlib.contextmanager
def _on_device(request: Request, inputs: tuple[Identity, ...]) -> Iterator[str]:
    """Where to write: the device, after a manifest that says so."""
    Manifest(_WRITING, inputs, request.options()).save(manifest_path(request.dest))
    yield request.device


def convert(request: Request, inputs: tuple[Identity, ...], progress: Progress) -> dict[str, Any]:
    """Make `request.dest`. A killed run leaves a .partial file, or a device that is half written, which the next one replaces.

    Raises InvalidInput and NotEnoughSpace before anything is written, and MigrationError when the result differs from its source.
    """
    begin = time.monotonic()
    with _held(request, inputs) as room:
        had, data = _sizes(request)
        planned = _planned(request, had, data, room)
        modes.make_directory(os.path.dirname(os.path.abspath(request.dest)), modes.with_disks(request.mode))
        digest = _written(request, inputs, planned, planned["virtual_size"] > had, progress)
        ended = time.monotonic()
        written = planned["data"] if request.device else os.stat(request.dest).st_blocks * 512
        result = {
            **planned,
            **({"luks": qemu_img.info(request.dest, request.format).luks} if request.passphrase else {}),
            "allocated": written,
            "sha256": digest,
            "bytes_read": planned["data"],
            "bytes_written": written,
            "seconds": round(time.monotonic() - begin, 2),
        }
        if rbd.is_image(request.device):
            progress.phase("wait until Ceph tells further writes apart")
            rbd.settle(request.device, ended)
        Manifest("convert", inputs, request.options(), (Identity.of(request.output),), result).save(manifest_path(request.dest))
    return result


def _written(request: Request, inputs: tuple[Identity, ...], planned: Mapping[str, Any], larger: bool, progress: Progress) -> str:
    """Write, the disk as it is or `larger`, and compare. Returns the digest."""
    name, compress = os.path.basename(request.dest), request.compression != "none"
    options = ["lazy_refcounts=on"] if request.format == "qcow2" else []
    if compress:
        options.append(f"compression_type={request.compression}")
    if request.preallocation != "off":
        options.append(f"preallocation={request.preallocation}")
    if request.cluster_size:
        options.append(f"cluster_size={request.cluster_size}")
    limit = planned["virtual_size"] + planned["virtual_size"] // 50 + (64 << 20)
    with (
        secret.readable(request.passphrase) as key,
        _on_device(request, inputs) if request.device else _new_file(request, planned) as place,
    ):
        progress.phase(f"convert {name}", planned["data"])
        with _grown(request, planned["virtual_size"] if larger else 0) as (source, source_format):
            qemu_img.convert(source, source_format, place, request.format, options, compress, progress, planned["data"], limit, key)
        _compare_heads(request, place, key)
        qemu_img.check(place, request.format, key)
        progress.phase(f"digest {name}")
        return sha256(place)


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


def _head(request: Request) -> bytes:
    return qemu_img.read_start(request.source, request.source_format, _HEAD)


def _compare_heads(request: Request, place: str, key: str) -> None:
    if _head(request) != qemu_img.read_start(place, request.format, _HEAD, key):
        raise MigrationError(
            f"The boot sector or partition table of {request.output} differs from its source after the copy.",
            "Do not use the result. Check the storage of the conversion host, then run again.",
            path=request.output,
        )
