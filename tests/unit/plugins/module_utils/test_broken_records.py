# SPDX-License-Identifier: GPL-3.0-or-later
"""Records that others have written to, and options that no VM can have, are refused by name, and never a traceback."""

from __future__ import annotations

import json
import math
import os

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import memory
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import FETCH, Converted, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.request import RECORD
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import nics
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import source_options
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.domains import describe
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Facts
from ansible_collections.hyper2kvm.migration.plugins.modules import domain_describe, drop_folder, migration_report

VM = VmId("", "/srv", ("/srv/a.vmdk",), "a", "x", ())
IDENTITY = {"uuid": "", "place": "/srv", "source": ["/srv/a.vmdk"], "name": "a", "digest": "", "disks": []}
DISK = {"staged": "/srv/disk0.vmdk", "virtual_size": 1 << 20, "files": ["/srv/a.vmdk"]}
FETCHED = {
    "format": 1,
    "stage": "fetch",
    "inputs": [],
    "options": {"source": ["/srv/a.vmdk"]},
    "outputs": [],
    "result": {"name": "a", "disks": [DISK]},
}
REPORTS = {
    "an origin that is a list": {"origin": [1]},
    "a source that is a number": {"origin": {"source": 7}},
    "a source that is no URL": {"origin": {"source": "vsphere://[::1"}},
    "disks that are texts": {"disks": ["x"]},
    "disks that are a number": {"disks": 7},
    "files that are numbers": {"disks": [{"files": [7]}]},
    "files with half a letter": {"disks": [{"files": ["\ud800"]}]},
    "files with a NUL": {"disks": [{"files": ["/a\0b"]}]},
    "an identity without an end": {"identity": {**IDENTITY, "disks": [{"size": math.inf, "head": "", "tail": ""}]}},
    "an identity that is a text": {"identity": "x"},
    "an identity at no place": {"identity": {**IDENTITY, "source": [7]}},
}
BROKEN = {
    "no options": {"options": None},
    "options that are a text": {"options": "x"},
    "a source of numbers": {"options": {"source": [7]}},
    "a source that is a text": {"options": {"source": "/srv/a"}},
    "a result that is a text": {"result": "x"},
    "a result without disks": {"result": {"name": "a"}},
    "disks by name": {"result": {"name": "a", "disks": {"a": 1}}},
    "disks that are numbers": {"result": {"name": "a", "disks": [math.inf]}},
    "a size without an end": {"result": {"name": "a", "disks": [{**DISK, "virtual_size": math.inf}]}},
    "a disk that is nowhere": {"result": {"name": "a", "disks": [{"virtual_size": 1}]}},
    "cards that are texts": {"result": {"name": "a", "disks": [], "nics": ["x"]}},
    "an origin that is a list": {"result": {"name": "a", "disks": [], "origin": [1]}},
    "a stream of nowhere": {"result": {"name": "a", "disks": [], "origin": {"stream": []}}},
    "an identity of numbers": {"result": {"name": "a", "disks": [], "identity": {**IDENTITY, "place": 7}}},
    "an input with half a letter": {"inputs": [{"path": "\ud800", "size": 1, "mtime_ns": 1, "inode": 1}]},
    "an input with a NUL": {"inputs": [{"path": "/a\0b", "size": 1, "mtime_ns": 1, "inode": 1}]},
    "an input of texts": {"inputs": [{"path": "/a", "size": "x", "mtime_ns": 1, "inode": 1}]},
    "inputs by name": {"inputs": {"a": 1}},
    "half a letter": {"result": {"name": "\ud800", "disks": []}},
    "another stage": {"stage": "convert"},
    "a stage that is a list": {"stage": ["fetch"]},
}


@pytest.mark.parametrize("wrong", REPORTS.values(), ids=REPORTS)
def test_a_report_that_does_not_say_whose_it_is_is_refused(wrong, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"format": 1, "source": wrong}))
    with pytest.raises(InvalidInput) as refused:
        places.require_report(str(tmp_path), VM)
    assert refused.value.hint


