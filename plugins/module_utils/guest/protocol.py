# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fix may ask of a guest, whoever answers; and what `apply` may do to one."""

from __future__ import annotations

from typing import Optional, Protocol, Sequence

from ..core import limits
from ..core.errors import InvalidInput
from .model import BlockDevice, Stat

MAX_READ = limits.GUEST_FILE  # bytes; nothing that a repair reads is larger


class Guest(Protocol):
    """Reading. Paths are absolute inside the guest; symbolic links are followed inside it, except by `stat`."""

    def read(self, path: str) -> Optional[bytes]:
        """The bytes of a regular file; None where there is none."""

    def stat(self, path: str) -> Optional[Stat]:
        """The directory entry itself; None where there is none."""

    def listdir(self, path: str) -> tuple[str, ...]:
        """Sorted names in a directory; empty where there is none."""

    def devices(self) -> tuple[BlockDevice, ...]:
        """Every block device of the disk set that holds something."""

    def device(self, spec: str) -> Optional[BlockDevice]:
        """The device that the guest means by `spec` (/dev/sda2, /dev/disk/by-path/..., UUID=...), if it is in the disk set."""

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        """Bytes of a block device by its `BlockDevice.name`; disks are "disk0", "disk1", ..."""


class WritableGuest(Guest, Protocol):
    """Writing; only `apply` calls these."""

    def write(self, path: str, data: bytes, like: Optional[Stat]) -> None:
        """Replace or create a file atomically; owner, mode and SELinux label from `like`, or kept from the file before it."""

    def rename(self, source: str, path: str) -> None:
        """Move anything, also across file systems."""

    def copy(self, source: str, path: str) -> None:
        """Copy one file with its attributes."""

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file."""

    def truncate(self, path: str, size: int) -> None:
        """Cut a file to `size` bytes."""

    def mkdir(self, path: str, mode: Optional[int] = None) -> None:
        """Make a directory with its parents; nothing happens when it is there, but for its mode where one is given."""

    def remove(self, path: str) -> None:
        """Remove a file, link or whole directory; nothing happens when it is not there."""

    def write_device(self, name: str, offset: int, data: bytes) -> None:
        """Overwrite bytes of a block device, by its name as for `read_device`."""

    def run(self, argv: Sequence[str]) -> str:
        """Run one of the guest's own programs, confined; returns what it printed. Raises ToolFailed."""


def text(guest: Guest, path: str) -> Optional[str]:
    """A text file; undecodable bytes survive a round trip (surrogateescape). Raises InvalidInput for more than limits.GUEST_TEXT."""
    data = guest.read(path)
    if data is not None and len(data) > limits.GUEST_TEXT:
        raise too_large(path, len(data))
    return None if data is None else data.decode("utf-8", "surrogateescape")


def too_large(path: str, size: int) -> InvalidInput:
    """The error for a file that is larger than any that a repair reads."""
    return InvalidInput(
        f"{path} in the guest has {size} bytes; nothing that a repair reads is so large.",
        "Remove or shorten the file in the guest, then run again.",
        path=path,
    )


def too_many(path: str, what: str) -> InvalidInput:
    """The error for more than any guest has."""
    return InvalidInput(
        f"{path} in the guest is too much to be read: {what}.", "Clean it up in the guest, or copy the disks without a repair.", path=path
    )


def irregular(path: str) -> InvalidInput:
    """The error for what must be a file before it is written, and is none."""
    return InvalidInput(
        f"{path} in the guest is not a regular file, so it is not written.", "Put the file itself there, then run again.", path=path
    )


def exists(guest: Guest, path: str) -> bool:
    return guest.stat(path) is not None


def glob(guest: Guest, directory: str, suffix: str = "", prefix: str = "") -> list[str]:
    """Paths in one directory by the beginning and end of their names, sorted."""
    return [f"{directory.rstrip('/')}/{name}" for name in guest.listdir(directory) if name.endswith(suffix) and name.startswith(prefix)]


def stable_spec(guest: Guest, device: BlockDevice, allow: Sequence[str] = ("UUID", "PARTUUID", "LABEL", "PARTLABEL")) -> Optional[str]:
    """The best portable name of a device as fstab(5) writes it; None when it has none that is its own, as a copy of another has not.

    All members of one btrfs have its UUID and its label, by which it is mounted.
    """
    others = [one for one in guest.devices() if one.name != device.name]
    apart = [one for one in others if not one.fstype == device.fstype == "btrfs"]
    for tag in allow:
        value: str = getattr(device, tag.lower())
        if value and all(getattr(one, tag.lower()) != value for one in (apart if tag in ("UUID", "LABEL") else others)):
            return f"{tag}={value}"
    return None


def stable_path(spec: str) -> str:
    """The same as a path, of a UUID or PARTUUID."""
    tag, dummy, value = spec.partition("=")
    return f"/dev/disk/by-{tag.lower()}/{value}"


def resolve_link(guest: Guest, path: str) -> str:
    """The path a chain of symbolic links ends at (links in the last component only)."""
    for dummy in range(8):
        stat = guest.stat(path)
        if stat is None or stat.kind != "link":
            break
        path = normalise(stat.target if stat.target.startswith("/") else f"{path.rsplit('/', 1)[0]}/{stat.target}")
    return path


def normalise(path: str) -> str:
    """Absolute, without "." and ".."."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
