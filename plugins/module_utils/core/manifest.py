# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: the record beside an artefact of what it was made from, with which options, and what it is.

A stage that finds a manifest which still holds has nothing to do. Files are recognised by size, modification time and
inode, block devices by size, number and what the kernel has counted of writes to them; content digests are recorded for
people and for `verify`, and are not read again on every run.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Mapping, Optional, Sequence

from . import atomic, device, files, held, rbd
from .data import Rest, each_from_data, from_data, kept
from .errors import MigrationError
from .shape import FILE

FORMAT = 1


@dataclass(frozen=True)
class Identity:
    """A file as it was: sizes in bytes, times in nanoseconds since the epoch; of a block device `device.written` and its number.

    Of an image of Ceph what `rbd.identity` says. Whoever writes to a file can set the time of its data back, but not that of its status, which is
    therefore part of what a file of a source is; 0 for our own files, whose owner and mode may change (libvirt).
    """

    path: Annotated[str, FILE]
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0

    @classmethod
    def of(cls, path: str, *, source: bool = False) -> Identity:
        if rbd.is_image(path):
            return cls(path, *rbd.identity(path))
        found = held.status(path)
        if stat.S_ISBLK(found.st_mode):
            return cls(os.path.abspath(path), device.size(path), device.written(found.st_rdev), found.st_rdev)
        return cls(os.path.abspath(path), found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns if source else 0)

    def holds(self) -> bool:
        """Whether the file is still there, unchanged."""
        try:
            return Identity.of(self.path, source=self.ctime_ns != 0) == self
        except (OSError, MigrationError):
            return False


@dataclass(frozen=True)
class Anything:
    """What nobody reads by name."""

    rest: Rest = kept()


@dataclass(frozen=True)
class Form:
    """The records that the options and the result of a stage's manifest can be read as."""

    result: Any = Anything
    options: Any = Anything


ANY = Form()


@dataclass(frozen=True)
class Manifest:
    """`stage` made `outputs` from `inputs` under `options`; `result` is what the stage reported then.

    `replaces`: what was in the outputs' place when this was written, where they come to it afterwards.
    """

    stage: str
    inputs: tuple[Identity, ...]
    options: dict[str, Any]
    outputs: tuple[Identity, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    replaces: tuple[Identity, ...] = ()

    def save(self, path: str) -> None:
        atomic.write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str, *stages: str, form: Form = ANY) -> Optional[Manifest]:
        """The manifest at `path`, of one of these `stages` if any are named; None when there is none, or one that this version cannot use."""
        try:
            data = of_today(json.loads(files.record(path) or b""))
            stage = data["stage"]
            if data["format"] != FORMAT or not isinstance(stage, str) or (stages and stage not in stages):
                return None
            from_data(form.options, data["options"], "options")
            from_data(form.result, data["result"], "result")
            inputs, outputs, replaces = (each_from_data(Identity, data.get(name) or (), name) for name in ("inputs", "outputs", "replaces"))
            return cls(stage, inputs, data["options"], outputs, data["result"], replaces)
        except (MigrationError, OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def current(self, stage: str, inputs: Sequence[Identity], options: dict[str, Any]) -> bool:
        """Whether the stage would do the same again, and what it made then is still there."""
        return self.says(stage, inputs, options) and self.holds()

    def says(self, stage: str, inputs: Sequence[Identity], options: dict[str, Any]) -> bool:
        """Whether the stage would do the same again."""
        return (stage, tuple(inputs), json.loads(json.dumps(options))) == (self.stage, self.inputs, self.options)

    def holds(self) -> bool:
        """Whether what was made is still there."""
        return all(output.holds() for output in self.outputs)


def beside(path: str) -> str:
    """Where the manifest of an artefact lies that is not in a work directory."""
    return f"{path}.manifest.json"


_NAMES = {"cards": "nics"}  # of facts and of what a boot test was given


def renamed(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded of a guest or asked of a boot test; a name of today counts before that of earlier versions."""
    return {_NAMES[key] if _NAMES.get(key, key) not in data else key: value for key, value in data.items()}


def of_today(data: Any) -> Any:
    """A whole manifest or report, whatever it is, with the names that its parts have today."""
    if not isinstance(data, dict):
        return data
    parts = {key: renamed(data[key]) for key in ("options", "facts") if isinstance(data.get(key), dict)}
    result = data.get("result")
    inner = (
        {"result": {**result, "facts": renamed(result["facts"])}}
        if isinstance(result, dict) and isinstance(result.get("facts"), dict)
        else {}
    )
    return {**data, **parts, **inner}


def sha256(path: str) -> str:
    """Hexadecimal SHA-256 of a whole file or device."""
    if rbd.is_image(path):
        return rbd.sha256(path)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with open(files.descriptor(path, devices=True), "rb", buffering=0) as file:
        while True:
            count = file.readinto(buffer)
            if not count:
                return digest.hexdigest()
            digest.update(buffer[:count])
