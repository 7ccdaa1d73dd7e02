# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage by itself on a VM that has come that far, with a real guest: the boot test knows from the records alone what to start."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import lab

# Its system is on the second disk and its address is static: without the records it would not start, or not be reached.
GUEST = "usr-split"
VALIDATE = "VALIDATE - boot the result and watch it"


@pytest.mark.rotates("boots", 100)
def test_the_boot_test_alone_is_that_of_the_whole_run(tmp_path):
    variables = {
        **harness.variables(GUEST),
        "migrate_output_dir": str(tmp_path / "out"),
        "migrate_boot_expect": [lab.GUESTS[GUEST].report],
        "migrate_boot_timeout": 600,
    }
    hosts, result = harness.inventory(tmp_path / "vms.json", **{GUEST: variables}), tmp_path / "out" / GUEST
    done = harness.playbook("migrate", hosts, "--skip-tags", "validate,report")
    assert done.returncode == 0 and not (result / "boot.manifest.json").exists(), done.stdout

    alone = harness.playbook("migrate", hosts, "--tags", "validate")
    assert alone.returncode == 0 and "changed=1 " in alone.stdout, alone.stdout
    assert json.loads((result / "boot.manifest.json").read_text())["result"]["verdict"] == "passed"
    assert (result / "console.png").read_bytes().startswith(b"\x89PNG") and not (result / "report.json").exists()

    from_there = harness.playbook("migrate", hosts, "--start-at-task", VALIDATE)
    assert from_there.returncode == 0 and "changed=1 " in from_there.stdout, from_there.stdout
    boot = json.loads((result / "report.json").read_text())["boot"]
    assert boot["verdict"] == "passed" and "ssh" in boot["signals"]

    # Nothing could start any more: what was booted alone is what the whole run would have booted.
    whole = harness.playbook("migrate", hosts, env={"LIBGUESTFS_HV": "/bin/false"})
    assert whole.returncode == 0 and "changed=0 " in whole.stdout, whole.stdout
