# SPDX-License-Identifier: GPL-3.0-or-later
"""What the terminal shows of many VMs: one line each at the end, and a sentence where a value is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from harness import BIN, ROOT, inventory, playbook, sparse

SPECIFICATION = "migrate_guest_agent_packages"  # what nobody has asked for


@pytest.fixture(scope="module")
def vms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vms")
    source = {"migrate_source": str(sparse(folder / "a.raw", 8 << 20, 1 << 20)), "migrate_output_dir": str(folder / "out")}
    wrong = {**source, "migrate_compression": "gzip"}
    return inventory(folder / "vms.json", zebra=source, alpha={**source, "migrate_source": "/nonexistent.vmx"}, mid=wrong)


def test_a_run_ends_with_a_line_for_each_vm_in_the_inventorys_order_also_where_some_failed(vms):
    done = playbook("migrate", vms, "--tags", "fetch")
    said = done.stdout.partition("Summary over all VMs")[2]
    assert re.findall(r'"(\w+): (no report; done|FAILED in FETCH: The source|FAILED in the variables: value)', said) == [
        ("zebra", "no report; done"), ("alpha", "FAILED in FETCH: The source"), ("mid", "FAILED in the variables: value"),
    ], done.stdout  # fmt: skip
    assert done.returncode == 2 and SPECIFICATION not in done.stdout and len(done.stdout) < 6000


def test_the_variables_of_a_vm_are_looked_at_once(vms):
    assert playbook("migrate", vms, "--list-tasks").stdout.count(": Check the variables") == 1


def test_a_role_by_itself_begins_with_a_sentence_too(vms, tmp_path):
    play = tmp_path / "play.yml"
    play.write_text("- {hosts: mid, gather_facts: false, roles: [{role: hyper2kvm.migration.migrate}]}\n")
    done = subprocess.run([BIN / "ansible-playbook", "-i", vms, play], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "value of migrate_compression must be one of: none, zstd, zlib, got: gzip" in done.stdout + done.stderr
    assert SPECIFICATION not in done.stdout and len(done.stdout) < 3000


def test_a_fleet_that_failed_as_a_whole_is_summarised_too(vms, tmp_path):
    gone = {"migrate_output_dir": str(tmp_path / "out"), "migrate_source": "/nonexistent.vmx"}
    nowhere = {**gone, "migrate_conversion_host": "conv1"}
    hosts = {
        "vms": {"hosts": {"zebra": gone, "alpha": {**gone, "migrate_format": "raw"}, "mid": nowhere}},
        "workers": {"hosts": {"conv1": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}}},
    }
    (tmp_path / "vms.json").write_text(json.dumps(hosts))
    done = playbook("migrate", tmp_path / "vms.json", "--tags", "fetch")
    said = done.stdout.partition("Summary over all VMs")[2]
    for line in (
        "zebra: FAILED in FETCH: The source /nonexistent.vmx",
        "alpha: FAILED in the variables: migrate_format is not a variable",
        "mid: FAILED in FETCH: The conversion host",
    ):
        assert line in said, done.stdout
    recap = re.findall(r"^(\w+) .* unreachable=0 +failed=1 ", said, re.MULTILINE)
    assert sorted(recap) == ["alpha", "mid", "zebra"] and done.returncode == 2, done.stdout


def test_the_inventory_of_a_fleet_that_failed_as_a_whole_is_counted_too(vms, tmp_path):
    done = playbook("inventory", vms, "--limit", "alpha,mid")
    assert '"inspected": 0' in done.stdout and '"vms": 3' in done.stdout and done.returncode == 2, done.stdout


def test_a_conversion_host_that_cannot_be_reached_fails_its_vms_and_not_the_summary(vms, tmp_path):
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    one = {"migrate_source": "/nowhere.vmx", "migrate_conversion_host": "worker", "migrate_output_dir": str(tmp_path)}
    hosts = inventory(tmp_path / "vms.json", web01=one, worker=away)
    done = playbook("inventory", hosts)
    assert '"inspected": 0' in done.stdout and "web01 was not looked at" in done.stdout and done.returncode == 2, done.stdout
    done = playbook("plan", hosts)
    assert "The conversion host worker cannot be reached" in done.stdout and "unreachable=0" in done.stdout, done.stdout
