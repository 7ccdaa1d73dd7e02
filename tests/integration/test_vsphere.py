# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that come from vSphere and from ESXi: every transport brings the same bytes, whatever goes wrong on the way, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import peers
from peers import MIB, VM, content, digest, fetch


@pytest.mark.parametrize("transport", ["datastore", "nfc", "ssh"])
def test_every_transport_brings_the_same_bytes_and_what_the_vm_is(vc, esxi, images, tmp_path, transport):
    result = fetch(vc, tmp_path / "w", transport=transport, ssh=esxi.login)
    assert result.get("changed") is True, result["msg"]
    vm = result["vm"]
    assert content(result, tmp_path) == [digest(image) for image in images]
    assert (vm["name"], vm["firmware"], vm["memory"], vm["origin"]["transport"]) == ("DC0_H0_VM0", "uefi", 2048, transport)
    assert (vm["nics"][0]["mac"], vm["nics"][0]["slot"]) == ("00:50:56:00:00:07", 192)
    assert [(disk["bus"], disk["controller"], disk["unit"]) for disk in vm["disks"]] == [("scsi", 0, 0), ("scsi", 0, 1)]
    vc.peer("clear")
    assert fetch(vc, tmp_path / "w", transport=transport, ssh=esxi.login)["changed"] is False
    calls = set(vc.peer("calls"))
    assert "Login" in calls and not [call for call in calls if call.endswith("_Task") or "Lease" in call], (
        calls
    )  # only which VM is there now


def test_a_running_vm_is_refused_or_frozen_and_only_what_is_used_is_read(vc, esxi, images, tmp_path):
    vm = vc.vm(VM)
    vc.wait(vm.PowerOnVM_Task())
    try:
        refused = fetch(vc, tmp_path / "w")
        assert refused["error_code"] == "blocked" and "vsphere.running" in refused["msg"]
        enabled = harness.module("vsphere_cbt", vm=VM, hostname="localhost", port=vc.port, **vc.login)
        assert enabled["changed"] is True
        for transport in ("datastore", "nfc", "ssh"):
            result = fetch(vc, tmp_path / transport, running="snapshot", transport=transport, ssh=esxi.login)
            assert content(result, tmp_path) == [digest(image) for image in images]
            assert vm.snapshot is None
            moved = sum(item["transferred"] for item in result["vm"]["origin"]["files"])
            assert moved < 45 * MIB  # of 158, 33 hold data
        result = fetch(vc, tmp_path / "all", running="snapshot", transport="datastore", allocated_only=False)
        assert sum(item["transferred"] for item in result["vm"]["origin"]["files"]) > 158 * MIB
        stopped = fetch(vc, tmp_path / "off", running="shutdown")
        assert "no running VMware Tools" in stopped["msg"]
        assert fetch(vc, tmp_path / "off", running="shutdown", power_off=True)["changed"] is True
        assert vm.runtime.powerState == "poweredOff"
        # A rollback starts what was shut down, once, and nothing else.
        given = {"work_dir": str(tmp_path / "off"), "access": {"vsphere": vc.login}}
        planned = harness.module("source_restore", check=True, **given)
        assert planned["actions"] == [f"start {vc.url(VM)}"] and vm.runtime.powerState == "poweredOff"
        assert harness.module("source_restore", **given)["actions"] == planned["actions"] and vm.runtime.powerState == "poweredOn"
        assert harness.module("source_restore", **given)["changed"] is False
    finally:
        if vm.runtime.powerState == "poweredOn":
            vc.wait(vm.PowerOffVM_Task())


def test_a_dry_run_of_a_running_vm_says_what_it_cannot_look_at_and_touches_nothing(vc, tmp_path):
    vm = vc.vm(VM)
    vc.wait(vm.PowerOnVM_Task())
    try:
        vc.peer("clear")
        variables = {"migrate_source": vc.url(VM), "migrate_vsphere_ca_file": str(vc.cert), "migrate_output_dir": str(tmp_path / "out")}
        hosts = harness.inventory(tmp_path / "vms.json", web01={**variables, "migrate_running": "snapshot"})
        done = harness.playbook("migrate", hosts, "--check", env={"VMWARE_USER": peers.USER, "VMWARE_PASSWORD": peers.PASSWORD})
        assert done.returncode == 0 and "The guest was not inspected" in done.stdout, done.stdout
        assert (
            not {"CreateSnapshot_Task", "ExportVm", "ExportSnapshot", "ShutdownGuest"} & set(vc.peer("calls"))
            and not (tmp_path / "out").exists()
        )
    finally:
        vc.wait(vm.PowerOffVM_Task())


