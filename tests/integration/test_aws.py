# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of AWS: snapshots made at one moment, read block by block, removed; throttled answers and damaged blocks; runs that fail and go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from aws_peer import REGION, Aws

MIB = 1 << 20
SIZE = 1024 * MIB
NAMES = (["/dev/sda", "/dev/xvda"], ["/dev/sdf", "/dev/xvdf"])


@pytest.fixture
def aws(tmp_path):
    (tmp_path / "aws").mkdir()
    peer = Aws(tmp_path / "aws")
    yield peer
    peer.close()


@pytest.fixture
def disks(tmp_path):
    """A system disk and a data disk, mostly holes."""
    return [
        harness.sparse(tmp_path / "disk0.raw", SIZE, 0, 40 * MIB + 512, 300 * MIB, SIZE - 4096),
        harness.sparse(tmp_path / "disk1.raw", SIZE, 8 * MIB),
    ]


def fetch(aws: Aws, source: str, work: Path, check: bool = False, **more: object) -> dict:
    return harness.module("vmdk_fetch", check=check, env=aws.env, source=[source], work_dir=str(work), **more)


def same(answer: dict, disks: list[Path]) -> bool:
    assert "vm" in answer, answer["msg"]
    found = [disk["path"] for disk in answer["vm"]["disks"]]
    return len(found) == len(disks) and all(
        os.path.getsize(one) == other.stat().st_size
        and subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", one, other], check=False).returncode == 0
        for one, other in zip(found, disks)
    )


def test_a_vm_arrives_byte_for_byte_and_nothing_stays_in_aws(aws, disks, tmp_path):
    source = aws.place("web01", disks)
    looked = fetch(aws, source, tmp_path / "work", check=True)
    assert looked["vm"]["name"] == "web01" and (looked["vm"]["cpus"], looked["vm"]["memory"]) == (2, 4096)
    assert (
        [disk["virtual_size"] for disk in looked["vm"]["disks"]] == [SIZE, SIZE]
        and aws.snapshots() == []
        and not (tmp_path / "work").exists()
    )
    for name in ("throttle", "damage"):
        (aws.faults / name).touch()
    answer = fetch(aws, source, tmp_path / "work")
    assert same(answer, disks) and answer["vm"]["origin"]["transport"] == "aws" and not list(aws.faults.iterdir())
    assert answer["vm"]["nics"][0]["mac"] == aws.instance("web01")["NetworkInterfaces"][0]["MacAddress"]
    assert sum(file["transferred"] for file in answer["vm"]["origin"]["files"]) == 5 * (MIB // 2)  # the blocks with data, no others
    assert aws.snapshots() == [] and aws.instance("web01")["State"]["Name"] == "stopped"
    assert not fetch(aws, source, tmp_path / "work")["changed"]
    volumes = [one["Ebs"]["VolumeId"].replace("-", "") for one in aws.instance("web01")["BlockDeviceMappings"]]
    names = [[f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume}", *rest] for volume, rest in zip(volumes, NAMES)]
    assert [disk["names"] for disk in looked["vm"]["disks"]] == [disk["names"] for disk in answer["vm"]["disks"]] == names
    by_id = f"aws://{REGION}/{aws.instance('web01')['InstanceId']}"
    assert fetch(aws, by_id, tmp_path / "other", check=True)["vm"]["name"] == "web01"
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "work").rglob("*") if path.suffix in (".json", ".journal"))
    assert aws.env["AWS_SECRET_ACCESS_KEY"] not in written + str(answer)


def test_a_running_vm_is_refused_frozen_or_shut_down(aws, disks, tmp_path):
    source = aws.place("web01", disks, running=True)
    refused = fetch(aws, source, tmp_path / "refused")
    assert refused["error_code"] == "blocked" and "cloud.running" in refused["msg"] and aws.snapshots() == []
    frozen = fetch(aws, source, tmp_path / "frozen", access={"running": "snapshot"})
    assert same(frozen, disks) and "cloud.not_consistent" not in str(frozen.get("warnings"))
    assert aws.instance("web01")["State"]["Name"] == "running" and aws.snapshots() == []
    assert same(fetch(aws, source, tmp_path / "shut", access={"running": "shutdown"}), disks)
    assert aws.instance("web01")["State"]["Name"] == "stopped"
    assert harness.module("source_restore", check=True, env=aws.env, work_dir=str(tmp_path / "shut"))["actions"] == [f"start {source}"]
    variables = {"migrate_source": source, "migrate_work_dir": str(tmp_path / "shut"), "migrate_rollback_domain": False}
    back = harness.playbook("rollback", harness.inventory(tmp_path / "vms.json", web01=variables), env=aws.env)
    assert back.returncode == 0 and f"start {source}" in back.stdout, back.stdout
    assert aws.instance("web01")["State"]["Name"] == "running"


