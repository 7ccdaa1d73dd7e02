# SPDX-License-Identifier: GPL-3.0-or-later
"""The report read back: whole or refused with what to do."""

from __future__ import annotations

import os

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import Converted, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import recorded, report
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Booted, Facts, Repaired

DISK = Converted("/images/web01-disk0.qcow2", "qcow2")
FACTS = Facts(os="linux", product="{{ 7*7 }} {% raw %}")
VM = VmSaid(Machine("web01", "vmx"))
REFUSED = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "another format": {"format": 99},
    "format as text": {"format": "1"},
    "no vm": {"vm": None},
    "vm as number": {"vm": 7},
    "source as text": {"source": "{{ 7*7 }}"},
    "facts as list": {"facts": []},
    "no facts": {"facts": None},
    "disks as dictionary": {"disks": {}},
    "no disks": {"disks": []},
    "a disk as text": {"disks": ["/etc/passwd"]},
    "a disk without format": {"disks": [{"path": "/x"}]},
    "a path as list": {"disks": [{"path": ["/x"], "format": "raw"}]},
    "deep": "[" * 100_000,
    "two documents": '{"format": 1} {"format": 1}',
    "no text": b"\xff\xfe\x00",
}


def written(tmp_path, **more):
    data = {**report.as_data(report.of(VM, Repaired(FACTS), [DISK], Booted())), **more}
    (tmp_path / "report.json").write_text(report.as_json(data))
    return str(tmp_path / "report.json")


def test_what_was_written_is_read_as_it_is(tmp_path):
    found = recorded.read(written(tmp_path))
    source = {key: value for key, value in to_data(VM).items() if key != "name"}
    assert found.as_result() == {"vm": "web01", "source": source, "facts": to_data(FACTS), "disks": [to_data(DISK)]}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_is_no_report_is_refused(content, tmp_path):
    path = written(tmp_path, **content) if isinstance(content, dict) else str(tmp_path / "report.json")
    if not isinstance(content, dict):
        (tmp_path / "report.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match="cannot be used") as refused:
        recorded.read(path)
    assert "migrate.yml" in refused.value.hint


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(InvalidInput, match="cannot be used"):
            recorded.read(str(path))


def test_a_report_that_fills_the_memory_is_refused(tmp_path):
    path = written(tmp_path)
    os.truncate(path, limits.MANIFEST + 1)
    with pytest.raises(InvalidInput, match=r"cannot be used: .* has more than 64 MiB"):
        recorded.read(path)
