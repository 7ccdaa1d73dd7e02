# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of a group have in common is said once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from harness import BIN, ROOT

DEFAULTS = {
    "group/hyper2kvm.migration.vsphere": {
        "hostname": "localhost",
        "username": "root@local",
        "password": "a-password",
        "port": 9,
        "proxy_port": 8,
    },
    "group/hyper2kvm.migration.guest": {
        "work_dir": "/nonexistent/web01",
        "accept": ["luks.locked"],
        "luks_keys": {"all": "a-key-of-luks"},
        "root": "/dev/sda1",
    },
}
SAID = {
    "vsphere_vm_info": ({}, "localhost:9"),
    "vsphere_power": ({"vm": "DC1/vm/web01", "state": "off"}, "localhost:9"),
    "guest_inspect": ({}, "No input"),
    "guest_fix_fstab": ({}, "No input"),
    "guest_fix": ({}, "vmdk_fetch"),  # one with an action plugin
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict:
    """What each of the modules answers that gets nothing but the defaults and what it alone needs."""
    play = tmp_path_factory.mktemp("play") / "play.yml"
    tasks = [
        {"name": name, f"hyper2kvm.migration.{name}": own, "ignore_errors": True, "register": name} for name, (own, dummy) in SAID.items()
    ]
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "module_defaults": DEFAULTS, "tasks": tasks}]))
    done = subprocess.run(
        [BIN / "ansible-playbook", play], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip
    return dict.fromkeys(SAID, done.stdout + done.stderr)


@pytest.mark.parametrize("name", SAID)
def test_a_group_of_modules_takes_its_defaults(answers, name):
    section = answers[name].partition(f"TASK [{name}]")[2].partition("TASK [")[0]
    assert SAID[name][1] in section and "Unsupported parameters" not in section and "missing required" not in section, answers[name]
