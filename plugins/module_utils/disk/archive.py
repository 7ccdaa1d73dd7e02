# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives and compressed files with a VM inside: unpacked member by member, within limits, and what in them is the VM.

Only what may belong to a VM is unpacked, under its own path below one directory: neither hidden files nor what systems leave beside others (`litter`).
An archive in an archive is unpacked too.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Generator, Iterator, Optional, Sequence, cast

from ..core import atomic, choice, direct, files, held, limits, made, modes
from ..core.errors import InvalidInput, NotEnoughSpace, UnsafeInput
from ..core.manifest import Form, Identity, Manifest
from ..core.progress import Progress
from ..core.shape import FILE
from ..core.trace import point
from . import image, litter, packed_stream, tape, vmdk
from .source import known_as

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_SINGLE = (".gz", ".xz", ".bz2")
_DESCRIPTIONS = (".vmx", ".vbox", ".ovf", ".ova")
_ALSO = (".mf", ".nvram", ".vmsd", ".vmdk")
_MEMBERS = limits.MEMBERS
_STEP, _LOOK = 1 << 20, 64 << 20
RECORD = "unpacked.json"
_RECORDS = frozenset(f"{name}{end}" for name in (RECORD, made.LIST) for end in ("", atomic.PARTIAL))
_NAME, _PATH = 250, 4000  # bytes; ".d" follows where an archive is in it
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    RuntimeError,
    TypeError,  # tarfile, for a stream that ends in the header of its compression
)
Member = tuple[str, Optional[BinaryIO]]


@dataclass
class _Total:
    """Bytes that an archive has become so far, with all archives in it, zeros too: those fill no disk, but take for ever."""

    path: str
    packed: int
    directory: str
    size: int = 0

    def add(self, count: int) -> None:
        self.size += count
        if self.size > min(limits.UNPACKED, max(limits.UNPACKED_FREE, limits.UNPACKED_RATIO * self.packed)):
            raise UnsafeInput(
                f"{self.path} has become {self.size >> 30} GiB, more than {limits.UNPACKED_RATIO} times its size.",
                "It may have been made to fill a disk. If you trust it, unpack it and name the VM.",
                path=self.path,
            )


def packed(paths: Sequence[str]) -> bool:
    """Whether one of these is an archive or compressed file."""
    return any(_is_packed(choice.file_of(path)) for path in paths)


def require_distinct(paths: Sequence[str]) -> None:
    """Raise InvalidInput where one file is named twice, by whatever names: its one disk would become two of the VM, or one of two be missing."""
    seen: dict[object, str] = {}
    for path in paths:
        try:
            found = known_as(path)
        except OSError:  # who reads it says so
            continue
        if found in seen:
            raise InvalidInput(
                f"The source has one disk twice: {seen[found]} and {path}.", "Name each disk once; check migrate_source.", path=path
            )
        seen[found] = path


def unpacked(paths: Sequence[str], directory: str, progress: Progress) -> list[str]:
    """The VM, or its disks in their order, with what is packed unpacked below `directory`. Raises what `unpack` and `require_distinct` raise."""
    require_distinct(paths)
    if len(paths) == 1:
        path, chosen = choice.parted(paths[0])
        found = unpack(path, directory, progress)
        if str(chosen) and not found.lower().endswith((".ova", ".ovf")):
            raise InvalidInput(
                f"{path} holds {os.path.basename(found)}, of which there is nothing to choose.",
                f"Leave {chosen} off migrate_source.",
                path=path,
            )
        return [f"{found}{chosen}"]
    return [unpack(path, os.path.join(directory, str(number)), progress) if _is_packed(path) else path for number, path in enumerate(paths)]


@dataclass(frozen=True)
class Unpacked:
    """What was unpacked: the description of the VM, or its disk."""

    path: Annotated[str, FILE]


UNPACK = Form(Unpacked)


