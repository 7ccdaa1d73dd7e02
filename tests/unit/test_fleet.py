# SPDX-License-Identifier: GPL-3.0-or-later
"""`make fleet` notices a VM that has another's disks, and counts what it says it counts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[1] / "lab"
sys.path[:0] = [str(LAB), str(LAB.parent / "support")]
import fleet

MAC = "00:50:56:3a:00:07"


@pytest.fixture
def vm(tmp_path) -> fleet.Vm:
    made = fleet.Vm("web000-site-a", tmp_path / "web.vmx", "web000-site-a-0123456789abcdef012", MAC, b"own")
    place = tmp_path / made.name
    place.mkdir()
    (place / "report.json").write_text(json.dumps({"proof": {"verdict": "passed"}, "origin": str(made.vmx)}))
    (place / f"{made.name}.xml").write_text(f'<domain><mac address="{MAC}" /></domain>')
    return made


def held(vm: fleet.Vm) -> dict[str, bytes]:
    table = "UUID=1 / ext4\nUUID=2 none swap\nUUID=3 /srv ext4\n"
    return {
        "/etc/hostname": f"{vm.hostname}\n".encode(), "/etc/fstab": table.encode(), "/proof": f"{vm.name}\n".encode(), "tools": b"no",
        fleet.MARKER: vm.marker, fleet.LINK: f"[Match]\nMACAddress={vm.mac}\n".encode(),
    }  # fmt: skip


def test_a_vm_with_its_own_disks_has_no_fault(vm, tmp_path):
    assert fleet.wrong(vm, tmp_path, held(vm)) == []


@pytest.mark.parametrize("path", ["/etc/hostname", "/proof", fleet.MARKER, fleet.LINK])
def test_another_vms_disk_is_noticed(vm, tmp_path, path):
    other = replace(vm, name="web000-site-b", hostname="web000-site-b-0123456789abcdef012", mac="00:50:56:3a:00:08", marker=b"other")
    assert len(fleet.wrong(vm, tmp_path, {**held(vm), path: held(other)[path]})) == 1


@pytest.mark.parametrize(
    ("path", "content"), [("/etc/fstab", b"/dev/sda2 / ext4\nUUID=2 none swap\nUUID=3 /srv ext4\n"), ("tools", b"yes")]
)
def test_an_unrepaired_guest_is_noticed(vm, tmp_path, path, content):
    assert len(fleet.wrong(vm, tmp_path, {**held(vm), path: content})) == 1


def test_events_are_counted_for_their_vm(tmp_path):
    made = [
        {"event": "playbook_on_start", "stdout": ""},
        {"event": "verbose", "stdout": "[web000-site-a] guest_fix inspect"},
        {
            "event": "runner_on_ok",
            "stdout": "",
            "event_data": {"host": "web000-site-a", "task_action": "guest_fix", "res": {"facts": "x" * 500}},
        },
        {"event": "runner_on_ok", "stdout": "", "event_data": {"host": "web000-site-b", "task_action": "guest_fix", "res": {}}},
    ]
    for number, event in enumerate(made):
        (tmp_path / f"{number}.json").write_text(json.dumps(event))
    sizes = [len(json.dumps(event)) for event in made]
    found = fleet.events(tmp_path)
    assert found["count"] == 4 and found["total"] == sum(sizes) and found["of_no_vm"] == sizes[0]
    assert found["largest"] == (sizes[2], "runner_on_ok guest_fix") and found["largest_result"] == (
        len(json.dumps({"facts": "x" * 500})),
        found["largest"][1],
    )
    assert found["largest_vm"] == sizes[1] + sizes[2] and found["per_vm"] == round(sum(sizes[1:]) / 2)


def test_memory_is_counted_for_who_has_it(tmp_path):
    """A stand-in for ansible-playbook, with a fork that has started a program of 64 MiB."""
    program = tmp_path / "ansible-playbook"
    program.write_text(
        "import os, subprocess, sys, time\n"
        "if os.fork() == 0:\n"
        "    subprocess.run([sys.executable, '-c', \"held = b'x' * (64 << 20); print('ready', flush=True); input()\"])\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    with subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        found = fleet.sample(1.0, os.getpid())
        with contextlib.suppress(OSError):
            child.stdin.write("\n")
            child.stdin.close()
    assert found.workers == 1 and found.appliances == 0 and found.modules >= 64 << 10
    assert 0 < found.forks < 64 << 10 and 0 < found.main < found.whole < 64 << 10


def test_the_figures_go_between_the_marks(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "PAGE", tmp_path / "scale.md")
    fleet.PAGE.write_text(f"# Many VMs\n\n{fleet.BEGIN}\n\nold\n\n{fleet.END}\n\nrest\n")
    fleet.written("new")
    assert fleet.PAGE.read_text() == f"# Many VMs\n\n{fleet.BEGIN}\n\nnew\n\n{fleet.END}\n\nrest\n"