FLAT = "disk1-flat"
PASSING = {
    "cut at once": [{"match": FLAT, "kind": "cut", "after": 0, "times": 3, "skip": 1}],
    "cut anywhere": [{"match": FLAT, "kind": "cut", "after": after, "skip": 1} for after in (1, 12345, 3 * MIB + 7, 40 * MIB)],
    "busy": [{"match": FLAT, "kind": "status", "status": 503, "retry": 1, "times": 2}],
    "an error": [{"match": FLAT, "kind": "status", "status": 500, "skip": 1}],
    "a range ignored": [{"match": FLAT, "kind": "whole", "skip": 2}],
    "a short body": [{"match": FLAT, "kind": "short", "after": 5 * MIB + 3, "skip": 1}],
}


@pytest.mark.parametrize("trouble", PASSING)
def test_passing_trouble_is_gone_through(vc, images, tmp_path, trouble):
    for fault in PASSING[trouble]:
        vc.peer("fault", **fault)
    result = fetch(vc, tmp_path / "w", transport="datastore")
    assert result.get("changed") is True, result
    assert content(result, tmp_path) == [digest(image) for image in images]


@pytest.mark.parametrize("transport", ["datastore", "nfc"])
def test_a_proxy_is_gone_through_and_named_when_it_lets_nobody_through(vc, images, tmp_path, transport):
    with contextlib.closing(peers.Proxy()) as proxy:
        login = {**vc.login, "proxy_host": "127.0.0.1", "proxy_port": proxy.port}
        result = fetch(vc, tmp_path / "w", transport=transport, vsphere=login)
        assert content(result, tmp_path) == [digest(image) for image in images]
        assert len(proxy.asked) > 2 and set(proxy.asked) == {f"localhost:{vc.port}"}
        before = len(proxy.asked)
        pinned = {**login, "ca_file": None, "thumbprint": hashlib.sha256(ssl.PEM_cert_to_DER_cert(vc.cert.read_text())).hexdigest()}
        assert content(fetch(vc, tmp_path / "pinned", transport=transport, vsphere=pinned), tmp_path) == [digest(image) for image in images]
        assert len(proxy.asked) > before + 2
        untrusted = fetch(vc, tmp_path / "untrusted", vsphere={**login, "ca_file": "/etc/ssl/certs/ca-certificates.crt"})
        assert untrusted["error_code"] == "unreachable" and "does not prove" in untrusted["msg"], untrusted
        proxy.refusing = True
        refused = fetch(vc, tmp_path / "refused", vsphere=login)
        assert refused["error_code"] == "unreachable" and "403" in refused["msg"], refused


def test_a_server_without_ranges_is_read_in_one_go(vc, images, tmp_path):
    vc.peer("fault", match=FLAT, kind="whole", times=100)
    result = fetch(vc, tmp_path / "w", transport="datastore")
    assert content(result, tmp_path) == [digest(image) for image in images]


def test_a_session_that_expires_is_renewed(vc, images, tmp_path):
    child = started(vc, tmp_path / "w", bandwidth=200)
    wait_for_data(tmp_path / "w")
    vc.peer("expire")
    result = json.loads(child.communicate(timeout=600)[0])
    assert content(result, tmp_path) == [digest(image) for image in images]
    assert vc.peer("calls")["Login"] >= 2


def test_a_disk_that_changes_meanwhile_is_not_taken(vc, tmp_path):
    flat = vc.folder_of(vc.vm(VM)) / "disk1-flat.vmdk"
    child = started(vc, tmp_path / "w", bandwidth=200)
    wait_for_data(tmp_path / "w")
    before = flat.stat()
    os.utime(flat, (before.st_atime, before.st_mtime + 10))
    result = json.loads(child.communicate(timeout=600)[0])
    os.utime(flat, (before.st_atime, before.st_mtime))
    assert result["error_code"] == "source_changed" and "shut it down" in result["hint"]
    assert not list((tmp_path / "w").rglob("disk1-flat.vmdk")) and not (tmp_path / "w" / "fetch.json").exists()


def started(vc, work_dir: Path, **access: object) -> subprocess.Popen[str]:
    """vmdk_fetch in a process of its own."""
    arguments = {"source": [vc.url(VM)], "work_dir": str(work_dir), "access": {"vsphere": vc.login, "transport": "datastore", **access}}
    code = (
        "import json, sys\nfrom ansible.module_utils.testing import patch_module_args\n"
        f"from {harness.MODULES} import vmdk_fetch\nwith patch_module_args(json.load(sys.stdin)):\n    vmdk_fetch.main()\n"
    )
    child = subprocess.Popen(
        [harness.BIN / "python", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(harness.ROOT / ".venv" / "collections")},
    )  # fmt: skip
    child.stdin.write(json.dumps(arguments))
    child.stdin.close()
    child.stdin = None
    return child


