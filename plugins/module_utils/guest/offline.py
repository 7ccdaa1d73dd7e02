# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest of a powered-off disk set, inside one libguestfs appliance."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

from ..core import limits
from ..core.accel import accelerator
from ..core.errors import MigrationError, MissingTool, NotEnoughSpace, TimedOut, ToolFailed
from ..core.machine import Disk
from . import parttable
from .appliance import Appliance, Patience
from .device_names import letters
from .model import BlockDevice, Mount, Stat
from .protocol import MAX_READ, irregular, too_large, too_many
from .resolver import DeviceTable

try:
    import guestfs

    GUESTFS_ERROR = None
except ImportError:  # reported by open_disks, or the module respawns under the interpreter that has it
    guestfs = None
    GUESTFS_ERROR = traceback.format_exc()

_KINDS = {0o100000: "file", 0o040000: "dir", 0o120000: "link"}
_CHUNK = 2 << 20


@dataclass(frozen=True)
class Attached:
    """A disk image to attach: path, explicit format, and its place at the source."""

    path: str
    format: str
    place: Disk = Disk()


class OfflineGuest:
    """A guest whose disks are attached to an appliance. Everything read is kept until something is written."""

    def __init__(self, handle: Any, places: Sequence[Disk]) -> None:
        self.handle = handle
        self.places = tuple(places)
        self._reads: dict[str, Optional[bytes]] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        self._stats: dict[str, Optional[Stat]] = {}
        self._kept = self._total = self._names = 0
        self.tables: dict[str, parttable.Table] = {}
        self.table = DeviceTable(places, ())
        self.subvolume = ""
        # Whether files keep their identity when they are written: on NTFS the access control list goes with it, and writes reach overlays only.
        self.in_place = False
        self.mounts: tuple[Mount, ...] = ()
        self.unmounted: tuple[str, ...] = ()
        self.locked: tuple[str, ...] = ()  # UUIDs of encrypted devices that no key opened
        self.grown: tuple[str, ...] = ()

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> Optional[bytes]:
        if path in self._reads:
            return self._reads[path]
        data = self._read(path) if self._present(path) else None
        self._keep(path, data)
        return data

    def stat(self, path: str) -> Optional[Stat]:
        path = path.rstrip("/") or "/"
        if path not in self._stats:
            self._stats[path] = self._stat(path) if path == "/" or self._present(path) else None
        return self._stats[path]

    def listdir(self, path: str) -> tuple[str, ...]:
        path = path.rstrip("/") or "/"
        if path not in self._lists:
            try:
                self._lists[path] = self._listed(path) if path == "/" or self._present(path) else ()
            except RuntimeError:
                self._lists[path] = ()
        return self._lists[path]

    def devices(self) -> tuple[BlockDevice, ...]:
        return self.table.devices

    def device(self, spec: str) -> Optional[BlockDevice]:
        return self.table.resolve(spec)

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        out = b""
        while len(out) < size and 0 <= offset < 1 << 62:  # tables of the guest name any place, and no disk is larger
            chunk = self.handle.pread_device(_node(name), min(_CHUNK, size - len(out)), offset + len(out))
            if not chunk:
                break
            out += chunk
        return out

    def _present(self, path: str) -> bool:
        """Whether the parent lists the name: one listing answers for a whole directory."""
        parent, dummy, name = path.rpartition("/")
        return name in self.listdir(parent or "/")

    def _listed(self, path: str) -> tuple[str, ...]:
        size = self.handle.statns(path)["st_size"]
        if size > limits.GUEST_DIRECTORY:  # the library would hold all of it
            raise too_many(path, f"a directory of {size >> 20} MiB")
        found = tuple(sorted(self.handle.ls(path)))
        self._names += len(found)
        if self._names > limits.GUEST_NAMES:
            raise too_many(path, f"more than {limits.GUEST_NAMES} names were listed")
        return found

    def _read(self, path: str) -> Optional[bytes]:
        try:
            info = self.handle.statns(path)
            if info["st_mode"] & 0o170000 != 0o100000:
                return None
            if info["st_size"] > MAX_READ:
                raise too_large(path, info["st_size"])
            self._total += info["st_size"]
            if self._total > limits.GUEST_READ:
                raise too_many(path, f"more than {limits.GUEST_READ >> 30} GiB were read")
            if info["st_size"] < _CHUNK:
                return bytes(self.handle.read_file(path))
            with tempfile.TemporaryFile(prefix="hyper2kvm-") as file:  # the library would hold a large one twice
                self.handle.download(path, f"/dev/fd/{file.fileno()}")
                file.seek(0)
                return file.read()
        except RuntimeError:
            return None

    def _keep(self, path: str, data: Optional[bytes]) -> None:
        """For the next who asks; what was kept longest goes when there is too much of it."""
        self._reads[path] = data
        self._kept += len(data or b"")
        while self._kept > limits.GUEST_KEPT:
            self._kept -= len(self._reads.pop(next(iter(self._reads))) or b"")

    def _stat(self, path: str) -> Optional[Stat]:
        try:
            info = self.handle.lstatns(path)
            kind = _KINDS.get(info["st_mode"] & 0o170000, "other")
            return Stat(
                kind,
                info["st_size"],
                info["st_mode"] & 0o7777,
                info["st_uid"],
                info["st_gid"],
                self.handle.readlink(path) if kind == "link" else "",
            )
        except RuntimeError:
            return None

    # -- writing, for apply only ---------------------------------------------------------------------------------------------

    def write_device(self, name: str, offset: int, data: bytes) -> None:
        self.handle.pwrite_device(_node(name), data, offset)
        self.forget()

    def write(self, path: str, data: bytes, like: Optional[Stat]) -> None:
        there = self._is_there(path)
        if there and self.in_place:
            self.handle.write(path, data)
            self.forget()
            return
        target = self.handle.realpath(path) if there else path
        partial = f"{target}.hyper2kvm"
        self.handle.rm_rf(partial)  # a pipe or a link of this name would be written through
        self.handle.write(partial, data)
        if there:
            self.handle.copy_attributes(target, partial, all=True)
        else:
            self._label(target.rpartition("/")[0] or "/", partial)
        if like is not None:
            self.handle.chmod(like.mode, partial)
            self.handle.chown(like.uid, like.gid, partial)
        self.handle.rename(partial, target)
        self.forget()

    def rename(self, source: str, path: str) -> None:
        try:
            self.handle.rename(source, path)
        except RuntimeError:  # across file systems
            self.handle.mv(source, path)
        self.forget()

    def copy(self, source: str, path: str) -> None:
        self.handle.cp_a(source, path)
        self.forget()

    def symlink(self, target: str, path: str) -> None:
        self.handle.ln_s(target, path)
        self._label(path.rpartition("/")[0] or "/", path)
        self.forget()

    def _label(self, directory: str, path: str) -> None:
        """The directory's SELinux label, where there is one, for something new in it."""
        with contextlib.suppress(RuntimeError):
            label = self.handle.lgetxattr(directory, "security.selinux")
            self.handle.lsetxattr("security.selinux", label, len(label), path)

    def _is_there(self, path: str) -> bool:
        """Raises InvalidInput for what is there and no file: writing to a pipe would wait for a reader."""
        there = bool(self.handle.exists(path))
        if there and not self.handle.is_file(path, followsymlinks=True):
            raise irregular(path)
        return there

    def append(self, path: str, data: bytes) -> None:
        self._is_there(path)
        self.handle.write_append(path, data)
        self.forget()

    def truncate(self, path: str, size: int) -> None:
        self._is_there(path)
        self.handle.truncate_size(path, size)
        self.forget()

    def mkdir(self, path: str, mode: Optional[int] = None) -> None:
        self.handle.mkdir_p(path)
        if mode is not None:
            self.handle.chmod(mode, path)
        self.forget()

    def remove(self, path: str) -> None:
        self.handle.rm_rf(path)
        self.forget()

    def run(self, argv: Sequence[str]) -> str:
        try:
            return str(self.handle.command(list(argv)))
        except RuntimeError as error:
            raise ToolFailed(
                f"{' '.join(argv)} failed in the guest: {error}.",
                "Read its message; the guest is unchanged at the source.",
                argv=list(argv),
            ) from error
        finally:
            self.forget()

    def mount_medium(self, path: str) -> None:
        """Mount the ISO that was attached beside the disks."""
        self.handle.mkmountpoint(path)
        self.handle.mount_ro(f"/dev/sd{letters(len(self.places))}", path)
        self.forget()

    def forget(self) -> None:
        """Read again from now on: something was written or mounted."""
        self._reads.clear()
        self._kept = 0
        self._lists.clear()
        self._stats.clear()

    def free(self, path: str) -> tuple[int, int]:
        """Free bytes and inodes of the file system at `path` (inodes -1 where it does not count them)."""
        info = self.handle.statvfs(path)
        return info["bavail"] * info["frsize"], info["ffree"] if info["files"] else -1

    def trim(self) -> None:
        """Discard free space, where the file system can, so that it is not converted."""
        seen = set()
        for mount in self.mounts:
            if mount.device in seen:
                continue
            seen.add(mount.device)
            with contextlib.suppress(RuntimeError):  # vfat and some others cannot
                self.handle.fstrim(mount.path)


