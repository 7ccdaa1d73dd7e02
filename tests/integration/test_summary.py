# SPDX-License-Identifier: GPL-3.0-or-later
"""What the terminal shows of many VMs: one line each at the end, and a sentence where a value is wrong."""

from __future__ import annotations

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


def test_a_role_by_itself_begins_with_a_sentence_too(vms, tmp_path):
    play = tmp_path / "play.yml"
    play.write_text("- {hosts: mid, gather_facts: false, roles: [{role: hyper2kvm.migration.migrate}]}\n")
    done = subprocess.run([BIN / "ansible-playbook", "-i", vms, play], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "value of migrate_compression must be one of: none, zstd, zlib, got: gzip" in done.stdout + done.stderr
    assert SPECIFICATION not in done.stdout and len(done.stdout) < 3000
