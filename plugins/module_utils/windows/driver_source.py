# SPDX-License-Identifier: GPL-3.0-or-later
"""Where virtio drivers come from: the ISO, a directory with its content, or a package (.rpm, .deb, .msi) that is unpacked once.

What a source is is told by its bytes (rpm's lead, deb(5), the header of compound files, ISO 9660), not by its name.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol, Union

from ..core import files
from ..core.errors import InvalidInput
from ..guest.changes.copies import CopyFile, UploadFile
from ..guest.protocol import Guest
from . import driver_package
from .driver_folders import RELEASES, TREES, is_image

ISO = "/virtio-win"  # where a driver ISO is mounted in the appliance
_MAX_FILE = 64 << 20


def locate(path: str) -> tuple[str, bool]:
    """The driver source and whether it is an ISO: the file or directory, what a package holds, or the ISO in a directory without drivers of its own.

    Raises InvalidInput for anything else, and what unpacking raises.
    """
    if os.path.isfile(path):
        if _is_iso(path):
            return path, True
        kind = driver_package.kind(path)
        if not kind:
            raise InvalidInput(
                f"{path} is neither an ISO image nor a package.",
                "Give the virtio-win ISO, .rpm, .deb or .msi, or a directory with its content.",
            )
        path = driver_package.unpacked(path, kind)
    if not os.path.isdir(path):
        raise InvalidInput(
            f"The driver source {path} does not exist on this host.", "Give the virtio-win ISO, a package of it, or a directory."
        )
    images = sorted(name for name in os.listdir(path) if is_image(name))
    if images and not any(os.path.isdir(os.path.join(path, name)) for name in TREES):
        return os.path.join(path, "virtio-win.iso" if "virtio-win.iso" in images else images[-1]), True
    return path, False


def _is_iso(path: str) -> bool:
    with files.opened(path, "The driver source") as file:
        file.seek(0x8001)
        return file.read(5) == b"CD001"


def stamp(path: str) -> str:
    """A digest of names, sizes and times of a driver source: it is another one when they change."""
    entries = []
    for directory, folders, names in os.walk(path) if os.path.isdir(path) else [(os.path.dirname(path), [], [os.path.basename(path)])]:
        folders.sort()
        for name in sorted(names):
            info = os.lstat(os.path.join(directory, name))
            entries.append((directory, name, info.st_size, info.st_mtime_ns))
    return hashlib.sha256(repr(entries).encode("utf-8", "surrogateescape")).hexdigest()


class Tree(Protocol):
    """Files of a driver source, by their paths below its root."""

    def listdir(self, path: str) -> list[tuple[str, bool]]:
        """Names in a directory, each with whether it is one."""

    def read(self, path: str) -> bytes:
        """The bytes of a file."""

    def change(self, path: str, dest: str, reason: str, replaces: str = "") -> Union[CopyFile, UploadFile]:
        """The change that puts a file into the guest."""


class HostTree:
    """A directory on the conversion host. Symbolic links are not followed."""

    def __init__(self, root: str) -> None:
        self._root = root

    def listdir(self, path: str) -> list[tuple[str, bool]]:
        with os.scandir(os.path.join(self._root, path)) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.is_symlink())

    def read(self, path: str) -> bytes:
        return files.read(os.path.join(self._root, path), _MAX_FILE, "The driver's file", links=False)

    def change(self, path: str, dest: str, reason: str, replaces: str = "") -> Union[CopyFile, UploadFile]:
        return UploadFile.of(os.path.join(self._root, path), dest, self.read(path), reason, replaces)


class IsoTree:
    """An ISO that is mounted in the appliance beside the guest; nothing of it is read by the host's kernel."""

    def __init__(self, guest: Guest, root: str = ISO) -> None:
        self._guest, self._root = guest, root

    def listdir(self, path: str) -> list[tuple[str, bool]]:
        directory = f"{self._root}/{path}".rstrip("/")
        names = self._guest.listdir(directory)
        return [(name, "." not in name or name.lower() in RELEASES) for name in names]

    def read(self, path: str) -> bytes:
        return self._guest.read(f"{self._root}/{path}") or b""

    def change(self, path: str, dest: str, reason: str, replaces: str = "") -> Union[CopyFile, UploadFile]:
        return CopyFile(f"{self._root}/{path}", dest, reason, replaces)
