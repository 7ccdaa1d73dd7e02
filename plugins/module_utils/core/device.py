# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices, of the kernel or of Ceph: how large they are, and whether anything was written to them.

Sources: the kernel's Documentation/block/stat.rst, and Documentation/ABI/stable/sysfs-block (diskseq, queue/iostats).
"""

from __future__ import annotations

import glob
import hashlib
import math
import os
import stat
import time
from dataclasses import dataclass

from . import rbd
from .numbers import decimal

_BY_ID = "/dev/disk/by-id"
_SECTOR = 512  # bytes, whatever those of the device have (Documentation/block/stat.rst)
_WRITTEN, _DISCARDED = 6, 13  # of the fields of stat, in sectors


def is_device(path: str) -> bool:
    """Whether `path` is a block device, leads to one, or names one of Ceph."""
    try:
        return rbd.is_image(path) or stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def exists(path: str) -> bool:
    """Whether there is such a file or device."""
    return rbd.size(path) is not None if rbd.is_image(path) else os.path.exists(path)


def readable(path: str) -> bool:
    """Whether there is a file or device that can be read, and not a pipe, whose reader would wait."""
    return exists(path) and (rbd.is_image(path) or os.path.isfile(path) or is_device(path))


def absolute(path: str) -> str:
    """The path from the root on; the name of an image of Ceph is one everywhere."""
    return path if rbd.is_image(path) else os.path.abspath(path)


def size(path: str) -> int:
    """Bytes of a device; 0 where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def written(number: int) -> int:
    """A number that is another one after each write to the device `number` (st_rdev), and when the host or the device has come anew.

    It is never the same twice where the kernel does not count. Writes to a partition by way of its whole disk are not seen.
    """
    there = _place(number)
    counted = _read(there, "stat").split()
    if len(counted) <= _WRITTEN or _read(_whole(there), "queue", "iostats").strip() != "1":
        return time.time_ns()
    known = (_read("/proc/sys/kernel/random/boot_id"), _read(_whole(there), "diskseq"), counted[_WRITTEN], counted[_DISCARDED:][:1])
    return int.from_bytes(hashlib.sha256(repr(known).encode()).digest()[:8], "big")


def read_only(number: int) -> bool:
    """Whether the kernel writes nothing to a device; opening it for writing does not tell."""
    return _read(_place(number), "ro").strip() == "1"


def lasting(path: str) -> str:
    """A name of a block device that is still its own after a restart, where there is one: device mapper's, the file of a loop device, udev's."""
    if rbd.is_image(path):
        return path
    real = os.path.realpath(path)
    there = _place(os.stat(real).st_rdev)
    mapped, file = _read(there, "dm", "name").strip(), _read(there, "loop", "backing_file").strip()
    if mapped:
        return f"/dev/mapper/{mapped}"
    if file:
        return f"{os.path.realpath(file)}@{_read(there, 'loop', 'offset').strip() or '0'}"
    try:
        links = sorted(os.path.join(_BY_ID, name) for name in os.listdir(_BY_ID))
    except OSError:
        links = []
    return next((link for link in links if os.path.realpath(link) == real), real)


def meet(one: str, other: str) -> bool:
    """Whether what is written to one of two files or block devices comes to the other: they are the same or share a part (partitions, loop devices of
    one file), or the one is made of the other by device mapper or RAID.
    """
    return _lies_on(one, other) or _lies_on(other, one)


def _lies_on(path: str, below: str) -> bool:
    try:
        one, other = _stretch(path), _stretch(below)
    except (OSError, ValueError):  # what is not there, or no path
        return False
    if one.of == other.of:
        return one.begin < other.end and other.begin < one.end
    parts = [_read(slave, "dev").strip() for slave in glob.glob(os.path.join(str(one.of), "slaves", "*"))]
    return any(_lies_on(f"/dev/block/{part}", below) for part in parts if part)


@dataclass(frozen=True)
class _Stretch:
    """From byte `begin` to `end` of a file (its device and number) or of a whole block device (its place in sysfs)."""

    of: object
    begin: float
    end: float


def _stretch(path: str) -> _Stretch:
    """Where the bytes of a file or a device really are; a loop device is a part of its file, a partition one of its disk."""
    found = os.stat(path)
    if not stat.S_ISBLK(found.st_mode):
        return _Stretch((found.st_dev, found.st_ino), 0, math.inf)
    place = _place(found.st_rdev)
    whole = _whole(place)
    begin = float(_number(place, "start") * _SECTOR if place != whole else 0)
    size = _number(place, "size") * _SECTOR or math.inf
    file = _read(whole, "loop", "backing_file").strip()
    if file and os.path.exists(file):
        below = _stretch(file)
        begin += below.begin + _number(whole, "loop", "offset")
        return _Stretch(below.of, begin, min(begin + size, below.end))
    return _Stretch(whole, begin, begin + size)


def _place(number: int) -> str:
    return os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")


def _whole(place: str) -> str:
    return os.path.dirname(place) if os.path.exists(os.path.join(place, "partition")) else place


def _number(*path: str) -> int:
    return decimal(_read(*path).strip()) or 0


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path), encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
