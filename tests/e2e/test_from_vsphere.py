# SPDX-License-Identifier: GPL-3.0-or-later
"""A real guest in the simulator's datastore: looked at where it is, brought by every transport, the same to the last bit, and booted."""

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
from harness import lab
from sources import MACS

VM = "DC0/vm/DC0_H0_VM0"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    folder, home = tmp_path_factory.mktemp("images"), Path(harness.guest("bios")[0]).parent
    found = []
    for name in ("web01-000002.vmdk", "web01_1.vmdk"):
        found.append(folder / f"{name}.raw")
        subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", home / name, found[-1]], check=True)
    return found


@pytest.fixture(scope="module")
def vc(tmp_path_factory, images):
    vcenter = peers.VCenter(tmp_path_factory.mktemp("vc"))
    vcenter.place(VM, images, apart=True, firmware="bios", memoryMB=1024, mac=MACS[0], slot=192)
    yield vcenter
    vcenter.close()


def settings(vc, folder: Path, **more: object) -> tuple[Path, list[str]]:
    """An inventory of vSphere, and the variables beside it."""
    source = vc.inventory(folder, filters=["vsphere_vm.power == 'off'"])
    variables = {
        "migrate_vsphere_user": peers.USER,
        "migrate_vsphere_ca_file": str(vc.cert),
        "migrate_output_dir": str(folder / "out"),
        "migrate_name": "web01",
        "migrate_boot_expect": [lab.GUESTS["bios"].report],
        **more,
    }
    return source, ["-e", json.dumps(variables)]


def test_a_dry_run_reads_only_what_it_looks_at(vc, tmp_path):
    source, arguments = settings(vc, tmp_path)
    done = harness.playbook("migrate", source, *arguments, "--check", "--diff", "-v", env={"VMWARE_PASSWORD": peers.PASSWORD})
    assert done.returncode == 0, done.stdout
    assert "-/dev/sda1 none swap sw 0 0" in done.stdout and "+UUID=" in done.stdout
    read = int(done.stdout.split('"read": ')[1].split(",")[0].rstrip("}"))
    print(f"read {read / 1e6:.1f} MB")
    assert 0 < read < 100 << 20
    assert not (tmp_path / "out").exists()


@pytest.fixture
def reach(vc, tmp_path):
    """Every door open: the variables and the environment with which they are."""
    vm = vc.vm(VM)
    host = peers.Esxi(tmp_path, {"LocalDS_0": vc.folder_of(vm).parent})
    variables = {f"migrate_ssh_{name}": value for name, value in host.login.items()}
    variables.update((f"migrate_vddk_{name}", value) for name, value in peers.vddk().items())
    tools = f"{peers.exporters(tmp_path / 'tools')}{os.pathsep}{os.environ['PATH']}"
    environment = {"VMWARE_PASSWORD": peers.PASSWORD, "VDDK_FILES": vc.vddk_files(vm), "PATH": tools, "EXPORT_LOG": str(tmp_path / "log")}
    yield variables, environment
    host.close()


def same(vm: dict, transport: str, images: list[Path]) -> None:
    assert vm["origin"]["transport"] == transport
    for disk, image in zip(vm["disks"], images, strict=True):
        subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", disk["staged"], image], check=True)


@pytest.mark.parametrize(
    ("transport", "fetch"),
    [pytest.param(*how, marks=pytest.mark.rotates("doors", 190)) for how in (("datastore", "stage"), ("vddk", "stream"))],
)
def test_a_guest_is_the_same_by_every_transport_and_boots(vc, images, reach, tmp_path, transport, fetch):
    source, arguments = settings(vc, tmp_path, migrate_transport=transport, migrate_fetch=fetch, **reach[0])
    done = harness.playbook("migrate", source, *arguments, env=reach[1])
    assert done.returncode == 0, done.stdout
    result = tmp_path / "out" / "web01"
    report = json.loads((result / "report.json").read_text())
    assert report["proof"]["verdict"] == "passed" == report["boot"]["verdict"] and "ssh" in report["boot"]["signals"]
    if fetch == "stage":
        same(report["source"], transport, images)
    again = harness.playbook("migrate", source, *arguments, env={**reach[1], "LIBGUESTFS_HV": "/bin/false"})
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout


@pytest.mark.rotates("doors", 40)
@pytest.mark.parametrize("transport", ["ssh", "nfc", "vddk", "govc", "ovftool"])
def test_a_guest_that_is_not_booted_is_the_same(vc, images, reach, tmp_path, transport):
    """To the last bit what boots above."""
    source, arguments = settings(vc, tmp_path, migrate_transport=transport, **reach[0])
    done = harness.playbook("migrate", source, *arguments, "--tags", "fetch", env=reach[1])
    assert done.returncode == 0, done.stdout
    (record,) = (tmp_path / "out").rglob("fetch.json")
    same(json.loads(record.read_text())["result"], transport, images)


@pytest.mark.rotates("doors", 170)
def test_the_library_does_it_without_ansible(vc, tmp_path):
    environment = {
        "VMWARE_USER": peers.USER,
        "VMWARE_PASSWORD": peers.PASSWORD,
        "VMWARE_CA_FILE": str(vc.cert),
        "PYTHONPATH": str(harness.ROOT / ".venv" / "collections"),
    }
    done = subprocess.run(
        [harness.BIN / "python", harness.ROOT / "examples" / "library.py", vc.url(VM), tmp_path / "web01"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{VM}: off" in done.stdout and "fixed: /etc/fstab" in done.stdout and "boot: passed" in done.stdout
    assert "import ansible." not in (harness.ROOT / "examples" / "library.py").read_text() and peers.PASSWORD not in done.stdout
