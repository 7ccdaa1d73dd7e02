# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-img with explicit formats, limits and typed answers."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from dataclasses import dataclass
from typing import Optional, Sequence

from ..core import device, direct, rbd, secret
from ..core.errors import ToolFailed
from ..core.process import Limits, run
from ..core.progress import Progress

_QUICK = Limits(timeout=120, memory=4 << 30)
_LONG = 7 * 24 * 3600.0
_PERCENT = re.compile(rb"\((\d+\.\d+)/100%\)")
# qemu times the derivation of a LUKS key by the CPU time of its thread, and gives up when a kernel that counts it in ticks has counted none.
_UNTIMED, _TRIES = "Unable to get accurate CPU usage", 20


@dataclass(frozen=True)
class Image:
    """What qemu-img says of an image; sizes in bytes. `allocated` is what its file occupies on disk; `encrypted`: whether it opens with a key only.

    `luks` is the UUID of the LUKS header of a qcow2, new with each conversion.
    """

    path: str
    format: str
    virtual_size: int
    allocated: int
    backing: Optional[str]
    encrypted: bool = False
    luks: str = ""


_OURS = ("json:", "nbd+unix:///?socket=/", rbd.PREFIX)  # names that are descriptions, made or checked by us


def info(path: str, fmt: str) -> Image:
    """Describe an image of a stated format; backing files are not opened."""
    data = json.loads(run(["qemu-img", "info", "-U", "--output=json", "-f", fmt, _name(path)], _QUICK).stdout)
    luks = data.get("format-specific", {}).get("data", {}).get("encrypt", {}).get("uuid", "") if fmt == "qcow2" else ""
    return Image(
        path,
        fmt,
        data["virtual-size"],
        data.get("actual-size", 0),
        data.get("backing-filename"),
        data.get("encrypted", False),
        luks,
    )


def create_overlay(path: str, backing: str, backing_format: str, size: int, opened: bool = True) -> None:
    """A qcow2 at `path` that reads through to `backing`: a file (recorded relative to it), a device, a json: description, or a local NBD export.

    An export need not be there yet; nor is any other `backing` opened if it is said not to be `opened`.
    """
    _make_way(path)
    # libvirt gives qemu a /dev of its own, which only a name that begins with it leads to.
    name = backing if backing.startswith(_OURS) or device.is_device(backing) else os.path.relpath(backing, os.path.dirname(path))
    run(
        [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            "lazy_refcounts=on",
            "-F",
            backing_format,
            *(["-u"] if backing.startswith("nbd") or not opened else []),
            "-b",
            name,
            os.path.basename(path),
            str(size),
        ],
        _QUICK,
        cwd=os.path.dirname(path),
    )


def lay_over(path: str, patch: str, base: str, cluster: int) -> None:
    """A qcow2 at `path` that shows `base` (raw, as a json: description) with the raw file `patch` over it, wherever that has no holes or zeros.

    `cluster`: bytes that are the one or the other as a whole.
    """
    _make_way(path)
    run(
        ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", "-o", f"cluster_size={cluster}", _name(patch), _name(path)],
        Limits(timeout=_LONG),
    )
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", base, _name(path)], _QUICK)


