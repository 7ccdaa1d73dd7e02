# SPDX-License-Identifier: GPL-3.0-or-later
"""Results on block devices: whole, recognised again, and never over something else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

SIZE, ROOM = 8 << 20, 12 << 20


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture
def attach():
    with harness.loop_devices() as attached:
        yield attached


@pytest.fixture
def disk(tmp_path):
    """A disk with a GPT, data and holes."""
    path = tmp_path / "src" / "disk.raw"
    path.parent.mkdir()
    path.write_bytes(bytes(1 << 20) + os.urandom(70000) + bytes(SIZE - (1 << 20) - 70000))
    run("sfdisk", "--quiet", path, input="label: gpt\nstart=2048, size=4096\n")
    return path


@pytest.fixture
def room(tmp_path):
    """What a fresh volume on a used disk is: nothing that anybody knows, and not zeros."""
    path = tmp_path / "room"
    path.write_bytes(os.urandom(ROOM))
    run("wipefs", "--all", path)
    return path


def staged(disk: Path, tmp_path: Path, name: str = "work") -> dict:
    work = str(tmp_path / name)
    assert not harness.module("vmdk_fetch", source=[str(disk)], work_dir=work).get("failed")
    harness.module("disk_flatten", work_dir=work)
    return {"work_dir": work, "name": "vm", "dest": str(tmp_path / "out")}


def test_a_device_gets_the_whole_disk_once(disk, room, attach, tmp_path):
    device = attach(room)
    before, wanted = room.read_bytes(), disk.read_bytes().ljust(ROOM, b"\0")
    looked = {"source": [str(disk)], "work_dir": str(tmp_path / "work"), "name": "vm", "dest": str(tmp_path / "out"), "devices": [device]}
    expected = {"path": device, "format": "raw", "virtual_size": ROOM, "device": True}
    (planned,) = harness.module("qemu_convert", check=True, **looked)["disks"]
    assert expected.items() <= planned.items() and room.read_bytes() == before
    convert = {**staged(disk, tmp_path), "devices": [device], "compression": "zstd", "preallocation": "metadata"}
    (planned,) = harness.module("qemu_convert", check=True, **convert)["disks"]
    assert expected.items() <= planned.items() and room.read_bytes() == before and not (tmp_path / "out").exists()
    answer = harness.module("qemu_convert", **convert)
    (done,) = answer["disks"]
    assert answer["changed"] and expected.items() <= done.items()
    assert Path(device).read_bytes() == wanted and done["content_digest"] == harness.content_digest(Path(device))
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["vm-disk0.raw.manifest.json"]
    assert harness.module("qemu_convert", **convert) == {**answer, "changed": False}
    # As after a restart of the host: the kernel has counted nothing of this device.
    run("losetup", "--detach", device)
    assert attach(room) == device
    assert harness.module("qemu_convert", **convert) == {**answer, "changed": False}
    # As by a VM that runs on it.
    run("qemu-io", "-f", "raw", "-c", "write -P 7 4M 4k", device)
    used = Path(device).read_bytes()
    for check in (True, False):
        refused = harness.module("qemu_convert", check=check, **convert)
        assert refused.get("failed") and "a VM may have run on it" in refused["msg"] and Path(device).read_bytes() == used
    assert harness.module("qemu_convert", **convert, overwrite=True)["changed"] and Path(device).read_bytes() == wanted


def test_images_and_devices_may_be_mixed_and_sizes_are_by_disk(disk, room, attach, tmp_path):
    second = tmp_path / "src" / "second.raw"
    second.write_bytes(disk.read_bytes())
    work, device = str(tmp_path / "work"), attach(room)
    harness.module("vmdk_fetch", source=[str(disk), str(second)], work_dir=work)
    harness.module("disk_flatten", work_dir=work)
    convert = {"work_dir": work, "name": "vm", "dest": str(tmp_path / "out"), "devices": ["", device], "resize": ["+8M", "+1M"]}
    image, on_device = harness.module("qemu_convert", **convert)["disks"]
    assert image["path"].endswith("vm-disk0.qcow2") and image["virtual_size"] == 2 * SIZE and not image["device"]
    assert on_device["path"] == device and on_device["virtual_size"] == ROOM
    assert not harness.module("qemu_convert", **convert)["changed"]
    refused = harness.module("qemu_convert", **{**convert, "resize": ["", "+8M"]})
    assert f"{device} has {ROOM} bytes, and the disk needs {2 * SIZE}" in refused["msg"]
    for devices in ([device, device], ["", "", device]):
        assert "are not one device for each of 2 disks" in harness.module("qemu_convert", **{**convert, "devices": devices})["msg"]


def test_a_device_that_holds_or_serves_something_else_is_refused(disk, room, attach, tmp_path):
    convert, device = staged(disk, tmp_path), attach(room)
    run("mkfs.ext4", "-q", "-L", "payroll", device)
    before = room.read_bytes()
    for check in (True, False):
        refused = harness.module("qemu_convert", check=check, **convert, devices=[device])
        assert f"{device} holds ext4 payroll" in refused["msg"] and "migrate_overwrite" in refused["hint"]
    (tmp_path / "mounted").mkdir()
    run("mount", "-o", "ro,noload", device, tmp_path / "mounted")
    try:
        refused = harness.module("qemu_convert", **convert, devices=[device], overwrite=True)
        assert refused["error_code"] == "busy" and "is mounted" in refused["msg"]
    finally:
        run("umount", tmp_path / "mounted")
    # Nor is what an earlier run wrote elsewhere an earlier run's here.
    (tmp_path / "other").write_bytes(bytes(ROOM))
    for elsewhere in ({"format": "raw"}, {"devices": [attach(tmp_path / "other")]}):
        assert harness.module("qemu_convert", **convert, **elsewhere, overwrite=True)["changed"]
        assert "holds ext4 payroll" in harness.module("qemu_convert", **convert, devices=[device])["msg"]
    assert room.read_bytes() == before
    run("wipefs", "--all", device)
    run("sfdisk", "--quiet", device, input="label: dos\n2048\n")
    assert "holds a partition table (dos)" in harness.module("qemu_convert", **convert, devices=[device])["msg"]
    assert harness.module("qemu_convert", **convert, devices=[device], overwrite=True)["changed"]


def test_a_place_that_cannot_take_the_disk_is_refused(disk, room, attach, tmp_path):
    convert = staged(disk, tmp_path)
    (tmp_path / "small").write_bytes(bytes(SIZE - 512))
    kept = attach(room, "--read-only")
    for place, words in ((attach(tmp_path / "small"), "the disk needs"), (str(room), "is not a block device"), (kept, "cannot be written")):
        refused = harness.module("qemu_convert", **convert, devices=[place], overwrite=True)
        assert refused["failed"] and words in refused["msg"] and refused["hint"]
    assert not (tmp_path / "out").exists()


def test_a_device_that_a_vm_runs_on_is_refused(disk, room, attach, tmp_path):
    """Even if what it holds may be lost."""
    convert, device = staged(disk, tmp_path), attach(room)
    qemu = ["qemu-system-x86_64", "-accel", "tcg", "-S", "-display", "none", "-nodefaults", "-drive", f"file={device},format=raw,if=virtio"]
    with subprocess.Popen([*qemu, "-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off"]) as vm:
        try:
            deadline = time.monotonic() + 300
            while not (tmp_path / "qmp").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            refused = harness.module("qemu_convert", **convert, devices=[device], overwrite=True)
            assert refused["failed"] and "lock" in refused["msg"], refused
        finally:
            vm.kill()


def test_the_source_is_never_the_target(disk, room, attach, tmp_path):
    """Nor a partition of it, or the disk that it is a partition of."""
    run("sfdisk", "--quiet", room, input="label: gpt\nstart=2048, size=16384\n")
    whole = attach(room, "--partscan")
    part, before = f"{whole}p1", room.read_bytes()
    if not Path(part).exists():
        run("partx", "--add", whole)
    for source, place in ((whole, whole), (whole, part), (part, whole)):
        convert = staged(Path(source), tmp_path, f"{Path(source).name}-{Path(place).name}")
        refused = harness.module("qemu_convert", **convert, devices=[place], overwrite=True)
        assert "which the VM comes from" in refused["msg"] and room.read_bytes() == before


def test_a_write_that_fails_is_repeated_and_taken_for_nothing_else(disk, room, attach, tmp_path):
    """The storage behind the device is full at first."""
    pool = tmp_path / "pool"
    data = bytearray(disk.read_bytes())
    data[4 << 20 : 7 << 20] = os.urandom(3 << 20)
    disk.write_bytes(data)
    convert = staged(disk, tmp_path)
    pool.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", pool)
    try:
        with open(pool / "room", "wb") as file:
            file.truncate(ROOM)
        device = attach(pool / "room")
        failed = harness.module("qemu_convert", **convert, devices=[device])
        assert failed["error_code"] in ("tool_failed", "not_enough_space"), failed
        (record,) = (tmp_path / "out").glob("[!.]*")
        assert '"writing"' in record.read_text()
        run("mount", "-o", "remount,size=64m", pool)
        # Somebody else takes the device meanwhile.
        half = Path(device).read_bytes()
        run("wipefs", "--all", device)
        run("sfdisk", "--quiet", device, input="label: gpt\nstart=2048, size=4096\n")
        assert "not what an earlier run wrote" in harness.module("qemu_convert", **convert, devices=[device])["msg"]
        Path(device).write_bytes(half)
        assert harness.module("qemu_convert", **convert, devices=[device])["changed"]
        assert Path(device).read_bytes() == bytes(data).ljust(ROOM, b"\0")
        run("losetup", "--detach", device)
    finally:
        run("umount", pool)
