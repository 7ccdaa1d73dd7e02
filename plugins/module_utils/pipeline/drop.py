# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that VMs are dropped into: which of its VMs have arrived whole, which came before, and where they go afterwards.

An entry of the folder is a directory with a VM in it, or a file at its top with the parts that belong to it. It has arrived when nothing of it has
changed for some time, or when a file with its name and the suffix .done lies beside it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

from ..core import atomic, files, limits, modes, names
from ..core.errors import InvalidInput, MigrationError, SourceChanged, UnsafeInput
from ..disk import litter, vmdk
from . import beside, dropped

PROCESSED, FAILED, DUPLICATES = "processed", "failed", "duplicates"
_PLACES = (PROCESSED, FAILED, DUPLICATES)
_DONE = ".done"
_KNOWN = ".digests.json"  # of what was processed, by digest
_POLL = 0.5  # seconds

Signature = tuple[tuple[str, int, int, int, int], ...]  # path, size, times of change, inode


@dataclass(frozen=True)
class Item:
    """A VM that has arrived: its name, what to name in migrate_source (empty with `fault`, where it is none), its entries of the folder, their digest.

    `seal` is what its files were when their digest was begun; every write, and every file more or less, makes it another one.
    """

    name: str
    source: str
    entries: tuple[str, ...]
    digest: str
    fault: str = ""
    seal: str = ""

    def as_result(self) -> dict[str, Any]:
        return asdict(self)


def arrived(folder: str, settle: float, wait: float) -> list[Item]:
    """The VMs that have arrived whole; waits up to `wait` seconds for those that are still arriving.

    Nothing has to be remembered between two calls: what was arriving when the last one died is looked at anew. An entry that cannot be looked
    at, or holds anything but directories and regular files, is an item with a fault: nothing else is opened, and no other entry waits for it.
    """
    if not os.path.isdir(folder):
        raise InvalidInput(f"The drop folder {folder} does not exist.", "Create it, or name another (drop_folder_path).", path=folder)
    for place in _PLACES:
        _require_directory(os.path.join(folder, place))
    begin = time.monotonic()
    found: dict[str, Item] = {}
    reads: dict[str, set[str]] = {}
    since: dict[str, tuple[float, Optional[Signature]]] = {}
    while True:
        now, groups = time.monotonic(), _groups(folder)
        for name, entries in groups.items():
            signature = _signature(folder, entries)
            if signature is None or since.get(name, (now, None))[1] != signature:
                since[name] = (now, signature)
                found.pop(name, None)
            whole = os.path.exists(os.path.join(folder, entries[0] + _DONE)) or now - since[name][0] >= settle
            if whole and name not in found:
                with contextlib.suppress(FileNotFoundError):  # it is being taken away again
                    item, reads[name] = _item(folder, name, entries)
                    found[name] = replace(item, seal=_seal(signature))
        if groups.keys() <= found.keys() or now - begin >= wait:
            return [
                _alone(item, {other: reads[other] for other in found if other in groups}) for name, item in found.items() if name in groups
            ]
        time.sleep(_POLL)


def _alone(item: Item, reads: Mapping[str, set[str]]) -> Item:
    """A disk of another VM is no VM."""
    owner = next((name for name, entries in reads.items() if name != item.name and entries & set(item.entries)), "")
    return replace(item, source="", fault=f"The VM {owner} reads it. {dropped.TOGETHER}") if owner and not item.fault else item


def known(folder: str) -> Mapping[str, str]:
    """Names of what was processed, by digest."""
    path = os.path.join(folder, _KNOWN)
    if not os.path.lexists(path):
        return {}
    try:
        found = json.loads(files.record(path) or b"")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise InvalidInput(
            f"{path} is not the record of what was processed.", "Remove it: what came before is then processed again.", path=path
        )
    return found