@contextlib.contextmanager
def open_disks(disks: Sequence[Attached], writable: bool, medium: str = "", patience: Patience = Patience()) -> Iterator[OfflineGuest]:
    """Start the appliance with every disk of the set; nothing is mounted yet. `medium` is an ISO image to be read beside them.

    Writes reach the images only when `writable`; they must then be overlays, never a source. Leaving the block flushes and stops
    the appliance; an exception drops it. An appliance that does not come up in time is started a second time; one that stops working, or whose
    disks have no space left, is ended with the reason.
    """
    if guestfs is None:
        raise MissingTool(
            "The libguestfs Python bindings are not installed for this interpreter.",
            "Install python3-guestfs (Debian, Ubuntu) or python3-libguestfs (Fedora, RHEL).",
            traceback=GUESTFS_ERROR,
        )
    try:
        handle = _launched(disks, writable, medium, patience)
    except TimedOut:  # a busy host; a second try mostly finds its files in memory
        handle = _launched(disks, writable, medium, patience)
    try:
        yield OfflineGuest(handle, [disk.place for disk in disks])
        handle.umount_all()
        handle.shutdown()
    except RuntimeError as error:  # what the bindings raise for every failed call
        raise NotEnoughSpace.met(str(error)) or ToolFailed(
            f"The work inside the appliance failed: {error}.",
            "Usually a file system in the guest is damaged: check it (fsck) at the source, then run again. The source is unchanged.",
        ) from error
    finally:
        handle.close()


