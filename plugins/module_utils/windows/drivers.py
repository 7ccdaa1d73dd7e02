# SPDX-License-Identifier: GPL-3.0-or-later
"""Where virtio drivers come from, and the packages in there that fit one Windows. Everything is judged by the INF files, not by names.

The trees that are known: that of the virtio-win ISO (<driver>/<release>/<architecture>), its boot folders (amd64/<release>), and that of
the distribution packages (drivers/by-os/<architecture>/<release>).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Protocol, Union

from ..core import files
from ..core.concern import WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.changes.copies import CopyFile, UploadFile
from ..guest.model import WindowsFacts
from ..guest.protocol import Guest
from . import pe
from .inf import Driver, Inf

ISO = "/virtio-win"  # where a driver ISO is mounted in the appliance
STORAGE = ("viostor", "vioscsi")
OPTIONAL = (
    "netkvm",
    "balloon",
    "vioser",
    "viorng",
    "pvpanic",
    "pvpanic-pci",
    "fwcfg",
    "viofs",
    "viogpudo",
    "qxl",
    "qxldod",
    "vioinput",
    "viosock",
)
# Another folder is taken only where its kernel is the same, or where the drivers are known to be built for both.
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "2k25": ("2k22", "2k19"),
    "2k22": ("2k19", "2k16"),
    "2k19": ("2k16", "w10"),
    "2k16": ("w10",),
    "w11": ("w10",),
    "w10": ("2k16",),
    "2k12R2": ("w8.1",),
    "w8.1": ("2k12R2",),
    "2k12": ("w8",),
    "w8": ("2k12",),
    "2k8R2": ("w7",),
    "w7": ("2k8R2",),
}
_RELEASES = {name.lower() for name in ("xp", "2k3", "2k8", *FALLBACKS)}
_FOLDERS = {"x86_64": ("amd64", "x64", "x86_64"), "i686": ("x86", "i386", "i686"), "aarch64": ("arm64", "aarch64")}
_ALL_FOLDERS = {name for names in _FOLDERS.values() for name in names}
_SKIPPED = (".pdb", ".map", ".html", ".txt")
_MAX_DEPTH = 6
_MAX_FILE = 64 << 20


def locate(path: str) -> tuple[str, bool]:
    """The driver source and whether it is an ISO: the file or directory, or the ISO in a directory without drivers of its own.

    Raises InvalidInput for anything else.
    """
    if os.path.isfile(path):
        with files.opened(path, "The ISO image") as file:
            file.seek(0x8001)
            if file.read(5) == b"CD001":
                return path, True
        raise InvalidInput(
            f"{path} is not an ISO image.", "Give the virtio-win ISO, or a directory with its content (unpack packages first)."
        )
    if not os.path.isdir(path):
        raise InvalidInput(f"The driver source {path} does not exist on this host.", "Give the virtio-win ISO or a directory.")
    images = sorted(name for name in os.listdir(path) if name.lower().startswith("virtio-win") and name.lower().endswith(".iso"))
    if images and not any(os.path.isdir(os.path.join(path, name)) for name in ("viostor", "drivers", "amd64")):
        return os.path.join(path, "virtio-win.iso" if "virtio-win.iso" in images else images[-1]), True
    return path, False


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
        data = self.read(path)
        return UploadFile(os.path.join(self._root, path), dest, len(data), hashlib.sha256(data).hexdigest(), reason, replaces=replaces)


class IsoTree:
    """An ISO that is mounted in the appliance beside the guest; nothing of it is read by the host's kernel."""

    def __init__(self, guest: Guest, root: str = ISO) -> None:
        self._guest, self._root = guest, root

    def listdir(self, path: str) -> list[tuple[str, bool]]:
        directory = f"{self._root}/{path}".rstrip("/")
        names = self._guest.listdir(directory)
        return [(name, "." not in name or name.lower() in _RELEASES) for name in names]

    def read(self, path: str) -> bytes:
        return self._guest.read(f"{self._root}/{path}") or b""

    def change(self, path: str, dest: str, reason: str, replaces: str = "") -> Union[CopyFile, UploadFile]:
        return CopyFile(f"{self._root}/{path}", dest, reason, replaces)


