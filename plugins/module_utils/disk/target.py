# SPDX-License-Identifier: GPL-3.0-or-later
"""A block device as the place of a result: an LVM volume, a disk of a SAN, an image of Ceph. Nobody else uses it, and it holds nothing that was not put
there by us.

What a device holds is libblkid's to say, as lvcreate asks it. Source: blkid(8), low-level probing; open(2), O_EXCL on a block device.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from typing import Iterator, Sequence

from ..core import device, rbd
from ..core.errors import Busy, InvalidInput, ToolFailed, naming
from ..core.manifest import Identity
from ..core.process import Limits, run
from . import qemu_img

_QUICK = Limits(timeout=60)
_START = 4 << 20  # bytes; what blkid knows says so there, but for RAID that says so at the end
_CLEARED = 1 << 20
_NOTHING, _AMBIVALENT = 2, 8  # statuses of blkid


@contextlib.contextmanager
def held(path: str, inputs: Sequence[Identity]) -> Iterator[int]:
    """Keep the device for this process, so that nothing mounts it or makes it a part of something. Yields its size in bytes.

    Raises InvalidInput for what cannot be written, or is what the VM comes from; Busy for a device that something uses.
    """
    if rbd.is_image(path):
        yield _of_ceph(path)
        return
    if not device.is_device(path):
        raise InvalidInput(
            f"{path} is not a block device.",
            "Make it first (LVM: lvcreate --size 20G --name web01 vg0), on the conversion host.",
            path=path,
        )
    number = os.stat(path).st_rdev
    source = next((one.path for one in inputs if device.meet(path, one.path)), "")
    if source:
        raise InvalidInput(
            f"{path} is on {source}, which the VM comes from.", "The source is never written. Name another device.", path=path
        )
    try:
        if device.read_only(number):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Busy(
                f"{path} is in use: it is mounted, or a part of LVM, RAID or another device.", "Name a device that is free.", path=path
            ) from error
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}.", "Run as root, on a device that may be written.", path=path
        ) from error
    try:
        yield os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def _of_ceph(path: str) -> int:
    size = rbd.size(path)
    if size is None:
        raise InvalidInput(f"{path} does not exist.", f"Make it first: rbd create --size 20G {rbd.parse(path).name}.", path=path)
    if rbd.watched(path):
        raise Busy(f"{path} is in use: something has it open, such as a VM.", "Shut it down, or name another image.", path=path)
    return size


def content(path: str) -> str:
    """What the device holds, for a person to read; empty where nothing is known of it. Raises ToolFailed when it cannot be read."""
    if rbd.is_image(path):
        with tempfile.TemporaryDirectory(prefix="hyper2kvm-") as scratch:
            return _probed(_start_of(path, os.path.join(scratch, "start")))
    return _probed(path)


def clear(path: str) -> None:
    """Nothing begins on the device after this, so nobody takes what is behind for whole."""
    size = (rbd.size(path) if rbd.is_image(path) else device.size(path)) or 0
    qemu_img.clear(path, min(size, _CLEARED))


def _start_of(path: str, copy: str) -> str:
    """Where an image of Ceph begins, as a file of its size."""
    size = rbd.size(path) or 0
    with naming(copy), open(copy, "wb") as file:
        file.write(qemu_img.read_start(path, "raw", min(size, _START)))
        file.truncate(size)
    return copy


def _probed(path: str) -> str:
    done = run(["blkid", "--probe", "--output", "export", path], _QUICK, check=False)
    if done.rc == _NOTHING and not done.stderr:
        return ""
    if done.rc == _AMBIVALENT:
        return "several things at once"
    if done.rc:
        raise ToolFailed(f"blkid cannot read {path}: {done.stderr.strip() or 'it printed nothing'}", path=path)
    tags = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    named = " ".join(tags[tag] for tag in ("TYPE", "LABEL") if tag in tags)
    return named or f"a partition table ({tags.get('PTTYPE', 'unknown')})"
