# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices, of the kernel or of Ceph: how large they are, and whether anything was written to them.

Sources: the kernel's Documentation/block/stat.rst, and Documentation/ABI/stable/sysfs-block (diskseq, queue/iostats).
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import time

from . import rbd

_BY_ID = "/dev/disk/by-id"
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


def overlap(one: int, other: int) -> bool:
    """Whether two devices (st_rdev) are the same, or one is a partition of the other."""
    a, b = _place(one), _place(other)
    return a == b or _whole(a) == b or _whole(b) == a


def lies_on(path: str, below: str) -> bool:
    """Whether what is written to `path` comes to `below`, both files or block devices: they are the same, or the one is a partition of the other,
    or a device made of it (device mapper, RAID, loop).
    """
    try:
        one, other = os.stat(path), os.stat(below)
    except (OSError, ValueError):  # what is not there, or no path
        return False
    if not stat.S_ISBLK(one.st_mode):
        return os.path.samestat(one, other)
    if stat.S_ISBLK(other.st_mode) and overlap(one.st_rdev, other.st_rdev):
        return True
    there = _whole(_place(one.st_rdev))
    file = _read(there, "loop", "backing_file").strip()
    parts = [_read(slave, "dev").strip() for slave in glob.glob(os.path.join(there, "slaves", "*"))]
    return any(lies_on(lower, below) for lower in (file, *(f"/dev/block/{part}" for part in parts if part)) if lower)


def _place(number: int) -> str:
    return os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")


def _whole(place: str) -> str:
    return os.path.dirname(place) if os.path.exists(os.path.join(place, "partition")) else place


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path), encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
