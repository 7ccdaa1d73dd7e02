# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that stay where they are until the result is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import peers
from peers import MIB, VM, digest


def access(vc, library, transport: str) -> dict:
    return {"vsphere": vc.login, "transport": transport, "vddk": library}


@pytest.mark.parametrize("transport", ["datastore", "vddk"])
def test_the_result_is_the_only_copy(vc, library, images, tmp_path, transport):
    reach, work = access(vc, library, transport), str(tmp_path / "w")
    source = [vc.url(VM)]
    fetched = harness.module("vmdk_fetch", source=source, work_dir=work, access=reach, fetch="stream")
    assert fetched.get("changed") is True, fetched
    assert fetched["vm"]["firmware"] == "uefi" and fetched["vm"]["nics"][0]["slot"] == 192
    flattened = harness.module("disk_flatten", work_dir=work, source=source, access=reach)
    written = ["qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 64k"]  # as a repair would; what is below is not needed for it
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", flattened["disks"][0]["path"]], check=True)
    subprocess.run([*written, flattened["disks"][0]["path"]], check=True, capture_output=True)
    top = fetched["vm"]["disks"][0]["staged"]
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", top, flattened["disks"][0]["path"]], check=True)
    space = sum(path.stat().st_blocks * 512 for path in (tmp_path / "w").rglob("*") if path.is_file())
    assert space < 2 * MIB
    arguments = {"source": source, "work_dir": work, "access": reach, "dest": str(tmp_path / "out"), "name": "web01"}
    result = harness.module("qemu_convert", **arguments)
    assert result.get("changed") is True, str(result)
    with open(images[0], "rb") as file:
        wanted = bytearray(file.read())
    wanted[MIB : MIB + (64 << 10)] = b"\x5a" * (64 << 10)
    (tmp_path / "wanted").write_bytes(wanted)
    for disk, image in zip(result["disks"], (tmp_path / "wanted", images[1]), strict=True):
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk["path"], tmp_path / "raw"], check=True)
        assert digest(tmp_path / "raw") == digest(image)
    vc.peer("clear")
    assert harness.module("qemu_convert", **arguments)["changed"] is False and vc.peer("calls") == {}
    assert not [path for path in (tmp_path / "w").iterdir() if path.is_socket()]


def test_what_is_not_in_use_is_not_read(vc, library, tmp_path):
    vm = vc.vm(VM)
    vc.wait(vm.ReconfigVM_Task(peers.vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    reach, work = access(vc, library, "datastore"), str(tmp_path / "w")
    for name, arguments in {"vmdk_fetch": {"fetch": "stream"}, "disk_flatten": {}}.items():
        assert harness.module(name, source=[vc.url(VM)], work_dir=work, access=reach, **arguments)["changed"] is True
    vc.peer("clear")
    result = harness.module("qemu_convert", source=[vc.url(VM)], work_dir=work, access=reach, dest=str(tmp_path / "out"), name="web01")
    asked = [re.search(r"flat.vmdk bytes=(\d+)-(\d+)$", line) for line in vc.peer("ranges")]
    assert result["changed"] is True and 33 * MIB < sum(int(match[2]) - int(match[1]) for match in asked if match) < 60 * MIB  # of 158


def test_disks_that_changed_since_or_cannot_be_read_in_place_are_refused(vc, library, tmp_path):
    reach, work = access(vc, library, "datastore"), str(tmp_path / "w")
    for transport in ("nfc", "govc"):
        refused = harness.module(
            "vmdk_fetch", source=[vc.url(VM)], work_dir=work, access={**reach, "transport": transport}, fetch="stream",
            env={"PATH": f"{peers.exporters(tmp_path / transport)}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
        assert refused["error_code"] == "not_in_place" and "migrate_fetch: stage" in refused["hint"], refused
    long = harness.module("vmdk_fetch", source=[vc.url(VM)], work_dir=f"{tmp_path}/{'x' * 100}", access=reach, fetch="stream")
    assert long["error_code"] == "invalid_input" and "too long" in long["msg"]
    for name, arguments in {"vmdk_fetch": {"fetch": "stream"}, "disk_flatten": {}}.items():
        assert harness.module(name, source=[vc.url(VM)], work_dir=work, access=reach, **arguments)["changed"] is True
    flat = vc.folder_of(vc.vm(VM)) / "disk2-flat.vmdk"
    before = flat.stat()
    os.utime(flat, (before.st_atime, before.st_mtime + 10))
    try:
        arguments = {"source": [vc.url(VM)], "work_dir": work, "access": reach, "dest": str(tmp_path / "out"), "name": "web01"}
        changed = harness.module("qemu_convert", **arguments)
        assert changed["error_code"] == "source_changed" and "keep the VM off" in changed["hint"]
    finally:
        os.utime(flat, (before.st_atime, before.st_mtime))
    vm = vc.vm(VM)
    vc.wait(vm.PowerOnVM_Task())
    try:
        assert harness.module("qemu_convert", **arguments)["error_code"] == "blocked"
        frozen = {"source": [vc.url(VM)], "work_dir": str(tmp_path / "f"), "access": {**reach, "running": "snapshot"}}
        assert harness.module("vmdk_fetch", **frozen, fetch="stream")["error_code"] == "not_in_place" and vm.snapshot is None
    finally:
        vc.wait(vm.PowerOffVM_Task())
    assert not list((tmp_path / "out").glob("*"))


def test_a_vm_of_a_host_without_an_api_is_read_once_by_sftp(images, tmp_path):
    (tmp_path / "esx").mkdir()
    home = tmp_path / "vm"
    for number, image in enumerate(images):
        peers.write_flat(home, f"web{number}", image)
    (home / "web.vmx").write_text(
        'firmware = "efi"\nscsi0:1.fileName = "web1.vmdk"\nscsi0:0.fileName = "web0.vmdk"\nethernet0.present = "TRUE"\nethernet0.pciSlotNumber = "192"\n'
    )
    host = peers.Esxi(tmp_path / "esx", sftp=True)
    arguments = {"source": [host.url(home / "web.vmx")], "work_dir": str(tmp_path / "w"), "access": {"ssh": host.login}}
    try:
        vm = harness.module("vmdk_fetch", **arguments, fetch="stream")["vm"]
        assert (vm["firmware"], vm["nics"][0]["slot"], [disk["unit"] for disk in vm["disks"]]) == ("uefi", 192, [0, 1])
        harness.module("disk_flatten", **arguments)
        result = harness.module("qemu_convert", **arguments, dest=str(tmp_path / "out"), name="web01")
        assert result.get("changed") is True, result
        for disk, image in zip(result["disks"], images, strict=True):
            subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk["path"], tmp_path / "raw"], check=True)
            assert digest(tmp_path / "raw") == digest(image)
    finally:
        host.close()
