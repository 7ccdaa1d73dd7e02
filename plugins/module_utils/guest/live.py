# SPDX-License-Identifier: GPL-3.0-or-later
"""The running system that this code executes on: the same protocol, answered by the kernel and its files.

Source: lsblk(8), proc(5) (mountinfo), Documentation/ABI/testing/sysfs-class-net, dpkg(1) (DPKG_FRONTEND_LOCKED).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob as globbing
import itertools
import json
import os
import re
import shutil
import stat as st
from dataclasses import dataclass, replace
from typing import Any, Iterator, Optional, Sequence

from ..core import files, limits
from ..core.errors import Busy, MigrationError, ToolFailed, UnsupportedGuest, naming
from ..core.macs import Mac, canonical
from ..core.process import Limits, run
from . import parttable
from .model import BlockDevice, Mount, Stat
from .protocol import MAX_READ, irregular, too_large, too_many

_COLUMNS = "NAME,KNAME,TYPE,FSTYPE,UUID,LABEL,PARTUUID,PARTLABEL,PARTTYPE,SIZE"
_LOCK = "/var/lib/dpkg/lock-frontend"
_COMMAND = Limits(timeout=1800, umask=0o022)
_MANY = 1_000_000  # names in one directory
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK  # of a pipe without a reader that is an error
_TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")


@dataclass(frozen=True)
class LiveSystem:
    """What the kernel says of itself: the root device and its subvolume, everything mounted from disks, (name, MAC) of each NIC."""

    root: BlockDevice
    subvolume: str
    mounts: tuple[Mount, ...]
    interfaces: tuple[tuple[str, Mac], ...]
    firmware: str


class LiveGuest:
    """The running system as a guest. It needs root."""

    _total = 0  # bytes that were read

    def __init__(self) -> None:
        self._devices, self._disks = _block_devices()
        self.tables = {f"disk{number}": parttable.parse(functools.partial(_pread, path)) for number, path in enumerate(self._disks)}

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> Optional[bytes]:
        try:
            file = files.opened(path)
        except MigrationError:
            return None
        with file:
            data = file.read(MAX_READ + 1)  # files of the kernel have no size
            if len(data) > MAX_READ:
                raise too_large(path, os.fstat(file.fileno()).st_size)
            self._total += len(data)
            if self._total > limits.GUEST_READ:
                raise too_many(path, f"more than {limits.GUEST_READ >> 30} GiB were read")
            return data

    def stat(self, path: str) -> Optional[Stat]:
        try:
            info = os.lstat(path)
        except OSError:
            return None
        kinds = {st.S_IFREG: "file", st.S_IFDIR: "dir", st.S_IFLNK: "link"}
        kind = kinds.get(st.S_IFMT(info.st_mode), "other")
        target = os.readlink(path) if kind == "link" else ""
        return Stat(kind, info.st_size, st.S_IMODE(info.st_mode), info.st_uid, info.st_gid, target)

    def listdir(self, path: str) -> tuple[str, ...]:
        try:
            with os.scandir(path) as listing:
                names = [entry.name for entry in itertools.islice(listing, _MANY + 1)]
        except OSError:
            return ()
        if len(names) > _MANY:
            raise too_many(path, f"a directory of more than {_MANY} names")
        return tuple(sorted(names))

    def devices(self) -> tuple[BlockDevice, ...]:
        return self._devices

    def device(self, spec: str) -> Optional[BlockDevice]:
        tag, equals, value = spec.partition("=")
        if equals and tag in _TAGS:
            value = value.strip("\"'")
            return next((device for device in self._devices if value and getattr(device, tag.lower()).lower() == value.lower()), None)
        real = os.path.realpath(spec) if spec.startswith("/dev/") else spec
        return next((device for device in self._devices if {spec, real} & {device.name, *device.aliases}), None)

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        return _pread(self._disks[int(name[4:])] if name.startswith("disk") else name, offset, size)

    # -- writing, for apply only ---------------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes, like: Optional[Stat]) -> None:
        target = os.path.realpath(path)
        partial = f"{target}.hyper2kvm"
        there = _is_there(target)
        self.remove(partial)  # a pipe or a link of this name would be written through
        with naming(partial), open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if there:
            _attributes(target, partial)
        if like is not None:
            os.chown(partial, like.uid, like.gid)
            os.chmod(partial, like.mode)
        if not there:
            _label(os.path.dirname(target), partial)
        os.rename(partial, target)

    def rename(self, source: str, path: str) -> None:
        shutil.move(source, path)

    def copy(self, source: str, path: str) -> None:
        with files.opened(source) as had, open(os.open(path, _MAKE, 0o600), "wb") as file:
            shutil.copyfileobj(had, file)
        _attributes(source, path)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def append(self, path: str, data: bytes) -> None:
        _is_there(path)
        with naming(path), open(path, "ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def truncate(self, path: str, size: int) -> None:
        _is_there(path)
        os.truncate(path, size)

    def mkdir(self, path: str, mode: Optional[int] = None) -> None:
        os.makedirs(path, exist_ok=True)
        if mode is not None:
            os.chmod(path, mode)

    def remove(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def write_device(self, name: str, offset: int, data: bytes) -> None:
        raise UnsupportedGuest(f"{name} is in use: nothing is written to devices of a running system.")

    def run(self, argv: Sequence[str]) -> str:
        env = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DPKG_FRONTEND_LOCKED": "1"}
        try:
            return run(argv, _COMMAND, env=env).stdout
        except ToolFailed as error:
            raise ToolFailed(
                f"{' '.join(argv)} failed: {error.msg}.", "Read its message; guest_live_rollback takes the repair back.", argv=list(argv)
            ) from error

    def free(self, path: str) -> tuple[int, int]:
        """Free bytes and inodes of the file system at `path` (inodes -1 where it does not count them)."""
        info = os.statvfs(path)
        return info.f_bavail * info.f_frsize, info.f_favail if info.f_files else -1

    def system(self) -> LiveSystem:
        """What is mounted and which NICs there are. Raises UnsupportedGuest when the root is on no block device."""
        mounts = tuple(_mounts(self))
        root = next((mount for mount in mounts if mount.path == "/"), None)
        device = next((device for device in self._devices if root is not None and device.name == root.device), None)
        if root is None or device is None:
            raise UnsupportedGuest(
                "The root of this system is not on a block device that it can see.",
                "Live repairs are for virtual machines, not for containers.",
            )
        subvolume = root.options.partition("subvol=")[2]
        return LiveSystem(device, subvolume, mounts, tuple(_nics()), "uefi" if os.path.isdir("/sys/firmware/efi") else "bios")


@contextlib.contextmanager
def packages_locked() -> Iterator[None]:
    """Keep Debian's package tools out while their database is edited; others have no database that is. Raises Busy when one is at work."""
    if not os.path.exists(_LOCK):
        yield
        return
    with open(_LOCK, "r+b") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy("Another program is installing or removing packages.", "Run again when it has ended.") from error
        yield


