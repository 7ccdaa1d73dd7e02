# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane: modules, inventory, readiness."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import peers
from peers import MIB, VM, digest


def test_the_modules_of_the_control_plane(vc, tmp_path):
    login = {"hostname": "localhost", "port": vc.port, **vc.login}

    def ask(module: str, **arguments: object) -> dict:
        return harness.module(module, **login, **arguments)

    every = ask("vsphere_vm_info")["vms"]
    assert len(every) == 4 and {vm["path"] for vm in every} >= {VM}
    for wanted in (f"moref={every[0]['id']}", f"uuid={every[0]['uuid']}", f"name={every[0]['name']}", every[0]["path"]):
        assert ask("vsphere_vm_info", vm=wanted)["vms"][0]["id"] == every[0]["id"]
    assert "has no VM" in ask("vsphere_vm_info", vm="DC0/vm/none")["msg"]
    ask("vsphere_cbt", vm=VM)
    assert harness.module("vsphere_power", check=True, vm=VM, state="on", **login) | {"invocation": 0} == {
        "changed": True,
        "power": "off",
        "invocation": 0,
    }
    assert (ask("vsphere_power", vm=VM, state="on")["power"], ask("vsphere_power", vm=VM, state="on")["changed"]) == ("on", False)
    taken = ask("vsphere_snapshot", vm=VM, name="before")
    assert taken["changed"] and taken["snapshots"][0]["name"] == "before"
    assert ask("vsphere_snapshot", vm=VM, name="before")["changed"] is False
    asked = ask("vsphere_cbt", vm=VM, state="query", snapshot="before")["disks"]
    assert asked[0]["change_id"] and 20 * MIB < asked[0]["bytes"] < 45 * MIB
    since = {str(disk["key"]): disk["change_id"] for disk in asked}
    assert [disk["areas"] for disk in ask("vsphere_cbt", vm=VM, state="query", snapshot="before", since=since)["disks"]] == [[], []]
    vc.peer("reset")
    ask("vsphere_snapshot", vm=VM, name="later")
    assert "FileFault" in ask("vsphere_cbt", vm=VM, state="query", snapshot="later", since=since)["msg"]
    assert ask("vsphere_snapshot", vm=VM, name="before", state="reverted")["changed"]
    for name in ("later", "before"):
        ask("vsphere_snapshot", vm=VM, name=name, state="absent")
    assert ask("vsphere_power", vm=VM, state="off", power_off=True)["power"] == "off"
    files = ask("vsphere_datastore_info", path="[LocalDS_0] DC0_H0_VM0", pattern="*.vmdk")["files"]
    assert {"path": "[LocalDS_0] DC0_H0_VM0/disk1-flat.vmdk", "size": 150 * MIB} in files
    assert ask("vsphere_datastore_info")["datastores"][0]["name"] == "LocalDS_0"


def test_the_files_of_a_vm_come_as_they_are(vc, images, tmp_path):
    hosts = harness.inventory(
        tmp_path / "vms.json",
        web01={"migrate_source": vc.url(VM), "migrate_vsphere_ca_file": str(vc.cert), "migrate_output_dir": str(tmp_path / "out")},
    )
    login = {"VMWARE_USER": peers.USER, "VMWARE_PASSWORD": peers.PASSWORD}
    for arguments, changed in ((["--check"], 1), ([], 1), ([], 0)):
        done = harness.playbook("download", hosts, *arguments, env=login)
        assert done.returncode == 0 and f"changed={changed}" in done.stdout, done.stdout
        assert (tmp_path / "out").exists() is (arguments == [])
    found = {path.name for path in (tmp_path / "out" / "web01").iterdir()}
    assert {"DC0_H0_VM0.vmx", "DC0_H0_VM0.nvram", "disk1.vmdk", "disk2-flat.vmdk"} <= found
    assert digest(tmp_path / "out" / "web01" / "disk1-flat.vmdk") == digest(images[0])


def listed(source: Path) -> dict:
    done = subprocess.run(
        [harness.BIN / "ansible-inventory", "-i", source, "--list"], capture_output=True, text=True, check=False, cwd=harness.ROOT,
        env={**os.environ, "VMWARE_PASSWORD": peers.PASSWORD, "ANSIBLE_COLLECTIONS_PATH": str(harness.ROOT / ".venv" / "collections")},
    )  # fmt: skip
    assert done.returncode == 0 and peers.PASSWORD not in done.stdout, done.stderr
    return json.loads(done.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found))