@pytest.mark.parametrize("wrong", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_none(wrong, tmp_path):
    record = tmp_path / "fetch.json"
    record.write_text(json.dumps(FETCHED))
    assert staging.fetched(str(tmp_path)) is not None
    record.write_text(json.dumps({**FETCHED, **wrong}))
    assert Manifest.load(str(record), "fetch", form=FETCH) is None and staging.fetched(str(tmp_path)) is None
    assert source_options.sources_of({"work_dir": str(tmp_path)}) == [] and not staging.flattened(str(tmp_path))
    with pytest.raises(InvalidInput, match="Run FETCH first"):
        staging.require_fetched(str(tmp_path))
    places.work_dir(str(tmp_path)).require(VM)


def test_a_disk_that_0_1_0_made_and_is_gone_is_no_record_to_go_on_from(tmp_path):
    """0.1.0 did not record how the disks were that it had made, for a package that has no file of them."""
    made = tmp_path / "disk0.qcow2"
    made.touch()
    (tmp_path / "fetch.json").write_text(
        json.dumps({**FETCHED, "result": {"name": "a", "disks": [{"staged": str(made), "virtual_size": 1}]}})
    )
    assert staging.fetched(str(tmp_path)) is not None
    made.unlink()
    assert staging.fetched(str(tmp_path)) is None


@pytest.mark.parametrize("wrong", [5, None, "x", [5], {"a": 1}], ids=str)
def test_a_broken_record_of_overlays_is_none(wrong, tmp_path):
    overlay = staging.overlay(str(tmp_path), 0)
    right = {"format": 1, "stage": "flatten", "inputs": [], "options": {"vm": ""}, "result": {"overlays": [overlay]}}
    (tmp_path / "fetch.json").write_text(json.dumps(FETCHED))
    (tmp_path / "flatten.json").write_text(json.dumps(right))
    open(overlay, "w").close()
    assert staging.flattened(str(tmp_path))
    (tmp_path / "flatten.json").write_text(json.dumps({**right, "result": {"overlays": wrong}}))
    assert not staging.flattened(str(tmp_path))


def test_a_card_without_a_mac_is_refused():
    with pytest.raises(InvalidInput, match="not a MAC address"):
        nics.named([{}])


@pytest.mark.parametrize("stage", ["convert", "writing"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"options": "x"},
        {"options": {"format": "exotic"}},
        {"options": {"device": 7}},
        {"result": {"head": 7}},
        {"result": {"virtual_size": math.nan}},
    ],
    ids=str,
)
def test_a_broken_record_of_a_result_is_none(stage, wrong, tmp_path):
    right = {"format": 1, "stage": stage, "inputs": [], "options": {}, "result": {}}
    (tmp_path / "m.json").write_text(json.dumps(right))
    assert Manifest.load(str(tmp_path / "m.json"), stage, form=RECORD) is not None
    (tmp_path / "m.json").write_text(json.dumps({**right, **wrong}))
    assert Manifest.load(str(tmp_path / "m.json"), stage, form=RECORD) is None


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_without_an_end_are_no_identity_and_no_run(number, tmp_path):
    with pytest.raises(InvalidInput):
        VmId.from_data({**IDENTITY, "disks": [{"size": number, "head": "", "tail": ""}]})
    with pytest.raises(InvalidInput):
        memory.Run.from_data({"pid": number})
    for data in (
        {"vm": {**IDENTITY, "disks": [{"size": number, "head": "", "tail": ""}]}, "run": None},
        {"vm": None, "run": {"pid": number}},
    ):
        (tmp_path / "vm.json").write_text(json.dumps({**data, "seen": 0}))
        with pytest.raises(InvalidInput, match="does not say which VM"):
            memory.recall(str(tmp_path / "vm.json"))


def refusal(module, capsys, **arguments):
    """What a module answers to these arguments in both modes, which must be a refusal."""
    said = []
    for check in (True, False):
        given = {**arguments, "_ansible_check_mode": check}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        said.append(json.loads(capsys.readouterr().out.strip().splitlines()[-1]))
        assert said[-1].get("failed"), said
    assert said[0]["msg"] == said[1]["msg"] and said[0]["hint"]
    return said[0]["msg"]


