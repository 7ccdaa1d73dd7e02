# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest modules on a real guest: what they find, plan, change, and that a second time there is nothing to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import lab

STEPS = {
    "guest_fix_fstab": {"/etc/fstab"},
    "guest_fix_bootloader": {"/etc/default/grub", "/boot/grub/grub.cfg", "/boot/grub/device.map"},
    "guest_fix_network": {
        f"/etc/systemd/network/10-hyper2kvm-{lab.NIC}.link",
        "/etc/udev/rules.d/70-persistent-net.rules",
        "/etc/udev/rules.d/72-hyper2kvm-position.rules",
    },
    "guest_remove_vmware_tools": {"/var/lib/dpkg/status", "/usr/bin/vmtoolsd"},
    "guest_fix_initramfs": {"/etc/initramfs-tools/modules"},
}


@pytest.fixture
def work(tmp_path):
    """A staged lab guest with fresh overlays."""
    directory = str(tmp_path / "work")
    harness.module("vmdk_fetch", source=harness.guest("bios"), work_dir=directory)
    harness.module("disk_flatten", work_dir=directory)
    return directory


def test_a_source_is_inspected_without_a_trace(tmp_path):
    sources = harness.guest("bios")
    before = harness.digests(sources)
    facts = harness.module("guest_inspect", source=sources)["facts"]
    assert (facts["distribution"], facts["firmware"], facts["initramfs_tool"], facts["root"]) == (
        "debian",
        "bios",
        "initramfs-tools",
        "/dev/sda2",
    )
    assert facts["tools"] == ["open-vm-tools"] and facts["interfaces"] == [[lab.NIC, lab.MAC]] and facts["mounts"][1]["path"] == "/srv"
    assert harness.digests(sources) == before


@pytest.mark.rotates("guests", 200)
def test_the_single_steps_add_up_and_leave_nothing_to_do(work):
    """Each step changes its own files and no others; after all of them the proof holds and nothing is left to plan."""
    for name, expected in STEPS.items():
        answer = harness.module(name, work_dir=work)
        paths = {change["path"] for change in answer["changes"]}
        assert answer["changed"] and expected <= paths, (name, paths)
        others = set().union(*(files for step, files in STEPS.items() if step != name))
        assert not paths & others
        assert not harness.module(name, work_dir=work)["changed"]
    assert harness.module("guest_validate", work_dir=work)["proof"]["verdict"] == "passed"
    assert harness.module("guest_plan", work_dir=work)["changes"] == []


@pytest.mark.rotates("guests", 90)
def test_a_saved_plan_is_carried_out_later_and_refused_on_another_guest(work, tmp_path):
    sources = harness.guest("bios")
    saved = harness.module("guest_plan", source=sources, dest=str(tmp_path / "plan.json"))
    assert saved["changed"] and not harness.module("guest_plan", source=sources, dest=str(tmp_path / "plan.json"))["changed"]
    plan = json.loads((tmp_path / "plan.json").read_text())
    refused = harness.module("guest_fix", work_dir=work, plan={**plan, "changes": [{**plan["changes"][0], "before": "something else"}]})
    assert refused["failed"] and refused["error_code"] == "stale_plan" and "/etc/fstab" in refused["msg"]
    done = harness.module("guest_fix", work_dir=work, plan=plan)
    assert done["changed"] and done["proof"]["verdict"] == "passed" and len(done["changes"]) == len(plan["changes"])


@pytest.mark.rotates("guests", 110)
def test_the_guests_own_tool_can_build_the_initramfs(work):
    done = harness.module("guest_fix", work_dir=work, initramfs="regenerate")
    assert done["proof"]["verdict"] == "passed", done
    assert [change["kind"] for change in done["changes"]][-1] == "run" and "update-initramfs: Generating" in done["output"][0]


def test_a_fix_never_writes_to_a_source(tmp_path):
    sources = harness.guest("bios")
    assert "never written" in harness.module("guest_fix_fstab", source=sources)["msg"]
    image = tmp_path / "whole.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1G"], check=True)
    answer = harness.module("guest_fix_fstab", disks=[{"path": str(image), "format": "qcow2"}])
    assert answer["error_code"] == "invalid_input" and "is not an overlay" in answer["msg"]


def test_a_missing_library_is_named(tmp_path):
    """An interpreter without the bindings, and none to go on under."""
    (tmp_path / "guestfs.py").write_text("raise ImportError('not here')\n")
    answer = harness.module(
        "conversion_host_info", env={"PYTHONPATH": f"{tmp_path}:{harness.ROOT / '.venv' / 'collections'}"}, probe_accelerator=False
    )
    assert answer["missing"] == ["libguestfs Python bindings"]
    assert harness.module("conversion_host_info")["missing"] == []


@pytest.mark.rotates("guests", 90)
def test_an_encrypted_disk_is_opened_by_its_key_or_reported(tmp_path):
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    handle.set_backend_settings(["force_tcg"])
    handle.disk_create(str(tmp_path / "luks.raw"), "raw", 64 << 20)
    handle.add_drive_opts(str(tmp_path / "luks.raw"), format="raw")
    handle.launch()
    handle.luks_format("/dev/sda", "correct horse", 0)
    uuid = handle.luks_uuid("/dev/sda")
    handle.cryptsetup_open("/dev/sda", "correct horse", "vault")
    handle.mkfs("ext4", "/dev/mapper/vault", label="vault")
    handle.cryptsetup_close("/dev/mapper/vault")
    handle.shutdown()
    handle.close()
    vault = tmp_path / "vault.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", tmp_path / "luks.raw", vault], check=True)
    source = [str(Path(harness.guest("bios")[0]).with_name("web01-000002.vmdk")), str(vault)]
    locked = harness.module("guest_plan", source=source, luks_keys={uuid: "wrong"})
    assert locked["facts"]["encrypted"] == [uuid] and "luks.locked" in [concern["code"] for concern in locked["concerns"]]
    opened = harness.module("guest_inspect", source=source, luks_keys={uuid: "correct horse"})
    assert opened["facts"]["encrypted"] == [] and "correct horse" not in json.dumps(opened)
