# SPDX-License-Identifier: GPL-3.0-or-later
"""One more thing of a kind is one new file and one line: tried on a copy of the collection."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from test_identity import UUIDS, begins, vmx

PARTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")
UTILS = Path("plugins", "module_utils")


@pytest.fixture
def collection(tmp_path) -> Path:
    copy = tmp_path / "ansible_collections" / "hyper2kvm" / "migration"
    for name in PARTS:
        (shutil.copytree if (harness.ROOT / name).is_dir() else shutil.copy)(harness.ROOT / name, _made(copy) / name)
    return copy


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def added(collection: Path, new: str, to: str, registry: str, line: str, with_it: str) -> None:
    """Drop a file of tests/support into the copy, and change one line of a registry."""
    shutil.copy(harness.ROOT / "tests" / "support" / new, collection / UTILS / to)
    path = collection / UTILS / registry
    before = path.read_text()
    assert before.count(line) == 1
    path.write_text(before.replace(line, with_it))
    changed = [one for one in difflib.ndiff(before.splitlines(), path.read_text().splitlines()) if one.startswith("+ ")]
    assert len(changed) == 1


def test_a_source(collection, tmp_path):
    added(
        collection, "one_more_source.py", "sources/store.py", "pipeline/sources.py",
        "from ..sources import aws, azure, esxi, local, vsphere\n", "from ..sources import aws, azure, esxi, local, store, vsphere\n",
    )  # fmt: skip
    vmx(tmp_path / "web01", UUIDS[0], b"a")
    one = {"migrate_source": f"store://{tmp_path}/web01", "migrate_output_dir": str(tmp_path / "out"), "migrate_boot_test": False}
    hosts = harness.inventory(tmp_path / "vms.json", web01=one)

    def run(*more: str) -> str:
        done = subprocess.run(
            [harness.BIN / "ansible-playbook", "hyper2kvm.migration.migrate", "-i", hosts, "--skip-tags", "fix", *more],
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    run("--check")
    run()
    assert begins(tmp_path / "out" / "web01" / "web01-disk0.qcow2", b"a") and "changed=0" in run()


def test_a_format(collection, tmp_path):
    added(
        collection, "one_more_format.py", "targets/shelf.py", "targets/formats.py",
        "from . import kubevirt, openstack, proxmox, qemu_script\n", "from . import kubevirt, openstack, proxmox, qemu_script, shelf\n",
    )  # fmt: skip
    out = tmp_path / "out"
    arguments = {"dest": str(out), "name": "web01", "disks": [{"path": "/a.qcow2", "format": "qcow2"}], "formats": ["qemu", "shelf"]}

    def run() -> str:
        return subprocess.run(
            [harness.BIN / "ansible", "localhost", "-m", "hyper2kvm.migration.domain_describe", "-a", json.dumps(arguments)],
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        ).stdout  # fmt: skip

    assert "localhost | CHANGED" in run() and "localhost | SUCCESS" in run()
    assert json.loads((out / "web01-shelf.json").read_text()) == {"called": "web01", "disks": ["/a.qcow2"]}
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {"web01.xml", "web01.sh", "web01-shelf.json"}
