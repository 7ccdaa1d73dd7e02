# SPDX-License-Identifier: GPL-3.0-or-later
"""One more thing of a kind is one new file and one line: tried on a copy of the collection, by what a user calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from one_more import Copy
from peers import VM, content, digest
from test_identity import UUIDS, begins, vmx


@pytest.fixture
def collection(tmp_path) -> Copy:
    return Copy(tmp_path)


def test_a_source(collection, tmp_path):
    collection.add(
        "one_more_source.py", "sources/store.py", "pipeline/sources.py",
        "from ..sources import aws, azure, esxi, local, vsphere\n", "from ..sources import aws, azure, esxi, local, store, vsphere\n",
    )  # fmt: skip
    vmx(tmp_path / "web01", UUIDS[0], b"a")
    one = {"migrate_source": f"store://{tmp_path}/web01", "migrate_output_dir": str(tmp_path / "out"), "migrate_boot_test": False}
    hosts = harness.inventory(tmp_path / "vms.json", web01=one)

    def run(*more: str) -> str:
        return collection.playbook("migrate", hosts, "--skip-tags", "fix", *more)

    run("--check")
    run()
    assert begins(tmp_path / "out" / "web01" / "web01-disk0.qcow2", b"a") and "changed=0" in run()


def test_a_transport(collection, vc, images, tmp_path):
    collection.add(
        "one_more_transport.py", "sources/vsphere_one_request.py", "sources/vsphere_transports.py",
        "from . import vsphere_export, vsphere_files, vsphere_vddk\n",
        "from . import vsphere_export, vsphere_files, vsphere_one_request, vsphere_vddk\n",
    )  # fmt: skip
    access = {"vsphere": vc.login, "transport": "one_request"}
    arguments = {"source": [vc.url(VM)], "work_dir": str(tmp_path / "w"), "access": access}
    result = collection.module("vmdk_fetch", **arguments)
    assert content(result, tmp_path) == [digest(image) for image in images] and result["vm"]["origin"]["transport"] == "one_request"
    assert collection.module("vmdk_fetch", **arguments)["changed"] is False
    refused = harness.module("vmdk_fetch", source=arguments["source"], work_dir=str(tmp_path / "v"), access=access)
    assert "one_request" in refused["msg"], "this collection has it, too"


def test_a_format(collection, tmp_path):
    collection.add(
        "one_more_format.py", "targets/shelf.py", "targets/formats.py",
        "from . import kubevirt, openstack, proxmox, qemu_script\n", "from . import kubevirt, openstack, proxmox, qemu_script, shelf\n",
    )  # fmt: skip
    out = tmp_path / "out"
    arguments = {"dest": str(out), "name": "web01", "disks": [{"path": "/a.qcow2", "format": "qcow2"}], "formats": ["qemu", "shelf"]}
    assert [collection.module("domain_describe", **arguments)["changed"] for dummy in range(2)] == [True, False]
    assert json.loads((out / "web01-shelf.json").read_text()) == {"called": "web01", "disks": ["/a.qcow2"]}
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {"web01.xml", "web01.sh", "web01-shelf.json"}