@dataclass(frozen=True)
class Package:
    """A driver with the place of its files in the source: `inf` and `files` as (name, path) below the tree's root."""

    name: str
    driver: Driver
    inf: str
    digest: str
    files: tuple[tuple[str, str], ...]


def select(tree: Tree, facts: WindowsFacts, architecture: str, wanted: tuple[str, ...], findings: Findings) -> dict[str, Package]:
    """The packages for one Windows, by the names of their INF files without ending. What is missing or wrong becomes a concern."""
    wanted = (*STORAGE, *(wanted or OPTIONAL))
    found = sorted(_candidates(tree, facts.release, architecture))
    packages: dict[str, Package] = {}
    for name in wanted:
        for release in (facts.release, *FALLBACKS.get(facts.release, ())):
            paths = [path for kind, path in found if kind == release.lower() and path.rsplit("/", 1)[-1].lower() == f"{name}.inf"]
            package = next((one for one in (_package(tree, path, name, facts, architecture, findings) for path in paths) if one), None)
            if package is None:
                continue
            packages[name] = package
            if release != facts.release:
                findings.add(
                    "windows.driver-fallback",
                    WARNING,
                    f"The driver source has no folder {facts.release} for {architecture}; {name} is taken from {release}.",
                    "Use a newer virtio-win if there is one; the boot-readiness proof says whether the driver fits.",
                )
            break
    return packages


def _candidates(tree: Tree, release: str, architecture: str) -> Iterator[tuple[str, str]]:
    """(release folder, path) of every INF below folders of a release and an architecture that fit."""
    releases = {name.lower() for name in (release, *FALLBACKS.get(release, ()))}
    stack: list[tuple[str, str, bool]] = [("", "", False)]
    while stack:
        directory, folder, fits = stack.pop()
        for name, is_directory in tree.listdir(directory):
            path, low = f"{directory}/{name}" if directory else name, name.lower()
            if is_directory and path.count("/") < _MAX_DEPTH:
                foreign = (low in _RELEASES and low not in releases) or (low in _ALL_FOLDERS and low not in _FOLDERS.get(architecture, ()))
                if not foreign and low != "sriov":
                    stack.append((path, low if low in _RELEASES else folder, fits or low in _ALL_FOLDERS))
            elif low.endswith(".inf") and folder and fits:
                yield folder, path


def _package(tree: Tree, path: str, name: str, facts: WindowsFacts, architecture: str, findings: Findings) -> Optional[Package]:
    data = tree.read(path)
    driver = Inf(path, data).driver(architecture, facts.nt, facts.build)
    if driver is None:
        return None
    directory = path.rpartition("/")[0]
    beside = {entry.lower(): entry for entry, is_directory in tree.listdir(directory) if not is_directory}
    needed = [driver.inf, *([driver.catalog] if driver.catalog else []), *(file for file in driver.files)]
    needed = list(dict.fromkeys(file.lower() for file in needed if not file.lower().endswith(_SKIPPED)))
    missing = [file for file in needed if file not in beside]
    if driver.service is not None:
        program = driver.service.image.rsplit("\\", 1)[-1].lower()
        if program not in needed:
            needed.append(program)
            missing += [program] if program not in beside else []
    wrong = ""
    if missing:
        wrong = f"it lacks {', '.join(missing)}"
    elif driver.service is not None:
        machine = pe.machine(tree.read(f"{directory}/{beside[program]}"))
        if machine != architecture:
            wrong = f"{program} is for {machine or 'no known machine'}, and the guest is {architecture}"
    if wrong:
        findings.add(
            "windows.driver-unusable",
            WARNING,
            f"The driver {name} in {directory} cannot be used: {wrong}.",
            "Take the drivers from an unchanged virtio-win ISO.",
        )
        return None
    files = tuple((file, f"{directory}/{beside[file]}") for file in needed)
    return Package(name, driver, path, hashlib.sha256(data).hexdigest(), files)