MADE = {"path": "/srv/a.qcow2", "format": "qcow2"}
DESCRIBED = [
    ("vm.nics", {"vm": {"nics": 7}}), ("vm.nics[0]", {"vm": {"nics": ["x"]}}), ("vm.cpus", {"vm": {"cpus": "\u00b2"}}), ("vm.cpus", {"vm": {"cpus": 0}}),
    ("vm.memory", {"vm": {"memory": "x"}}), ("vm.memory", {"vm": {"memory": -1}}), ("vm.memory", {"vm": {"memory": 10**40}}),
    ("vm.uuid", {"vm": {"uuid": "zz"}}), ("vm.nics[0].mac", {"vm": {"nics": [{"mac": "<x>"}]}}), ("vm.firmware", {"vm": {"firmware": 7}}),
    ("vm.identity", {"vm": {"identity": "x"}}), ("facts.cards", {"facts": {"cards": 7}}), ("facts.cards[0].mac", {"facts": {"cards": [{"mac": "<x>"}]}}),
    ("facts.disk_bus", {"facts": {"disk_bus": "zz"}}), ("facts.firmware", {"facts": {"firmware": 7}}), ("facts.windows", {"facts": {"windows": [1]}}),
    ("facts.boot_disk", {"facts": {"boot_disk": "x"}}), ("facts.phases", {"facts": {"phases": 7}}), ("networks.a", {"networks": {"a": 7}}),
    ("disks[0].path", {"disks": [{"path": "a.qcow2", "format": "qcow2"}]}), ("disks[0].path", {"disks": [{"path": "/a b\n", "format": "qcow2"}]}),
    ("disks[0].format", {"disks": [{"path": "/a", "format": "zz"}]}), ("disks[0].path", {"disks": [{}]}), ("disks", {"disks": []}),
]  # fmt: skip


@pytest.mark.parametrize(("option", "given"), DESCRIBED, ids=str)
def test_what_no_vm_can_have_is_refused_by_name(option, given, tmp_path, capsys):
    said = refusal(domain_describe, capsys, **{"dest": str(tmp_path / "out"), "name": "a", "disks": [MADE], **given})
    assert said.startswith(f"{option} is "), said
    assert not os.path.exists(tmp_path / "out")


REPORTED = [
    ("disks[0].path", {"disks": [{}]}), ("disks[0].virtual_size", {"disks": [{**MADE, "virtual_size": "x"}]}),
    ("boot.checks[0]", {"boot": {"verdict": "passed", "checks": ["x"]}}), ("boot.verdict", {"boot": {"verdict": 7}}),
    ("boot.signals", {"boot": {"signals": [1]}}),
    ("guest.facts", {"guest": {"facts": "x"}}), ("guest.changes[0].kind", {"guest": {"changes": [{}]}}), ("vm.nics", {"vm": {"nics": 7}}),
    ("guest.proof.checks[0]", {"guest": {"proof": {"checks": ["x"]}}}),
]  # fmt: skip


@pytest.mark.parametrize(("option", "given"), REPORTED, ids=str)
def test_a_report_of_what_cannot_be_is_refused_by_name(option, given, tmp_path, capsys):
    said = refusal(migration_report, capsys, **{"dest": str(tmp_path / "out"), **given})
    assert said.startswith(f"{option} is not "), said
    assert not os.path.exists(tmp_path / "out")


@pytest.mark.parametrize("more", [{}, {"work_dir": "never"}, {"disks": []}], ids=str)
def test_without_a_vm_there_is_nothing_to_report(more, tmp_path, capsys):
    given = {**more, **({"work_dir": str(tmp_path / "never")} if more.get("work_dir") else {})}
    for check in (False, True):
        assert "nothing to report" in refusal(
            migration_report, capsys, dest=str(tmp_path / "out"), name="a", _ansible_check_mode=check, **given
        )
    assert not os.path.exists(tmp_path / "out")


ITEM = {"name": "a", "source": "/srv/a.ova", "entries": ["a.ova"], "digest": "0" * 64, "fault": ""}
DROPPED = [
    ("item.entries", {"item": {"name": "a"}}), ("item has more", {"item": {**ITEM, "more": 1}}), ("item.entries", {"item": {**ITEM, "entries": None}}),
    ("item.entries[0]", {"item": {**ITEM, "entries": [7]}}), ("item.name", {"item": {**ITEM, "name": 7}}), ("item.name", {"item": {}}),
    ("settle", {"settle": "nan"}), ("wait", {"wait": "nan"}), ("wait", {"wait": "inf"}), ("settle", {"settle": -1}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "given"), DROPPED, ids=str)
def test_an_item_that_is_none_is_refused_by_name(what, given, tmp_path, capsys):
    assert refusal(drop_folder, capsys, **{"path": str(tmp_path), **given}).startswith(what)


def test_numbers_may_be_texts_of_ascii():
    right = {"memory": "512", "cpus": "4", "cores_per_socket": "2", "nics": [{"mac": "00:50:56:00:00:01"}, {"mac": None}]}
    vm, facts, disk = from_data(VmSaid, right, "vm"), from_data(Facts, {"boot_disk": "0"}, "facts"), from_data(Converted, MADE, "disk")
    made = describe("a", vm, facts, [disk], "final", "default", "")
    assert (made.memory, made.cpus, made.topology, made.boot_disk) == (512, 4, (2, 2), 0)