def _launched(disks: Sequence[Attached], writable: bool, medium: str, patience: Patience) -> Appliance:
    """A running appliance. Raises TimedOut where it did not come up in time and was ended, ToolFailed where it cannot start."""
    handle = guestfs.GuestFS(python_return_dict=True)
    appliance = Appliance(handle, [*(disk.path for disk in disks), *([medium] if medium else [])], patience)
    try:
        handle.set_backend("direct")
        if accelerator() == "tcg":
            handle.set_backend_settings(["force_tcg"])
        handle.set_smp(min(4, os.cpu_count() or 1))
        handle.set_autosync(True)
        for disk in disks:
            handle.add_drive_opts(
                disk.path, format=disk.format, readonly=not writable, cachemode="unsafe", discard="besteffort" if writable else "disable"
            )
        if medium:
            handle.add_drive_opts(medium, format="raw", readonly=True)
        appliance.launch()
        return appliance
    except MigrationError:
        appliance.close()
        raise
    except RuntimeError as error:
        appliance.close()
        raise NotEnoughSpace.met(str(error)) or ToolFailed(
            f"The libguestfs appliance did not start: {error}",
            "Run libguestfs-test-tool on the conversion host; it needs a kernel in /boot "
            "(linux-image-cloud-amd64 on Debian in a container).",
        ) from error


def _node(name: str) -> str:
    return f"/dev/sd{letters(int(name[4:]))}" if name.startswith("disk") else name
