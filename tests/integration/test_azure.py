# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of Azure: snapshots made, read page by page, removed; rights that end; runs that fail and go on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import azure_peer
import harness
import peers
from azure_peer import Azure

MIB = 1 << 20
SIZE = 96 * MIB


@pytest.fixture
def azure(tmp_path):
    (tmp_path / "azure").mkdir()
    peer = Azure(tmp_path / "azure")
    yield peer
    peer.close()


@pytest.fixture
def disks(tmp_path):
    """A system disk and a data disk, mostly holes."""
    return [
        harness.sparse(tmp_path / "disk0.raw", SIZE, 0, 40 * MIB + 512, SIZE - 4096),
        harness.sparse(tmp_path / "disk1.raw", SIZE, 8 * MIB),
    ]


def fetch(azure: Azure, source: str, work: Path, check: bool = False, **more: object) -> dict:
    return harness.module("vmdk_fetch", check=check, env=azure.env, source=[source], work_dir=str(work), **more)


def contents(answer: dict, folder: Path) -> list[bytes]:
    assert "vm" in answer, answer["msg"]
    work = folder / "read"
    found = []
    for disk in answer["vm"]["disks"]:
        subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", disk["path"], work], check=True)
        found.append(work.read_bytes()[:SIZE])
    return found


def test_a_vm_arrives_byte_for_byte_and_nothing_stays_in_azure(azure, disks, tmp_path):
    source = azure.place("web01", disks, generation="V2")
    looked = fetch(azure, source, tmp_path / "work", check=True)
    assert looked["vm"]["firmware"] == "uefi" and (looked["vm"]["cpus"], looked["vm"]["memory"]) == (2, 4096)
    assert [disk["virtual_size"] for disk in looked["vm"]["disks"]] == [SIZE, SIZE] and not (tmp_path / "work").exists()
    assert {"snapshot create", "vm stop"}.isdisjoint(azure.state()["calls"])
    answer = fetch(azure, source, tmp_path / "work")
    assert contents(answer, tmp_path) == [disk.read_bytes() for disk in disks]
    assert [(disk["bus"], disk["controller"], disk["unit"]) for disk in answer["vm"]["disks"]] == [(None, 0, 0), (None, 1, 0)]
    assert answer["vm"]["nics"][0]["mac"] == "00:0d:3a:00:00:01" and answer["vm"]["origin"]["transport"] == "azure"
    moved = [file["transferred"] for file in answer["vm"]["origin"]["files"]]
    assert sum(moved) < 30 * MIB, moved  # pages that were never written do not cross the wire
    assert azure.state()["snapshots"] == {} and azure.state()["vms"]["web01"]["powerState"] == "VM deallocated"
    calls = len(azure.state()["calls"])
    assert not fetch(azure, source, tmp_path / "work")["changed"]
    assert set(azure.state()["calls"][calls:]) <= {"vm show", "disk show", "vm list-sizes"}  # which VM is there now
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "work").rglob("*") if path.suffix in (".json", ".journal"))
    assert "sig=" not in written + str(answer) and azure_peer.KEY not in written


def test_a_running_vm_is_refused_frozen_or_shut_down(azure, disks, tmp_path):
    source = azure.place("web01", disks, power="VM running")
    refused = fetch(azure, source, tmp_path / "refused")
    assert refused["error_code"] == "blocked" and "cloud.running" in refused["msg"] and azure.state()["snapshots"] == {}
    frozen = fetch(azure, source, tmp_path / "frozen", access={"running": "snapshot"})
    assert contents(frozen, tmp_path)[0] == disks[0].read_bytes() and "cloud.not_consistent" in str(frozen["warnings"])
    assert azure.state()["vms"]["web01"]["powerState"] == "VM running" and azure.state()["snapshots"] == {}
    shut = fetch(azure, source, tmp_path / "shut", access={"running": "shutdown"})
    assert contents(shut, tmp_path)[0] == disks[0].read_bytes() and azure.state()["vms"]["web01"]["powerState"] == "VM stopped"
    for check in (True, False):
        back = harness.module("source_restore", check=check, env=azure.env, work_dir=str(tmp_path / "shut"))
        assert back["actions"] == [f"start {source}"]
    assert azure.state()["vms"]["web01"]["powerState"] == "VM running"
    assert not harness.module("source_restore", env=azure.env, work_dir=str(tmp_path / "shut"))["changed"]


