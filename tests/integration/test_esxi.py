# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of a host that is reached by SSH alone, without an API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import peers
from peers import MIB, content, digest


def test_vms_of_a_host_without_an_api(vc, esxi, images, tmp_path):
    """A .vmx with a snapshot chain and two disks, by SSH alone, on a host without an SFTP subsystem."""
    home = tmp_path / "vmfs" / "web 01"
    peers.write_flat(home, "web01", images[0])
    peers.write_flat(home, "web01_1", images[1])
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "vmdk", "-o", "adapter_type=lsilogic", "-b", "web01.vmdk", "-F", "vmdk", "web01-000001.vmdk"],
        cwd=home,
        check=True,
    )
    subprocess.run(["qemu-io", "-f", "vmdk", "-c", "write -P 0x5a 5M 1M", "web01-000001.vmdk"], cwd=home, check=True, capture_output=True)
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", "web01-000001.vmdk", tmp_path / "wanted.raw"], cwd=home, check=True)
    (home / "web01.vmx").write_text(
        'displayName = "web01"\nfirmware = "efi"\nmemSize = "4096"\nscsi0.present = "TRUE"\nscsi0:0.fileName = "web01-000001.vmdk"\n'
        'scsi0:1.fileName = "web01_1.vmdk"\nethernet0.present = "TRUE"\nethernet0.address = "00:50:56:00:00:09"\nethernet0.addressType = "static"\n'
    )
    source = esxi.url(home / "web01.vmx").replace(" ", "%20")
    result = harness.module("vmdk_fetch", source=[source], work_dir=str(tmp_path / "w"), access={"ssh": esxi.login})
    assert result.get("changed") is True, result
    assert content(result, tmp_path) == [digest(tmp_path / "wanted.raw"), digest(images[1])]
    assert (result["vm"]["firmware"], result["vm"]["memory"], result["vm"]["nics"][0]["mac"]) == ("uefi", 4096, "00:50:56:00:00:09")
    assert "no subsystem" not in (esxi.folder / "sshd.log").read_text()


@pytest.mark.parametrize(
    ("change", "path", "code", "words"),
    [
        ({"known_hosts": "/dev/null"}, "", "unreachable", "host key"),
        ({"key_file": "other"}, "", "access_denied", "refuses the login"),
        ({}, "/vmfs/volumes/LocalDS_0/none/none.vmdk", "invalid_input", "has no /vmfs"),
        ({}, "/vmfs/volumes/LocalDS_0/DC0_H0_VM0/it's $(touch owned).vmdk", "invalid_input", "has no /vmfs"),
    ],
)
def test_what_goes_wrong_with_ssh_is_said(vc, esxi, tmp_path, change, path, code, words):
    change = {key: str(esxi.folder / value) if value == "other" else value for key, value in change.items()}
    source = esxi.url(Path(path or "/vmfs/volumes/LocalDS_0/DC0_H0_VM0/disk1.vmdk")).replace(" ", "%20").replace("$", "%24")
    result = harness.module("vmdk_fetch", source=[source], work_dir=str(tmp_path / "w"), access={"ssh": {**esxi.login, **change}})
    assert result["failed"] and result["error_code"] == code and words in result["msg"], result
    assert not list(Path.home().glob("owned")) and not list(tmp_path.rglob("owned"))


@pytest.fixture
def host(images, tmp_path):
    """A host with vim-cmd, a VM that runs and one of the same name that does not."""
    (tmp_path / "esx").mkdir()
    home = tmp_path / "ds" / "web 01"
    peers.write_flat(home, "web01", images[1])
    (home / "web01.vmx").write_text('displayName = "web 01"\nmemSize = "4096"\nscsi0.present = "TRUE"\nscsi0:0.fileName = "web01.vmdk"\n')
    found = peers.Esxi(tmp_path / "esx", {"fast ds": tmp_path / "ds"})
    vm = {"name": "web 01", "datastore": "fast ds", "file": "web 01/web01.vmx", "disk": "web01.vmdk", "power": "Powered on"}
    twin = {"name": "twin", "datastore": "fast ds", "file": "twin/twin.vmx", "disk": "twin.vmdk"}
    found.register(vm, twin, twin | {"file": "twin2/twin2.vmx"})
    yield found
    found.close()


