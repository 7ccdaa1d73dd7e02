# SPDX-License-Identifier: GPL-3.0-or-later
"""A package with virtio drivers, unpacked once on the conversion host. No script of it is run.

Sources: rpm.org, "RPM file format" (the lead); deb(5); Microsoft, [MS-CFB] 2.2 (what an .msi is); Microsoft, "File table", "Media table" and "Component
table" (a cabinet's members bear the keys of the File table); the names of these keys are those of virtio-win-guest-tools-installer,
`FILE_<name>_<release>_<architecture>`, which puts the files of all releases into one directory and lets conditions choose.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
from typing import Iterator, Mapping, Sequence

from ..core import atomic, cache, files, held, modes, process
from ..core.errors import InvalidInput
from .driver_folders import ALL_FOLDERS, RELEASES, TREES, is_image

RPM, DEB, MSI = "rpm", "deb", "msi"
_MAGIC: Mapping[bytes, str] = {b"\xed\xab\xee\xdb": RPM, b"!<arch>\ndebian-binary": DEB, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": MSI}
_LIMITS = process.Limits(timeout=1800.0, silence=300.0, file_size=4 << 30)
_DEPTH = 6
_COLUMNS = {"Component": 3, "Media": 4, "File": 3}
_BLOCK = 4 << 20
_DIGEST = re.compile("[0-9a-f]{32}")
_PLACE = re.compile(
    "_(?P<release>{})_(?P<machine>{})(?:[._]|$)".format(
        *("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) for names in (RELEASES, ALL_FOLDERS))
    ),
    re.IGNORECASE,
)


def kind(path: str) -> str:
    """Which package a file is by its first bytes; empty where it is none."""
    with files.opened(path, "The driver source") as file:
        start = file.read(max(map(len, _MAGIC)))
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def unpacked(path: str, what: str) -> str:
    """The directory with the drivers of a package, which is the same one as long as the file is.

    Raises InvalidInput for a package without drivers, MissingTool, and ToolFailed for one that cannot be read; nothing is left then.
    """
    before, home = held.stamp(path), cache.directory("drivers")
    place = os.path.join(home, _digest(path))
    if not os.path.isdir(place):
        with _partial(home) as partial:
            {RPM: _archive, DEB: _deb, MSI: _msi}[what](os.path.abspath(path), partial)
            _only_files(partial)
            _root(partial, path)
            if held.stamp(path) != before:
                raise InvalidInput(f"{path} was changed while it was unpacked.", "Run again when it is complete.")
            try:
                os.rename(partial, place)
            except OSError:
                if not os.path.isdir(place):  # else another run was first
                    raise
    return _root(place, path)


def _digest(path: str) -> str:
    """Of the whole package, which is read again only when the file was written to, or is another one."""
    with files.opened(path, "The driver source") as file:
        stamp = hashlib.sha256(repr(held.stamp(file.fileno())).encode()).hexdigest()[:32]
        known = os.path.join(cache.directory("driver-digests"), stamp)
        said = (atomic.read_text(known) or "").strip()
        if _DIGEST.fullmatch(said):
            return said
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    atomic.write_text(known, f"{digest.hexdigest()[:32]}\n")
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _partial(home: str) -> Iterator[str]:
    partial = tempfile.mkdtemp(dir=home)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _only_files(place: str) -> None:
    """Remove what is neither a file nor a directory, and links that lead out: nothing of them is a driver."""
    top = os.path.realpath(place)
    for directory, folders, names in os.walk(place):
        for name in (*folders, *names):
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            inside = stat.S_ISLNK(mode) and os.path.realpath(path).startswith(f"{top}{os.sep}")
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or inside):
                os.unlink(path)


def _root(place: str, path: str) -> str:
    """The directory that holds the drivers or their ISO, the one nearest to the top."""
    level = [place]
    for dummy in range(_DEPTH):
        below: list[str] = []
        for directory in level:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            folders = {entry.name.lower(): entry.path for entry in entries if entry.is_dir(follow_symlinks=False)}
            if any(name in folders for name in TREES) or any(is_image(entry.name) for entry in entries):
                return directory
            below += folders.values()
        level = below
    raise InvalidInput(f"The package {path} holds no virtio drivers for Windows.", "Give the package virtio-win, or its ISO.")


def _archive(path: str, into: str) -> None:
    """libarchive reads rpm, tar and cabinets by what they are, and writes neither above nor through links out of the directory."""
    bsdtar = process.require("bsdtar")
    process.run([bsdtar, "-x", "--no-same-owner", "--no-same-permissions", "-f", path, "-C", into], _LIMITS)


def _deb(path: str, into: str) -> None:
    with _partial(into) as parts:
        _archive(path, parts)
        data = [name for name in os.listdir(parts) if name.startswith("data.tar")]
        if len(data) != 1:
            raise InvalidInput(f"{path} is no Debian package: it holds {len(data)} archives of data.", "Download it again.")
        _archive(os.path.join(parts, data[0]), into)


def _msi(path: str, into: str) -> None:
    msiinfo = process.require("msiinfo")
    folder = {row[0]: row[2] for row in _table(msiinfo, path, "Component")}
    with _partial(into) as parts:
        for row in _table(msiinfo, path, "Media"):
            if row[3].startswith("#"):
                _stream(msiinfo, path, row[3][1:], os.path.join(into, "cabinet"))
                _archive(os.path.join(into, "cabinet"), parts)
                os.unlink(os.path.join(into, "cabinet"))
        there = {entry.name for entry in os.scandir(parts) if entry.is_file(follow_symlinks=False)}
        for key, component, name, *dummy in _table(msiinfo, path, "File"):
            found, source = _PLACE.search(key), os.path.join(parts, key)
            if found is None or key not in there:
                continue
            there.discard(key)
            place = ("drivers", folder.get(component, ""), found["release"].lower(), found["machine"].lower(), name.rpartition("|")[2])
            if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_. -]*", part) for part in place):
                raise InvalidInput(f"{path} has a file with the name {name!r}.", "Give an unchanged package of virtio-win.")
            modes.make_directory(os.path.join(into, *place[:-1]), above=modes.PRIVATE)
            os.rename(source, os.path.join(into, *place))


def _stream(msiinfo: str, path: str, name: str, into: str) -> None:
    with modes.create(into) as file:

        def keep(chunk: bytes) -> None:
            file.write(chunk)

        process.run([msiinfo, "extract", path, name], _LIMITS, on_output=keep)


def _table(msiinfo: str, path: str, name: str) -> Sequence[list[str]]:
    """The rows of a table. Its first three lines are the names of the columns, their types, and the table with its key."""
    text = process.run([msiinfo, "export", path, name], process.Limits(timeout=60.0, silence=60.0)).stdout
    rows = [line.split("\t") for line in text.replace("\r\n", "\n").split("\n")[3:] if line]
    if any(len(row) < _COLUMNS[name] for row in rows):
        raise InvalidInput(f"The table {name} of {path} has rows with too few columns.", "Give an unchanged package of virtio-win.")
    return rows