def test_a_right_that_ends_is_asked_for_anew_and_a_failed_run_goes_on(azure, disks, tmp_path):
    """The stand-in's rights end with access; the first of them at once."""
    source = azure.place("web01", disks[:1])
    program = azure.folder / "bin" / "az"
    real = program.read_text()
    revoking = f'#!/bin/sh\n{sys.executable} {harness.ROOT}/tests/peers/az.py "$@" || exit\n'
    revoking += f'case "$*" in *grant-access*) n={azure.folder}/granted; [ -e $n ] || {{ touch $n; ' + (
        f'name=$(echo "$*" | sed "s/.*--name \\([^ ]*\\).*/\\1/"); {sys.executable} {harness.ROOT}/tests/peers/az.py snapshot revoke-access '
        f"--subscription x --resource-group y --name $name >/dev/null; }};; esac\n"
    )
    program.write_text(revoking)
    assert contents(fetch(azure, source, tmp_path / "renewed"), tmp_path) == [disks[0].read_bytes()]
    assert azure.state()["calls"].count("snapshot grant-access") == 2 and azure.state()["snapshots"] == {}
    # The work directory has no room for it; the snapshot of a VM that is off stays, and counts when there is.
    program.write_text(real)
    (tmp_path / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path / "small"], check=True)
    try:
        assert fetch(azure, source, tmp_path / "small" / "work")["error_code"] == "not_enough_space"
        assert len(azure.state()["snapshots"]) == 1 and azure.state()["calls"][-1] == "snapshot revoke-access"
        subprocess.run(["mount", "-o", "remount,size=256m", tmp_path / "small"], check=True)
        before = azure.state()["calls"].count("snapshot create")
        assert contents(fetch(azure, source, tmp_path / "small" / "work"), tmp_path) == [disks[0].read_bytes()]
        assert azure.state()["calls"].count("snapshot create") == before and azure.state()["snapshots"] == {}
    finally:
        subprocess.run(["umount", tmp_path / "small"], check=True)


def test_a_proxy_of_the_environment_is_gone_through(azure, disks, tmp_path):
    source = azure.place("web01", disks[:1])
    with contextlib.closing(peers.Proxy()) as proxy:
        azure.env |= {"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": ""}
        assert contents(fetch(azure, source, tmp_path / "work"), tmp_path) == [disks[0].read_bytes()]
        assert f"localhost:{azure.port}" in proxy.asked
        proxy.asked.clear()
        azure.env |= {"no_proxy": "localhost"}
        assert fetch(azure, source, tmp_path / "direct")["changed"] and proxy.asked == []


def test_what_a_dead_run_left_is_removed_and_nothing_else(azure, disks, tmp_path):
    source = azure.place("web01", disks[:1])
    other = azure.place("db01", disks[1:])
    state = azure.state()
    for name, vm in (("hyper2kvm-web01-system-1", "web01"), ("hyper2kvm-db01-system-1", "db01"), ("nightly", "web01")):
        state["snapshots"][name] = {
            "name": name, "timeCreated": "2025-01-01T00:00:00+00:00", "tags": {"hyper2kvm": state["vms"][vm]["id"]},
            "creationData": {"sourceResourceId": state["vms"][vm]["storageProfile"]["osDisk"]["managedDisk"]["id"]},
        }  # fmt: skip
    azure.write(state)
    # An old one is not what the disk is now.
    fetch(azure, source, tmp_path / "work")
    assert "hyper2kvm-web01-system-1" in azure.state()["snapshots"]
    for check in (True, False):
        done = harness.module("source_cleanup", check=check, env=azure.env, source=source)
        assert done["snapshots"] == ["hyper2kvm-web01-system-1"]
    assert set(azure.state()["snapshots"]) == {"hyper2kvm-db01-system-1", "nightly"}
    assert harness.module("source_cleanup", env=azure.env, source=other)["changed"]


def test_what_cannot_be_is_said(azure, disks, tmp_path):
    source = azure.place("web01", disks[:1])

    def refused(url: str = source, **change: object) -> dict:
        state = azure.state()
        azure.write({**state, **change})
        answer = fetch(azure, url, tmp_path / "work")
        azure.write(state)
        assert answer["failed"] and answer["hint"] and not (tmp_path / "work" / "fetch.json").exists()
        return answer

    assert "az login" in refused(logged_out=True)["msg"]
    assert "Snapshot Contributor" in refused(denied=True)["hint"]
    assert "was not found" in refused(source.replace("web01", "web02"))["msg"]
    for url in (f"azure://{azure_peer.SUBSCRIPTION}/web01", "azure://a/b/--debug", "azure://"):
        assert "does not name a VM" in refused(url)["msg"]
    disk = next(iter(azure.state()["disks"].values()))
    encrypted = {disk["id"]: {**disk, "encryptionSettingsCollection": {"enabled": True}}}
    assert "azure.encrypted" in refused(disks=encrypted)["msg"]
    larger = {disk["id"]: {**disk, "diskSizeBytes": 2 * SIZE}}
    assert "what arrived for it" in refused(disks=larger)["msg"]
    for more, words in (
        ({"securityProfile": {"securityType": "ConfidentialVM"}}, "azure.confidential"),
        ({"storageProfile": {"osDisk": {"vhd": {"uri": "https://x"}, "managedDisk": None}, "dataDisks": []}}, "no managed disks"),
    ):
        assert words.split()[-1] in refused(vms={"web01": {**azure.state()["vms"]["web01"], **more}})["msg"]
    untrusted = {**azure.env, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    answer = harness.module("vmdk_fetch", env=untrusted, source=[source], work_dir=str(tmp_path / "work"))
    assert answer["error_code"] == "unreachable" and "does not prove" in answer["msg"]
    missing = harness.module("vmdk_fetch", env={**azure.env, "PATH": "/usr/bin:/bin"}, source=[source], work_dir=str(tmp_path / "work"))
    assert missing["error_code"] == "missing_tool" and "az" in missing["msg"]
