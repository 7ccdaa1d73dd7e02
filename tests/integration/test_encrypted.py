# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that only a passphrase opens: in qemu, in libvirt, and nowhere else; and the passphrase is nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import libvirtd
from libvirtd import virsh

SIZE = 8 << 20
PASSPHRASE, OTHER = "corréct, horse=battery 'staple'", "another"


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture
def disk(tmp_path):
    """A disk with a boot sector, data and holes."""
    path = tmp_path / "src" / "disk.raw"
    path.parent.mkdir()
    path.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20) + os.urandom(70000) + bytes(SIZE - (1 << 20) - 70512))
    return path


@pytest.fixture
def staged(disk, tmp_path):
    """What qemu_convert gets."""
    work = str(tmp_path / "work")
    assert not harness.module("vmdk_fetch", source=[str(disk)], work_dir=work).get("failed")
    harness.module("disk_flatten", work_dir=work)
    return {"work_dir": work, "name": "vm", "dest": str(tmp_path / "out")}


def read(path: str, passphrase: str, tmp_path: Path) -> subprocess.CompletedProcess:
    """Copy what an encrypted image holds to `tmp_path`/plain, as anybody with the passphrase can."""
    (tmp_path / "key").write_text(passphrase)
    options = f"driver=qcow2,encrypt.key-secret=k,file.driver=file,file.filename={path}"
    argv = [
        "qemu-img",
        "convert",
        "--object",
        f"secret,id=k,file={tmp_path / 'key'}",
        "--image-opts",
        options,
        "-O",
        "raw",
        tmp_path / "plain",
    ]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


def secrets() -> set[str]:
    """The UUIDs of all that libvirt keeps."""
    return {line.split()[0] for line in virsh("secret-list").splitlines()[2:] if line.strip()}


def test_a_result_opens_with_its_passphrase_only(disk, staged, tmp_path):
    wanted = {**staged, "passphrase": PASSPHRASE, "preallocation": "metadata", "resize": [f"+{SIZE // (1 << 20)}M"]}
    (planned,) = harness.module("qemu_convert", check=True, **wanted)["disks"]
    assert planned["encrypted"] and not (tmp_path / "out").exists()
    answer = harness.module("qemu_convert", **wanted)
    (done,) = answer["disks"]
    assert answer["changed"] and done["encrypted"] and (done["format"], done["virtual_size"]) == ("qcow2", 2 * SIZE)
    assert json.loads(run("qemu-img", "info", "--output=json", done["path"]))["format-specific"]["data"]["encrypt"]["format"] == "luks"
    assert disk.read_bytes()[1 << 20 : (1 << 20) + 4096] not in Path(done["path"]).read_bytes()
    assert read(done["path"], PASSPHRASE, tmp_path).returncode == 0
    assert (tmp_path / "plain").read_bytes() == disk.read_bytes() + bytes(SIZE)
    (tmp_path / "key").unlink()
    for path in [*(tmp_path / "out").iterdir(), *(tmp_path / "work").rglob("*")]:
        assert path.is_dir() or PASSPHRASE.encode() not in path.read_bytes()
    assert PASSPHRASE not in json.dumps(answer, ensure_ascii=False)
    assert harness.module("qemu_convert", **wanted) == {**answer, "changed": False}
    # With another one it is made again, and the first opens it no more.
    assert harness.module("qemu_convert", check=True, **{**wanted, "passphrase": OTHER})["changed"]
    assert harness.module("qemu_convert", **{**wanted, "passphrase": OTHER})["changed"]
    assert "Invalid password" in read(done["path"], PASSPHRASE, tmp_path).stderr and read(done["path"], OTHER, tmp_path).returncode == 0
    plain = harness.module("qemu_convert", **staged)
    assert plain["changed"] and not plain["disks"][0]["encrypted"]


@pytest.mark.parametrize("more", [{"format": "raw"}, {"format": "vdi"}, {"compression": "zstd"}, {"devices": ["/dev/loop0"]}])
def test_what_cannot_be_encrypted_is_refused(staged, more, tmp_path):
    refused = harness.module("qemu_convert", **staged, passphrase=PASSPHRASE, **more)
    assert refused["error_code"] == "invalid_input" and "cannot be encrypted" in refused["msg"] and refused["hint"]
    assert not (tmp_path / "out").exists()


@pytest.mark.rotates("encrypted", 50)
def test_a_disk_that_does_not_open_is_no_vm_that_does_not_boot(staged, tmp_path):
    (done,) = harness.module("qemu_convert", **staged, passphrase=PASSPHRASE)["disks"]
    image = [{"path": done["path"], "format": "qcow2"}]
    test = {"disks": image, "dest": str(tmp_path / "test"), "timeout": 20}
    assert "no passphrase is given" in harness.module("boot_test", **test)["msg"]
    assert "does not open it" in harness.module("boot_test", **test, passphrase=OTHER)["msg"]
    # qemu opens it, and finds nothing on it that starts.
    answer = harness.module("boot_test", **test, passphrase=PASSPHRASE)
    assert answer["error_code"] == "boot_failed" and PASSPHRASE not in json.dumps(answer, ensure_ascii=False), answer["msg"]
    assert "no passphrase is given" in harness.module("guest_inspect", disks=image)["msg"]
    assert "is not written to" in harness.module("guest_fix_rollback", disks=image)["msg"]


