# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook, or one of its forks, is killed while a stage works: what it started ends soon, and begins no other stage."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

ENDS = 10.0  # seconds
STAGES = {"FETCH": "fetch.checked", "FIX": "fix.begun", "CONVERT": "convert.copied"}


def play(folder: Path) -> list[str]:
    """Every stage, one after the other, and a mark after each."""
    work = {"work_dir": str(folder / "work")}
    stages = [
        ("vmdk_fetch", {"source": [str(folder / "disk.raw")], **work}),
        ("disk_flatten", work),
        ("qemu_convert", {**work, "name": "vm", "dest": str(folder / "out")}),
        ("guest_fix", work),
    ]
    tasks = []
    for name, arguments in stages:
        tasks += [
            {f"hyper2kvm.migration.{name}": arguments},
            {"ansible.builtin.copy": {"dest": str(folder / f"after-{name}"), "content": "", "mode": "0600"}},
        ]
    (folder / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    return [
        str(harness.BIN / "ansible-playbook"),
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        str(folder / "play.json"),
    ]


def working(folder: Path) -> list[str]:
    """What runs for this folder, and is no zombie."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            about = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if str(folder).encode() in about and int(entry.name) != os.getpid():
                found.append(about.replace(b"\0", b" ").decode("utf-8", "replace")[:200])
    return found


def fork_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1, children
    return int(children[0])


@pytest.mark.parametrize("victim", ["the run", pytest.param("its fork", marks=pytest.mark.rotates("kills", 12))])
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_dead_run_has_started_ends_and_begins_nothing(stage, victim, tmp_path):
    harness.sparse(tmp_path / "disk.raw", 8 << 20, 0, 1 << 20)
    met = tmp_path / "met"
    environment = {**os.environ, "HYPER2KVM_POINT": f"{STAGES[stage]}=wait", "HYPER2KVM_POINTS": str(met)}
    with subprocess.Popen(play(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=harness.ROOT) as run:
        deadline = time.monotonic() + 600
        while not (met.exists() and STAGES[stage] in met.read_text().split()):
            assert run.poll() is None and time.monotonic() < deadline, stage
            time.sleep(0.1)
        marks = sorted(tmp_path.glob("after-*"))
        os.kill(run.pid if victim == "the run" else fork_of(run.pid), signal.SIGKILL)
        begin = time.monotonic()
        while working(tmp_path) and time.monotonic() - begin < ENDS + 10:
            time.sleep(0.1)
        assert time.monotonic() - begin < ENDS, working(tmp_path)
    assert sorted(tmp_path.glob("after-*")) == marks
    work = {"work_dir": str(tmp_path / "work")}
    for name, arguments in (
        ("vmdk_fetch", {"source": [str(tmp_path / "disk.raw")], **work}),
        ("disk_flatten", work),
        ("qemu_convert", {**work, "name": "vm", "dest": str(tmp_path / "out")}),
    ):
        answer = harness.module(name, **arguments)
        assert not answer.get("failed"), answer
    (disk,) = answer["disks"]
    assert disk["content_digest"] == harness.content_digest(tmp_path / "disk.raw") and not list((tmp_path / "out").glob("*.partial"))
