# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs that go wrong, or that must not happen: dry runs, kills, two at once, wrong variables, hostile sources, progress."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness


@pytest.fixture
def hosts(tmp_path):
    sources = harness.guest("bios")
    return harness.inventory(
        tmp_path / "vms.json", web01={"migrate_source": sources, "migrate_output_dir": str(tmp_path / "out"), "migrate_boot_test": False}
    )


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_the_dry_run_shows_the_changes_and_writes_nothing(hosts, tmp_path):
    before, digests = tree(tmp_path), harness.digests(harness.guest("bios"))
    done = harness.playbook("migrate", hosts, "--check", "--diff", env={"TMPDIR": str(tmp_path), "LIBGUESTFS_CACHEDIR": "/var/tmp"})
    assert done.returncode == 0, done.stdout
    assert "-/dev/sda1 none swap sw 0 0" in done.stdout and "+UUID=" in done.stdout and "removed file: /usr/bin/vmtoolsd" in done.stdout
    assert re.search(
        r"web01: Dry run: nothing was written\. [1-9][0-9]* changes would be made to the guest; it is proved to boot\.", done.stdout
    )
    assert tree(tmp_path) == before and harness.digests(harness.guest("bios")) == digests


@contextlib.contextmanager
def started(hosts: Path, *arguments: str):
    """A playbook run in a process group of its own."""
    child = subprocess.Popen(
        harness.playbook_command("migrate", hosts, *arguments), cwd=harness.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()


def wait_for(child, words: str) -> None:
    for line in child.stdout:
        if words in line:
            return
    raise AssertionError(f"the run ended before {words!r}")


@pytest.mark.parametrize(
    "moment",
    [
        "qemu_convert convert",
        *(pytest.param(moment, marks=pytest.mark.rotates("kills", 85)) for moment in ("FETCH", "guest_fix inspect", "guest_fix apply")),
    ],
)
def test_a_killed_run_leaves_no_half_result_and_the_next_one_finishes(hosts, tmp_path, moment):
    digests = harness.digests(harness.guest("bios"))
    with started(hosts) as child:
        wait_for(child, moment)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    deadline = time.monotonic() + 60
    out = tmp_path / "out" / "web01"
    while time.monotonic() < deadline and any(str(tmp_path) in line for line in processes()):
        time.sleep(0.1)
    assert not [line for line in processes() if str(tmp_path) in line]
    assert not [path for path in out.glob("*.qcow2") if not (out / f"{path.name}.manifest.json").exists()]
    assert harness.digests(harness.guest("bios")) == digests
    done = harness.playbook("migrate", hosts)
    assert done.returncode == 0, done.stdout
    assert (out / "web01-disk0.qcow2").exists() and (out / "report.md").exists() and not list(out.glob("*.partial"))
    subprocess.run(["qemu-img", "check", "-q", out / "web01-disk0.qcow2"], check=True)


def processes() -> list[str]:
    """Command lines of everything that runs, but for this test."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return [line for line in lines if "qemu" in line or "ansible-playbook" in line]


@pytest.mark.rotates("runs", 55)
def test_the_second_of_two_runs_says_so_and_stops(hosts):
    with started(hosts) as child:
        wait_for(child, "guest_fix inspect")
        second = harness.playbook("migrate", hosts)
        assert second.returncode != 0 and "Another run is working on" in second.stdout
        rest = child.stdout.read()
        assert child.wait() == 0, rest


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("migrate_output_format", "qcow3", "must be one of"),
        ("migrate_boot_memory", "much", "cannot be converted to an int"),
        ("migrate_source", "/nowhere/web01.vmdk", "does not exist"),
        ("migrate_fixes", ["fstabb"], "must be one"),
        ("migrate_compression", "zstd", "cannot be compressed"),
    ],
)
def test_a_wrong_variable_is_named(hosts, tmp_path, variable, value, words):
    data = json.loads(hosts.read_text())
    data["vms"]["hosts"]["web01"][variable] = value
    if variable == "migrate_compression":
        data["vms"]["hosts"]["web01"]["migrate_output_format"] = "raw"
    hosts.write_text(json.dumps(data))
    done = harness.playbook("migrate", hosts, *(["--skip-tags", "fix"] if variable == "migrate_compression" else []))
    assert done.returncode != 0 and words in done.stdout, done.stdout
    assert not list(tmp_path.glob("out/web01/*.qcow2"))


def test_a_hostile_source_is_refused_within_seconds_and_nothing_is_published(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"host data" * 1000)
    (tmp_path / "evil.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 16 FLAT "{secret}" 0\n'
    )
    with tarfile.open(tmp_path / "evil.ova", "w", format=tarfile.USTAR_FORMAT) as tar:
        link = tarfile.TarInfo("evil.ovf")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    variables = {"migrate_output_dir": str(tmp_path / "out")}
    hosts = harness.inventory(
        tmp_path / "vms.json",
        vmdk={"migrate_source": str(tmp_path / "evil.vmdk"), **variables},
        ova={"migrate_source": str(tmp_path / "evil.ova"), **variables},
    )
    begin = time.monotonic()
    done = harness.playbook("migrate", hosts)
    assert done.returncode != 0 and time.monotonic() - begin < 30
    assert "not a plain file name" in done.stdout and "not a plain file" in done.stdout and "host data" not in done.stdout
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.rotates("runs", 50)
def test_progress_lines_reach_ansible_runner(hosts, tmp_path):
    private = tmp_path / "runner"
    (private / "env").mkdir(parents=True)
    (private / "env" / "envvars").write_text(json.dumps({"ANSIBLE_COLLECTIONS_PATH": str(harness.ROOT / ".venv" / "collections")}))
    (private / "inventory").mkdir()
    shutil.copyfile(hosts, private / "inventory" / "vms.json")
    (private / "project").mkdir()
    done = subprocess.run(
        [harness.BIN / "ansible-runner", "run", private, "-p", "hyper2kvm.migration.migrate", "--ident", "x"],
        env={**os.environ, "PATH": f"{harness.BIN}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(path.read_text()) for path in (private / "artifacts" / "x" / "job_events").glob("*.json")]
    shown = [event["stdout"] for event in events if event["event"] == "verbose"]
    assert any("[web01] guest_fix inspect" in line for line in shown) and any("[web01] qemu_convert convert" in line for line in shown)


@pytest.mark.rotates("runs", 50)
def test_the_other_playbooks(hosts, tmp_path):
    found = harness.playbook("inventory", hosts)
    assert found.returncode == 0 and "web01: Debian GNU/Linux 12 (bookworm), bios, 1 kernel(s), ifupdown" in found.stdout, found.stdout
    planned = harness.playbook("plan", hosts)
    assert planned.returncode == 0 and json.loads((tmp_path / "out" / "web01" / "plan.json").read_text())["changes"], planned.stdout
    assert f"web01: {tmp_path}/out/web01/plan.json, " in planned.stdout and not list((tmp_path / "out").rglob("*.qcow2"))
    cleaned = harness.playbook("janitor", hosts)
    assert cleaned.returncode == 0 and "web01: its source is files of the conversion host" in cleaned.stdout, cleaned.stdout