@pytest.mark.rotates("encrypted", 40)
def test_the_script_for_qemu_asks_for_the_file_with_the_passphrase(staged, tmp_path):
    (done,) = harness.module("qemu_convert", **staged, passphrase=PASSPHRASE)["disks"]
    (script,) = harness.module("domain_describe", dest=str(tmp_path), name="vm", vm={"memory": 64}, disks=[done], formats=["qemu"])["files"]
    (tmp_path / "key").write_text(PASSPHRASE)
    argv, env = [script, "-S", "-display", "none", "-monitor", "stdio"], {**os.environ, "ACCEL": "tcg"}
    without = subprocess.run(argv, input="quit\n", capture_output=True, text=True, check=False, env=env, timeout=300)
    assert without.returncode and "KEY_FILE: names no file" in without.stderr
    env["KEY_FILE"] = str(tmp_path / "key")
    opened = subprocess.run(argv, input="info block\nquit\n", capture_output=True, text=True, check=False, env=env, timeout=300)
    assert opened.returncode == 0 and ", encrypted)" in opened.stdout, opened.stderr


@pytest.mark.rotates("encrypted", 140)
def test_libvirt_opens_it_as_long_as_it_has_the_vm(staged, tmp_path):
    name = f"hyper2kvm-lab-{os.getpid()}"
    with libvirtd.running(), libvirtd.place() as place:
        (done,) = harness.module("qemu_convert", **{**staged, "dest": str(place)}, passphrase=PASSPHRASE)["disks"]
        other = {"path": str(place / "plain.qcow2"), "format": "qcow2"}
        run("qemu-img", "create", "-q", "-f", "qcow2", other["path"], "1M")
        raw = {"path": str(place / "plain.raw"), "format": "raw"}
        Path(raw["path"]).write_bytes(bytes(1 << 20))
        described = {"dest": str(place), "name": name, "vm": {"memory": 256}, "disks": [done, other, raw]}
        where = {"description": harness.module("domain_describe", **described)["path"]}
        run("virt-xml-validate", where["description"], "domain")
        for fmt in ("kubevirt", "openstack", "proxmox"):
            assert "which are encrypted" in harness.module("domain_describe", **described, formats=[fmt])["msg"]
        before = secrets()
        try:
            disks = [{key: disk[key] for key in ("path", "format")} for disk in (done, other, raw)]
            test = {"disks": disks, "backend": "libvirt", "dest": str(place / "out"), "timeout": 5, **where}
            answer = harness.module("boot_test", **test, passphrase=PASSPHRASE)
            assert answer["error_code"] == "boot_failed", answer["msg"]  # there is nothing on it, but the VM could open it
            assert secrets() == before
            refused = harness.module("libvirt_domain", **where)
            assert "no passphrase is given" in refused["msg"] and name not in virsh("list", "--all")
            assert "does not open it" in harness.module("libvirt_domain", **where, passphrase=OTHER)["msg"]
            wanted = {**where, "state": "running", "passphrase": PASSPHRASE, "placement": "copy", "directory": str(place / "there")}
            planned = harness.module("libvirt_domain", check=True, **wanted)
            assert secrets() == before and PASSPHRASE not in json.dumps(planned, ensure_ascii=False)
            given = harness.module("libvirt_domain", **wanted)
            assert given["actions"] == planned["actions"] and given["actions"][-3:] == [
                f"keep the passphrase of {name}",
                f"define {name}",
                f"start {name}",
            ], given
            assert name in virsh("list") and harness.module("libvirt_domain", **wanted)["changed"] is False
            (uuid,) = secrets() - before
            told = subprocess.run(["virsh", "-c", libvirtd.URI, "secret-get-value", uuid], check=False, capture_output=True, text=True)
            assert told.returncode and "private" in told.stderr
            taken = harness.module("libvirt_domain", name=name, state="absent", timeout=1, power_off=True)
            assert taken["actions"] == [f"shut down {name}", f"forget the passphrase of {name}", f"undefine {name}"]
            assert secrets() == before
            # The disk is migrated again with another passphrase, and stays where it is.
            assert harness.module("libvirt_domain", **where, passphrase=PASSPHRASE)["actions"][0] == f"keep the passphrase of {name}"
            (anew,) = harness.module("qemu_convert", **{**staged, "dest": str(place)}, passphrase=OTHER)["disks"]
            harness.module("domain_describe", **{**described, "disks": [anew, other, raw]})
            started = harness.module("libvirt_domain", **where, state="running", passphrase=OTHER)
            assert started["actions"] == [
                f"{done} {name}" for done in ("keep the passphrase of", "define", "forget the passphrase of", "start")
            ]
            assert len(secrets() - before) == 1 and name in virsh("list")
            harness.module("libvirt_domain", name=name, state="absent", timeout=1, power_off=True)
            assert secrets() == before
        finally:
            for argv in (["destroy", name], ["undefine", name]):
                subprocess.run(["virsh", "-c", libvirtd.URI, *argv], check=False, capture_output=True)