def bring(host, work_dir: Path, source: str, check: bool = False, **access: object) -> dict:
    return harness.module(
        "vmdk_fetch", check=check, source=[host.url(source)], work_dir=str(work_dir), access={"ssh": host.login, **access}
    )


def restore(host, work_dir: Path, check: bool = False) -> dict:
    return harness.module("source_restore", check=check, work_dir=str(work_dir), access={"ssh": host.login})


def test_a_vm_is_found_by_its_name_and_refused_frozen_or_shut_down_when_it_runs(host, images, tmp_path):
    by_path = "/vmfs/volumes/fast%20ds/web%2001/web01.vmx"
    for source in ("/web%2001", "/1", by_path):
        refused = bring(host, tmp_path / "w", source)
        assert refused["error_code"] == "blocked" and "vsphere.running" in refused["msg"]
    planned = bring(host, tmp_path / "w", "/web%2001", check=True, running="snapshot")
    assert planned["vm"]["disks"][0]["virtual_size"] == 8 * MIB and "vmsvc/snapshot.create" not in str(host.state()["calls"])
    frozen = bring(host, tmp_path / "w", "/web%2001", running="snapshot", quiesce=True)
    assert content(frozen, tmp_path) == [digest(images[1])] and frozen["vm"]["memory"] == 4096
    state = host.state()
    taken = [call for call in state["calls"] if call[0] == "vmsvc/snapshot.create"]
    assert len(taken) == 1 and taken[0][2].startswith("hyper2kvm-") and taken[0][4:] == ["0", "1"]
    assert state["vms"]["1"]["snapshots"] == {} and state["vms"]["1"]["power"] == "Powered on"
    stopped = bring(host, tmp_path / "off", by_path, running="shutdown")
    assert content(stopped, tmp_path) == [digest(images[1])] and host.state()["vms"]["1"]["power"] == "Powered off"
    # What was shut down for its migration is started again when that is taken back; what was not, is not.
    restored = [restore(host, tmp_path / "off", check=check) for check in (True, False, False)]
    assert [answer["actions"] for answer in restored] == [[f"start {host.url(by_path)}"]] * 2 + [[]]
    assert host.state()["vms"]["1"]["power"] == "Powered on" and restore(host, tmp_path / "w")["changed"] is False


def test_a_guest_that_cannot_be_asked_is_switched_off_only_by_choice(host, tmp_path):
    state = host.state()
    state["vms"]["1"]["tools"] = False
    (host.folder / "vms.json").write_text(json.dumps(state))
    refused = bring(host, tmp_path / "w", "/1", running="shutdown")
    assert "no running VMware Tools" in refused["msg"] and host.state()["vms"]["1"]["power"] == "Powered on"
    assert bring(host, tmp_path / "w", "/1", running="shutdown", power_off=True)["changed"] is True


def test_a_vm_of_another_datastore_with_the_same_path_is_another(host, images, tmp_path):
    home = tmp_path / "vmfs" / "slow" / "web 01"
    peers.write_flat(home, "web01", images[1])
    (home / "web01.vmx").write_text((tmp_path / "ds" / "web 01" / "web01.vmx").read_text())
    (host.folder / "volumes" / "slow").symlink_to(home.parent)
    assert bring(host, tmp_path / "w", "/vmfs/volumes/slow/web%2001/web01.vmx")["changed"] is True


