# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM is which at sources that are elsewhere: two VMs of one name, renamed, changed, replaced; and the one that was shut down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from peers import content, digest, write_flat
from pyVmomi import vim

PATHS = ("DC0/vm/DC0_H0_VM1", "DC0/vm/DC0_C0_RP0_VM0")


@pytest.fixture
def two(vc, tmp_path):
    """Two VMs of one name in two folders, each with a disk of its own."""
    disks = []
    for number in range(2):
        disk = tmp_path / f"{number}.raw"
        disk.write_bytes(bytes([number + 1]) * (1 << 20))
        disks.append(disk)
    folders = [vc.content.rootFolder.childEntity[0].vmFolder.CreateFolder(name) for name in ("f1", "f2")]
    vms = [vc.place(path, [disk]) for path, disk in zip(PATHS, disks)]
    names = [vm.name for vm in vms]
    for vm, folder in zip(vms, folders):
        vc.wait(vm.Rename_Task("web01"))
        vc.wait(folder.MoveIntoFolder_Task([vm]))
    yield vms, disks
    for vm, name, folder in zip(vms, names, folders):
        vc.wait(vm.Rename_Task(name))
        vc.wait(vc.content.rootFolder.childEntity[0].vmFolder.MoveIntoFolder_Task([vm]))
        vc.wait(folder.Destroy_Task())


def fetch(vc, source: str, out: Path, check: bool = False, **more: object) -> dict:
    dest = str(out / "web01")
    access = {"vsphere": vc.login, **more.pop("access", {})}
    return harness.module(
        "vmdk_fetch", check, source=[source], access=access, work_dir=f"{dest}/.work", name="web01", dest=dest, report_dir=dest, **more
    )


