# SPDX-License-Identifier: GPL-3.0-or-later
"""A migrated VM for those who do not take libvirt's description: qemu itself takes the script, and the data say what was proved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

NICS = [{"mac": "00:50:56:00:00:01", "network": "VM Network"}, {"mac": "00:50:56:00:00:02", "network": "DMZ"}]
FORMATS = ["qemu", "kubevirt", "openstack", "proxmox"]


@pytest.fixture
def disks(tmp_path) -> list[dict]:
    found = []
    for number in range(2):
        path = tmp_path / f"it's, disk {number}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
        found.append({"path": str(path), "format": "qcow2"})
    return found


def described(tmp_path: Path, disks: list[dict], facts: dict, **more: object) -> dict:
    vm = {"memory": 512, "cpus": 4, "cores_per_socket": 2, "nics": NICS}
    dest = str(tmp_path / "out")
    return harness.module("domain_describe", dest=dest, name="Web 01", vm=vm, facts=facts, disks=disks, formats=FORMATS, **more)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize(("bus", "machine"), [("virtio", "q35"), ("sata", "q35"), ("ide", "pc")])
@pytest.mark.parametrize("windows", [None, {"clock": "localtime"}])
def test_qemu_takes_the_script_and_sees_the_devices(tmp_path, disks, firmware, bus, machine, windows):
    facts = {
        "firmware": firmware,
        "disk_bus": bus,
        "machine": machine,
        "nic_model": "virtio" if bus == "virtio" else "e1000e",
        "windows": windows,
    }
    dest = str(tmp_path / "out")
    vm = {"memory": 512, "cpus": 4, "cores_per_socket": 2, "nics": NICS}
    answer = harness.module("domain_describe", dest=dest, name="Web 01", vm=vm, facts=facts, disks=disks, formats=["qemu"])
    (script,) = answer["files"]
    assert os.access(script, os.X_OK)
    monitor = "info qtree\ninfo block\nquit\n"
    argv = [script, "-S", "-display", "none", "-monitor", "stdio"]
    done = subprocess.run(argv, input=monitor, capture_output=True, text=True, check=False, env={**os.environ, "ACCEL": "tcg"}, timeout=300)
    assert done.returncode == 0, done.stderr
    device = {"virtio": "virtio-blk-pci", "sata": "ide-hd", "ide": "ide-hd"}[bus]
    assert done.stdout.count(f"dev: {device}") == 2 and all(nic["mac"] in done.stdout for nic in NICS)
    assert all(disk["path"] in done.stdout for disk in disks)
    assert (tmp_path / "out" / "Web 01-variables.fd").exists() == (firmware == "uefi")


def test_the_data_say_what_was_proved_once(tmp_path, disks):
    facts = {"firmware": "uefi", "disk_bus": "virtio", "nic_model": "virtio", "boot_disk": 1, "windows": {"clock": "localtime"}}
    networks = {"DMZ": "bridge:br_dmz"}
    answer = described(tmp_path, disks, facts, networks=networks)
    assert answer["changed"] and not described(tmp_path, disks, facts, networks=networks)["changed"]
    dummy, kubevirt, openstack, proxmox = answer["files"]
    machine = json.loads(Path(kubevirt).read_text())
    spec = machine["spec"]["template"]["spec"]
    assert machine["metadata"]["name"] == "web-01" and spec["domain"]["cpu"] == {"sockets": 2, "cores": 2, "threads": 1}
    assert [disk["bootOrder"] for disk in spec["domain"]["devices"]["disks"]] == [2, 1]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]] == ["web-01-disk0", "web-01-disk1"]
    assert [net.get("multus", net.get("pod")) for net in spec["networks"]] == [{}, {"networkName": "br-dmz"}]
    assert "hyperv" in spec["domain"]["features"] and "efi" in spec["domain"]["firmware"]["bootloader"]
    image = json.loads(Path(openstack).read_text())
    assert (
        image["file"] == disks[1]["path"]
        and image["properties"]["hw_firmware_type"] == "uefi"
        and image["properties"]["os_type"] == "windows"
    )
    options = json.loads(Path(proxmox).read_text())
    assert options["options"]["boot"] == "order=virtio1" and options["options"]["net1"] == "virtio=00:50:56:00:00:02,bridge=br_dmz"
    assert options["import"] == {"virtio0": disks[0]["path"], "virtio1": disks[1]["path"]} and options["efidisk"]


def test_what_kubevirt_cannot_have_is_said_and_nothing_is_written(tmp_path, disks):
    refused = described(tmp_path, disks, {"disk_bus": "ide", "machine": "pc"})
    assert refused["failed"] and "KubeVirt does not have" in refused["msg"] and not (tmp_path / "out").exists()
    assert described(tmp_path, disks, {}, phase="bootstrap")["files"] == []