def test_the_inventory_gives_hosts_groups_and_what_migrate_needs(vc, tmp_path):
    found = listed(
        vc.inventory(
            tmp_path, keyed_groups=[{"key": "vsphere_vm.firmware", "prefix": "firmware"}], compose={"half": "vsphere_vm.memory // 2"}
        )
    )
    hosts = found["_meta"]["hostvars"]
    assert hosts["DC0_H0_VM0"]["migrate_source"] == vc.url(VM) and hosts["DC0_H0_VM0"]["half"] == 1024
    assert found["firmware_uefi"]["hosts"] == ["DC0_H0_VM0"] == found["power_off"]["hosts"] == found["ready"]["hosts"]
    assert len(found["ready_when_off"]["hosts"]) == 3 == len(found["blocked"]["hosts"])
    assert set(listed(vc.inventory(tmp_path, filters=["vsphere_vm.power == 'off'"]))["_meta"]["hostvars"]) == {"DC0_H0_VM0"}
    assert listed(vc.inventory(tmp_path, folders=["DC0/vm/none"]))["_meta"]["hostvars"] == {}


def test_a_cached_inventory_asks_no_server_until_it_asks_for_something_else(vc, tmp_path):
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    hosts = listed(vc.inventory(tmp_path, **cache))["_meta"]["hostvars"]
    vc.peer("clear")
    assert listed(vc.inventory(tmp_path, **cache))["_meta"]["hostvars"] == hosts and vc.peer("calls") == {}
    assert listed(vc.inventory(tmp_path, folders=["DC0/vm/none"], **cache))["_meta"]["hostvars"] == {}


def test_tags_make_groups(vc, tmp_path):
    vc.tag(vc.vm(VM), "Stage", "production web")
    found = listed(vc.inventory(tmp_path))
    assert found["tag_Stage_production_web"]["hosts"] == ["DC0_H0_VM0"]
    tags = {name: host["vsphere_vm"]["tags"] for name, host in found["_meta"]["hostvars"].items()}
    assert len(tags) == 4 and tags.pop("DC0_H0_VM0") == ["Stage/production web"] and not any(tags.values())
    assert "tag_Stage_production_web" not in listed(vc.inventory(tmp_path, tags=False))
    login = {"hostname": "localhost", "port": vc.port, **vc.login}
    assert harness.module("vsphere_vm_info", vm=VM, **login)["vms"][0]["tags"] == ["Stage/production web"]
    assert harness.module("vsphere_vm_info", vm=VM, tags=False, **login)["vms"][0]["tags"] == []


def test_the_readiness_of_a_fleet_is_reported(vc, tmp_path):
    source = vc.inventory(tmp_path)
    arguments = ("-e", f"readiness_dest={tmp_path}/report")
    for changed in (1, 0):
        done = harness.playbook("readiness", source, *arguments, env={"VMWARE_PASSWORD": peers.PASSWORD})
        assert done.returncode == 0 and f"changed={changed}" in done.stdout, done.stdout
    assert "4 VMs: 1 ready, 0 to look at, 3 blocked" in (tmp_path / "report" / "readiness.md").read_text()
    assert len((tmp_path / "report" / "readiness.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("more", "password", "why"),
    [
        ({"hostname": "vcenter.invalid"}, peers.PASSWORD, "vcenter.invalid cannot be found"),
        ({}, "wrong", "refuses the login"),
        ({}, "", "No password is given"),
        ({"folders": ["DC0/vm/none"]}, peers.PASSWORD, "leave nothing"),
    ],
)
def test_a_fleet_that_could_not_be_asked_is_not_ready(vc, tmp_path, more, password, why):
    arguments = ("-e", f"readiness_dest={tmp_path}/report")
    done = harness.playbook("readiness", vc.inventory(tmp_path, **more), *arguments, env={"VMWARE_PASSWORD": password})
    assert done.returncode == 2 and "has no VM of vSphere" in done.stdout and why in done.stdout, done.stdout
    assert done.stdout.count(why) <= 2 and not (tmp_path / "report").exists()


def test_thousands_of_vms_are_a_few_round_trips(tmp_path):
    vcenter = peers.VCenter(tmp_path, "-vms", "1000")
    try:
        vcenter.peer("clear")
        found = listed(vcenter.inventory(tmp_path))
        calls = vcenter.peer("calls")
    finally:
        vcenter.close()
    assert len(found["_meta"]["hostvars"]) == 2000
    assert sum(calls.values()) <= 20 and calls["ContinueRetrievePropertiesEx"] <= 5, calls


def test_a_host_without_vcenter(images, tmp_path):
    """It has one datacenter, no tags, no clusters, and its leases name itself."""
    host = peers.VCenter(tmp_path, "-esx")
    try:
        path = "ha-datacenter/vm/ha-host_VM0"
        host.place(path, images[1:])
        found = listed(host.inventory(tmp_path, filters=["vsphere_vm.power == 'off'"]))["_meta"]["hostvars"]
        assert found["ha-host_VM0"]["migrate_source"] == host.url(path)
        for transport in ("datastore", "nfc"):
            result = peers.fetch(host, tmp_path / transport, host.url(path), transport=transport)
            assert peers.content(result, tmp_path) == [digest(images[1])], transport
    finally:
        host.close()
