# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes, locks, manifests, atomic files, progress, accelerator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import accel, atomic, process
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, MissingTool, NotEnoughSpace, TimedOut, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.locks import exclusive, slot
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity, Manifest, sha256
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import Limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import ToFile


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def gone(pid):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and alive(pid):
        time.sleep(0.02)
    return not alive(pid)


def test_a_failure_carries_the_programs_own_words():
    with pytest.raises(ToolFailed, match="status 3: no such thing"):
        process.run(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_a_deadline_ends_the_whole_group(tmp_path):
    with pytest.raises(TimedOut, match="within"):
        process.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], Limits(timeout=0.5))
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_dies_with_its_parent_even_after_sigkill(tmp_path):
    code = f"""from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import run
run(["sh", "-c", "echo $$ > {tmp_path}/pid; exec sleep 60"])"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(int((tmp_path / "pid").read_text()))


def test_limits_hold(tmp_path):
    done = process.run(["sh", "-c", f"head -c 100000 /dev/zero > {tmp_path}/big"], Limits(file_size=1000), check=False)
    assert done.rc != 0 and (tmp_path / "big").stat().st_size <= 1000


def test_input_is_empty_and_output_arrives_in_pieces():
    pieces = []
    process.run(["sh", "-c", "cat; echo one; sleep 0.2; echo two"], on_output=pieces.append)
    assert b"".join(pieces) == b"one\ntwo\n" and len(pieces) == 2


def test_a_missing_tool_says_what_to_install(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    with pytest.raises(MissingTool, match="qemu-utils"):
        process.require("qemu-img")


def test_the_second_of_two_workers_is_told_who_is_first(tmp_path):
    path = str(tmp_path / "lock")
    with exclusive(path, "web01"), pytest.raises(Busy, match=f"process {os.getpid()}"), exclusive(path, "web01"):
        pass
    with exclusive(path, "web01"):
        pass


def test_a_manifest_holds_until_something_changes(tmp_path):
    source, result, record = tmp_path / "in", tmp_path / "out", str(tmp_path / "m.json")
    source.write_text("a")
    result.write_text("b")
    Manifest("x", (Identity.of(str(source)),), {"f": ["q"]}, (Identity.of(str(result)),), {"r": 1}).save(record)
    inputs = (Identity.of(str(source)),)
    loaded = Manifest.load(record)
    assert loaded.current("x", inputs, {"f": ["q"]})
    assert (
        not loaded.current("y", inputs, {"f": ["q"]})
        and not loaded.current("x", inputs, {"f": []})
        and not loaded.current("x", (), {"f": ["q"]})
    )
    result.write_text("changed")
    assert not loaded.current("x", inputs, {"f": ["q"]})
    result.unlink()
    assert not loaded.current("x", inputs, {"f": ["q"]})


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "[1]", '{"format": 1, "stage": "x"}'])
def test_a_manifest_that_cannot_be_used_is_none(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    assert Manifest.load(str(tmp_path / "m.json")) is None


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic.write_text(str(path), "old", 0o600)

    def killed(*args):
        raise OSError("killed")

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(OSError, match="killed"):
        atomic.write_text(str(path), "new")
    assert path.read_text() == "old" and path.stat().st_mode & 0o777 == 0o600


def test_missing_space_is_computed_before(tmp_path):
    with pytest.raises(NotEnoughSpace, match="MiB are free"):
        atomic.need_space(str(tmp_path), 1 << 60, "The disk")


def test_the_digest_is_the_files(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1000000)
    assert (
        sha256(str(tmp_path / "f"))
        == subprocess.run(["sha256sum", tmp_path / "f"], capture_output=True, text=True, check=True).stdout.split()[0]
    )


def test_progress_is_readable_at_any_time(tmp_path):
    sink = ToFile(str(tmp_path / "p.json"))
    sink.phase("copy", 100)
    sink.update(100)
    assert json.loads((tmp_path / "p.json").read_text())["done"] == 100


@pytest.fixture
def kvm(monkeypatch, tmp_path):
    """A host where /dev/kvm opens and a fake qemu stands for what runs under it."""
    monkeypatch.delenv("HYPER2KVM_ACCEL", raising=False)
    monkeypatch.setattr(accel, "_memory", lambda: str(tmp_path / "memory" / "accelerator.json"))
    monkeypatch.setattr(accel, "_kernel", lambda: "/boot/vmlinuz")
    monkeypatch.setattr(accel, "_DEADLINE", 1.0)
    real = os.access
    monkeypatch.setattr("os.access", lambda path, mode: True if path == "/dev/kvm" else real(path, mode))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def qemu(script):
        tool = tmp_path / "bin" / "qemu-system-x86_64"
        tool.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n{script}\n")
        tool.chmod(0o755)

    return qemu


@pytest.mark.parametrize(
    ("script", "answer"),
    [("echo 'Kernel panic - not syncing: VFS: Unable to mount root'", "kvm"), ("echo SeaBIOS; sleep 60", "tcg"), ("exit 1", "tcg")],
)
def test_kvm_counts_only_when_a_kernel_runs_and_is_asked_once(kvm, tmp_path, script, answer):
    kvm(script)
    assert [accel.accelerator(), accel.accelerator()] == [answer, answer]
    assert (tmp_path / "runs").read_text() == "run\n"


def test_without_kvm_nothing_is_started(kvm, tmp_path, monkeypatch):
    kvm("exit 1")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert accel.accelerator() == "tcg" and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["[" * 200_000, "7", '"boot"', "[]", "{", '{"boot": 3}', "\0"])
def test_a_record_that_says_nothing_is_no_answer(kvm, tmp_path, text):
    kvm("echo 'Kernel panic - not syncing: VFS: Unable to mount root'")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "accelerator.json").write_text(text)
    assert accel.accelerator() == "kvm"


def test_so_many_at_once_and_the_next_waits_for_the_first_to_end():
    name = f"test-{os.getpid()}/../x"
    most, now, told = [0], [0], []
    lock = threading.Lock()

    def work():
        with slot(name, 2, lambda: told.append(1), every=0.01):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.05)
            with lock:
                now[0] -= 1

    threads = [threading.Thread(target=work) for dummy in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2 and told
    with pytest.raises(KeyError), slot(name, 1):
        raise KeyError
    with slot(name, 0), slot(name, 2), slot(name, 2):
        pass
