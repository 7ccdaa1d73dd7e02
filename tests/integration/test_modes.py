# SPDX-License-Identifier: GPL-3.0-or-later
"""Results are their owner's alone, and libvirt's qemu, which is another user, runs them nevertheless: nothing is made readable on its way."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import libvirtd
from libvirtd import virsh


@pytest.fixture
def place():
    with libvirtd.running(), libvirtd.place() as folder:
        yield folder


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*") if not path.is_symlink()}


def ran_by(name: str) -> str:
    """The user that the qemu of a domain runs as."""
    found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if f"guest={name}".encode() in path.read_bytes()]
    return pwd.getpwuid(found[0].stat().st_uid).pw_name


def test_libvirts_own_user_runs_what_only_its_owner_reads(place):
    name = f"hyper2kvm-modes-{os.getpid()}"
    source, out = place / "exports", place / "images" / name
    source.mkdir()
    work = {"source": [str(harness.sparse(source / "disk.raw", 8 << 20, 0))], "work_dir": str(out / ".work")}
    for step, more in (("vmdk_fetch", {}), ("disk_flatten", {}), ("qemu_convert", {"name": name, "dest": str(out)})):
        done = harness.module(step, **work, **more)
        assert not done.get("failed"), done["msg"]
    facts = {"firmware": "uefi"}
    described = harness.module(
        "domain_describe", dest=str(out), name=name, vm={"memory": 256}, facts=facts, disks=done["disks"], formats=["qemu", "proxmox"]
    )
    harness.module("migration_report", dest=str(out), vm={"name": name}, disks=done["disks"])
    booted = harness.module(
        "boot_test",
        disks=[{"path": disk["path"], "format": disk["format"]} for disk in done["disks"]],
        backend="libvirt",
        description=described["path"],
        dest=str(out / "rehearsal"),
        timeout=5,
    )
    assert booted["error_code"] == "boot_failed" and "console" in booted["msg"], booted["msg"]  # it ran, and an empty disk does not boot
    found = modes(place / "images")
    special = {name: 0o711, f"{name}/.work": 0o700, f"{name}/rehearsal": 0o711, f"{name}/{name}.sh": 0o700}
    assert found == {**dict.fromkeys(found, 0o600), **special} and len(found) > 12
    try:
        started = harness.module("libvirt_domain", description=described["path"], state="running")
        assert not started.get("failed"), started["msg"]
        assert ran_by(name) == "libvirt-qemu"
        assert stat.S_IMODE(os.stat(done["disks"][0]["path"]).st_mode) == 0o600
    finally:
        quarantine = place / "images" / "quarantine" / name
        taken = harness.module("libvirt_domain", name=name, state="absent", timeout=1, power_off=True, quarantine=str(quarantine))
    assert not taken.get("failed") and name not in virsh("list", "--all")
    kept = {path: mode for path, mode in modes(place / "images" / "quarantine").items() if path != name}
    assert len(kept) == 3 and set(kept.values()) == {0o600} and stat.S_IMODE(quarantine.stat().st_mode) == 0o711


def test_a_group_reads_the_results_where_the_operator_says_so(tmp_path):
    """And never the plan, nor the work directory; a directory that was there before keeps its mode."""
    source, out = tmp_path / "exports", tmp_path / "images" / "vm"
    source.mkdir()
    work = {"source": [str(harness.sparse(source / "disk.raw", 4 << 20, 0))], "work_dir": str(out / ".work")}
    for step, more in (
        ("vmdk_fetch", {"mode": "0640"}),
        ("disk_flatten", {}),
        ("qemu_convert", {"name": "vm", "dest": str(out), "mode": "0640"}),
    ):
        done = harness.module(step, **work, **more)
        assert not done.get("failed"), done["msg"]
    harness.module("domain_describe", dest=str(out), name="vm", vm={"memory": 256}, disks=done["disks"], formats=["qemu"], mode="0640")
    harness.module("migration_report", dest=str(out), work_dir=work["work_dir"], disks=done["disks"], mode="0640")
    found = modes(tmp_path / "images")
    readable = {name: mode for name, mode in found.items() if (mode & 0o040 and not name.endswith(".json")) or name.endswith("report.json")}
    assert readable == {
        "vm": 0o751, "vm/vm-disk0.qcow2": 0o640, "vm/vm.xml": 0o640, "vm/vm.sh": 0o750, "vm/report.md": 0o640, "vm/report.json": 0o640
    }  # fmt: skip
    assert found["vm/.work"] == 0o700 and found["vm/plan.json"] == 0o600
    refused = harness.module("migration_report", dest=str(out), vm={"name": "vm"}, mode="0666")
    assert refused["error_code"] == "invalid_input" and '"0640"' in refused["hint"]
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    harness.module("migration_report", dest=str(theirs), vm={"name": "vm"})
    assert modes(tmp_path)["theirs"] == 0o755 and modes(theirs)["report.md"] == 0o600
