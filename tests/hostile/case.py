# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case of the campaign is, and what it may ask of the collection.

A file `item<N>_*.py` with the hostile inputs for a theme has a function `cases()` that yields `Case`s; runs that end early are in
faults.py. Each case runs alone in a process and a folder of its own; nothing in them knows of the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]

REFUSED, USED, CONCERN, WRONG = "refused", "used", "concern", "wrong"


@dataclass(frozen=True)
class Place:
    """Where a case works: hostile inputs go to `inputs`, whatever the collection makes lies below `work`; nobody may read `canary`."""

    folder: Path
    canary: Path

    @property
    def inputs(self) -> Path:
        return self.folder / "in"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def write(self, name: str, data: bytes | str) -> Path:
        path = self.inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
        return path


@dataclass(frozen=True)
class Outcome:
    """What became of an input: refused with a remedy, used as it is meant, used with a concern, or a wrong content was published."""

    verdict: str
    words: str = ""


@dataclass(frozen=True)
class Case:
    """One hostile input. `kind` is what it stands for; `varied` when a machine made it by varying another; `expect` are the verdicts that are right.

    One that only `waits` for a deadline is tried beside the others.
    """

    name: str
    kind: str
    run: Callable[[Place], Outcome]
    varied: bool = False
    seconds: int = 60
    expect: tuple[str, ...] = (REFUSED, USED, CONCERN)
    waits: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


def asked(call: Callable[[], object], then: Callable[[object], Outcome] | None = None) -> Outcome:
    """The outcome of a call into the library. An error of its family with a remedy refuses; whatever else is raised is a defect, and rises."""
    from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import errors

    try:
        answer = call()
    except errors.MigrationError as error:
        return refused(error.msg, error.hint)
    except OSError as error:  # as a module says it
        found = errors.of_system(error)
        return refused(found.msg, found.hint)
    return then(answer) if then else Outcome(USED, str(answer)[:200])


def refused(msg: str, hint: str) -> Outcome:
    """A refusal; one without a remedy is a defect."""
    if not hint:
        raise AssertionError(f"refused without a remedy: {msg}")
    return Outcome(REFUSED, f"{msg} {hint}"[:300])


def answered(module_name: str, /, **arguments: object) -> dict:
    """What a module answers, run as Ansible does."""
    import harness

    answer = harness.module(module_name, **arguments)
    if "exception" in answer or "Traceback" in json.dumps(answer):
        raise AssertionError(f"{module_name}: {json.dumps(answer)[:3000]}")
    return answer


def module(name: str, then: Callable[[dict], Outcome] | None = None, **arguments: object) -> Outcome:
    """The outcome of a module."""
    answer = answered(name, **arguments)
    if answer.get("failed"):
        return refused(answer["msg"], answer.get("hint", ""))
    return then(answer) if then else Outcome(USED, json.dumps(answer)[:200])


def migrated(place: Place, source: list[str], name: str = "vm", expected: str = "", env: Mapping[str, str] | None = None) -> Outcome:
    """A source through FETCH, FLATTEN and CONVERT to a result under `name`; its content is held against `expected`, the SHA-256 of the raw disk."""
    work, out = str(place.work / "state"), place.work / "out"
    for step in (
        ("vmdk_fetch", {"source": source, "work_dir": work}),
        ("disk_flatten", {"work_dir": work}),
        ("qemu_convert", {"work_dir": work, "name": name, "dest": str(out)}),
    ):
        try:
            answer = answered(step[0], env=dict(env or {}), **step[1])
        except AssertionError as error:
            if "Refusing to deserialize an invalid UTF8 string value" not in str(error):
                raise
            return Outcome(REFUSED, "Ansible gives no module a text that is no Unicode (2.19 and later)")
        if answer.get("failed"):
            left = [str(path) for path in out.glob("**/*") if path.is_file()]
            if left:
                return Outcome(WRONG, f"refused, and left {left}")
            return refused(answer["msg"], answer.get("hint", ""))
    (disk,) = answer["disks"]
    if Path(disk["path"]).parent != out:
        return Outcome(WRONG, f"published as {disk['path']}")
    return content(disk, expected) if expected else Outcome(USED, disk["path"])


def tiny(place: Place, name: str = "disk.raw") -> tuple[Path, str]:
    """A disk of 1 MiB that is like no other, and the SHA-256 of what is in it."""
    data = os.urandom(4096) + bytes((1 << 20) - 8192) + os.urandom(4096)
    return place.write(name, data), hashlib.sha256(data).hexdigest()


def content(disk: Mapping[str, object], expected: str) -> Outcome:
    """Whether a published disk holds what a guest would have seen of its source, by the SHA-256 of the raw content."""
    path, seen = str(disk["path"]), f"{disk['path']}.seen"
    subprocess.run(["qemu-img", "convert", "-f", str(disk.get("format", "qcow2")), "-O", "raw", path, seen], check=True)
    same = hashlib.sha256(Path(seen).read_bytes()).hexdigest() == expected
    os.unlink(seen)
    return Outcome(USED, "the content is the source's") if same else Outcome(WRONG, f"{path} is not what its source holds")
