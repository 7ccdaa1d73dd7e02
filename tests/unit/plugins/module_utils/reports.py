# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of what stages have answered, as modules give it."""

from __future__ import annotations

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import each_from_data, from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import Converted, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import report
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Booted, Migration, Repaired


def written(vm, guest, disks=(), boot=None):
    """What is in a report.json."""
    read = from_data(VmSaid, vm, "vm"), from_data(Repaired, guest, "guest"), each_from_data(Converted, disks, "disks")
    return report.as_data(report.of(*read, from_data(Booted, boot or {}, "boot")))


def page(data):
    """What is in a report.md."""
    return report.as_markdown(from_data(Migration, data, "report"))
