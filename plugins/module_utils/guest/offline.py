# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest of a powered-off disk set, inside one libguestfs appliance."""
from __future__ import annotations

import contextlib
import os
import traceback
from dataclasses import dataclass, replace
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core.accel import accelerator
from ..core.errors import InvalidInput, MissingTool, ToolFailed, UnsupportedGuest
from . import parttable
from .model import BlockDevice, Mount, Stat
from .protocol import MAX_READ, exists, text
from .resolver import DeviceTable, Disk, Use

try:
    import guestfs
    GUESTFS_ERROR = None
except ImportError:  # reported by open_disks, or the module respawns under the interpreter that has it
    guestfs = None
    GUESTFS_ERROR = traceback.format_exc()

_ROOT_TYPES = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs")
_SUBVOLUMES = ("@", "@rootfs", "root", "rootfs", "@root")
_KINDS = {0o100000: "file", 0o040000: "dir", 0o120000: "link"}
_CHUNK = 2 << 20
_KEY = "hyper2kvm-key"


@dataclass(frozen=True)
class Attached:
    """A disk image to attach: path, explicit format, and its place at the source."""

    path: str
    format: str
    place: Disk = Disk()


class OfflineGuest:
    """A guest whose disks are attached to an appliance. Everything read is kept until something is written."""

    def __init__(self, handle: Any, places: Sequence[Disk]) -> None:
        self._g = handle
        self._places = tuple(places)
        self._reads: dict[str, Optional[bytes]] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        self._stats: dict[str, Optional[Stat]] = {}
        self.tables: dict[str, parttable.Table] = {}
        self._table = DeviceTable(places, ())
        self.root: Optional[BlockDevice] = None
        self.subvolume = ""
        self.mounts: tuple[Mount, ...] = ()
        self.unmounted: tuple[str, ...] = ()

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> Optional[bytes]:
        if path not in self._reads:
            self._reads[path] = self._read(path) if self._present(path) else None
        return self._reads[path]

    def stat(self, path: str) -> Optional[Stat]:
        path = path.rstrip("/") or "/"
        if path not in self._stats:
            self._stats[path] = self._stat(path) if path == "/" or self._present(path) else None
        return self._stats[path]

    def listdir(self, path: str) -> tuple[str, ...]:
        path = path.rstrip("/") or "/"
        if path not in self._lists:
            try:
                self._lists[path] = tuple(sorted(self._g.ls(path))) if path == "/" or self._present(path) else ()
            except RuntimeError:
                self._lists[path] = ()
        return self._lists[path]

    def devices(self) -> tuple[BlockDevice, ...]:
        return self._table.devices

    def device(self, spec: str) -> Optional[BlockDevice]:
        return self._table.resolve(spec)

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        device = f"/dev/sd{_letters(int(name[4:]))}" if name.startswith("disk") else name
        out = b""
        while len(out) < size:
            chunk = self._g.pread_device(device, min(_CHUNK, size - len(out)), offset + len(out))
            if not chunk:
                break
            out += chunk
        return out

    def _present(self, path: str) -> bool:
        """Whether the parent lists the name: one listing answers for a whole directory."""
        parent, dummy, name = path.rpartition("/")
        return name in self.listdir(parent or "/")

    def _read(self, path: str) -> Optional[bytes]:
        try:
            info = self._g.statns(path)
            if info["st_mode"] & 0o170000 != 0o100000:
                return None
            if info["st_size"] > MAX_READ:
                raise InvalidInput(f"{path} in the guest has {info['st_size']} bytes; nothing that a repair reads is so large.",
                                   "Remove or shorten the file in the guest, then run again.", path=path)
            return bytes(self._g.read_file(path))
        except RuntimeError:
            return None

    def _stat(self, path: str) -> Optional[Stat]:
        try:
            info = self._g.lstatns(path)
            kind = _KINDS.get(info["st_mode"] & 0o170000, "other")
            return Stat(kind, info["st_size"], info["st_mode"] & 0o7777, info["st_uid"], info["st_gid"], self._g.readlink(path) if kind == "link" else "")
        except RuntimeError:
            return None

    # -- writing, for apply only ---------------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes, like: Optional[Stat]) -> None:
        there = self._g.exists(path)
        target = self._g.realpath(path) if there else path
        partial = f"{target}.hyper2kvm"
        self._g.write(partial, data)
        if there:
            self._g.copy_attributes(target, partial, all=True)
        else:
            with contextlib.suppress(RuntimeError):  # the directory's SELinux label, where there is one
                self._g.lsetxattr("security.selinux", (label := self._g.lgetxattr(target.rpartition("/")[0] or "/", "security.selinux")), len(label), partial)
        if like is not None:
            self._g.chmod(like.mode, partial)
            self._g.chown(like.uid, like.gid, partial)
        self._g.rename(partial, target)
        self._forget()

    def rename(self, source: str, path: str) -> None:
        try:
            self._g.rename(source, path)
        except RuntimeError:  # across file systems
            self._g.mv(source, path)
        self._forget()

    def copy(self, source: str, path: str) -> None:
        self._g.cp_a(source, path)
        self._forget()

    def append(self, path: str, data: bytes) -> None:
        self._g.write_append(path, data)
        self._forget()

    def truncate(self, path: str, size: int) -> None:
        self._g.truncate_size(path, size)
        self._forget()

    def mkdir(self, path: str) -> None:
        self._g.mkdir_p(path)
        self._forget()

    def remove(self, path: str) -> None:
        self._g.rm_rf(path)
        self._forget()

    def run(self, argv: Sequence[str]) -> str:
        try:
            return str(self._g.command(list(argv)))
        except RuntimeError as error:
            raise ToolFailed(f"{' '.join(argv)} failed in the guest: {error}.", "Read its message; the guest is unchanged at the source.", argv=list(argv)) from error
        finally:
            self._forget()

    def _forget(self) -> None:
        self._reads.clear()
        self._lists.clear()
        self._stats.clear()

    # -- finding devices and mounting ----------------------------------------------------------------------------------------

    def discover(self, keys: Mapping[str, str]) -> list[BlockDevice]:
        """Fill the device table: partitions, LVM, arrays, opened LUKS devices. Returns LUKS devices that no key opened."""
        devices: list[BlockDevice] = []
        for number in range(len(self._places)):
            devices += self._disk_devices(number)
        locked = [device for device in devices if device.fstype == "crypto_LUKS"]
        opened = [device for device in locked if self._unlock(device, keys)]
        types = {device.fstype for device in devices}
        if "linux_raid_member" in types:
            devices += [self._probe(BlockDevice(name, aliases=(name,))) for name in self._g.list_md_devices()]
        if opened or "LVM2_member" in types:
            devices += self._volumes()
        devices += [self._probe(BlockDevice(f"/dev/mapper/luks-{device.uuid}", aliases=(f"/dev/mapper/luks-{device.uuid}",))) for device in opened]
        self._table = DeviceTable(self._places, devices)
        return [device for device in locked if device not in opened]

    def _disk_devices(self, number: int) -> list[BlockDevice]:
        disk = f"/dev/sd{_letters(number)}"
        table = parttable.parse(lambda offset, size: self.read_device(disk, offset, size))
        self.tables[f"disk{number}"] = table
        if not table.partitions:
            return [self._probe(BlockDevice(disk, disk=number, size=self._g.blockdev_getsize64(disk)))]
        return [self._probe(BlockDevice(f"{disk}{part.number}", disk=number, part=part.number, size=part.size, partuuid=part.uuid,
                                        partlabel=part.label, parttype=part.type)) for part in table.partitions]

    def _probe(self, device: BlockDevice) -> BlockDevice:
        try:
            tags = self._g.blkid(device.name)
        except RuntimeError:  # nothing recognised on it
            return device
        return replace(device, fstype=tags.get("TYPE", ""), uuid=tags.get("UUID", ""), label=tags.get("LABEL", ""))

    def _volumes(self) -> list[BlockDevice]:
        found = []
        for name in self._g.lvs():
            group, volume = name.split("/")[2:4]
            mapped = f"/dev/mapper/{group.replace('-', '--')}-{volume.replace('-', '--')}"
            found.append(self._probe(BlockDevice(name, aliases=(name, mapped, f"/dev/disk/by-id/dm-name-{mapped[12:]}"))))
        return found

    def _unlock(self, device: BlockDevice, keys: Mapping[str, str]) -> bool:
        for key in filter(None, (keys.get(device.uuid), keys.get("all"))):
            try:
                self._g.cryptsetup_open(device.name, key, f"luks-{device.uuid}")
                self._g.lvm_scan(True)
                return True
            except RuntimeError:
                continue
        return False

    def find_root(self) -> None:
        """Mount the root file system; its fstab then tells the device table what the guest's names mean.

        Raises UnsupportedGuest when there is none, or several and nothing to choose by.
        """
        found: list[tuple[BlockDevice, str]] = []
        for device in self._table.devices:
            if device.fstype not in _ROOT_TYPES:
                continue
            for subvolume in self._candidates(device):
                if self._try_root(device, subvolume):
                    found.append((device, subvolume))
                    break
        if not found:
            kinds = sorted({device.fstype for device in self._table.devices if device.fstype}) or ["nothing"]
            raise UnsupportedGuest(f"No Linux root file system was found; the disks hold {', '.join(kinds)}.",
                                   "Check that all disks of the VM are given, and the keys of encrypted ones (migrate_luks_keys).", found=kinds)
        if len(found) > 1:
            raise UnsupportedGuest(f"Several root file systems were found: {', '.join(device.name for device, dummy in found)}.",
                                   "Migrate the VM with the disks of one system at a time.", found=[device.name for device, dummy in found])
        self.root, self.subvolume = found[0]
        self._mount(self.root, self.subvolume, "/")
        self._table.learn(self._uses(), self.root)

    def _candidates(self, device: BlockDevice) -> tuple[str, ...]:
        return ("", *_SUBVOLUMES) if device.fstype == "btrfs" else ("",)

    def _try_root(self, device: BlockDevice, subvolume: str) -> bool:
        try:
            self._mount(device, subvolume, "/")
        except RuntimeError:
            return False
        try:
            return exists(self, "/etc") and (exists(self, "/etc/fstab") or exists(self, "/etc/os-release")) and (
                exists(self, "/sbin") or exists(self, "/usr/sbin") or exists(self, "/usr/bin"))
        finally:
            self._g.umount("/")
            self._forget()

    def _mount(self, device: BlockDevice, subvolume: str, path: str) -> None:
        options = f"subvol={subvolume}" if subvolume else ""
        if options:
            self._g.mount_options(options, device.name, path)
        else:
            self._g.mount(device.name, path)
        self._forget()

    def _uses(self) -> list[Use]:
        uses = []
        for line in (text(self, "/etc/fstab") or "").splitlines():
            fields = line.split()
            if len(fields) >= 3 and not fields[0].startswith("#"):
                uses.append(Use(fields[0], fields[1], fields[2]))
        for line in (text(self, "/etc/crypttab") or "").splitlines():
            fields = line.split()
            if len(fields) >= 2 and not fields[0].startswith("#"):
                uses.append(Use(fields[1], "", "crypto_LUKS"))
        return uses

    def mount_all(self) -> None:
        """Mount every local file system of fstab where the guest has it, parents first; what fails is listed in `unmounted`."""
        assert self.root is not None  # find_root came first
        mounts, failed = [Mount(self.root.name, "/", self.subvolume and f"subvol={self.subvolume}")], []
        entries = sorted((use for use in self._uses() if use.mount_point.startswith("/") and use.mount_point != "/"), key=lambda use: use.mount_point.count("/"))
        lines = {fields[1]: fields[3] for fields in map(str.split, (text(self, "/etc/fstab") or "").splitlines()) if len(fields) >= 4}
        for use in entries:
            device = self.device(use.spec)
            path = use.mount_point.replace("\\040", " ")
            if device is None or device.fstype in ("swap", "", "crypto_LUKS") or "bind" in lines.get(use.mount_point, ""):
                continue
            subvolume = next((option[7:] for option in lines.get(use.mount_point, "").split(",") if option.startswith("subvol=")), "")
            try:
                if not self._g.is_dir(path):
                    self._g.mkdir_p(path)
                self._mount(device, subvolume, path)
                mounts.append(Mount(device.name, path, subvolume and f"subvol={subvolume}"))
            except RuntimeError:
                failed.append(path)
        self.mounts, self.unmounted = tuple(mounts), tuple(failed)

    def free(self, path: str) -> tuple[int, int]:
        """Free bytes and inodes of the file system at `path` (inodes -1 where it does not count them)."""
        info = self._g.statvfs(path)
        return info["bavail"] * info["frsize"], info["ffree"] if info["files"] else -1

    def trim(self) -> int:
        """Discard free space so that it is not converted; returns how many file systems could."""
        done, seen = 0, set()
        for mount in self.mounts:
            if mount.device in seen:
                continue
            seen.add(mount.device)
            with contextlib.suppress(RuntimeError):  # vfat and some others cannot
                self._g.fstrim(mount.path)
                done += 1
        return done


