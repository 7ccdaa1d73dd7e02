# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies already where a run writes: links to files of the host, pipes, directories, halves of earlier runs, records that lie."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from case import REFUSED, USED, WRONG, Case, Outcome, Place, answered, content, refused, tiny

RESULT, RECORD = "vm-disk0.qcow2", "vm-disk0.qcow2.manifest.json"


def link(place: Place, path: Path) -> None:
    path.symlink_to(place.canary)


def hard_link(place: Place, path: Path) -> None:
    os.link(place.canary, path)


def pipe(place: Place, path: Path) -> None:
    os.mkfifo(path)


def folder(place: Place, path: Path) -> None:
    path.mkdir()
    (path / "kept").write_text("kept")


def dangling(place: Place, path: Path) -> None:
    path.symlink_to(place.folder / "nowhere")


def noise(place: Place, path: Path) -> None:
    path.write_bytes(os.urandom(70_000))


def empty(place: Place, path: Path) -> None:
    path.write_bytes(b"")


def loop(place: Place, path: Path) -> None:
    path.symlink_to(path.name)


def unwritable(place: Place, path: Path) -> None:
    path.write_bytes(b"mine")
    path.chmod(0)


def text(data: bytes) -> Callable[[Place, Path], None]:
    return lambda place, path: path.write_bytes(data) and None


def _record(**wrong: object) -> bytes:
    return json.dumps({"format": 1, "stage": "convert", "inputs": [], "options": {}, "outputs": [], "result": {}, **wrong}).encode()


LEFT: dict[str, Callable[[Place, Path], None]] = {
    "a link to a file of the host": link, "a hard link to a file of the host": hard_link, "a pipe": pipe, "a directory": folder,
    "a link to nothing": dangling, "noise": noise, "nothing": empty, "a link to itself": loop, "somebody's file": unwritable,
}  # fmt: skip
RECORDS = {
    "half a record": b'{"stage": "convert", "inputs": [', "no record": b"[1, 2, 3]", "numbers": b"7", "levels": b"[" * 200_000, "NUL": b"\0" * 4096,
    "another stage's": json.dumps({"stage": "fetch", "inputs": [], "options": {}, "outputs": [], "result": {}}).encode(),
    "lists for texts": json.dumps({"stage": ["convert"], "inputs": {}, "options": [], "outputs": 3, "result": "x"}).encode(),
    "texts for mappings, of this format": _record(options="x", result="x"), "no options, of this format": _record(options=None),
    "a source of numbers, of this format": _record(options={"source": [7]}), "disks by name, of this format": _record(result={"disks": {"a": 1}}),
    "numbers without an end, of this format": _record(result={"name": "a", "disks": [float("inf")]}),
    "half a letter, of this format": _record(inputs=[{"path": "\ud800", "size": 1, "mtime_ns": 1, "inode": 1}]),
    "of the fetch, texts for mappings": _record(stage="fetch", options="x", result="x"),
    "of the fetch, a source of numbers": _record(stage="fetch", options={"source": [7]}, result={"name": "a", "disks": []}),
    "of the fetch, disks by name": _record(stage="fetch", result={"name": "a", "disks": {"a": 1}}),
    "of the fetch, a disk that is nowhere": _record(stage="fetch", result={"name": "a", "disks": [{"virtual_size": float("inf")}]}),
    "of the fetch, half a letter": _record(stage="fetch", inputs=[{"path": "\ud800", "size": 1, "mtime_ns": 1, "inode": 1}]),
    "UTF-16": '{"stage": "convert"}'.encode("utf-16"), "gigabytes of digits": b'{"stage": ' + b"9" * 1_000_000 + b"}",
}  # fmt: skip


def lying_at(where: str, make: Callable[[Place, Path], None]):
    """The run before CONVERT, then this at a place that CONVERT writes; the second try is without it."""

    def run(place: Place) -> Outcome:
        source, expected = tiny(place)
        work, out = place.work / "state", place.work / "out"
        for name, arguments in (("vmdk_fetch", {"source": [str(source)]}), ("disk_flatten", {})):
            answer = answered(name, work_dir=str(work), **arguments)
            assert not answer.get("failed"), answer
        out.mkdir()
        target = (work if where.startswith("state/") else out) / where.removeprefix("state/")
        if target.is_file():
            target.unlink()
        make(place, target)
        answer = answered("qemu_convert", work_dir=str(work), name="vm", dest=str(out))
        if not answer.get("failed"):
            return content(answer["disks"][0], expected)
        outcome = refused(answer["msg"], answer.get("hint", ""))
        if target.is_dir() and not target.is_symlink():
            (target / "kept").unlink()
            target.rmdir()
        else:
            target.unlink(missing_ok=True)
        for name, arguments in (
            ("vmdk_fetch", {"source": [str(source)]}),
            ("disk_flatten", {}),
            ("qemu_convert", {"name": "vm", "dest": str(out)}),
        ):
            answer = answered(name, work_dir=str(work), **arguments)
        if answer.get("failed"):
            return Outcome(WRONG, f"refused for ever: {answer['msg']}")
        again = content(answer["disks"][0], expected)
        return outcome if again.verdict == USED else again

    return run


def cases() -> Iterator[Case]:
    for name, make in LEFT.items():
        for where in (RESULT, f"{RESULT}.partial", RECORD):
            yield Case(f"{name} at {where}", name, lying_at(where, make), seconds=120, expect=(REFUSED, USED))
        yield Case(f"{name} at the fetch's record", name, lying_at("state/fetch.json", make), seconds=120, expect=(REFUSED, USED))
    for name, data in RECORDS.items():
        yield Case(f"record: {name}", "a record that lies", lying_at(RECORD, text(data)), seconds=120, expect=(REFUSED, USED))
        yield Case(
            f"fetch's record: {name}", "a record that lies", lying_at("state/fetch.json", text(data)), seconds=120, expect=(REFUSED, USED)
        )
