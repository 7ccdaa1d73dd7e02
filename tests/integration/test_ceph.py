# SPDX-License-Identifier: GPL-3.0-or-later
"""Results on images of Ceph, through qemu's own driver: whole, recognised again, never over something else, and run by libvirt from there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import libvirtd
from ceph_peer import POOL, Ceph
from libvirtd import virsh

SIZE, ROOM = 8 << 20, 12 << 20


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture(scope="module")
def ceph():
    with libvirtd.place() as folder:
        cluster = Ceph(folder)
        try:
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def disk(tmp_path):
    """A disk with a GPT, data and holes."""
    path = tmp_path / "src" / "disk.raw"
    path.parent.mkdir()
    path.write_bytes(bytes(1 << 20) + os.urandom(70000) + bytes(SIZE - (1 << 20) - 70000))
    run("sfdisk", "--quiet", path, input="label: gpt\nstart=2048, size=4096\n")
    return path


@pytest.fixture
def staged(disk, tmp_path):
    """What qemu_convert gets."""
    work = str(tmp_path / "work")
    assert not harness.module("vmdk_fetch", source=[str(disk)], work_dir=work).get("failed")
    harness.module("disk_flatten", work_dir=work)
    return {"work_dir": work, "name": "vm", "dest": str(tmp_path / "out")}


def test_an_image_gets_the_whole_disk_once(ceph, disk, staged, tmp_path):
    name, wanted = ceph.image("whole", ROOM), disk.read_bytes().ljust(ROOM, b"\0")
    run("qemu-io", "-f", "raw", "-c", "write -P 9 10M 1M", name)  # what has been there before is no more
    expected = {"path": name, "format": "raw", "virtual_size": ROOM, "device": True}
    convert = {**staged, "devices": [name]}
    before = ceph.content("whole")
    (planned,) = harness.module("qemu_convert", check=True, **convert)["disks"]
    assert expected.items() <= planned.items() and ceph.content("whole") == before and not (tmp_path / "out").exists()
    answer = harness.module("qemu_convert", **convert)
    (done,) = answer["disks"]
    assert answer["changed"] and expected.items() <= done.items() and ceph.content("whole") == wanted
    (tmp_path / "wanted").write_bytes(wanted)
    assert done["content_digest"] == harness.content_digest(tmp_path / "wanted")
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["vm-disk0.raw.manifest.json"]
    assert harness.module("qemu_convert", **convert) == {**answer, "changed": False}
    # As by a VM that runs on it, and then another one of the same name.
    run("qemu-io", "-f", "raw", "-c", "write -P 7 4M 4k", name)
    used = ceph.content("whole")
    for check in (True, False):
        assert "is no longer as it was made" in harness.module("qemu_convert", check=check, **convert)["msg"]
    assert ceph.content("whole") == used
    assert harness.module("qemu_convert", **convert, overwrite=True)["changed"] and ceph.content("whole") == wanted
    ceph.rbd("rm", "--no-progress", f"{POOL}/whole")
    assert "does not exist" in harness.module("qemu_convert", **convert)["msg"]
    ceph.image("whole", ROOM)
    assert harness.module("qemu_convert", **convert, overwrite=True)["changed"] and ceph.content("whole") == wanted


def test_what_cannot_be_is_refused_and_nothing_is_written(ceph, staged, tmp_path):
    full, small = ceph.image("full", 64 << 20), ceph.image("small", SIZE // 2)
    (tmp_path / "ext4").write_bytes(bytes(64 << 20))
    run("mkfs.ext4", "-q", "-L", "important", tmp_path / "ext4")
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", tmp_path / "ext4", full)
    before = ceph.content("full")
    cases = [
        (full, "invalid_input", "holds ext4 important"),
        (small, "invalid_input", "the disk needs"),
        (f"rbd:{POOL}/none:conf={ceph.conf}", "invalid_input", "does not exist"),
        ("rbd:vms", "invalid_input", "does not name a Ceph image"),
        (f"rbd:{POOL}/full:mon_host=elsewhere", "invalid_input", "does not name a Ceph image"),
        (f"rbd:{POOL}/full:conf={tmp_path}/none.conf", "tool_failed", "Ceph gives no information about"),
    ]
    for name, code, words in cases:
        for check in (True, False):
            refused = harness.module("qemu_convert", check=check, **staged, devices=[name])
            assert refused["error_code"] == code and words in refused["msg"] and refused["hint"], refused
    holder = subprocess.Popen(["qemu-io", "-f", "raw", full], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        holder.stdin.write("read 0 512\n")
        holder.stdin.flush()
        holder.stdout.readline()
        busy = harness.module("qemu_convert", **staged, devices=[full], overwrite=True)
        assert busy["error_code"] == "busy" and "is in use" in busy["msg"], busy
    finally:
        holder.communicate("quit\n")
    assert ceph.content("full") == before and not (tmp_path / "out").exists()


def test_libvirt_runs_it_from_there(ceph, staged):
    name, image = f"hyper2kvm-lab-{os.getpid()}", ceph.image("run", ROOM)
    (done,) = harness.module("qemu_convert", **staged, devices=[image])["disks"]
    before = ceph.content("run")
    with libvirtd.running(), libvirtd.place() as place:
        where = {"description": harness.module("domain_describe", dest=str(place), name=name, vm={"memory": 256}, disks=[done])["path"]}
        run("virt-xml-validate", where["description"], "domain")
        try:
            test = {"disks": [{"path": image, "format": "raw"}], "dest": str(place / "out"), "timeout": 5}
            for more in ({}, {"backend": "libvirt", **where}):
                answer = harness.module("boot_test", **test, **more)
                assert answer["error_code"] == "boot_failed", answer["msg"]  # there is nothing on it that starts, but the VM could open it
            wanted = {**where, "state": "running", "placement": "move", "directory": str(place / "other")}
            given = harness.module("libvirt_domain", **wanted)
            assert given["actions"] == [f"define {name}", f"start {name}"] and given["disks"] == [image], given
            assert f"<source protocol='rbd' name='{POOL}/run'" in virsh("dumpxml", name)
            assert harness.module("libvirt_domain", **wanted)["changed"] is False
            quarantine = place / "quarantine"
            taken = harness.module("libvirt_domain", name=name, state="absent", timeout=1, power_off=True, quarantine=str(quarantine))
            assert taken["actions"] == [f"shut down {name}", f"undefine {name}"] and [path.name for path in quarantine.iterdir()] == [
                f"{name}.xml"
            ]
        finally:
            for argv in (["destroy", name], ["undefine", name]):
                subprocess.run(["virsh", "-c", libvirtd.URI, *argv], check=False, capture_output=True)
    assert ceph.content("run") == before
