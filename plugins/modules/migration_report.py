#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_report
short_description: Write the report of a VM's migration
description: Writes V(report.json), V(report.md) and V(plan.json) into a directory, from what the stages recorded and returned.
  - What is secret in the guest is in V(plan.json) alone, which only its owner reads.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  dest:
    description: The directory, created if it is missing.
    type: path
    required: true
  work_dir:
    description: The VM's work directory, whose records say what was fetched and repaired, in full. They come before O(vm) and O(guest). Once the report is
      written other runs may work on the VM.
    type: path
    version_added: 0.2.0
  name:
    description: The name of the VM, where it is another than at its source.
    type: str
    version_added: 0.2.0
  vm:
    description: What M(hyper2kvm.migration.vmdk_fetch) returned as RV(hyper2kvm.migration.vmdk_fetch#module:vm), where there is no O(work_dir).
    type: dict
    default: {}
  guest:
    description: What M(hyper2kvm.migration.guest_fix) returned, where there is no O(work_dir).
    type: dict
    default: {}
  disks:
    description: What M(hyper2kvm.migration.qemu_convert) returned as RV(hyper2kvm.migration.qemu_convert#module:disks). Where they are not given, what
      O(work_dir) says, unless the disks were repaired again since.
    type: list
    elements: dict
  boot:
    description: What M(hyper2kvm.migration.boot_test) returned as RV(hyper2kvm.migration.boot_test#module:boot). Where it is not given and there is a
      O(work_dir), what the last boot test in O(dest) said, if the disks are still as they were then.
    type: dict
  source:
    description: The source of the VM. A work directory of another VM is refused.
    type: list
    elements: str
    version_added: 0.2.0
  results:
    description: The directory of the results, if that is not O(dest).
    type: path
    version_added: 0.2.0
  moved:
    description: Whether a report of the VM from another place may be replaced.
    type: bool
    default: false
    version_added: 0.2.0
extends_documentation_fragment:
  - hyper2kvm.migration.attributes.run
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
"""

EXAMPLES = r"""
- name: Write the report
  hyper2kvm.migration.migration_report:
    dest: /var/lib/images/web01
    work_dir: /var/lib/images/web01/.work
    name: web01
    disks: "{{ converted.disks }}"
    boot: "{{ booted.boot }}"
"""

RETURN = r"""
report:
  description: The path of the report for people.
  returned: success, and in check mode only where it is there and would stay as it is
  type: str
  sample: /var/lib/images/web01/report.md
verdict:
  description: The first sentence of the report; in check mode how many changes the guest would get, and whether it is proved to boot.
  returned: success
  type: str
  sample: Migrated, proved and booted.
"""

from typing import Any, Mapping

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.records import boot_of, disks_of, guest_of, vm_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, subject_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.reporting import Report, ReportOptions


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.RUN,
        **attributes.MODE,
        "dest": {"type": "path", "required": True},
        "work_dir": {"type": "path"},
        "name": {"type": "str"},
        "vm": {"type": "dict", "default": {}},
        "guest": {"type": "dict", "default": {}},
        "disks": {"type": "list", "elements": "dict"},
        "boot": {"type": "dict"},
        "source": {"type": "list", "elements": "str"},
        "results": {"type": "path"},
        "moved": {"type": "bool", "default": False},
    }


def stage_of(params: Mapping[str, Any]) -> Report:
    answers = {"vm": vm_of(params), "guest": guest_of(params), "disks": disks_of(params), "boot": boot_of(params)}
    return Report(made(ReportOptions, params, subject=subject_of(params), mode=modes.parse(params["mode"]), **answers))


def main() -> None:
    run_stage(module_with_source(argument_spec()), stage_of)


if __name__ == "__main__":
    main()