def unpack(path: str, directory: str, progress: Progress) -> str:
    """Unpack into `directory` what may belong to a VM; gives the path of its description, or of its disk. What an earlier run unpacked is kept.

    Of what is there only what we have made is removed (`made`).

    Raises InvalidInput for what is damaged, encrypted, or holds no VM or several, UnsafeInput for names that reach elsewhere, NotEnoughSpace.
    """
    files.opened(path, "The archive").close()
    modes.make_directory(directory)
    record, inputs = os.path.join(directory, RECORD), (Identity.of(path, source=True),)
    earlier = Manifest.load(record, "unpack", form=UNPACK)
    if earlier is not None and earlier.current("unpack", inputs, {}) and _ours(earlier, directory):
        return str(earlier.result["path"])
    progress.phase("unpack")
    try:
        made.clear(directory)  # parts of a run that was killed
        made.note(directory, record, f"{record}{atomic.PARTIAL}")
        names = list(_unpack(path, directory, progress, limits.NESTED, _Total(path, inputs[0].size, directory)))
        found = choose(names, path)
        Manifest("unpack", inputs, {}, tuple(Identity.of(name) for name in names), {"path": found}).save(record)
        return found
    except BaseException:
        made.clear(directory)
        raise


def _ours(record: Manifest, directory: str) -> bool:
    """Whether a record names nothing but files that are below the directory themselves: whoever may write there could have it name another VM's disk."""
    names = [one.path for one in record.outputs]
    return record.result["path"] in names and all(_lies_below(name, directory) for name in names)


def _lies_below(path: str, directory: str) -> bool:
    """Whether it is a file below the directory, by no link: `..`, a symbolic link on the way, a second name of a file elsewhere."""
    found, below = os.lstat(path), os.path.relpath(path, directory)
    straight = os.path.join(os.path.realpath(directory), below) == os.path.realpath(path)
    return straight and stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def choose(files: Sequence[str], path: str, hint: str = "Unpack it, and name the VM's description, or its disks in their order.") -> str:
    """The VM among the files of the archive at `path`: its one description, else its one disk that is no part and no parent of another.

    Raises InvalidInput where there is none or more than one, with what there is.
    """
    descriptions = [file for file in files if file.lower().endswith(_DESCRIPTIONS)]
    disks = [file for file in files if _suffix(file) in (".vmdk", *image.READERS) and not vmdk.PART.search(file)]
    parents = {parent for file in disks if not descriptions for parent in _parents(file)}
    found = descriptions or [file for file in disks if file not in parents]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(map(os.path.basename, found))) or "nothing that is a VM or a disk"
    raise InvalidInput(f"{path} holds {names}, it must hold one VM.", hint, path=path)


def _parents(path: str) -> Iterator[str]:
    if _suffix(path) in image.READERS:
        yield from (link.path for link in image.resolve(path).links[1:])


def _unpack(path: str, directory: str, progress: Progress, depth: int, total: _Total) -> Iterator[str]:
    count = 0
    try:
        with contextlib.closing(_members(path)) as members:
            for name, content in members:
                count += 1
                if count > _MEMBERS:
                    raise InvalidInput(f"{path} has more than {_MEMBERS} members.", "Unpack it and name the VM.", path=path)
                target = _target(name, directory, path)
                if target is None:
                    continue
                if content is None:
                    raise UnsafeInput(
                        f"{path} holds {name!r}, which is not a plain file.",
                        "Links and devices are never made; pack the file itself.",
                        path=path,
                    )
                if os.path.lexists(target):
                    raise UnsafeInput(f"{path} holds {name!r} twice.", "Do not use this archive; pack the VM again.", path=path)
                _write(content, target, progress, total)
                if not _is_packed(target):
                    yield target
                elif depth == 1:
                    raise InvalidInput(
                        f"{path} holds archives in archives, more than {limits.NESTED} deep.", "Unpack it and name the VM.", path=path
                    )
                else:
                    yield from _unpack(target, f"{target}.d", progress, depth - 1, total)
                    held.forget(target)
                    os.unlink(target)
                    point("unpack.inner")
    except _BROKEN as error:
        full = NotEnoughSpace.met(error)
        if full is not None:
            raise full from error
        raise InvalidInput(
            f"{path} cannot be unpacked: {error or type(error).__name__}.", "Copy or download it again.", path=path
        ) from error


