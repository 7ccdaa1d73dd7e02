# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs are dropped into a folder and migrated: by Event-Driven Ansible, really run, and by what the systemd units start."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_COLLECTIONS_PATH": str(harness.ROOT / ".venv" / "collections"),
    "PYTHONPATH": str(harness.ROOT / ".venv" / "collections"),
    "PATH": f"{harness.BIN}{os.pathsep}{os.environ['PATH']}",
}
SECRET = 'a $HOME "b" `c` \\d\''


@pytest.fixture
def drop(tmp_path) -> Path:
    (tmp_path / "drop").mkdir()
    group = {"vars": {"migrate_output_dir": str(tmp_path / "out"), "migrate_boot_test": False, "migrate_output_format": "raw"}}
    (tmp_path / "drop.json").write_text(json.dumps({"all": {"children": {"dropped": group}}}))
    return tmp_path / "drop"


def disk(path: Path, seed: int) -> bytes:
    """A disk without a system, which is copied as it is."""
    content = bytes([seed]) * (1 << 20) + bytes(3 << 20)
    path.write_bytes(content)
    return content


@contextlib.contextmanager
def rulebook(drop: Path):
    variables = drop.parent / "variables.json"
    variables.write_text(json.dumps({"drop_folder_path": str(drop), "drop_folder_settle": 3, "drop_folder_delay": 1}))
    argv = ["ansible-rulebook", "--rulebook", "hyper2kvm.migration.drop_folder", "-i", drop.parent / "drop.json", "--vars", variables]
    with open(drop.parent / "rulebook.log", "ab") as log:
        child = subprocess.Popen(argv, stdout=log, stderr=log, cwd=drop.parent, env=ENVIRONMENT, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(60)


def wait_for(drop: Path, *names: str) -> None:
    """As long as the rulebook says something, which it does every half minute while it works: a busy machine may take its time."""
    log = drop.parent / "rulebook.log"
    said, since = 0, time.monotonic()
    while not all((drop / name / "result.txt").exists() for name in names):
        if log.stat().st_size != said:
            said, since = log.stat().st_size, time.monotonic()
        if time.monotonic() - since > 300:
            pytest.fail(f"Nothing was said for 300 seconds.\n{sorted(drop.rglob('*'))}\n{log.read_text()[-8000:]}")
        time.sleep(1)


@pytest.mark.rotates("runs", 90)
def test_a_rulebook_migrates_what_is_dropped(drop):
    """One is there whole, one grows while it is watched, one is a duplicate, one is broken; and one comes while nobody watches."""
    whole = disk(drop / "a.raw", 1)
    late = bytes([2]) * (1 << 20) + bytes(1 << 20)

    def grow() -> None:
        with open(drop / "b.raw", "wb") as file:
            for at in range(8):
                file.write(late[at << 18 : at + 1 << 18])
                file.flush()
                time.sleep(1.5)

    with rulebook(drop):
        growing = threading.Thread(target=grow)
        growing.start()
        (drop / "broken.vmdk").write_bytes(b"KDMV" + bytes(1020))
        (drop / "copy.raw").write_bytes(whole)
        wait_for(drop, "processed/a", "processed/b", "duplicates/copy", "failed/broken")
        growing.join()
    out = drop.parent / "out"
    assert (out / "a" / "a-disk0.raw").read_bytes() == whole and (out / "b" / "b-disk0.raw").read_bytes() == late
    assert "The same as a" in (drop / "duplicates" / "copy" / "result.txt").read_text() and not (out / "copy").exists()
    failed = drop / "failed" / "broken"
    assert (failed / "broken.vmdk").exists() and "broken.vmdk" in (failed / "result.txt").read_text()
    assert (drop / "processed" / "a" / "report.md").read_text().startswith("# Migration of a")
    assert {path.name for path in drop.iterdir()} == {"processed", "failed", "duplicates", ".digests.json"}
    disk(drop / "c.raw", 3)
    (drop / "again.raw").write_bytes(whole)
    with rulebook(drop):
        wait_for(drop, "processed/c", "duplicates/again")


def test_what_was_dropped_waits_while_its_conversion_host_cannot_be_reached(drop):
    disk(drop / "a.raw", 1)
    hosts = json.loads((drop.parent / "drop.json").read_text())
    hosts["all"]["children"]["dropped"]["vars"]["migrate_conversion_host"] = "conv1"
    hosts["all"]["children"]["workers"] = {"hosts": {"conv1": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}
    (drop.parent / "drop.json").write_text(json.dumps(hosts))
    settings = json.dumps({"drop_folder_path": str(drop), "drop_folder_settle": 0})
    done = harness.playbook("drop_folder", drop.parent / "drop.json", "-e", settings)
    assert done.returncode == 2 and "The conversion host conv1 cannot be reached" in done.stdout, done.stdout
    assert (drop / "a.raw").exists() and not (drop / "failed").exists()


@pytest.mark.rotates("runs", 40)
def test_what_changes_during_its_migration_stays_and_the_others_go_on(drop):
    for name in ("processed", "failed"):
        (drop / name).mkdir()
    (drop / "web").mkdir()
    disk(drop / "web" / "web.raw", 1)
    disk(drop / "zoo.raw", 2)

    def add() -> None:
        while not (drop.parent / "out" / "web").exists():
            time.sleep(0.05)
        disk(drop / "web" / "second.raw", 3)

    adding = threading.Thread(target=add, daemon=True)
    adding.start()
    settings = json.dumps({"drop_folder_path": str(drop), "drop_folder_settle": 0})
    done = harness.playbook("drop_folder", drop.parent / "drop.json", "-e", settings)
    adding.join(5)
    assert done.returncode == 2 and "web in" in done.stdout and "is no longer what has arrived" in done.stdout, done.stdout
    assert {path.name for path in (drop / "web").iterdir()} == {"web.raw", "second.raw"}
    assert not list((drop / "failed").iterdir()) and (drop / "processed" / "zoo" / "zoo.raw").exists()


def test_a_file_in_place_of_a_directory_is_told_to_who_runs_the_playbook(drop):
    disk(drop / "a.raw", 1)
    (drop / "processed").write_text("")
    done = harness.playbook("drop_folder", drop.parent / "drop.json", "-e", json.dumps({"drop_folder_path": str(drop)}))
    assert done.returncode == 2 and "processed is no directory. VMs are put away there" in done.stdout, done.stdout
    assert (drop / "a.raw").exists() and not (drop.parent / "out").exists()


@pytest.mark.rotates("runs", 40)
def test_the_units_start_the_same(drop):
    units = drop.parent / "units"
    units.mkdir()
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "roles": ["hyper2kvm.migration.drop_folder"],
            "vars": {
                "drop_folder_path": str(drop),
                "drop_folder_settle": 1,
                "drop_folder_inventory": str(drop.parent / "drop.json"),
                "drop_folder_ansible_playbook": str(harness.BIN / "ansible-playbook"),
                "drop_folder_environment": {"ANSIBLE_COLLECTIONS_PATH": ENVIRONMENT["ANSIBLE_COLLECTIONS_PATH"], "VMWARE_PASSWORD": SECRET},
                "drop_folder_unit_dir": str(units),
                "drop_folder_enable": False,
            },
        }
    ]
    (drop.parent / "play.json").write_text(json.dumps(play))
    for changed in ("changed=3", "changed=0"):  # the folder's mode, the units, the environment; then nothing
        done = subprocess.run(
            ["ansible-playbook", drop.parent / "play.json"], capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=drop.parent
        )
        assert done.returncode == 0 and changed in done.stdout, done.stdout
        assert SECRET not in done.stdout
    environment = units / "hyper2kvm-drop.env"
    subprocess.run(["systemd-analyze", "verify", *(set(units.iterdir()) - {environment})], check=True, capture_output=True)
    # Quoted as a shell quotes, which systemd reads too (systemd.exec(5), EnvironmentFile=).
    said = subprocess.run(["sh", "-c", f'. {environment}; printf %s "$VMWARE_PASSWORD"'], check=True, capture_output=True, text=True).stdout
    assert said == SECRET and environment.stat().st_mode & 0o777 == 0o600
    assert not any(SECRET in path.read_text() for path in units.iterdir() if path != environment)
    service = (units / "hyper2kvm-drop.service").read_text()
    assert f"PathChanged={drop}" in (units / "hyper2kvm-drop.path").read_text()
    disk(drop / "a.raw", 1)
    (drop / "b-flat.vmdk").write_bytes(b"x")
    command = next(line.partition("=")[2] for line in service.splitlines() if line.startswith("ExecStart="))
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=drop.parent)
    assert (drop / "processed" / "a" / "report.json").exists(), done.stdout
    assert "it must hold one VM" in (drop / "failed" / "b" / "result.txt").read_text()
    assert done.returncode == 2 and f"b lies in {drop}/failed" in done.stdout, done.stdout  # so that systemd knows of it, too
    planned = harness.module("drop_folder", check=True, path=str(drop), settle=0)
    assert planned["vms"] == [] and planned["changed"] is False


def test_a_folder_that_is_not_given_is_not_guessed(tmp_path):
    done = harness.playbook("drop_folder", harness.inventory(tmp_path / "drop.json"))
    assert done.returncode == 2 and "drop_folder_path is not given" in done.stdout and "is undefined" not in done.stdout, done.stdout