def test_an_image_and_a_snapshot_are_read_and_stay(aws, disks, tmp_path):
    """Whatever the instance does that they were made of."""
    image = aws.image("web01", disks, running=True)
    before = aws.snapshots()
    looked = fetch(aws, image, tmp_path / "work", check=True)
    assert looked["vm"]["name"] == "image-of-web01" and [disk["virtual_size"] for disk in looked["vm"]["disks"]] == [SIZE, SIZE]
    answer = fetch(aws, image, tmp_path / "work")
    assert same(answer, disks) and answer["vm"]["nics"] == [] and not fetch(aws, image, tmp_path / "work")["changed"]
    (mapped,) = aws.ec2.describe_images(ImageIds=[image.rsplit("/", 1)[1]])["Images"]
    snapshot = mapped["BlockDeviceMappings"][1]["Ebs"]["SnapshotId"]
    alone = fetch(aws, f"aws://{REGION}/{snapshot}", tmp_path / "alone")
    assert same(alone, disks[1:]) and alone["vm"]["name"] == snapshot
    assert aws.snapshots() == before and len(before) == 2 and aws.instance("web01")["State"]["Name"] == "running"
    for source in (image, f"aws://{REGION}/{snapshot}"):
        assert not harness.module("source_cleanup", env=aws.env, source=source)["changed"]
    for name in ("ami-0123456789abcdef0", "snap-0123456789abcdef0"):
        answer = fetch(aws, f"aws://{REGION}/{name}", tmp_path / "none")
        assert answer["error_code"] == "invalid_input" and "NotFound" in answer["msg"] and answer["hint"]


def test_a_failed_run_goes_on_and_the_janitor_removes_what_is_left(aws, disks, tmp_path):
    """The work directory has no room at first; the snapshot of a VM that is off stays, and counts when there is."""
    source = aws.place("web01", disks[:1])
    time.sleep(1.1)  # AWS says to the second when an instance was stopped
    aws.ec2.create_snapshot(VolumeId=aws.instance("web01")["BlockDeviceMappings"][0]["Ebs"]["VolumeId"], Description="nightly")
    (tmp_path / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path / "small"], check=True)
    try:
        assert fetch(aws, source, tmp_path / "small" / "work")["error_code"] == "not_enough_space"
        (left, dummy) = aws.snapshots()
        assert left.startswith("hyper2kvm-web01-system-")
        assert fetch(aws, source, tmp_path / "small" / "work")["error_code"] == "not_enough_space" and aws.snapshots() == [left, "nightly"]
        subprocess.run(["mount", "-o", "remount,size=256m", tmp_path / "small"], check=True)
        assert same(fetch(aws, source, tmp_path / "small" / "work"), disks[:1]) and aws.snapshots() == ["nightly"]
        subprocess.run(["mount", "-o", "remount,size=3m", tmp_path / "small"], check=True)
        assert fetch(aws, source, tmp_path / "small" / "again")["failed"] and len(aws.snapshots()) == 2
        # The disks of a VM that was started meanwhile are others.
        aws.ec2.start_instances(InstanceIds=[aws.instance("web01")["InstanceId"]])
        aws.ec2.stop_instances(InstanceIds=[aws.instance("web01")["InstanceId"]])
        assert fetch(aws, source, tmp_path / "small" / "again")["failed"] and len(aws.snapshots()) == 3
    finally:
        subprocess.run(["umount", tmp_path / "small"], check=True)
    for check in (True, False):
        assert harness.module("source_cleanup", check=check, env=aws.env, source=source)["snapshots"][0].startswith(
            "hyper2kvm-web01-system-"
        )
    assert aws.snapshots() == ["nightly"] and not harness.module("source_cleanup", env=aws.env, source=source)["changed"]


def test_what_cannot_be_is_said(aws, disks, tmp_path):
    aws.place("twin", disks[:1])
    aws.place("twin", disks[:1])
    for name, words in (("web02", "no instances web02"), ("twin", "2 instances twin"), ("i-0123456789abcdef0", "does not exist")):
        answer = fetch(aws, f"aws://{REGION}/{name}", tmp_path / "work")
        assert answer["failed"] and words in answer["msg"] and answer["hint"], answer
    for url in ("aws://web01", f"aws://{REGION}/a/b", f"aws://{REGION}/"):
        assert "does not name a VM" in fetch(aws, url, tmp_path / "work")["msg"]
    logged_out = {**aws.env, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    answer = harness.module("vmdk_fetch", env=logged_out, source=[f"aws://{REGION}/twin"], work_dir=str(tmp_path / "work"))
    assert answer["error_code"] == "access_denied" and "aws configure" in answer["hint"]
    assert not (tmp_path / "work" / "fetch.json").exists()
