# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stage that runs alone finds of those before it."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity, Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import Converted, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import record, report
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Booted

DISKS = (Converted("/srv/web01-disk0.qcow2", "qcow2"),)


@pytest.fixture
def work(tmp_path):
    """A work directory of a VM that was fetched, repaired and converted."""
    overlay = tmp_path / "disk0-overlay.qcow2"
    overlay.write_bytes(b"repaired")
    Manifest("fetch", (), {}, (), {"name": "web01", "disks": []}).save(str(tmp_path / "fetch.json"))
    Manifest("fix", (), {}, (Identity.of(str(overlay)),), {"facts": {"os": "linux", "firmware": "uefi"}}).save(str(tmp_path / "fix.json"))
    record.converted(str(tmp_path), [Identity.of(str(overlay))], DISKS)
    return tmp_path


def test_what_was_recorded(work):
    before = record.so_far(str(work))
    assert (before.vm.machine.name, before.facts.firmware, [disk.path for disk in before.disks]) == ("web01", "uefi", [DISKS[0].path])
    assert record.results(str(work)) == DISKS


def test_the_same_record_is_not_written_again(work):
    path = work / "convert.json"
    before = path.stat().st_mtime_ns, path.stat().st_ino
    record.converted(str(work), [Identity.of(str(work / "disk0-overlay.qcow2"))], DISKS)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_without_a_repair_nothing_is_known_of_the_guest(work):
    (work / "fix.json").unlink()
    assert record.so_far(str(work)).facts == record.Facts()


def test_results_of_an_older_repair_are_refused(work):
    (work / "disk0-overlay.qcow2").write_bytes(b"repaired again")
    with pytest.raises(InvalidInput, match=r"repaired again.*--tags convert"):
        record.so_far(str(work))
    assert record.results(str(work)) == ()


@pytest.mark.parametrize(("missing", "remedy"), [("fetch.json", "vmdk_fetch"), ("convert.json", "--tags convert")])
def test_a_vm_that_has_not_come_that_far(work, missing, remedy):
    (work / missing).unlink()
    with pytest.raises(InvalidInput, match=remedy):
        record.so_far(str(work))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "inputs": [], "outputs": [], "options": {}, "stage": "convert", "result": {}}']
)
def test_a_damaged_record_is_none(work, text):
    (work / "convert.json").write_text(text)
    with pytest.raises(InvalidInput, match="--tags convert"):
        record.so_far(str(work))
    assert record.results(str(work)) == ()


def test_a_boot_test_counts_while_its_disks_are_the_same(tmp_path):
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"x")
    assert record.booted(str(tmp_path)) == Booted()
    Manifest("boot", (Identity.of(str(disk)),), {}, (), {"verdict": "passed"}).save(str(tmp_path / "boot.manifest.json"))
    assert record.booted(str(tmp_path)) == Booted("passed")
    disk.write_bytes(b"a VM has run on it")
    assert record.booted(str(tmp_path)) == Booted()


def test_what_fetch_and_fix_left_is_known_without_results(work):
    (work / "convert.json").unlink()
    assert record.known(str(work)).facts.firmware == "uefi" and record.known(str(work)).vm.machine.name == "web01"
    (work / "fetch.json").unlink()
    assert record.known(str(work)) == record.Known()


def test_what_was_found_of_other_disks_is_not_taken(work):
    (work / "disk0-overlay.qcow2").write_bytes(b"made anew, and not repaired")
    assert record.known(str(work)).facts == record.Facts()


def test_of_a_repair_that_did_not_come_to_its_end_the_report_has_no_older_plan(work):
    (work / staging.PLANNED).write_text("{}")
    assert report.recorded(str(work)).plan == "{}"
    Manifest(staging.REPAIRING, (), {}).save(str(work / "fix.json"))
    assert report.recorded(str(work)) == report.Recorded(VmSaid(Machine("web01")))