def put_away(folder: str, item: Item, place: str, report: str, words: str, mode: int = modes.FILE) -> str:
    """Move a VM's entries to processed, failed or duplicates, with the report of its migration, if there is one, and `words`, files with
    `mode`; gives the directory. Raises what `require_same` raises.
    """
    require_same(folder, item, place)
    home = os.path.join(folder, place)
    target = os.path.join(home, names.safe(item.name))
    if os.path.lexists(target):
        target += f"-{item.digest[:12]}-{time.strftime('%Y%m%dT%H%M%S')}"
    modes.make_directory(home, modes.of_directory(mode))
    os.mkdir(target)
    os.chmod(target, modes.of_directory(mode))
    for name in ("report.md", "report.json"):
        copied = os.path.join(target, name)
        if os.path.exists(os.path.join(report, name)):
            with files.opened(os.path.join(report, name), "The report") as had, modes.create(copied, mode) as copy:
                shutil.copyfileobj(had, copy)
    atomic.write_text(os.path.join(target, "result.txt"), words.strip() + "\n", mode)
    if place == PROCESSED:
        atomic.write_json(os.path.join(folder, _KNOWN), {**known(folder), item.digest: item.name})
    for entry in (*item.entries, *(entry + _DONE for entry in item.entries)):
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(folder, entry), os.path.join(target, entry))
    return target


def require_same(folder: str, item: Item, place: str) -> None:
    """Raise UnsafeInput for an item or a place that is none, and SourceChanged where what lies there now is not what has arrived: nobody has looked at
    it, and what was migrated, or came before, is something else. What has failed may have changed.
    """
    _require_directory(os.path.join(folder, place))
    for entry in item.entries:
        if entry != os.path.basename(entry) or entry in ("", ".", ".."):
            raise UnsafeInput(f"{entry!r} is not an entry of {folder}.", "Give the item as the module has returned it.", path=folder)
    if place != FAILED and not _is_same(folder, item):
        raise SourceChanged(
            f"{', '.join(item.entries)} in {folder} is no longer what has arrived: files were changed, added or removed since then.",
            "Nothing was moved, and the next run looks at it anew. Leave it alone until it has been put away, or put what is new into an entry of its own.",
            path=folder,
        )


def _is_same(folder: str, item: Item) -> bool:
    """By the seal, else (of an item that has none) by the digest, which reads all of it."""
    try:
        if item.seal:
            return _seal(_signature(folder, item.entries)) == item.seal
        return _content(path for path, dummy in _files(folder, item.entries) if not dropped.is_hidden(folder, path)) == item.digest
    except (MigrationError, OSError):
        return False


def _require_directory(place: str) -> None:
    """Raise UnsafeInput for what takes the name of a directory that VMs are put away to."""
    if os.path.lexists(place) and (os.path.islink(place) or not os.path.isdir(place)):
        kind = "a symbolic link, which is not followed" if os.path.islink(place) else "no directory"
        raise UnsafeInput(f"{place} is {kind}.", "VMs are put away there: move it away, or make it a directory.", path=place)


def _groups(folder: str) -> dict[str, list[str]]:
    """Entries of the folder by the name of their VM; what lists the parts of a disk comes before them. Hidden files are still on their way."""
    groups: dict[str, list[str]] = {}
    parts = []
    for entry in _entries(folder):
        path = os.path.join(folder, entry)
        if os.path.islink(path):
            continue
        if vmdk.PART.search(entry):
            parts.append(entry)
        else:
            groups.setdefault(_name(entry if os.path.isdir(path) else beside.stem(path), entry), []).append(entry)
    for part in parts:
        groups.setdefault(_name(beside.stem(vmdk.PART.sub(".vmdk", part)), part), []).append(part)
    return groups


def links(folder: str) -> list[str]:
    """Entries that are passed over since they are symbolic links."""
    return [entry for entry in _entries(folder) if os.path.islink(os.path.join(folder, entry))]


def _entries(folder: str) -> list[str]:
    return sorted(
        entry
        for entry in os.listdir(folder)
        if not litter.is_hidden(entry) and not entry.endswith((_DONE, ".part", ".partial", ".tmp")) and entry not in _PLACES
    )


