# SPDX-License-Identifier: GPL-3.0-or-later
"""A line for each VM, whatever came of it."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.filter import conversion_hosts
from ansible_collections.hyper2kvm.migration.plugins.filter.summary import summary
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Concern
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Blocked
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import repair

SOURCE = {"migrate_source": "/x.vmx"}
OK = {"failed": False}
LOOKED_AT, NOTHING_KNOWN = "Migrated; not proved.", "not begun; its message is above"
CONCERNS = [
    {"code": "tools.needed", "severity": "warning"},
    {"code": "selinux.relabel", "severity": "info"},
    {"code": "luks.clevis", "severity": "warning"},
]
VMS = {
    "migrated": (
        {
            "migrate_fixed": {**OK, "concerns": CONCERNS},
            "migrate_reported": {"verdict": "Migrated, proved and booted.", "report": "/o/report.md"},
        },
        "Migrated, proved and booted. 2 concerns (luks.clevis, tools.needed). /o/report.md",
    ),
    "dry run": (
        {"migrate_fixed": {**OK, "concerns": CONCERNS[:1]}, "migrate_reported": {"verdict": "Dry run: nothing was written."}},
        "Dry run: nothing was written. 1 concern (tools.needed).",
    ),
    "without concerns": ({"migrate_fixed": OK, "migrate_reported": {"verdict": LOOKED_AT, "report": "/r"}}, f"{LOOKED_AT} 0 concerns. /r"),
    "failed early": ({"variables_checked": {"failed": True, "msg": "value of x\nmust be y."}}, "FAILED in the variables: value of x must be y."),
    "failed": ({"migrate_fetched": OK, "migrate_fixed": {"failed": True, "msg": "The guest\n is locked."}}, "FAILED in FIX: The guest is locked."),
    "failed between": ({"migrate_fetched": OK, "migrate_failed": "Say where it is"}, "FAILED in the task 'Say where it is'; its message is above"),
    "failed, and kept for the summary": ({"migrate_fetched": {"failed": True, "msg": "No."}, "migrate_failed": "FETCH - x"}, "FAILED in FETCH: No."),
    "failed without a word": ({"migrate_fetched": {"failed": True}}, "FAILED in FETCH: its message is above"),
    "failed at length": ({"migrate_booted": {"failed": True, "msg": "x" * 5000}}, "FAILED in VALIDATE: " + "x" * 400 + " ... " + "x" * 200),
    "one stage": ({"variables_checked": OK, "migrate_fetched": OK}, "no report; done: the variables, FETCH"),
    "never begun": ({}, NOTHING_KNOWN),
    "skipped stage": ({"migrate_booted": {"skipped": True}, "migrate_reported": {"verdict": "Migrated.", "report": "/r"}}, "Migrated. 0 concerns. /r"),
    "odd facts": ({"migrate_fetched": "x", "migrate_fixed": ["y"]}, NOTHING_KNOWN),
}  # fmt: skip


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(conversion_hosts, "_known", {})


@pytest.mark.parametrize("name", VMS)
def test_a_line(name):
    found, line = VMS[name]
    assert summary([name], {name: {**SOURCE, **found}}) == [f"{name}: {line}"]


def test_a_long_reason_keeps_the_code_that_can_be_accepted():
    stops = [
        Concern("mounts.unresolved", "blocker", f"/dev/sd{letter}1 is of no disk.", "Give all disks.")
        for letter in "abcdefghijklmnopqrstuvwxyz"
    ]
    with pytest.raises(Blocked) as met:
        repair.refuse_blockers(Plan((), tuple(stops)), ())
    (line,) = summary(["web01"], {"web01": {**SOURCE, "migrate_fixed": {"failed": True, **met.value.as_result()}}})
    assert line.endswith("Give all disks. Or migrate all the same (migrate_accept: [mounts.unresolved]).") and len(line) < 700


def test_the_order_is_the_inventorys_and_what_is_no_vm_is_left_out():
    hosts = {"z": SOURCE, "conv1": {}, "a": {**SOURCE, "migrate_conversion_host": "conv1"}, "localhost": {}, "all": SOURCE, "a,b": SOURCE}
    assert [line.partition(": ")[0] for line in summary(list(hosts), hosts)] == ["z", "a", "all", "a,b"]


def test_a_host_that_failed_without_a_source_is_told_too():
    hosts = {"a": {"migrate_failed": "Validating arguments"}, "b": {}}
    assert summary(list(hosts), hosts) == ["a: FAILED in the task 'Validating arguments'; its message is above"]