@contextlib.contextmanager
def open_disks(disks: Sequence[Attached], writable: bool) -> Iterator[OfflineGuest]:
    """Start the appliance with every disk of the set; nothing is mounted yet.

    Writes reach the images only when `writable`; they must then be overlays, never a source. Leaving the block flushes and stops
    the appliance; an exception drops it.
    """
    if guestfs is None:
        raise MissingTool("The libguestfs Python bindings are not installed for this interpreter.",
                          "Install python3-guestfs (Debian, Ubuntu) or python3-libguestfs (Fedora, RHEL).", traceback=GUESTFS_ERROR)
    handle = guestfs.GuestFS(python_return_dict=True)
    try:
        handle.set_backend("direct")
        if accelerator() == "tcg":
            handle.set_backend_settings(["force_tcg"])
        handle.set_smp(min(4, os.cpu_count() or 1))
        handle.set_autosync(True)
        for disk in disks:
            handle.add_drive_opts(disk.path, format=disk.format, readonly=not writable, cachemode="unsafe", discard="besteffort" if writable else "disable")
        try:
            handle.launch()
        except RuntimeError as error:
            raise ToolFailed(f"The libguestfs appliance did not start: {error}", "Run libguestfs-test-tool on the conversion host; it needs a kernel in /boot "
                             "(linux-image-cloud-amd64 on Debian in a container).") from error
        yield OfflineGuest(handle, [disk.place for disk in disks])
        handle.umount_all()
        handle.shutdown()
    finally:
        handle.close()


def _letters(number: int) -> str:
    return chr(97 + number) if number < 26 else chr(96 + number // 26) + chr(97 + number % 26)