def _make_way(path: str) -> None:
    """What has the name of a new image is not written over: it may be a link, or have other names."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def create_empty(path: str, size: int) -> None:
    """A qcow2 of `size` bytes without any data."""
    _make_way(path)
    run(["qemu-img", "create", "-q", "-f", "qcow2", _name(path), str(size)], _QUICK)


def enlarge(path: str, size: int) -> None:
    """Give a qcow2 a larger virtual size; what is new reads as zeros, whatever its backing file has there."""
    run(["qemu-img", "resize", "-q", "-f", "qcow2", _name(path), str(size)], _QUICK)


def convert(
    source: str,
    source_format: str,
    dest: str,
    fmt: str,
    options: Sequence[str],
    compress: bool,
    progress: Progress,
    size: int,
    limit: int,
    key: str = "",
) -> None:
    """One pass from `source` to a new file `dest`, or to a block device, which is written as a whole.

    `size` is the amount of data, for progress; `limit` the largest file, both in bytes. `key`: the file with the passphrase by which a new
    qcow2 is encrypted (LUKS).
    """

    def watch(chunk: bytes) -> None:
        found = _PERCENT.findall(chunk)
        if found:
            progress.update(int(float(found[-1]) / 100 * size))

    argv = ["qemu-img", "convert", "-p", "-W", "-m", "8", "-f", source_format, "-O", fmt]
    if device.is_device(dest):
        argv += ["-n", "-t", "none"]
    elif compress:
        argv += ["-c"]
    elif direct.possible(os.path.dirname(os.path.abspath(dest))):
        argv += ["-t", "none"]
    argv += _with(key)
    for option in (*options, *(["encrypt.format=luks", f"encrypt.key-secret={secret.KEY}"] if key else [])):
        argv += ["-o", option]
    for left in reversed(range(_TRIES)):
        try:
            run([*argv, _name(source), _name(dest)], Limits(timeout=_LONG, file_size=limit), on_output=watch)
            return
        except ToolFailed as error:
            if not (key and left and _UNTIMED in error.msg):
                raise


def read_through(path: str, size: int) -> None:
    """Read all data of a raw disk of `size` bytes once, for what comes of it on the way."""
    nowhere = "json:" + json.dumps({"driver": "raw", "file": {"driver": "null-co", "size": size}})
    argv = ["qemu-img", "convert", "-n", "--target-is-zero", "-W", "-m", "8", "-f", "raw", "-O", "raw", _name(path), nowhere]
    run(argv, Limits(timeout=_LONG))


def clear(path: str, size: int) -> None:
    """Write zeros over the first `size` bytes of a device."""
    zeros = "json:" + json.dumps({"driver": "raw", "file": {"driver": "null-co", "size": size, "read-zeroes": True}})
    run(["qemu-img", "convert", "-n", "-t", "none", "-f", "raw", "-O", "raw", zeros, _name(path)], _QUICK)


def check(path: str, fmt: str, key: str = "") -> None:
    """Raise ToolFailed unless the image's metadata are consistent. raw has none. `key`: the file with the passphrase of an encrypted one."""
    if fmt != "raw":
        how, name = named(path, fmt, key)
        run(["qemu-img", "check", "-q", *how, name], Limits(timeout=_LONG))


def read_start(path: str, fmt: str, size: int, key: str = "") -> bytes:
    """The first `size` bytes the guest sees (a multiple of 512). `key`: the file with the passphrase of an encrypted image."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hyper2kvm-") as scratch:
        out = os.path.join(scratch, "head")
        how, name = named(path, fmt, key)
        run(["qemu-img", "dd", *how, "-O", "raw", f"bs={size}", "count=1", f"if={name}", f"of={out}"], _QUICK)
        with open(out, "rb") as file:
            return file.read(size)


def map_allocated(path: str, fmt: str) -> int:
    """Bytes that hold data, seen through the whole chain."""
    entries = json.loads(run(["qemu-img", "map", "-U", "--output=json", "-f", fmt, _name(path)], Limits(timeout=600)).stdout)
    return sum(entry["length"] for entry in entries if entry["data"])


@functools.lru_cache(maxsize=1)
def version() -> str:
    """For example "7.2.17"."""
    match = re.search(r"version (\S+)", run(["qemu-img", "--version"], _QUICK).stdout)
    return match[1] if match else "unknown"


def _name(path: str) -> str:
    """qemu takes "x:y" for a protocol; a path that is made absolute is never mistaken for one. The others are of our own making, or checked."""
    return path if path.startswith(_OURS) else os.path.abspath(path)


def named(path: str, fmt: str, key: str) -> tuple[list[str], str]:
    """How qemu's programs are told which image is meant, an encrypted one if there is a `key`: the options, and its name."""
    if not key:
        return ["-f", fmt], _name(path)
    escaped = _name(path).replace(",", ",,")
    return [*_with(key), "--image-opts"], f"driver={fmt},encrypt.key-secret={secret.KEY},file.driver=file,file.filename={escaped}"


def _with(key: str) -> list[str]:
    return ["--object", secret.for_qemu(key)] if key else []
