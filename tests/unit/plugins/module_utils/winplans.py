# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of winlab with their plans carried out."""

from __future__ import annotations

import winlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import hives
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options


def repaired(release: winlab.Release, options: Options, made=None, **kwargs):
    """A guest with its facts, its plan carried out, and where the backup lies."""
    made = made or winlab.guest(release)
    facts = winlab.inspected(made, release, options)
    changes = winlab.planned(made, facts, options, **kwargs)
    backups = f"/c/{release.root}/hyper2kvm/backup"
    apply(made, changes, backups)
    return made, facts, changes, backups


def system_of(made, release: winlab.Release) -> hives.Draft:
    return hives.Draft.of(made, f"/c/{release.root}/System32/config/SYSTEM")


def software_of(made, release: winlab.Release) -> hives.Draft:
    return hives.Draft.of(made, f"/c/{release.root}/System32/config/SOFTWARE")


def codes(changes: Plan) -> set[str]:
    return {concern.code for concern in changes.concerns}
