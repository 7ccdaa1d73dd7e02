# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT that ends at every point, killed or for want of space: the next run completes it or begins anew, and never refuses its own result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

SIZE = 24 << 20
FILE_POINTS = ["planned", "copied", "checked", "compared", "flushed", "announced", "published"]
DEVICE_POINTS = ["planned", "claimed", "cleared", "copied", "compared", "flushed", "published"]
NAME = "vm-disk0.qcow2"


def staged(disk: Path, folder: Path) -> dict[str, object]:
    work = str(folder / "work")
    assert not harness.module("vmdk_fetch", source=[str(disk)], work_dir=work).get("failed")
    assert not harness.module("disk_flatten", work_dir=work).get("failed")
    return {"work_dir": work, "name": "vm", "dest": str(folder / "out")}


def cut_short(point: str, what: str, **arguments: object) -> None:
    """A run that is killed at the point, or finds no space there."""
    try:
        answer = harness.module("qemu_convert", env={"HYPER2KVM_POINT": f"{point}={what}"}, **arguments)
    except AssertionError as killed:
        assert what == "kill" and "printed no JSON" in str(killed)
    else:
        assert what == "full" and answer.get("error_code") == "not_enough_space", answer


def same(one: str, fmt: str, other: Path) -> bool:
    done = subprocess.run(["qemu-img", "compare", "-f", fmt, "-F", "raw", one, other], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("what", ["kill", "full"])
def test_a_file_is_completed_or_made_anew(what, tmp_path):
    disk = harness.sparse(tmp_path / "disk.raw", SIZE, 0, 1 << 20, SIZE - 4096)
    convert = staged(disk, tmp_path)
    result, digest = tmp_path / "out" / NAME, harness.content_digest(disk)
    for number, point in enumerate(FILE_POINTS):
        wish = {**convert, "compression": ("none", "zstd")[number % 2]}  # another result than the one that is there, which it replaces
        before = result.read_bytes() if result.exists() else b""
        cut_short(f"convert.{point}", what, **wish)
        renamed = result.exists() and result.read_bytes() != before
        assert renamed == (point == "published"), point
        assert not result.exists() or same(result, "qcow2", disk), point
        planned = harness.module("qemu_convert", check=True, **wish)
        assert not planned.get("failed"), (point, planned)
        answer = harness.module("qemu_convert", **wish)
        assert answer["disks"][0]["content_digest"] == digest and same(result, "qcow2", disk), (point, answer)
        assert answer["changed"] == (point != "published") and not list(result.parent.glob("*.partial")), point
        assert not harness.module("qemu_convert", **wish)["changed"], point


def test_what_waits_for_its_name_gets_it_without_another_copy(tmp_path):
    disk = harness.sparse(tmp_path / "disk.raw", SIZE, 0, 1 << 20)
    convert = staged(disk, tmp_path)
    cut_short("convert.announced", "kill", **convert)
    number = (tmp_path / "out" / f"{NAME}.partial").stat().st_ino
    assert harness.module("qemu_convert", **convert)["changed"] and (tmp_path / "out" / NAME).stat().st_ino == number


def test_what_a_vm_has_written_meanwhile_is_not_replaced(tmp_path):
    disk = harness.sparse(tmp_path / "disk.raw", SIZE, 0, 1 << 20)
    convert = staged(disk, tmp_path)
    harness.module("qemu_convert", **convert)
    cut_short("convert.announced", "kill", **convert, compression="zstd")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", tmp_path / "out" / NAME], check=True, capture_output=True)
    used = (tmp_path / "out" / NAME).read_bytes()
    for wish in ({}, {"compression": "zstd"}):
        refused = harness.module("qemu_convert", **convert, **wish)
        assert "no longer as it was made" in refused["msg"] and (tmp_path / "out" / NAME).read_bytes() == used


@pytest.mark.parametrize("what", ["kill", "full"])
def test_a_device_is_written_anew(what, tmp_path):
    states = [harness.sparse(tmp_path / f"{number}.raw", SIZE, 0, number << 20) for number in (1, 2)]
    disk, room = tmp_path / "disk.raw", harness.sparse(tmp_path / "room", SIZE)
    for path in states:
        subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)  # so that blkid knows what the device holds
    with harness.loop_devices() as attached:
        device = attached(room)
        for number, point in enumerate(DEVICE_POINTS):
            source = states[number % 2]
            shutil.copyfile(source, disk)  # the VM has run on
            convert = {**staged(disk, tmp_path), "devices": [device]}
            cut_short(f"convert.{point}", what, **convert)
            for check in (True, False):
                answer = harness.module("qemu_convert", check=check, **convert)
                assert not answer.get("failed"), (point, answer)
            assert same(device, "raw", source) and not harness.module("qemu_convert", **convert)["changed"], point
        subprocess.run(["qemu-io", "-f", "raw", "-c", "write -P 7 1M 64k", device], check=True, capture_output=True)
        assert "no longer as it was made" in harness.module("qemu_convert", **convert)["msg"]


def test_a_restored_copy_of_the_result_is_known_by_its_content(tmp_path):
    disk = harness.sparse(tmp_path / "disk.raw", SIZE, 0, 1 << 20)
    convert = staged(disk, tmp_path)
    (made,) = harness.module("qemu_convert", **convert)["disks"]
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", made["path"], tmp_path / "copy"], check=True)
    os.replace(tmp_path / "copy", made["path"])
    assert not harness.module("qemu_convert", **convert)["changed"]
    (digested,) = harness.module("qemu_convert", **convert, file_digest=True)["disks"]
    sha256 = subprocess.run(["sha256sum", made["path"]], check=True, capture_output=True, text=True).stdout.split()[0]
    assert digested["sha256"] == sha256 and "sha256" not in made
    manifest = json.loads(Path(f"{made['path']}.manifest.json").read_text())
    assert manifest["result"]["content_digest"] == harness.content_digest(disk) == made["content_digest"]
