# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that come through programs of others: VMware's library in nbdkit's real plugin, govc, OVF Tool."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import peers
from peers import MIB, VM, content, digest, fetch

from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.vddk import Vddk


def test_vddk_reads_what_is_allocated_by_the_vms_id_and_snapshot(vc, library, images, tmp_path):
    vm = vc.vm(VM)
    result = fetch(vc, tmp_path / "off", transport="vddk", vddk=library)
    assert content(result, tmp_path) == [digest(image) for image in images]
    assert sum(item["transferred"] for item in result["vm"]["origin"]["files"]) < 45 * MIB  # of 158, 33 hold data
    vc.wait(vm.PowerOnVM_Task())
    try:
        result = fetch(vc, tmp_path / "on", transport="vddk", vddk=library, running="snapshot")
        assert content(result, tmp_path) == [digest(image) for image in images] and vm.snapshot is None
    finally:
        vc.wait(vm.PowerOffVM_Task())
    log = (tmp_path / "vddk.log").read_text()
    assert "connect - " in log and "connect snapshot-" in log and "open [LocalDS_0] DC0_H0_VM0/disk2.vmdk" in log


def test_what_is_wrong_with_vddk_is_said_in_its_own_words(vc, library, tmp_path, monkeypatch):
    missing = fetch(vc, tmp_path / "w", transport="vddk", vddk={**library, "libdir": str(tmp_path)})
    assert missing["error_code"] == "missing_tool" and "There is no VDDK" in missing["msg"]
    missing = fetch(vc, tmp_path / "w", transport="vddk", vddk={**library, "plugin": str(tmp_path / "none.so")})
    assert missing["error_code"] == "missing_tool" and "nbdkit-vddk-plugin" in missing["hint"]
    monkeypatch.setenv("VDDK_FAIL", "1")
    refused = fetch(vc, tmp_path / "w", transport="vddk", vddk=library)
    assert refused["error_code"] == "tool_failed" and "the server refuses" in refused["msg"] and "902" in refused["hint"]
    assert not (tmp_path / "w" / "fetch.json").exists() and peers.PASSWORD not in json.dumps(refused)


@pytest.mark.parametrize("name", ["libvixDiskLib.so.9", "libvixDiskLib.so.8.0.3"])
def test_the_plugin_loads_a_library_of_a_number_that_it_does_not_know(tmp_path, name):
    stand_in = peers.vddk()
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / name).symlink_to(Path(stand_in["libdir"], "lib64", "libvixDiskLib.so.8"))
    assert Vddk(str(tmp_path), stand_in["plugin"]).check()
    assert [path.name for path in (tmp_path / "lib64").iterdir()] == [name]


@pytest.mark.parametrize("tool", ["govc", "ovftool"])
def test_an_exporting_program_brings_the_same_bytes_and_sees_no_secret_on_its_command_line(vc, exporters, images, tmp_path, tool):
    result = fetch(vc, tmp_path / "w", transport=tool)
    assert result.get("changed") is True, result
    assert content(result, tmp_path) == [digest(image) for image in images]
    assert (result["vm"]["firmware"], result["vm"]["nics"][0]["slot"], result["vm"]["origin"]["transport"]) == ("uefi", 192, tool)
    calls = exporters.read_text()
    assert json.loads(calls)[0] == tool and peers.PASSWORD not in calls and peers.PASSWORD not in json.dumps(result)
    assert fetch(vc, tmp_path / "w", transport=tool)["changed"] is False and exporters.read_text() == calls


def test_govc_exports_a_running_vm_by_its_snapshot_and_ovftool_does_not(vc, exporters, images, tmp_path):
    vm = vc.vm(VM)
    vc.wait(vm.PowerOnVM_Task())
    try:
        result = fetch(vc, tmp_path / "w", transport="govc", running="snapshot")
        assert content(result, tmp_path) == [digest(image) for image in images]
        calls = exporters.read_text()
        for check in (True, False):
            refused = fetch(vc, tmp_path / "o", check=check, transport="ovftool", running="snapshot")
            assert refused["error_code"] == "invalid_input" and "shutdown" in refused["hint"] and vm.snapshot is None
        assert exporters.read_text() == calls
    finally:
        vc.wait(vm.PowerOffVM_Task())


@pytest.mark.parametrize("tool", ["govc", "ovftool"])
def test_an_exporting_program_believes_only_the_certificate_that_was_verified(vc, exporters, tmp_path, tool):
    thumbprint = hashlib.sha256(peers.ssl.PEM_cert_to_DER_cert(vc.cert.read_text())).hexdigest()
    login = {"username": peers.USER, "password": peers.PASSWORD}
    for pinned, code in ((thumbprint, None), ("00" * 32, "unreachable")):
        access = {"vsphere": {**login, "thumbprint": pinned}, "transport": tool}
        result = harness.module("vmdk_fetch", source=[vc.url(VM)], work_dir=str(tmp_path / pinned[:2]), access=access)
        assert result.get("error_code") == code, result
    assert len(exporters.read_text().splitlines()) == 1


@pytest.mark.parametrize("tool", ["govc", "ovftool"])
@pytest.mark.parametrize(
    ("how", "code", "words"), [("half", "tool_failed", "connection was closed"), ("damage", "invalid_input", "digest")]
)
def test_an_export_that_breaks_off_or_is_damaged_is_not_taken(vc, exporters, images, tmp_path, monkeypatch, tool, how, code, words):
    monkeypatch.setenv("EXPORT_FAIL", how)
    broken = fetch(vc, tmp_path / "w", transport=tool)
    assert broken["error_code"] == code and words in broken["msg"] and not (tmp_path / "w" / "fetch.json").exists(), broken
    monkeypatch.delenv("EXPORT_FAIL")
    assert content(fetch(vc, tmp_path / "w", transport=tool), tmp_path) == [digest(image) for image in images]


def test_an_exporting_program_that_is_not_there_is_named(vc, tmp_path):
    missing = fetch(vc, tmp_path / "w", transport="ovftool")
    assert missing["error_code"] == "missing_tool" and "OVF Tool" in missing["hint"]


def test_a_vm_that_is_called_as_a_directory_is_writes_nothing_beside_its_package(vc, exporters, images, tmp_path):
    vm, name = vc.vm(VM), VM.rpartition("/")[2]
    vc.wait(vm.Rename_Task(".."))
    try:
        url = vc.url(f"?uuid={vm.config.instanceUuid}")
        for tool, refused in (("govc", True), ("ovftool", False)):
            for check in (True, False):
                access = {"vsphere": vc.login, "transport": tool}
                done = harness.module("vmdk_fetch", check, source=[url], work_dir=str(tmp_path / tool), access=access)
                assert done.get("failed", False) == refused and ("migrate_transport: nfc" in done.get("msg", "")) == refused, done
        assert not list(tmp_path.rglob("govc/*.json")) and {path.parent.name for path in tmp_path.rglob("*.ovf")} == {"package"}
    finally:
        vc.wait(vm.Rename_Task(name))
