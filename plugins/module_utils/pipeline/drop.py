# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that VMs are dropped into: what in it is a VM, which have arrived whole, which came before, and where they go afterwards.

An entry of the folder is a directory with a VM in it, or a file at its top with the parts that belong to it. It has arrived when nothing of it has
changed for some time, or when a file with its name and the suffix .done lies beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from typing import Any, Iterator, Mapping, Optional

from ..core import atomic, modes, names
from ..core.errors import InvalidInput, MigrationError
from ..core.manifest import sha256
from ..disk import archive, vmdk

PROCESSED, FAILED, DUPLICATES = "processed", "failed", "duplicates"
_PLACES = (PROCESSED, FAILED, DUPLICATES)
_DONE = ".done"
_KNOWN = ".digests.json"  # of what was processed, by digest
_POLL = 0.5  # seconds

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Item:
    """A VM that has arrived: its name, what to name in migrate_source (empty with `fault`, where it is none), its entries of the folder, their digest."""

    name: str
    source: str
    entries: tuple[str, ...]
    digest: str
    fault: str = ""

    def as_result(self) -> dict[str, Any]:
        return asdict(self)


def arrived(folder: str, settle: float, wait: float) -> list[Item]:
    """The VMs that have arrived whole; waits up to `wait` seconds for those that are still arriving.

    Nothing has to be remembered between two calls: what was arriving when the last one died is looked at anew.
    """
    if not os.path.isdir(folder):
        raise InvalidInput(f"The drop folder {folder} does not exist.", "Create it, or name another (drop_folder_path).", path=folder)
    begin = time.monotonic()
    found: dict[str, Item] = {}
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
                    found[name] = _item(folder, name, entries)
        if groups.keys() <= found.keys() or now - begin >= wait:
            return [item for name, item in found.items() if name in groups]
        time.sleep(_POLL)


def known(folder: str) -> Mapping[str, str]:
    """Names of what was processed, by digest."""
    text = atomic.read_text(os.path.join(folder, _KNOWN))
    names: Mapping[str, str] = json.loads(text) if text else {}
    return names


def put_away(folder: str, item: Item, place: str, report: str, words: str, mode: int = modes.FILE) -> str:
    """Move a VM's entries to processed, failed or duplicates, with the report of its migration, if there is one, and `words`, files with
    `mode`; gives the directory.
    """
    home = os.path.join(folder, place)
    target = os.path.join(home, names.safe(item.name))
    if os.path.exists(target):
        target += f"-{item.digest[:12]}-{time.strftime('%Y%m%dT%H%M%S')}"
    modes.make_directory(home, modes.of_directory(mode))
    os.mkdir(target)
    os.chmod(target, modes.of_directory(mode))
    for name in ("report.md", "report.json"):
        copied = os.path.join(target, name)
        with contextlib.suppress(FileNotFoundError), open(os.path.join(report, name), "rb") as had, modes.create(copied, mode) as copy:
            shutil.copyfileobj(had, copy)
    atomic.write_text(os.path.join(target, "result.txt"), words.strip() + "\n", mode)
    if place == PROCESSED:
        atomic.write_json(os.path.join(folder, _KNOWN), {**known(folder), item.digest: item.name})
    for entry in (*item.entries, *(entry + _DONE for entry in item.entries)):
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(folder, entry), os.path.join(target, entry))
    return target


def _groups(folder: str) -> dict[str, list[str]]:
    """Entries of the folder by the name of their VM; what lists the parts of a disk comes before them. Hidden files are still on their way."""
    entries = sorted(
        entry for entry in os.listdir(folder) if not entry.startswith(".") and not entry.endswith((_DONE, ".part", ".partial", ".tmp"))
    )
    groups: dict[str, list[str]] = {}
    parts = []
    for entry in entries:
        if os.path.islink(os.path.join(folder, entry)) or entry in _PLACES:
            continue
        if vmdk.PART.search(entry):
            parts.append(entry)
        else:
            groups.setdefault(_name(entry), []).append(entry)
    for part in parts:
        groups.setdefault(_name(vmdk.PART.sub(".vmdk", part)), []).append(part)
    return groups


def _name(entry: str) -> str:
    """A name that an inventory and a file system take."""
    stem = re.sub(r"(\.(tar|gz|tgz|xz|txz|bz2|tbz2|zip|[a-z]{2,6}\d?))+$", "", entry, flags=re.IGNORECASE) or entry
    try:
        return names.safe(stem)
    except InvalidInput:  # nothing but spaces; its suffix is something to name it by
        return names.safe(f"vm{entry}")


def _files(folder: str, entries: list[str]) -> Iterator[str]:
    for entry in entries:
        path = os.path.join(folder, entry)
        if os.path.isdir(path):
            for directory, dummy, names in sorted(os.walk(path)):
                yield from (os.path.join(directory, name) for name in sorted(names))
        else:
            yield path


def _signature(folder: str, entries: list[str]) -> Optional[Signature]:
    try:
        return tuple((path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in _files(folder, entries))
    except FileNotFoundError:
        return None


def _item(folder: str, name: str, entries: list[str]) -> Item:
    files = list(_files(folder, entries))
    digest = hashlib.sha256("".join(sorted(sha256(path) for path in files if not os.path.islink(path))).encode("ascii")).hexdigest()
    try:
        source = archive.choose([path for path in files if not archive.packed([path])], folder) if not _packed(files) else files[0]
    except MigrationError as error:
        return Item(name, "", tuple(entries), digest, str(error))
    return Item(name, source, tuple(entries), digest)


def _packed(files: list[str]) -> bool:
    return len(files) == 1 and archive.packed(files)