def test_a_suspended_vm_that_no_host_knows_is_refused_unless_that_is_accepted(host, images, tmp_path):
    home = tmp_path / "vmfs" / "slow" / "web 01"
    peers.write_flat(home, "web01", images[1])
    (home / "web01.vmx").write_text((tmp_path / "ds" / "web 01" / "web01.vmx").read_text() + 'checkpoint.vmState = "web01-1a.vmss"\n')
    (host.folder / "volumes" / "slow").symlink_to(home.parent)
    asked = {"source": [host.url("/vmfs/volumes/slow/web%2001/web01.vmx")], "work_dir": str(tmp_path / "w"), "access": {"ssh": host.login}}
    for check in (True, False):
        refused = harness.module("vmdk_fetch", check=check, **asked)
        assert refused["error_code"] == "blocked" and "vsphere.suspended" in refused["msg"], refused
    assert harness.module("vmdk_fetch", accept=["vsphere.suspended"], **asked)["changed"] is True


def test_all_that_a_configuration_says_arrives_by_ssh_too(host, images, tmp_path):
    home = tmp_path / "vmfs" / "slow" / "web 01"
    peers.write_flat(home, "web01", images[1])
    more = 'pciPassthru0.present = "TRUE"\nvtpm.present = "TRUE"\nserial0.present = "TRUE"\nscsi0:0.mode = "independent-nonpersistent"\n'
    (home / "web01.vmx").write_text((tmp_path / "ds" / "web 01" / "web01.vmx").read_text() + more)
    (host.folder / "volumes" / "slow").symlink_to(home.parent)
    for check in (True, False):
        done = bring(host, tmp_path / "w", "/vmfs/volumes/slow/web%2001/web01.vmx", check=check)
        assert {concern["code"] for concern in done["vm"]["concerns"]} == {
            "source.passthrough", "source.vtpm", "source.device", "source.disk-mode",
        }  # fmt: skip


def test_a_disk_that_was_named_alone_is_refused_where_its_vm_has_written_to_a_snapshot_since(host, images, tmp_path):
    home = tmp_path / "vmfs" / "slow" / "web 01"
    peers.write_flat(home, "web01", images[1])
    (host.folder / "volumes" / "slow").symlink_to(home.parent)
    later = ["qemu-img", "create", "-q", "-f", "vmdk", "-b", "web01.vmdk", "-F", "vmdk", "web01-000001.vmdk"]
    subprocess.run(later, cwd=home, check=True)
    refused = bring(host, tmp_path / "w", "/vmfs/volumes/slow/web%2001/web01.vmdk")
    assert refused["error_code"] == "blocked" and "web01-000001.vmdk" in refused["msg"] and "source.newer-image" in refused["msg"]
    named = bring(host, tmp_path / "w", "/vmfs/volumes/slow/web%2001/web01-000001.vmdk")
    assert [concern["code"] for concern in named["vm"]["concerns"]] == ["source.snapshots"]
    asked = {
        "source": [host.url("/vmfs/volumes/slow/web%2001/web01.vmdk")],
        "work_dir": str(tmp_path / "old"),
        "access": {"ssh": host.login},
    }
    assert harness.module("vmdk_fetch", accept=["source.newer-image"], **asked)["changed"] is True


def test_an_independent_disk_cannot_be_frozen(host, tmp_path):
    with open(tmp_path / "ds" / "web 01" / "web01.vmx", "a", encoding="utf-8") as file:
        file.write('scsi0:0.mode = "independent-persistent"\n')
    refused = bring(host, tmp_path / "w", "/1", running="snapshot")
    assert (
        refused["error_code"] == "invalid_input" and "independent" in refused["msg"] and "snapshot.create" not in str(host.state()["calls"])
    )


