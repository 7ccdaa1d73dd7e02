# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that end early: at every named point of the code (core/trace.py), killed or for want of space, and killed at random times while CONVERT runs.

After each the next run must finish or begin anew, and its disks must equal an undisturbed run's by content; a third run must find nothing to do.
Which points there are is found out by an undisturbed run, so that a new one is tried as soon as it is in the code.

    python tests/hostile/faults.py --results FILE [--kills 30] [--scenario files]... [--only WORD] [--list]

Each result is one line of JSON. What FILE holds already is not repeated. Needs root for the scenario `device`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

KINDS = ("kill", "full")
SIZE = 48 << 20
Stages = list[tuple[str, dict[str, object]]]


@dataclass(frozen=True)
class Case:
    """One disturbed run: in which scenario and stage, at which point, met for which time, or after how many seconds, and how it ends."""

    scenario: str
    stage: str
    point: str
    count: int
    what: str

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.stage}/{self.point}:{self.count}={self.what}"


# -- what is migrated ----------------------------------------------------------------------------------------------------------


def files(folder: Path) -> Stages:
    """A VMDK with a snapshot, and a raw disk, to qcow2."""
    return _stages(_disks(folder), folder)


def again(folder: Path) -> Stages:
    """The same over an earlier result, which it replaces."""
    stages = _stages(_disks(folder), folder)
    for name, arguments in stages:
        _require(module(name, **{**arguments, **({"compression": "zlib"} if name == "qemu_convert" else {})}))
    return stages


def packed(folder: Path) -> Stages:
    """A disk in an archive in an archive."""
    disk = harness.sparse(folder / "disk.raw", SIZE, *_places(3))
    with zipfile.ZipFile(folder / "inner.zip", "w") as inner:
        inner.write(disk, "vm.raw")
    with zipfile.ZipFile(folder / "outer.zip", "w") as outer:
        outer.write(folder / "inner.zip", "inner.zip")
    return _stages([folder / "outer.zip"], folder)


def device(folder: Path) -> Stages:
    """To a block device."""
    (disk,) = _disks(folder)[1:]
    loop = _loop(harness.sparse(folder / "room", SIZE))
    return _stages([disk], folder, devices=[loop], format="raw")


def copy(folder: Path) -> Stages:
    """A flat copy of the chain, without a repair."""
    stages = _stages(_disks(folder), folder)[:1]
    return [*stages, ("disk_flatten", {"work_dir": str(folder / "work"), "mode": "copy", "dest": str(folder / "out")})]


SCENARIOS: dict[str, Callable[[Path], Stages]] = {one.__name__: one for one in (files, again, packed, device, copy)}


def _places(seed: int) -> list[int]:
    chosen = random.Random(seed)
    return [0, SIZE - 4096, *(chosen.randrange(SIZE // 4096) * 4096 for dummy in range(200))]


def _disks(folder: Path) -> list[Path]:
    raw = harness.sparse(folder / "data.raw", SIZE, *_places(1))
    base, top = folder / "base.vmdk", folder / "top.vmdk"
    _run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, base)
    _run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base.name, top, cwd=folder)
    return [top, raw]


def _stages(sources: list[Path], folder: Path, **convert: object) -> Stages:
    work = str(folder / "work")
    return [
        ("vmdk_fetch", {"source": [str(path) for path in sources], "work_dir": work}),
        ("disk_flatten", {"work_dir": work}),
        ("qemu_convert", {"work_dir": work, "name": "vm", "dest": str(folder / "out"), **convert}),
    ]


_LOOPS: list[str] = []


def _loop(path: Path) -> str:
    _LOOPS.append(_run("losetup", "--find", "--show", path).strip())
    return _LOOPS[-1]


def _run(*argv: object, cwd: Path | None = None) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, cwd=cwd).stdout


