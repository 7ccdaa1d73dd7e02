# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible really sends to a host for a module: what the module needs, and not the house."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MOST = {
    "guest_live_rollback": 37,
    "disk_info": 63,
    "migration_report": 132,
    "source_cleanup": 124,
    "vsphere_vm_info": 40,
}  # files of the collection
OF_GUESTS = re.compile(r"/module_utils/(linux|windows)/(\w+)")  # what only those need that look into guests
TAKEN_BACK = {"extend_initramfs", "newc"}  # a change of Linux, and what it is made of


@pytest.mark.parametrize("name", MOST)
def test_a_module_is_sent_with_few_files(name, tmp_path):
    kept = {"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(tmp_path / "tmp"), "ANSIBLE_PIPELINING": "0"}
    found = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"), "ANSIBLE_LOCALHOST_WARNING": "0"}
    argv = [
        ROOT / ".venv" / "bin" / "python",
        ROOT / ".venv" / "bin" / "ansible",
        "localhost",
        "-m",
        f"hyper2kvm.migration.{name}",
        "--check",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **kept, **found})
    (sent,) = [path for path in tmp_path.rglob("AnsiballZ_*.py") if name in path.name] or pytest.fail(done.stdout + done.stderr)
    packed = max(re.findall(r"[A-Za-z0-9+/=]{1000,}", sent.read_text()), key=len)
    files = [
        one for one in zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))).namelist() if one.startswith("ansible_collections/hyper2kvm/")
    ]
    ours = [one for one in files if not one.endswith("__init__.py")]
    of_guests = {found[2] for found in map(OF_GUESTS.search, ours) if found}
    assert 10 < len(ours) <= MOST[name], sorted(ours)
    assert of_guests == (TAKEN_BACK if name == "guest_live_rollback" else set())
