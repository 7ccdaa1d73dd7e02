# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves the pipeline is a VM that libvirt runs: rehearsed cut off from everything, defined, started, and taken back."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import libvirtd
from libvirtd import virsh

NAME = "bios"
NETWORK = """<network><name>hyper2kvm-lab</name><bridge name="h2klab0"/>
<ip address="192.168.231.1" netmask="255.255.255.0"><dhcp><range start="192.168.231.10" end="192.168.231.20"/></dhcp></ip></network>"""


@pytest.fixture
def place():
    with libvirtd.running(), libvirtd.place() as folder:
        (folder / "network.xml").write_text(NETWORK)
        virsh("net-create", str(folder / "network.xml"))
        yield folder
        virsh("net-destroy", "hyper2kvm-lab")
        for argv in (["destroy", NAME], ["undefine", "--nvram", NAME]):
            subprocess.run(["virsh", "-c", libvirtd.URI, *argv], check=False, capture_output=True)


@pytest.mark.rotates("hosts", 270)
def test_a_guest_is_rehearsed_runs_and_is_taken_back(place):
    variables = {
        **harness.variables(NAME),
        "migrate_output_dir": str(place),
        "migrate_output_passphrase": "only this opens it",
        "migrate_boot_test": False,
        "migrate_boot_timeout": 600,
        "migrate_boot_expect": [harness.lab.GUESTS[NAME].report],
        "migrate_boot_checks": [{"port": 22}],
        "migrate_libvirt_network": "hyper2kvm-lab",
        "migrate_shutdown_timeout": 60,
        "migrate_power_off": True,
        "libvirt_import_state": "running",
        "libvirt_import_autostart": False,
    }
    hosts = harness.inventory(place / "vms.json", **{NAME: variables})
    done = harness.playbook("migrate", hosts)
    assert done.returncode == 0, done.stdout
    result = place / NAME
    disks = [Path(disk["path"]) for disk in json.loads((result / "report.json").read_text())["disks"]]
    before = [hashlib.sha256(disk.read_bytes()).digest() for disk in disks]

    rehearsed = harness.playbook("rehearse", hosts)
    assert rehearsed.returncode == 0 and f"{NAME}: passed, port 22" in rehearsed.stdout, rehearsed.stdout
    assert [hashlib.sha256(disk.read_bytes()).digest() for disk in disks] == before and "hyper2kvm-test" not in virsh("list", "--all")
    planned = harness.playbook("libvirt_import", hosts, "--check", "--diff")
    assert planned.returncode == 0 and f"<name>{NAME}</name>" in planned.stdout and NAME not in virsh("list", "--all"), planned.stdout
    imported = harness.playbook("libvirt_import", hosts)
    assert imported.returncode == 0 and NAME in virsh("list"), imported.stdout
    time.sleep(60)  # so that it has started far enough to hear that it shall shut down; else it is switched off
    again = harness.playbook("libvirt_import", hosts)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout

    back = harness.playbook("rollback", hosts)
    assert back.returncode == 0 and f"shut down {NAME}" in back.stdout and NAME not in virsh("list", "--all"), back.stdout
    (quarantine,) = (place / "quarantine").iterdir()
    assert {path.name for path in quarantine.iterdir()} == {f"{NAME}.xml", *(disk.name for disk in disks)}
    assert not any(disk.exists() for disk in disks) and not (result / ".work" / "fetch.json").exists()
    nothing = harness.playbook("rollback", hosts)
    assert nothing.returncode == 0 and "changed=0" in nothing.stdout and "nothing was to be done" in nothing.stdout