def names(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_two_vms_of_one_name_their_names_and_their_hardware(vc, two, tmp_path):
    vms, disks = two
    out, urls = tmp_path / "out", [vc.url(f"DC0/vm/{folder}/web01") for folder in ("f1", "f2")]
    first = fetch(vc, urls[0], out)
    assert content(first, tmp_path) == [digest(disks[0])]
    before = names(out)
    for check in (True, False):
        refused = fetch(vc, urls[1], out, check)
        assert refused["failed"] and "belongs to" in refused["msg"] and all(url in refused["msg"] for url in urls), refused
    assert names(out) == before
    kept = {"dest": str(tmp_path / "kept"), "access": {"vsphere": vc.login}}
    files = harness.module("source_download", source=urls[0], **kept)["files"]
    refused = harness.module("source_download", source=urls[1], **kept)
    assert files and refused["failed"] and "belongs to" in refused["msg"], refused
    other = fetch(vc, urls[1], tmp_path / "elsewhere")
    assert content(other, tmp_path) == [digest(disks[1])]
    assert fetch(vc, urls[0], out)["changed"] is False
    # Another name there: the same VM under another URL.
    vc.wait(vms[0].Rename_Task("web01-old"))
    try:
        renamed = fetch(vc, vc.url("DC0/vm/f1/web01-old"), out)
        assert renamed["vm"]["identity"]["uuid"] == first["vm"]["identity"]["uuid"]
    finally:
        vc.wait(vms[0].Rename_Task("web01"))
    assert fetch(vc, urls[0], out)["changed"] is True
    # More memory: the same VM, another migration, and its disks are here already.
    vc.wait(vms[0].ReconfigVM_Task(vim.vm.ConfigSpec(memoryMB=4096)))
    larger = fetch(vc, urls[0], out)
    assert larger["changed"] is True and larger["vm"]["memory"] == 4096
    assert sum(item["transferred"] for item in larger["vm"]["origin"]["files"]) == 0
    # Another VM under the same URL.
    uuid = vms[0].config.instanceUuid
    vc.wait(vms[0].ReconfigVM_Task(vim.vm.ConfigSpec(instanceUuid="52000000-0000-0000-0000-0000000000ff")))
    try:
        replaced = fetch(vc, urls[0], out)
        assert replaced["failed"] and uuid in replaced["msg"] and "52000000-0000-0000-0000-0000000000ff" in replaced["msg"], replaced
        assert fetch(vc, urls[0], out, moved=True)["failed"]
    finally:
        vc.wait(vms[0].ReconfigVM_Task(vim.vm.ConfigSpec(instanceUuid=uuid)))
    # A server that does not answer: what was fetched is still known, and that it was not asked is said.
    silent = fetch(vc, urls[0], out, access={"vsphere": {**vc.login, "password": "wrong"}})
    assert silent["changed"] is False and "was not asked" in str(silent["warnings"]), silent


def test_a_refused_vm_is_not_shut_down_and_a_rollback_starts_only_the_vm_that_was(vc, two, tmp_path):
    vms, dummy = two
    out, urls = tmp_path / "out", [vc.url(f"DC0/vm/{folder}/web01") for folder in ("f1", "f2")]
    shutdown = {"access": {"running": "shutdown", "power_off": True}}
    assert fetch(vc, urls[0], out, **shutdown)["changed"] is True
    vc.wait(vms[1].PowerOnVM_Task())
    assert fetch(vc, urls[1], out, **shutdown)["failed"] and vms[1].runtime.powerState == "poweredOn"
    vc.wait(vms[1].PowerOffVM_Task())
    vc.wait(vms[0].PowerOnVM_Task())
    assert fetch(vc, urls[0], tmp_path / "again", **shutdown)["changed"] is True and vms[0].runtime.powerState == "poweredOff"
    given = {"work_dir": str(tmp_path / "again" / "web01" / ".work"), "access": {"vsphere": vc.login}}
    refused = harness.module("source_restore", source=[urls[1]], **given)
    assert refused["failed"] and "belongs to" in refused["msg"]
    uuid = vms[0].config.instanceUuid
    vc.wait(vms[0].ReconfigVM_Task(vim.vm.ConfigSpec(instanceUuid="52000000-0000-0000-0000-0000000000ff")))
    refused = harness.module("source_restore", source=[urls[0]], **given)
    assert refused["failed"] and uuid in refused["msg"] and vms[0].runtime.powerState == "poweredOff"
    vc.wait(vms[0].ReconfigVM_Task(vim.vm.ConfigSpec(instanceUuid=uuid)))
    assert harness.module("source_restore", source=[urls[0]], **given)["actions"] == [f"start {urls[0]}"]
    vc.wait(vms[0].PowerOffVM_Task())


def test_a_vm_of_a_host_is_its_configuration_file_however_it_is_named(esxi, tmp_path):
    folder = tmp_path / "vm"
    disk = tmp_path / "d.raw"
    disk.write_bytes(b"\1" * (1 << 20))
    write_flat(folder, "web01", disk)
    vmx = folder / "web01.vmx"
    vmx.write_text(
        'displayName = "web01"\nscsi0:0.fileName = "web01.vmdk"\nuuid.bios = "56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 01"\n'
    )
    (tmp_path / "link").symlink_to(folder)
    access = {"ssh": esxi.login}

    def known(path: Path) -> dict:
        return harness.module("vmdk_fetch", True, source=[esxi.url(path)], work_dir=str(tmp_path / "w"), access=access)["vm"]["identity"]

    found = known(vmx)
    assert found["uuid"] == "564d0000-0000-0000-0000-000000000001" and found["place"] == f"ssh://localhost:{esxi.port}{vmx}"
    assert known(tmp_path / "link" / "web01.vmx")["place"] == found["place"]
    subprocess.run(["cp", "-a", folder, tmp_path / "copy"], check=True)
    copy = known(tmp_path / "copy" / "web01.vmx")
    assert copy["uuid"] == found["uuid"] and copy["place"] != found["place"]
    bare = known(folder / "web01.vmdk")
    assert bare["uuid"] == "" and bare["disks"][0]["size"] == 1 << 20 and bare["disks"][0]["head"] == digest(disk)