def test_what_a_run_that_was_killed_has_left_is_removed_and_nothing_else(host):
    state = host.state()
    state["vms"]["1"]["snapshots"] = {"3": "mine", "4": "hyper2kvm-0123"}
    (host.folder / "vms.json").write_text(json.dumps(state))
    for check, left in ((True, 2), (False, 1)):
        result = harness.module("source_cleanup", check=check, source=host.url("/1"), access={"ssh": host.login})
        assert (result["changed"], result["snapshots"]) == (True, ["hyper2kvm-0123"]) and len(host.state()["vms"]["1"]["snapshots"]) == left
    assert harness.module("source_cleanup", source=host.url("/1"), access={"ssh": host.login})["changed"] is False


def test_the_files_of_a_vm_come_as_they_are_by_patterns(host, images, tmp_path):
    home = tmp_path / "ds" / "web 01"
    for name in ("vmware.log", "web01.nvram", "web01.vmx.lck", "web01-1.vswp", "$(touch owned).log"):
        (home / name).write_text(name)
    (home / "sub").mkdir()
    (home / "sub" / "other.log").write_text("not here")

    def download(name: str, check: bool = False, **more: object) -> dict:
        arguments = {"source": host.url("/1"), "dest": str(tmp_path / name), "access": {"ssh": host.login}}
        return harness.module("source_download", check=check, **arguments, **more)

    refused = download("out")
    assert refused["error_code"] == "blocked" and "vsphere.running" in refused["msg"]
    logs = download("logs", include=["*.log"], accept=["vsphere.running"])
    assert [file["name"] for file in logs["files"]] == ["$(touch owned).log", "vmware.log"]
    state = host.state()
    state["vms"]["1"]["power"] = "Powered off"
    (host.folder / "vms.json").write_text(json.dumps(state))
    planned = download("out", check=True, exclude=["*.log"])
    assert planned["changed"] and not (tmp_path / "out").exists()
    assert download("out", exclude=["*.log"])["changed"] is True
    assert (
        sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".journal" and path.name != ".vm.json")
        == sorted(file["name"] for file in planned["files"])
        == ["web01-flat.vmdk", "web01.nvram", "web01.vmdk", "web01.vmx"]
    )
    assert digest(tmp_path / "out" / "web01-flat.vmdk") == digest(images[1])
    assert download("out", exclude=["*.log"])["changed"] is False
    assert "None of the" in download("out", include=["*.none"])["msg"] and not list(tmp_path.rglob("owned"))


def test_a_snapshot_does_not_survive_a_copy_that_fails(host, tmp_path):
    access = {"ssh": host.login, "running": "snapshot"}
    full = {"HYPER2KVM_POINT": "fetch.arrived=full"}
    failed = harness.module("vmdk_fetch", env=full, source=[host.url("/1")], work_dir=str(tmp_path / "w"), access=access)
    state = host.state()
    assert (
        failed["error_code"] == "not_enough_space"
        and state["vms"]["1"]["snapshots"] == {}
        and "vmsvc/snapshot.create" in str(state["calls"])
    )


def test_a_disk_that_is_shorter_than_it_says_is_refused_before_a_snapshot(host, tmp_path):
    (tmp_path / "ds" / "web 01" / "web01-flat.vmdk").write_bytes(b"short")
    refused = bring(host, tmp_path / "w", "/1", running="snapshot")
    assert refused["error_code"] == "invalid_input" and "vmsvc/snapshot.create" not in str(host.state()["calls"])


@pytest.mark.parametrize(("name", "words"), [("twin", "2 VMs twin"), ("none", "no VMs none"), ("web%2001%24(touch%20owned)", "no VMs")])
def test_a_name_that_names_no_one_vm_is_refused_with_those_that_are_there(host, tmp_path, name, words):
    refused = bring(host, tmp_path / "w", f"/{name}")
    assert refused["error_code"] == "invalid_input" and words in refused["msg"] and "twin2/twin2.vmx" in refused["hint"]


def test_a_host_without_vim_cmd_has_no_names(esxi, tmp_path):
    refused = bring(esxi, tmp_path / "w", "/web01")
    assert refused["error_code"] == "invalid_input" and "no vim-cmd" in refused["msg"] and ".vmx" in refused["hint"]
