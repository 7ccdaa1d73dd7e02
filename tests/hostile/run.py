# SPDX-License-Identifier: GPL-3.0-or-later
"""`make hostile`: every hostile input in a process of its own, watched; goes on where the last run stopped; writes the figures of docs/security.md.

build/hostile/results.jsonl has a line for each input. A case is tried again when the code has changed since (--fresh: in any case; --failed: when it failed).
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(os.environ.get("HOSTILE_CASES") or Path(__file__).resolve().parent)
sys.path.insert(0, str(Path(__file__).resolve().parent))
from case import Case, Outcome, Place

RESULTS = ROOT / "build" / "hostile" / "results.jsonl"
PAGE, BEGIN, END = ROOT / "docs" / "security.md", "<!-- written by make hostile -->", "<!-- end -->"
NAMES = {
    "item1": "text is data", "item2": "names", "item3": "identity", "item4": "playbooks", "item5": "the copy is of the source", "item6": "publish",
    "item7": "deadlines", "item8": "limits", "item9": "secrets",
}  # fmt: skip
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


def child(file: str, name: str, folder: Path, canary: Path) -> int:
    """One case, in this process. The last line of standard output is its outcome."""
    (case,) = [case for dummy, dummy_, case in found(files=file) if case.name == name]
    place = Place(folder, canary)
    outcome = case.run(place)
    print(f"\n{json.dumps({'verdict': outcome.verdict, 'words': outcome.words, 'mib': _peak()})}")
    return 0


def _peak() -> int:
    """MiB that this process has held at most since it was started, or one that it has started. wait4(2) would tell those of its parent too."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return max(int(status["VmHWM"].split()[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024


def watched(item: str, path: Path, case: Case, scratch: Path) -> dict[str, object]:
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
    env = {**os.environ, **case.env, "HARNESS_ALONE": "1", "TMPDIR": str(inside / "tmp"), "PYTHONPATH": str(ROOT / ".venv" / "collections")}
    begin = time.monotonic()
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, __file__, "--one", path.name, case.name, str(inside), str(canary)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=env,
        )  # fmt: skip
        late = threading.Timer(case.seconds, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        process.wait()
        hung = not late.is_alive()
        late.cancel()
    took = time.monotonic() - begin
    text = log.read_text(errors="replace")
    try:
        said = json.loads(text.rstrip().rpartition("\n")[2])
        outcome, mib = Outcome(said["verdict"], said["words"]), said["mib"]
    except (ValueError, KeyError, TypeError):
        outcome, mib = Outcome("none", text[-3000:]), 0
    faults = []
    if hung:
        faults.append("hang")
    elif "Traceback (most recent call last)" in text or process.returncode != 0:
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
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "item": item, "name": case.name, "kind": case.kind, "varied": case.varied, "verdict": outcome.verdict, "faults": faults,
        "seconds": round(took, 1), "mib": mib, "words": outcome.words,
    }  # fmt: skip


def _made(folder: Path) -> Iterator[Path]:
    """What the collection made. Inputs may well name the canary."""
    for directory, names, files in os.walk(folder):
        if Path(directory) == folder:
            names[:] = [name for name in names if name != "in"]
        yield from (Path(directory) / name for name in files)


def _holds(path: Path, marker: str, canary: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return path.is_symlink() and os.path.realpath(path) == str(canary)
    done = subprocess.run(["grep", "-qaF", marker, path], check=False)
    return done.returncode == 0


def code() -> str:
    """What the results are of: the commit, and what is changed since."""
    import hashlib

    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run(
        ["git", "-C", ROOT, "diff", "HEAD", "--", "plugins", "roles", "playbooks"], capture_output=True, check=False
    ).stdout
    return head[:12] + ("+" + hashlib.sha256(changed).hexdigest()[:8] if changed else "")


def earlier() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(results: list[dict]) -> str:
    """The figures, by item; a case that was tried several times counts as it went last."""
    last = {(one["item"], one["name"]): one for one in results}
    lines = [
        "| item | inputs | kinds | made by varying one | refused | used | concerns | host files read | hangs | tracebacks | wrong contents | peak MiB |"
    ]
    lines.append("| --- " * 12 + "|")
    rows = [
        (f"{item.removeprefix('item')}: {words}", [one for one in last.values() if one["item"] == item]) for item, words in NAMES.items()
    ]
    for item, ones in [*rows, ("all", list(last.values()))]:
        if not ones:
            continue
        count = [len(ones), len({one["kind"] for one in ones}), sum(one["varied"] for one in ones)]
        count += [sum(one["verdict"] == verdict for one in ones) for verdict in ("refused", "used", "concern")]
        count += [sum(fault in one["faults"] for one in ones) for fault in ("read", "hang", "traceback", "wrong")]
        lines.append(f"| {item} | " + " | ".join(map(str, [*count, max(one["mib"] for one in ones)])) + " |")
    return "\n".join(lines)


def endings(place: Path) -> str:
    """The figures of faults.py: how runs were ended, and whether the next one's disks were right."""
    results = [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
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
    if sys.argv[1:2] == ["--one"]:
        return child(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
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
    now = code()
    before = [one for one in earlier() if one["code"] == now]
    done = {(one["item"], one["name"]) for one in before if not (arguments.failed and one["faults"])}
    todo = [] if arguments.table else [one for one in found(arguments.patterns) if (one[0], one[2].name) not in done]
    names = [(item, case.name) for item, dummy, case in found()]
    assert len(names) == len(set(names)), "two cases have one name"
    scratch = Path(tempfile.mkdtemp(prefix="hostile-", dir=RESULTS.parent))
    lock = threading.Lock()

    def one(work: tuple[str, Path, Case]) -> None:
        result = {"code": now, **watched(*work, scratch)}
        with lock, open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
            bad = f"FAULT {', '.join(result['faults'])}: {result['words']}" if result["faults"] else ""
            print(f"{result['item']}/{result['name']}: {result['verdict']} {result['seconds']} s {result['mib']} MiB {bad}", flush=True)

    try:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(one, todo))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    ends = RESULTS.with_name(f"faults-{now}.jsonl")
    if not (arguments.table or arguments.patterns):
        subprocess.run([sys.executable, HERE / "faults.py", "--results", ends], check=False)
    results = [one for one in earlier() if one["code"] == now]
    text = f"{table(results)}\n{endings(ends)}".rstrip()
    print(f"\n{text}")
    if arguments.write:
        written(text)
    failed = any(one["faults"] for one in {(one["item"], one["name"]): one for one in results}.values())
    return int(failed or (ends.exists() and '"ok": false' in ends.read_text()))


if __name__ == "__main__":
    sys.exit(main())
