# SPDX-License-Identifier: GPL-3.0-or-later
"""A migrated VM given to a real libvirt: placed, defined, started, changed by hand, migrated again, taken back; nobody else's domain touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import libvirtd
from libvirtd import virsh

NAME = "hyper2kvm-lab"
WINDOWS = {"firmware": "uefi", "windows": {"clock": "localtime"}, "nic_model": "e1000e"}


@pytest.fixture(autouse=True)
def libvirt():
    """For each test, since a process that kept it for a module would keep it while it waits for its next test, and others would wait for it."""
    with libvirtd.running():
        yield


@pytest.fixture
def name():
    """A name of a domain that is gone afterwards."""
    name = f"{NAME}-{os.getpid()}"
    yield name
    for argv in (["destroy", name], ["undefine", "--nvram", name]):
        subprocess.run(["virsh", "-c", libvirtd.URI, *argv], check=False, capture_output=True)


@pytest.fixture
def place():
    with libvirtd.place() as folder:
        yield folder


def network(place: Path, name: str) -> str:
    (place / "network.xml").write_text(f"<network><name>{name}</name><bridge name='h2k{os.getpid() % 10000}'/></network>")
    return str(place / "network.xml")


def described(
    place: Path, name: str, facts: dict | None = None, disks: int = 2, nics: list | None = None, network: str = "default"
) -> dict:
    """A VM as the stages leave it; its disks are new each time."""
    made = []
    for number in range(disks):
        path = place / f"{name}-disk{number}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "8M"], check=True)
        made.append({"path": str(path), "format": "qcow2"})
    vm = {"memory": 256, "cpus": 1, "nics": nics or []}
    answer = harness.module("domain_describe", dest=str(place), name=name, vm=vm, facts=facts or {}, disks=made, network=network)
    return {"description": answer["path"]}


def domain(check: bool = False, **arguments: object) -> dict:
    answer = harness.module("libvirt_domain", check=check, **arguments)
    assert not answer.get("failed"), answer["msg"]
    return answer


@pytest.mark.parametrize("facts", [{}, WINDOWS, {"disk_bus": "sata", "nic_model": "e1000e"}, {"disk_bus": "ide", "machine": "pc"}])
def test_a_vm_is_defined_started_and_taken_back(place, name, facts):
    where = described(place, name, facts)
    subprocess.run(["virt-xml-validate", where["description"], "domain"], check=True)
    planned = domain(check=True, **where, state="running")
    assert planned["actions"] == [f"define {name}", f"start {name}"] and f"<name>{name}</name>" in planned["diff"]["after"]
    assert name not in virsh("list", "--all")
    assert domain(**where, state="running", autostart=True)["actions"] == [f"define {name}", f"set autostart of {name}", f"start {name}"]
    assert name in virsh("list") and name in virsh("list", "--autostart")
    uuid = virsh("domuuid", name)
    assert domain(**where, state="running", autostart=True)["changed"] is False
    # What a person changes stays, until the VM is described anew.
    virsh("desc", name, "--config", "by hand")
    assert domain(**where)["changed"] is False and "by hand" in virsh("desc", name, "--config")
    text = Path(where["description"]).read_text()
    Path(where["description"]).write_text(text.replace("<vcpu>1</vcpu>", "<vcpu>2</vcpu>"))
    assert domain(**where)["actions"] == [f"define {name}"] and virsh("domuuid", name) == uuid
    variables = "nvram" in virsh("dumpxml", name)
    refused = harness.module("libvirt_domain", name=name, state="absent", timeout=1)
    assert "did not shut down in 1 seconds" in refused["msg"] and name in virsh("list")
    quarantine = place / "quarantine"
    arguments = {"name": name, "state": "absent", "timeout": 1, "power_off": True, "quarantine": str(quarantine)}
    planned = domain(check=True, **arguments)
    assert name in virsh("list") and not quarantine.exists()
    taken = domain(**arguments)
    assert taken["actions"] == planned["actions"] and taken["actions"][-1] == f"undefine {name}"
    assert name not in virsh("list", "--all") and len(list(quarantine.iterdir())) == 3 + variables
    assert not list(place.glob("*-disk*")) and not list(quarantine.glob("*.json"))
    # The quarantine holds all that the VM was.
    virsh("define", str(quarantine / f"{name}.xml"))
    assert virsh("domuuid", name) == uuid
    virsh("undefine", "--keep-nvram" if variables else "--managed-save", name)
    assert domain(**arguments)["changed"] is False


@pytest.mark.parametrize("kind", ["copy", "move"])
def test_disks_are_placed_in_a_pool_once(place, name, kind):
    """And a domain never gets other disks than it has run on, unless it is said."""
    (place / "pool").mkdir()
    virsh("pool-create-as", name, "dir", "--target", str(place / "pool"))
    try:
        where = {**described(place, name), "placement": kind, "pool": name}
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 1M", place / f"{name}-disk0.qcow2"], check=True, capture_output=True)
        first = (place / f"{name}-disk0.qcow2").read_bytes()
        assert domain(check=True, **where)["changed"] and not list((place / "pool").iterdir())
        placed = domain(**where)
        assert placed["disks"] == [str(place / "pool" / f"{name}-disk{number}.qcow2") for number in range(2)]
        assert Path(placed["disks"][0]).read_bytes() == first and f"{name}-disk1.qcow2" in virsh("vol-list", name)
        assert (place / f"{name}-disk0.qcow2").exists() == (kind == "copy")
        assert domain(**where)["changed"] is False and not list((place / "pool").glob("*.partial"))
        # It is migrated again.
        described(place, name)
        refused = harness.module("libvirt_domain", **where)
        assert "before it was migrated again" in refused["msg"] and Path(placed["disks"][0]).read_bytes() == first
        assert domain(**where, overwrite=True)["changed"] and Path(placed["disks"][0]).read_bytes() != first
        assert domain(**where)["changed"] is False
    finally:
        virsh("pool-destroy", name)


def test_a_vm_on_a_block_device_stays_there(place, name):
    (place / "volume").write_bytes(bytes(8 << 20))
    with harness.loop_devices() as attach:
        disk = {"path": attach(place / "volume"), "format": "raw", "device": True}
        where = {"description": harness.module("domain_describe", dest=str(place), name=name, vm={"memory": 256}, disks=[disk])["path"]}
        subprocess.run(["virt-xml-validate", where["description"], "domain"], check=True)
        booted = [{"path": disk["path"], "format": "raw"}]
        answer = harness.module("boot_test", disks=booted, backend="libvirt", dest=str(place / "out"), timeout=5, **where)
        assert answer["error_code"] == "boot_failed", answer["msg"]  # the disk is empty, but the VM could open it
        given = domain(**where, state="running", placement="move", directory=str(place / "other"))
        assert given["disks"] == [disk["path"]] and given["actions"] == [f"define {name}", f"start {name}"]
        assert "<disk type='block'" in virsh("dumpxml", name) and f"<source dev='{disk['path']}'" in virsh("dumpxml", name)
        assert domain(**where, placement="move", directory=str(place / "other"))["changed"] is False
        taken = domain(name=name, state="absent", timeout=1, power_off=True, quarantine=str(place / "quarantine"))
        assert taken["actions"] == [f"shut down {name}", f"undefine {name}"] and Path(disk["path"]).is_block_device()
        assert [path.name for path in (place / "quarantine").iterdir()] == [f"{name}.xml"]


def test_what_is_not_ours_is_left_alone(place, name):
    where = described(place, name)
    ours = Path(where["description"]).read_text()
    (place / "theirs.xml").write_text(ours.replace('type="kvm"', 'type="qemu"'))  # which every libvirt takes
    virsh("define", str(place / "theirs.xml"))
    for arguments in (where, {"name": name, "state": "absent"}):
        refused = harness.module("libvirt_domain", **arguments)
        assert refused["error_code"] == "invalid_input" and "not made from a migration" in refused["msg"]
    virsh("undefine", name)
    elsewhere = place / "other"
    elsewhere.mkdir()
    (elsewhere / f"{name}-disk1.qcow2").write_text("somebody's")
    refused = harness.module("libvirt_domain", **where, placement="copy", directory=str(elsewhere))
    assert "is not a copy of" in refused["msg"] and (elsewhere / f"{name}-disk1.qcow2").read_text() == "somebody's"
    assert name not in virsh("list", "--all")


def test_what_cannot_be_is_said(place, name):
    where = described(place, name)
    assert "Storage pool not found" in harness.module("libvirt_domain", **where, placement="copy", pool="none")["msg"]
    unreachable = harness.module("libvirt_domain", **where, libvirt_uri="qemu+unix:///system?socket=/none")
    assert unreachable["error_code"] == "unreachable" and unreachable["hint"]
    virsh("net-define", network(place, name))
    try:
        wired = described(place, name, nics=[{"mac": "52:54:00:00:00:07", "network": "x"}], network=name)
        idle = harness.module("libvirt_domain", **wired, state="running")
        assert "is not active" in idle["msg"] and f"net-start {name}" in idle["hint"] and name not in virsh("list", "--all")
    finally:
        virsh("net-undefine", name)
    (place / f"{name}-disk1.qcow2").unlink()
    for given in ({}, {"placement": "move", "directory": str(place / "elsewhere")}):
        assert "does not exist" in harness.module("libvirt_domain", **where, **given)["msg"]
    for text in ("no xml", "<domain/>", "<domain><name>x</name><devices><disk type='network'/></devices></domain>"):
        (place / "bad.xml").write_text(text)
        assert harness.module("libvirt_domain", description=str(place / "bad.xml"))["error_code"] == "invalid_input"


def test_a_test_vm_leaves_nothing(place, name):
    """An empty disk does not boot; the transient domain, its overlays and variables are gone, the disk is as it was."""
    where = described(place, name, {"firmware": "uefi"}, disks=1)
    disk = place / f"{name}-disk0.qcow2"
    before, listed = disk.read_bytes(), {path.name for path in place.iterdir()}
    variables = set(Path("/var/lib/libvirt/qemu/nvram").iterdir())
    answer = harness.module(
        "boot_test", disks=[{"path": str(disk), "format": "qcow2"}], backend="libvirt", dest=str(place / "out"), timeout=100, **where
    )
    assert answer["error_code"] == "boot_failed" and "found no boot loader" in answer["msg"], answer["msg"]
    assert f"hyper2kvm-test-{name}" not in virsh("list", "--all")
    assert {path.name for path in place.iterdir()} == {*listed, "out"} and disk.read_bytes() == before
    assert {path.name for path in (place / "out").iterdir()} == {"console.log", "console.png"}
    assert set(Path("/var/lib/libvirt/qemu/nvram").iterdir()) == variables
    assert json.dumps(answer["details"]["boot"]["signals"]).count("no_boot_device") == 1