def wait_for_data(work_dir: Path, amount: int = 8 * MIB) -> None:
    """Until so much of the first disk is there."""
    partial = work_dir / "source" / "disk0" / "disk1-flat.vmdk.partial"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if partial.exists() and partial.stat().st_blocks * 512 >= amount:
            return
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_a_killed_run_leaves_a_snapshot_that_the_janitor_removes_and_data_that_the_next_run_uses(vc, images, tmp_path):
    vm = vc.vm(VM)
    child = started(vc, tmp_path / "w", bandwidth=160)
    journal = tmp_path / "w" / "source" / "disk0" / "disk1-flat.vmdk.journal"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not journal.exists() or journal.read_text().count("\n") < 2):
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (tmp_path / "w" / "fetch.json").exists()
    result = fetch(vc, tmp_path / "w", transport="datastore")
    assert content(result, tmp_path) == [digest(image) for image in images]
    assert sum(item["transferred"] for item in result["vm"]["origin"]["files"]) < 110 * MIB  # of 158

    vc.wait(vm.PowerOnVM_Task())
    try:
        child = started(vc, tmp_path / "ended", bandwidth=100, running="snapshot")
        wait_for_data(tmp_path / "ended", MIB)
        assert vm.snapshot is not None
        child.terminate()
        child.communicate(timeout=300)
        assert vm.snapshot is None
        child = started(vc, tmp_path / "frozen", bandwidth=100, running="snapshot")
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and vm.snapshot is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        vc.wait(vm.CreateSnapshot_Task("mine", "", False, False))
        hosts = harness.inventory(tmp_path / "vms.json", web01={"migrate_source": vc.url(VM), "migrate_vsphere_ca_file": str(vc.cert)})
        login = {"VMWARE_USER": peers.USER, "VMWARE_PASSWORD": peers.PASSWORD}
        for arguments, names in ((["--check"], 2), ([], 1)):
            done = harness.playbook("janitor", hosts, *arguments, env=login)
            assert done.returncode == 0 and "web01: hyper2kvm-" in done.stdout, done.stdout
            left = harness.module("vsphere_vm_info", vm=VM, hostname="localhost", port=vc.port, **vc.login)["vms"][0]["snapshots"]
            assert len(left) == names
        assert [snapshot["name"] for snapshot in left] == ["mine"]
        cleaned = harness.module("vsphere_snapshot", vm=VM, name="mine", state="absent", hostname="localhost", port=vc.port, **vc.login)
        assert cleaned == {**cleaned, "changed": True, "snapshots": []}
    finally:
        vc.wait(vm.PowerOffVM_Task())


def test_a_lease_is_renewed_while_it_is_used_and_given_back_when_it_fails(vc, images, tmp_path):
    result = fetch(vc, tmp_path / "slow", transport="nfc", bandwidth=32)  # 36 MiB in 9 s, the lease is for 5
    assert content(result, tmp_path) == [digest(image) for image in images]
    assert vc.peer("calls")["HttpNfcLeaseProgress"] >= 2 and vc.peer("calls")["HttpNfcLeaseComplete"] == 1
    for kind in ("short", "cut"):
        vc.peer("clear")
        vc.peer("fault", match="/nfcx/", kind=kind, after=3 * MIB)
        result = fetch(vc, tmp_path / kind, transport="nfc")
        assert content(result, tmp_path) == [digest(image) for image in images]
    vc.peer("fault", match="/nfcx/", kind="cut", after=MIB, times=100)
    result = fetch(vc, tmp_path / "bad", transport="nfc")
    assert result["error_code"] == "transfer_failed" and vc.peer("leases")[-1] == "error"
    assert not list((tmp_path / "bad").rglob("disk.vmdk"))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"password": "wrong"}, "access_denied", "refuses the login"),
        ({"ca_file": None}, "unreachable", "does not prove that it is localhost"),
        ({"ca_file": None, "thumbprint": "00" * 20}, "unreachable", "not the expected one"),
        ({"ca_file": "/dev/null"}, "", ""),
    ],
)
def test_a_server_or_a_login_that_is_wrong_is_refused_with_the_reason(vc, tmp_path, change, code, words):
    vsphere = {key: value for key, value in {**vc.login, **change}.items() if value}
    result = harness.module("vmdk_fetch", source=[vc.url(VM)], work_dir=str(tmp_path / "w"), access={"vsphere": vsphere})
    assert result["failed"] and (not code or (result["error_code"] == code and words in result["msg"])), result
    assert peers.PASSWORD not in json.dumps(result)


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_a_pinned_certificate_is_believed_without_an_authority(vc, tmp_path, kind):
    der = peers.ssl.PEM_cert_to_DER_cert(vc.cert.read_text())
    thumbprint = ":".join(f"{byte:02X}" for byte in hashlib.new(kind, der).digest())
    vsphere = {"username": peers.USER, "password": peers.PASSWORD, "thumbprint": thumbprint}
    result = harness.module("vmdk_fetch", check=True, source=[vc.url(VM)], work_dir=str(tmp_path / "w"), access={"vsphere": vsphere})
    assert result.get("changed") is True, result
    assert [disk["virtual_size"] for disk in result["vm"]["disks"]] == [150 * MIB, 8 * MIB]
    assert not (tmp_path / "w").exists()