@contextlib.contextmanager
def _room() -> Iterator[Path]:
    """A folder that is gone afterwards, with the devices that were made of it."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        yield folder
    finally:
        while _LOOPS:
            subprocess.run(["losetup", "--detach", _LOOPS.pop()], check=False)
        shutil.rmtree(folder)


# -- runs ----------------------------------------------------------------------------------------------------------------------


def module(which: str, /, env: dict[str, str] | None = None, **arguments: object) -> dict:
    """As harness.module, in a fork of this process, which has everything imported. Raises AssertionError for one that prints no answer."""
    return harness.module(which, env={"HARNESS_HERE": "1", **(env or {})}, **arguments)


def _require(answer: dict) -> dict:
    if answer.get("failed"):
        raise AssertionError(f"{answer.get('error_code')}: {answer.get('msg')}")
    return answer


def whole(stages: Stages) -> list[dict]:
    return [_require(module(name, **arguments)) for name, arguments in stages]


def digests(answers: list[dict]) -> list[str]:
    """Of the disks as they are in their files now, which is not what the modules say of them."""
    found = []
    for disk in answers[-1]["disks"]:
        with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
            _run("qemu-img", "convert", "-f", disk["format"], "-O", "raw", disk["path"], f"{scratch}/raw")
            with open(f"{scratch}/raw", "rb") as file:
                found.append(hashlib.sha256(file.read()).hexdigest())
    return found


def points(scenario: str) -> list[Case]:
    """Every point that an undisturbed run meets, each time that it meets it, up to the third."""
    cases = []
    with _room() as folder:
        for name, arguments in SCENARIOS[scenario](folder):
            log = folder / f"points-{name}"
            _require(module(name, env={"HYPER2KVM_POINTS": str(log)}, **arguments))
            met: Counter[str] = Counter()
            for point in log.read_text().splitlines() if log.exists() else []:
                met[point] += 1
                cases += [Case(scenario, name, point, met[point], kind) for kind in KINDS if met[point] <= 3]
    return cases


def random_kills(count: int, seed: int) -> list[Case]:
    """Kills while CONVERT runs, at times that are a part of how long it takes undisturbed."""
    chosen = random.Random(seed)
    names = ("files", "again", "device")
    return [
        Case(names[number % len(names)], "qemu_convert", f"after {chosen.uniform(0.05, 1.0):.3f} of its time", number, "random")
        for number in range(count)
    ]


def places_first(cases: list[Case]) -> list[Case]:
    """So that a part of them is of all places: each once, and the random times, before any for the second time."""
    met: Counter[tuple[str, str]] = Counter()
    ranked = []
    for case in cases:
        met[case.stage, case.point] += 1
        ranked.append((met[case.stage, case.point], case))
    return [case for dummy, case in sorted(ranked, key=lambda one: one[0])]


def disturb(case: Case, stages: Stages, seconds: float) -> None:
    """Run up to the stage, and that until it ends early."""
    for name, arguments in stages:
        if name != case.stage:
            _require(module(name, **arguments))
            continue
        if case.what == "random":
            _killed_after(name, arguments, seconds * float(case.point.split()[1]))
            return
        try:
            answer = module(name, env={"HYPER2KVM_POINT": f"{case.point}={case.what}:{case.count}"}, **arguments)
        except AssertionError:
            if case.what != "kill":
                raise
        else:
            if case.what == "kill" or answer.get("error_code") != "not_enough_space":
                raise AssertionError(f"not disturbed: {answer.get('msg', answer.get('changed'))}")
        return
    raise AssertionError(f"no stage {case.stage}")


def _killed_after(name: str, arguments: dict[str, object], seconds: float) -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        with contextlib.suppress(BaseException):
            module(name, **arguments)
        os._exit(0)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.3)  # what was started dies with it


def attempt(case: Case, seconds: float) -> dict[str, object]:
    begin = time.monotonic()
    with _room() as folder:
        stages = SCENARIOS[case.scenario](folder)
        wanted = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.raw")}
        failure, left = "", []
        try:
            disturb(case, stages, seconds)
            left = sorted(path.name for path in (folder / "out").glob("*")) if (folder / "out").exists() else []
            answers = whole(stages)
            found = digests(answers)
            if set(found) != wanted:
                raise AssertionError("the disks differ from the source")
            if any(answer["changed"] for answer in whole(stages)):
                raise AssertionError("the third run changes something")
            partial = [str(path.name) for path in folder.rglob("*.partial") if path.parent.name == "out"]
            if partial:
                raise AssertionError(f"left behind: {partial}")
        except (AssertionError, subprocess.CalledProcessError) as error:
            failure = str(error)[-500:]
    return {
        "case": case.name, "scenario": case.scenario, "stage": case.stage, "point": case.point, "what": case.what, "ok": not failure,
        "failure": failure, "left": left, "seconds": round(time.monotonic() - begin, 2),
    }  # fmt: skip


def lasts(scenario: str) -> float:
    """Seconds of CONVERT, undisturbed."""
    with _room() as folder:
        stages = SCENARIOS[scenario](folder)
        whole(stages[:-1])
        begin = time.monotonic()
        whole(stages[-1:])
        return time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--only", default="")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--failed", action="store_true", help="those again that failed")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    cases = [case for scenario in chosen.scenario or SCENARIOS for case in points(scenario)]
    cases += random_kills(chosen.kills, chosen.seed) if not chosen.scenario else []
    cases = [case for case in cases if chosen.only in case.name]
    random.Random(chosen.seed).shuffle(cases)
    cases = places_first(cases)
    if chosen.list or chosen.results is None:
        print("\n".join(case.name for case in cases))
        return 0
    lines = chosen.results.read_text().splitlines() if chosen.results.exists() else []
    earlier = {one["case"]: one["ok"] for one in map(json.loads, lines)}
    known = {case for case, ok in earlier.items() if ok or not chosen.failed}
    todo = [case for case in cases if case.name not in known][: chosen.limit or None]
    times = {scenario: lasts(scenario) for scenario in {case.scenario for case in todo if case.what == "random"}}
    bad = 0
    with open(chosen.results, "a", encoding="utf-8") as out:
        for case in todo:
            line = attempt(case, times.get(case.scenario, 0.0))
            out.write(json.dumps(line) + "\n")
            out.flush()
            bad += not line["ok"]
            print(f"{'ok' if line['ok'] else 'BAD'} {line['seconds']:6.1f} s  {case.name} {line['failure']}", flush=True)
    print(f"{len(todo)} runs, {bad} of them bad; {len(known)} were known")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
