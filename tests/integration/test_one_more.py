# SPDX-License-Identifier: GPL-3.0-or-later
"""One more thing of a kind is one new file and one line: tried on a copy of the collection, by what a user calls."""

from __future__ import annotations

import json
import subprocess
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


def image(place: Path, files: dict[str, str]) -> str:
    """A disk that is one file system, ext2, with these files."""
    tree = place / "tree"
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-d", tree, place / "disk.raw", "64M"], check=True)
    return str(place / "disk.raw")


def repaired(collection: Copy, source: str, work: Path, **arguments: object) -> tuple[dict, Path]:
    """What guest_fix says of a disk, and the disk then."""
    for stage in ("vmdk_fetch", "disk_flatten"):
        answer = collection.module(stage, work_dir=str(work), **({"source": [source]} if stage == "vmdk_fetch" else {}))
        assert not answer.get("failed"), answer["msg"]
    done = collection.module("guest_fix", work_dir=str(work), **arguments)
    assert not done.get("failed"), done["msg"]
    after = work / "after.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", answer["disks"][0]["path"], after], check=True)
    return done, after


def seen(disk: Path, question: str) -> str:
    return subprocess.run(["debugfs", "-R", question, disk], check=True, capture_output=True, text=True).stdout


@pytest.mark.rotates("guests", 25)
def test_a_family(collection, tmp_path):
    """Its disk looks like a Linux one to those who do not ask for the mark."""
    collection.add(
        "one_more_family.py", "guest/freebsd.py", "pipeline/families.py",
        "from ..guest import copied\n", "from ..guest import copied, freebsd\n",
    )  # fmt: skip
    source = image(tmp_path, {"bin/freebsd-version": "#!/bin/sh\n", "etc/fstab": "/dev/da0p2 / ufs rw 1 1\n"})
    done, after = repaired(collection, source, tmp_path / "w")
    assert done["facts"]["os"] == "freebsd" and [change["path"] for change in done["changes"]] == ["/etc/fstab"]
    assert done["proof"]["checks"] == [{"name": "fstab.root", "passed": True, "detail": "fstab names the root"}]
    assert seen(after, "cat /etc/fstab") == "/dev/vtbd0p2 / ufs rw 1 1\n"


@pytest.mark.rotates("guests", 25)
def test_a_kind_of_change(collection, tmp_path):
    collection.add(
        "one_more_kind.py", "guest/changes/touch.py", "pipeline/kinds.py",
        "from ..guest.changes import patch\n", "from ..guest.changes import patch, touch\n",
    )  # fmt: skip
    made = image(tmp_path, {"etc/fstab": "", "usr/bin/true": "", "etc/key": "x\n"})
    change = {"change": "touch", "path": "/etc/key", "before": 0o644, "after": 0o640, "reason": "for a test"}
    (tmp_path / "plan.json").write_text(json.dumps({"format": 1, "changes": [change], "concerns": []}))
    arguments = {"plan_file": str(tmp_path / "plan.json"), "accept": ["proof.failed"]}
    done, after = repaired(collection, made, tmp_path / "w", **arguments)
    assert [one["kind"] for one in done["changes"]] == ["touch"] and "Mode:  0640" in seen(after, "stat /etc/key")


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


def test_a_target(collection, tmp_path):
    collection.add(
        "one_more_target.py", "targets/shelf.py", "targets/targets.py",
        "from . import libvirt\n", "from . import libvirt, shelf\n",
    )  # fmt: skip
    vm, shelf = tmp_path / "vm", tmp_path / "shelf"
    for folder in (vm, shelf):
        folder.mkdir()
    (vm / "web01-disk0.qcow2").write_bytes(b"image")
    (vm / "web01.json").write_text(json.dumps({"name": "web01", "disks": [f"{vm}/web01-disk0.qcow2"]}))
    there = {"libvirt_uri": f"shelf://{shelf}"}
    wanted = {"description": f"{vm}/web01.json", "state": "running", "placement": "copy", "pool": "images", **there}
    said, done, again = (collection.module("libvirt_domain", *flags, **wanted) for flags in (["--check"], [], []))
    place = shelf / "images" / "web01-disk0.qcow2"
    assert done["actions"] == said["actions"] == [f"copy {vm}/web01-disk0.qcow2 to {place}", "define web01", "start web01"], done
    assert place.read_bytes() == b"image" and again["changed"] is False and json.loads((shelf / "web01.json").read_text())["runs"]
    gone = collection.module("libvirt_domain", name="web01", state="absent", quarantine=str(tmp_path / "q"), **there)
    assert gone["actions"][0] == "shut down web01" and {path.name for path in (tmp_path / "q").iterdir()} == {"web01.json", place.name}
    assert not list(shelf.glob("*.json"))