def _block_devices() -> tuple[tuple[BlockDevice, ...], list[str]]:
    """Everything lsblk knows that holds something, and the paths of the whole disks in their order."""
    tree = json.loads(run(["lsblk", "-J", "-b", "-p", "-o", _COLUMNS]).stdout)
    found: dict[str, BlockDevice] = {}
    disks = [entry["name"] for entry in tree["blockdevices"] if entry["type"] == "disk" and int(entry["size"] or 0)]

    def walk(entry: dict[str, Any], parent: str, disk: Optional[int]) -> None:
        name = entry["name"]
        known = found.get(name)
        if known is not None:
            found[name] = replace(known, parents=(*known.parents, parent))
        else:
            found[name] = _device(entry, parent, disk)
        for child in entry.get("children") or ():
            walk(child, name, disk if child["type"] == "part" else None)

    for entry in tree["blockdevices"]:
        walk(entry, "", disks.index(entry["name"]) if entry["name"] in disks else None)
    return tuple(found.values()), disks


def _device(entry: dict[str, Any], parent: str, disk: Optional[int]) -> BlockDevice:
    kernel_name = os.path.basename(entry["kname"])
    part: Optional[int] = None
    with contextlib.suppress(OSError, ValueError), open(f"/sys/class/block/{kernel_name}/partition", encoding="ascii") as file:
        part = int(file.read())
    values = {key: entry.get(key) or "" for key in ("fstype", "uuid", "label", "partuuid", "partlabel", "parttype")}
    return BlockDevice(
        entry["name"], **values,
        size=int(entry.get("size") or 0), disk=disk, part=part, aliases=(entry["kname"],), kind=entry["type"],
        parents=(parent,) if parent else (),
    )  # fmt: skip


def _mounts(guest: LiveGuest) -> Iterator[Mount]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, dummy, after = line.partition(" - ")
            inside, path = before.split()[3:5]
            fstype, source = after.split()[:2]
            device = guest.device(_unescape(source))
            if device is not None and (inside == "/" or fstype == "btrfs"):
                yield Mount(device.name, _unescape(path), f"subvol={inside.lstrip('/')}" if fstype == "btrfs" and inside != "/" else "")


def _unescape(value: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), value)


def _nics() -> Iterator[tuple[str, Mac]]:
    """Name and own MAC of every NIC with a driver, as the kernel found them; a bond shows one MAC on all its NICs and keeps theirs in /proc."""
    own: dict[str, str] = {}
    for path in globbing.glob("/proc/net/bonding/*"):
        with open(path, encoding="ascii", errors="replace") as file:
            own.update(re.findall(r"Slave Interface: (\S+)[\s\S]*?Permanent HW addr: (\S+)", file.read()))
    for path in sorted(globbing.glob("/sys/class/net/*/device"), key=_found):
        name = path.split("/")[4]
        with contextlib.suppress(OSError), open(f"/sys/class/net/{name}/address", encoding="ascii") as file:
            mac = canonical(own.get(name, file.read()))
            if mac is not None:
                yield name, mac


def _found(path: str) -> tuple[int, str]:
    """Sort key of a NIC: its index, which renaming does not change."""
    with contextlib.suppress(OSError, ValueError), open(f"{os.path.dirname(path)}/ifindex", encoding="ascii") as file:
        return int(file.read()), path
    return 1 << 31, path


def _is_there(path: str) -> bool:
    """Raises InvalidInput for what is there and no file: writing to a pipe would wait for a reader."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise irregular(path)
    return os.path.exists(path)


def _pread(path: str, offset: int, size: int) -> bytes:
    if not 0 <= offset < 1 << 62:  # tables on a disk name any place, and none is larger
        return b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def _attributes(source: str, path: str) -> None:
    """Owner, mode, times and extended attributes, the SELinux label with them."""
    info = os.stat(source)
    os.chown(path, info.st_uid, info.st_gid)
    shutil.copystat(source, path)


def _label(directory: str, path: str) -> None:
    with contextlib.suppress(OSError):
        os.setxattr(path, "security.selinux", os.getxattr(directory, "security.selinux"))
