# SPDX-License-Identifier: GPL-3.0-or-later
"""One more kind of change is one file and one line: tests/support/one_more_kind.py, and REGISTRY, which is the line."""

from __future__ import annotations

import json

import dropped
import pytest
from fixtures import facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, NotEnoughSpace, StalePlan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import BACKUPS, apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.change import collected
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan, merge
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.view import PendingView
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import kinds, repair

touch = dropped.module("one_more_kind.py", "guest.changes.touch")
Touch = touch.Touch
REGISTRY = collected({**vars(kinds), "touch": touch})
KEY = "/etc/app.key"


@pytest.fixture
def made() -> MemoryGuest:
    return guest(**{KEY: "x\n"})


@pytest.fixture
def plan() -> Plan:
    return Plan(merge([Touch(KEY, 0o644, 0o640, "for a test"), WriteFile("/etc/new", None, "y\n", "for a test")]))


def test_it_is_planned_saved_read_back_applied_and_taken_back(made, plan):
    before = dict(made.files)
    saved = Plan.from_data(json.loads(plan.text()), REGISTRY)
    assert saved == plan and saved.id == plan.id and saved.changes[0].after == 0o640
    with pytest.raises(InvalidInput, match="touch"):
        Plan.from_data(json.loads(plan.text()), kinds.KINDS)
    outcome = apply(made, saved)
    assert made.stat(KEY).mode == 0o640
    kept = Plan.from_json(made.read(f"{outcome.backup}/plan.json"), REGISTRY)
    assert kept == plan
    undo(made, kept)
    assert made.files == before and made.stat(KEY).mode == 0o644 and outcome.backup.startswith(BACKUPS)


def test_it_is_shown(made, plan):
    assert plan.summary()[0] == {"kind": "touch", "path": KEY, "reason": "for a test", "diff": f"mode of {KEY}: 644 -> 640\n"}
    assert plan.counts() == {"touch": 1, "write": 1} and plan.shown() == plan and not plan.withheld()
    assert PendingView(made, plan.changes).stat(KEY).mode == 0o640 and PendingView(made, plan.changes).read(KEY) == b"x\n"


def test_two_of_it_are_one(plan):
    assert merge([*plan.changes, plan.changes[0]]) == plan.changes


def test_it_is_found_stale_before_and_afterwards(made, plan):
    made.modes[KEY] = 0o600
    with pytest.raises(StalePlan, match=KEY):
        apply(made, plan)
    made.modes[KEY] = 0o644
    apply(made, plan)
    made.modes[KEY] = 0o600
    with pytest.raises(StalePlan, match=KEY):
        undo(made, plan)


def test_it_gets_the_space_that_it_needs(made, plan, monkeypatch):
    spare = (20 << 20) + 4096
    monkeypatch.setattr(made, "free", lambda path: (spare, 1000), raising=False)
    repair.check_space(made, facts(made), Plan(plan.changes[:1]))
    with pytest.raises(NotEnoughSpace):
        repair.check_space(made, facts(made), plan)