def test_no_password_is_seen_anywhere(vc, tmp_path):
    """In process lists while it runs, in what Ansible prints, in what is written."""
    hosts = vc.inventory(tmp_path, filters=["vsphere_vm.power == 'off'"])
    settings = {
        "migrate_vsphere_user": peers.USER, "migrate_vsphere_ca_file": str(vc.cert), "migrate_output_dir": str(tmp_path / "out"), "migrate_bandwidth": 400,
        "migrate_boot_test": False,
    }  # fmt: skip
    seen = ""
    child = subprocess.Popen(
        harness.playbook_command("migrate", hosts, "-vvv", "--tags", "fetch", "-e", json.dumps(settings)), cwd=harness.ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "VMWARE_PASSWORD": peers.PASSWORD, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with child:
        os.set_blocking(child.stdout.fileno(), False)
        while child.poll() is None:
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen += entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            with contextlib.suppress(TypeError):
                seen += child.stdout.read() or ""
            time.sleep(0.2)
        seen += child.stdout.read() or ""
    assert child.returncode == 0, seen[-3000:]
    assert "vmdk_fetch fetch" in seen and peers.PASSWORD not in seen.replace(f"-password {peers.PASSWORD}", "")
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.stat().st_size < MIB:
            assert peers.PASSWORD.encode() not in path.read_bytes(), path


def test_a_disk_that_is_not_the_size_that_vsphere_says_is_refused(vc, tmp_path):
    vm = vc.vm(VM)
    disk = next(device for device in vm.config.hardware.device if isinstance(device, peers.vim.vm.device.VirtualDisk))
    real = disk.capacityInKB, disk.capacityInBytes

    def resize(size: tuple[int, int]) -> None:
        disk.capacityInKB, disk.capacityInBytes = size
        change = peers.vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
        vc.wait(vm.ReconfigVM_Task(peers.vim.vm.ConfigSpec(deviceChange=[change])))

    resize((real[0] * 2, real[1] * 2))
    try:
        result = fetch(vc, tmp_path / "w", transport="datastore")
        assert result["error_code"] == "invalid_input" and "vSphere says" in result["msg"], result
    finally:
        resize(real)


def test_a_datastore_without_files_is_left_to_a_lease(vc, images, tmp_path):
    """vSAN keeps objects: its descriptors name no file."""
    descriptor = vc.folder_of(vc.vm(VM)) / "disk1.vmdk"
    before = descriptor.read_text()
    descriptor.write_text(before.replace('VMFS "disk1-flat.vmdk"', 'VMFS "vsan://2f9a3f5c-1d2e-4a3b-8c4d-5e6f70819203"'))
    try:
        refused = fetch(vc, tmp_path / "w", transport="datastore")
        assert refused["error_code"] in ("invalid_input", "unsafe_input") and "vsan:" in refused["msg"], refused
        result = fetch(vc, tmp_path / "w")
        assert result["vm"]["origin"]["transport"] == "nfc" and content(result, tmp_path) == [digest(image) for image in images]
    finally:
        descriptor.write_text(before)


@pytest.fixture
def small(tmp_path):
    """A file system of 20 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("transport", ["datastore", "nfc", "ssh", "vddk", "govc"])
def test_a_disk_that_is_too_small_is_called_so(vc, esxi, library, exporters, small, transport):
    result = fetch(vc, small / "w", transport=transport, ssh=esxi.login, vddk=library)
    assert result["error_code"] == "not_enough_space", result
    assert not list(small.rglob("fetch.json")) and not list(small.rglob("disk0/disk.vmdk")) and not list(small.rglob("disk0/*-flat.vmdk"))


def test_a_disk_that_fills_up_meanwhile_is_called_full_and_the_next_run_goes_on(vc, images, tmp_path, small):
    subprocess.run(["mount", "-o", "remount,size=300m", small], check=True)
    child = started(vc, small / "w", bandwidth=200)
    wait_for_data(small / "w")
    with contextlib.suppress(OSError), open(small / "filler", "wb") as filler:
        while True:
            filler.write(bytes(MIB))
    result = json.loads(child.communicate(timeout=600)[0])
    assert result["error_code"] == "not_enough_space", result
    assert not list(small.rglob("fetch.json")) and not list(small.rglob("*-flat.vmdk"))
    (small / "filler").unlink()
    assert content(fetch(vc, small / "w", transport="datastore"), tmp_path) == [digest(image) for image in images]
