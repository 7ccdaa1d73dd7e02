# SPDX-License-Identifier: GPL-3.0-or-later
"""`make hostile`: every hostile input in a process of its own, watched; goes on where the last run stopped; writes the figures of docs/security.md.

build/hostile/results.jsonl has a line for each input. A case is tried again when what it is about has changed since: plugins, roles, playbooks or the
case's own file (--fresh: in any case; --failed: when it failed).
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(ROOT / ".venv" / "collections")]
from case import Case, Outcome, Place

RESULTS = ROOT / "build" / "hostile" / "results.jsonl"
PAGE, BEGIN, END = ROOT / "docs" / "security.md", "<!-- written by make hostile -->", "<!-- end -->"
NAMES = {
    "item1": "text is data", "item2": "names", "item3": "identity", "item4": "playbooks", "item5": "the copy is of the source", "item6": "publish",
    "item7": "deadlines", "item8": "limits", "item9": "secrets",
}  # fmt: skip
PACKAGE = "ansible_collections.hyper2kvm.migration.plugins.modules"
MODULES = [f"{PACKAGE}.{name}" for name in ("vmdk_fetch", "disk_flatten", "qemu_convert", "domain_describe", "drop_folder", "guest_plan")]
COUNTED = ("read", "hang", "traceback", "wrong")  # faults that have a column; others are what nobody expected
MEMORY = 512  # MiB that no reader may reach


def found(patterns: Iterable[str] = (), files: str = "item*_*.py") -> Iterator[tuple[str, Path, Case]]:
    """Every case with its item and its file; `patterns` are of item/name."""
    for path in sorted(HERE.glob(files)):
        item = path.stem.partition("_")[0]
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = loaded
        spec.loader.exec_module(loaded)
        for case in loaded.cases():
            if not patterns or any(fnmatch.fnmatch(f"{item}/{case.name}", pattern) for pattern in patterns):
                yield item, path, case


def begun(case: Case, folder: Path, canary: Path, log: Path) -> int:
    """One case in a child that has everything imported, in a group of processes of its own. The last line of `log` is its outcome."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        os.dup2(os.open(path, flags, 0o600), number)
    os.dup2(1, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    code = 1
    try:
        os.environ.update(
            {**case.env, "HARNESS_HERE": "1", "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT / ".venv" / "collections")}
        )
        tempfile.tempdir = None  # it was found before
        outcome = case.run(Place(folder, canary))
        print(f"\n{json.dumps({'verdict': outcome.verdict, 'words': outcome.words, 'mib': _peak()})}")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(pid: int, seconds: float) -> int | None:
    """The exit status of a child; None for one that takes longer, which is killed with all that is in its group."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):  # what it has left behind
                os.killpg(pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _peak() -> int:
    """MiB that this process has held at most since it was started, or one that it has started. wait4(2) would tell those of its parent too."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return max(int(status["VmHWM"].split()[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024


def watched(item: str, case: Case, scratch: Path) -> dict[str, object]:
    """What one case did: its verdict, seconds, peak memory in MiB, and every fault that was seen."""
    folder = Path(tempfile.mkdtemp(prefix=f"{item}-", dir=scratch))
    marker = f"canary-{secrets.token_hex(16)}"
    (folder / "host").mkdir()
    canary = folder / "host" / "secret"
    canary.write_text(f"{marker}\n" * 100)
    os.utime(canary, (0, canary.stat().st_mtime))  # so that relatime notes the first read
    inside = folder / "case"
    for name in ("in", "work", "tmp"):
        (inside / name).mkdir(parents=True)
    log = folder / "output"
    begin = time.monotonic()
    status = ended(begun(case, inside, canary, log), case.seconds)
    took = time.monotonic() - begin
    text = log.read_text(errors="replace")
    try:
        said = json.loads(text.rstrip().rpartition("\n")[2])
        outcome, mib = Outcome(said["verdict"], said["words"]), said["mib"]
    except (ValueError, KeyError, TypeError):
        outcome, mib = Outcome("none", text[-3000:]), 0
    faults = []
    if status is None:
        faults.append("hang")
    elif "Traceback (most recent call last)" in text or status != 0:
        faults.append("traceback")
    elif outcome.verdict == "wrong":
        faults.append("wrong")
    elif outcome.verdict not in case.expect:
        faults.append("unexpected")
    read = canary.stat().st_atime != 0
    if canary.is_symlink() or canary.read_text() != f"{marker}\n" * 100:
        faults.append("overwritten")
    if read or marker in text or any(_holds(file, marker, canary) for file in _made(inside)):
        faults.append("read")
    if {path.name for path in folder.iterdir()} != {"host", "case", "output"} or {path.name for path in inside.iterdir()} != {
        "in",
        "work",
        "tmp",
    }:
        faults.append("escaped")
    if mib > MEMORY:
        faults.append("memory")
    gone(folder)
    return {
        "item": item, "name": case.name, "kind": case.kind, "varied": case.varied, "verdict": outcome.verdict, "faults": faults,
        "seconds": round(took, 1), "mib": mib, "words": outcome.words,
    }  # fmt: skip


def gone(folder: Path) -> None:
    """Remove it with all that is in it, which may lie deeper than shutil.rmtree goes."""
    subprocess.run(["rm", "-rf", "--", folder], check=False)


def _made(folder: Path) -> Iterator[Path]:
    """What the collection made. Inputs may well name the canary."""
    for directory, names, files in os.walk(folder):
        if Path(directory) == folder:
            names[:] = [name for name in names if name != "in"]
        yield from (Path(directory) / name for name in (*files, *names))


def _holds(path: Path, marker: str, canary: Path) -> bool:
    if path.is_symlink():  # where it leads itself; what it leads to may be a name of the source, which is another thing by now
        return os.path.abspath(path.parent / os.readlink(path)) == str(canary)
    if not path.is_file():
        return False
    done = subprocess.run(["grep", "-qaF", marker, path], check=False)
    return done.returncode == 0


def code(path: Path) -> str:
    """A digest of what the results of a file of cases are of: the collection, and that file."""
    return hashlib.sha256((_collection() + _digest([path, HERE / "case.py"])).encode()).hexdigest()[:12]


@functools.lru_cache(None)
def _collection() -> str:
    places = (place for name in ("plugins", "roles", "playbooks") for place in (ROOT / name).rglob("*"))
    return _digest(path for path in sorted(places) if path.is_file() and path.suffix not in (".pyc", ".md"))


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def earlier(now: Mapping[str, str]) -> list[dict]:
    """The results that are of the present code; `now` has its digest for each item."""
    found = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    return [one for one in found if one["code"] == now.get(one["item"])]


def table(results: list[dict]) -> str:
    """The figures, by item; a case that was tried several times counts as it went last."""
    last = {(one["item"], one["name"]): one for one in results}
    lines = [
        "| item | inputs | kinds | made by varying one | refused | used | concerns "
        "| host files read | hangs | tracebacks | wrong contents | other faults | peak MiB |"
    ]
    lines.append("| --- " * 13 + "|")
    rows = [
        (f"{item.removeprefix('item')}: {words}", [one for one in last.values() if one["item"] == item]) for item, words in NAMES.items()
    ]
    for item, ones in [*rows, ("all", list(last.values()))]:
        if not ones:
            continue
        count = [len(ones), len({one["kind"] for one in ones}), sum(one["varied"] for one in ones)]
        count += [sum(one["verdict"] == verdict for one in ones) for verdict in ("refused", "used", "concern")]
        count += [sum(fault in one["faults"] for one in ones) for fault in COUNTED]
        count.append(sum(not set(one["faults"]) <= set(COUNTED) for one in ones))
        lines.append(f"| {item} | " + " | ".join(map(str, [*count, max(one["mib"] for one in ones)])) + " |")
    return "\n".join(lines)


def last(place: Path) -> list[dict]:
    """The results of faults.py; of a run that was tried again the last one."""
    lines = place.read_text().splitlines() if place.exists() else []
    return list({one["case"]: one for one in map(json.loads, lines)}.values())


def endings(place: Path) -> str:
    """The figures of faults.py: how runs were ended, and whether the next one's disks were right."""
    results = last(place)
    if not results:
        return ""
    lines = [
        "",
        "| a run that is | runs | places in the code | the next run's disks are the source's | not |",
        "| --- | --- | --- | --- | --- |",
    ]
    for what, words in {"kill": "killed at a point", "full": "out of space at a point", "random": "killed at a random time"}.items():
        ones = [one for one in results if one["what"] == what]
        places = len({(one["stage"], one["point"]) for one in ones}) if what != "random" else "any"
        lines.append(f"| {words} | {len(ones)} | {places} | {sum(one['ok'] for one in ones)} | {sum(not one['ok'] for one in ones)} |")
    return "\n".join(lines)


def written(text: str) -> None:
    """The table into the page of security, between its marks."""
    page = PAGE.read_text()
    block = f"{BEGIN}\n\n{text}\n\n{END}"
    if BEGIN in page:
        page = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda dummy: block, page, flags=re.DOTALL)
    else:
        page = page.replace("## What was tried\n", f"## What was tried\n\n{block}\n")
    PAGE.write_text(page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="only these, as item2/* or */zip*")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--failed", action="store_true", help="try those again that failed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only print the figures")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/security.md")
    arguments = parser.parse_args()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    whole = list(found())
    assert len(whole) == len({(item, case.name) for item, dummy, case in whole}), "two cases have one name"
    now = {item: code(path) for item, path, dummy in whole}
    done = {(one["item"], one["name"]) for one in earlier(now) if not (arguments.failed and one["faults"])}
    todo = [] if arguments.table else [one for one in found(arguments.patterns) if (one[0], one[2].name) not in done]
    scratch = Path(tempfile.mkdtemp(prefix="hostile-", dir=RESULTS.parent))
    lock = threading.Lock()

    def one(work: tuple[str, Path, Case]) -> None:
        item, dummy, case = work
        result = {"code": now[item], **watched(item, case, scratch)}
        with lock, open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
            bad = f"FAULT {', '.join(result['faults'])}: {result['words']}" if result["faults"] else ""
            print(f"{result['item']}/{result['name']}: {result['verdict']} {result['seconds']} s {result['mib']} MiB {bad}", flush=True)

    try:
        for module in MODULES:
            importlib.import_module(module)
        with ThreadPoolExecutor(arguments.jobs) as pool, ThreadPoolExecutor(8) as beside:
            for done_one in [(beside if work[2].waits else pool).submit(one, work) for work in todo]:
                done_one.result()
    finally:
        gone(scratch)
    ends = RESULTS.with_name(f"faults-{code(HERE / 'faults.py')}.jsonl")
    crashed = not (arguments.table or arguments.patterns) and ended_early(ends, arguments.failed) != 0
    results = earlier(now)
    tried = {(one["item"], one["name"]): one for one in results}
    of = f"{len(tried)} of {len(whole)} inputs; plugins, roles and playbooks have the digest {_collection()[:12]}."
    text = f"{table(results)}\n{endings(ends)}".rstrip() + f"\n\n{of}"
    print(f"\n{text}")
    if arguments.write:
        written(text)
    return int(crashed or any(one["faults"] for one in tried.values()) or any(not one["ok"] for one in last(ends)))


def ended_early(results: Path, failed: bool) -> int:
    """The exit status of faults.py, which is another one than 0 too when it comes to no end."""
    return subprocess.run(
        [sys.executable, HERE / "faults.py", "--results", results, *(["--failed"] if failed else [])], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