def _members(path: str) -> Generator[Member, None, None]:
    """Name and content of each; None for the content of what is no plain file."""
    lower = path.lower()
    with files.opened(path, "The archive") as file:
        if lower.endswith(".zip"):
            yield from _zipped(file, path)
        elif lower.endswith(_TARS):
            for member, archive in tape.members(packed_stream.plain(file, path), path):
                if not member.isdir():
                    plain = member.isreg() or member.issparse()
                    yield member.name, cast("Optional[BinaryIO]", archive.extractfile(member)) if plain else None
        else:
            yield os.path.splitext(os.path.basename(path))[0].lstrip("."), packed_stream.plain(file, path, True)


def _zipped(file: BinaryIO, path: str) -> Generator[Member, None, None]:
    directory = packed_stream.Bounded(file, limits.ZIP_DIRECTORY, path)
    with zipfile.ZipFile(cast(BinaryIO, directory)) as archive:
        for info in archive.infolist():
            if info.is_dir() or _target(info.filename, "", path) is None:
                yield info.filename, None
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidInput(
                    f"{path} is compressed in a way of ZIP that has no limits (method {info.compress_type}).",
                    "Unpack it and name the VM, or pack it as most programs do (deflate).",
                    path=path,
                )
            elif info.external_attr >> 16 & 0o170000 not in (0, 0o100000):
                yield info.filename, None
            else:
                with archive.open(info) as content:
                    yield info.filename, cast(BinaryIO, content)


def _target(name: str, directory: str, path: str) -> Optional[str]:
    """Where a member goes; None for what cannot belong to a VM."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or not (_is_packed(parts[-1]) or _suffix(parts[-1]) in (*_DESCRIPTIONS, *_ALSO, *image.READERS)):
        return None
    if litter.is_litter("/".join(parts)) or litter.is_hidden(parts[-1]):
        return None
    if name.startswith("/") or ".." in parts or "\\" in name or any(ord(char) < 32 for char in name):
        raise UnsafeInput(f"{path} has the member {name!r}, which reaches elsewhere.", "Do not use this archive.", path=path, member=name)
    target = posixpath.join(directory, *parts)
    why = (
        (len(parts) > limits.MEMBER_DEPTH and f"lies more than {limits.MEMBER_DEPTH} directories deep")
        or (
            (len(os.fsencode(target)) > _PATH or max(len(os.fsencode(part)) for part in parts) > _NAME)
            and "has a longer name than a file can have"
        )
        or (not _RECORDS.isdisjoint(parts) and "has a directory with the name of a record of the migration's own")
    )
    if why:
        raise InvalidInput(
            f"{path} has the member {name[:100]!r}, which {why}.",
            "Unpack it and name the VM, or pack the VM again with shorter paths.",
            path=path,
        )
    return target


def _write(content: BinaryIO, target: str, progress: Progress, total: _Total) -> None:
    """A member, with holes where it has zeros. A disk that is full is noticed before it is."""
    made.note(total.directory, target)
    modes.make_directory(os.path.dirname(target), above=modes.PRIVATE)
    with contextlib.closing(direct.File(target)) as file, contextlib.ExitStack() as failed:
        failed.callback(os.unlink, target)
        file.resize(0)
        window, size = direct.Window(file), 0
        for block in iter(lambda: content.read(_STEP), b""):
            if size % _LOOK == 0:
                atomic.need_space(os.path.dirname(target), 4 * _LOOK, "The unpacked VM")
            total.add(len(block))
            window.put(memoryview(block), size)
            size += len(block)
            progress.update(size)
        window.flush()
        file.resize(size)
        file.flush()
        failed.pop_all()


def _is_packed(path: str) -> bool:
    return path.lower().endswith((".zip", *_TARS, *_SINGLE))


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()