def _name(stem: str, entry: str) -> str:
    """A name that an inventory and a file system take."""
    try:
        return names.safe(stem or entry)
    except InvalidInput:  # nothing but spaces; its suffix is something to name it by
        return names.safe(f"vm{entry}")


def _files(folder: str, entries: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Every file of these entries but litter, whatever it is, with what lstat(2) says of it; of a hidden directory that cannot be looked at itself.

    Raises OSError for what else cannot be looked at, and for more files than any VM has.
    """
    stack, count = [os.path.join(folder, entry) for entry in reversed(entries)], 0
    while stack:
        path = stack.pop()
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            yield path, found
            continue
        try:
            inside = _inside(path, limits.ENTRY_FILES - count)
        except OSError:
            if not dropped.is_hidden(folder, path):
                raise
            yield path, found
            continue
        count += len(inside)
        stack += sorted(inside, reverse=True)


def _inside(path: str, most: int) -> list[str]:
    with os.scandir(path) as listing:
        inside = list(itertools.islice(listing, most + 1))
    if len(inside) > most:
        raise OSError(errno.E2BIG, f"more than {limits.ENTRY_FILES} files", path)
    return [entry.path for entry in inside if not litter.is_litter(entry.name)]


def _signature(folder: str, entries: Sequence[str]) -> Optional[Signature]:
    try:
        return tuple(
            (os.path.relpath(path, folder), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            for path, found in _files(folder, entries)
        )
    except FileNotFoundError:
        return None
    except OSError as error:  # it stays so, and is told when it has settled
        return ((str(error), 0, 0, 0, 0),)


def _seal(signature: Optional[Signature]) -> str:
    return hashlib.sha256(repr(signature).encode("utf-8", "backslashreplace")).hexdigest()


def _item(folder: str, name: str, entries: list[str]) -> tuple[Item, set[str]]:
    """The VM, and the entries of others that it reads. Raises FileNotFoundError for one that is being taken away."""
    digest, found = hashlib.sha256("\0".join(entries).encode("utf-8", "surrogateescape")).hexdigest(), []
    reads: set[str] = set()
    try:
        for path, info in _files(folder, entries):
            if dropped.is_hidden(folder, path):
                continue
            if not stat.S_ISREG(info.st_mode):
                raise files.irregular(path, "The entry", info.st_mode)
            found.append(path)
        digest = _content(found)
        vm = dropped.choose(folder, found)
        reads = vm.elsewhere(folder, entries, found)
        dropped.require_whole(folder, found, vm, reads)
    except FileNotFoundError:
        raise
    except (MigrationError, OSError, ValueError) as error:
        why = str(error) if isinstance(error, MigrationError) else f"It cannot be read: {error}. Check its permissions and its names."
        return Item(name, "", tuple(entries), digest, why), reads
    return Item(name, vm.source, tuple(entries), digest), reads


def _content(paths: Iterable[str]) -> str:
    """A digest of what these files hold, whatever they are called."""
    return hashlib.sha256("".join(sorted(map(_digest, paths))).encode("ascii")).hexdigest()


def _digest(path: str) -> str:
    """SHA-256 of a file, of whose holes only the lengths are read: a hostile one is a hole of exabytes. Source: lseek(2), SEEK_DATA."""
    digest = hashlib.sha256()
    with files.opened(path, "The entry", links=False) as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            begin = _seek(file.fileno(), at, os.SEEK_DATA, end)
            if begin > at:
                digest.update(b"hole of %d bytes" % (begin - at))
            at = begin
            stop = _seek(file.fileno(), at, os.SEEK_HOLE, end)
            while at < stop:
                block = os.pread(file.fileno(), min(stop - at, 1 << 20), at)
                if not block:
                    return digest.hexdigest()
                digest.update(block)
                at += len(block)
    return digest.hexdigest()


def _seek(fd: int, at: int, what: int, end: int) -> int:
    try:
        return min(end, os.lseek(fd, at, what))
    except OSError as error:
        if error.errno == errno.ENXIO:  # there is none up to the end
            return end
        if error.errno == errno.EINVAL:  # a file system that cannot tell
            return at if what == os.SEEK_DATA else end
        raise
