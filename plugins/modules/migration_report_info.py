#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the report of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_report_info
short_description: Read the report of a VM's migration
description:
  - Reads the V(report.json) that M(hyper2kvm.migration.migration_report) wrote, and refuses what is none.
  - Much of a report is text of the guest and of its source. As the result of a module it is data with every version of ansible-core, never a template.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  path:
    description: The V(report.json).
    type: path
    required: true
  source:
    description: The source of the VM, as it was migrated. A report of another VM is refused.
    type: list
    elements: str
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
"""

EXAMPLES = r"""
- name: Read what the migration has left
  hyper2kvm.migration.migration_report_info:
    path: /var/lib/images/web01/report.json
  register: recorded
"""

RETURN = r"""
report:
  description: What the steps after a migration need of its report.
  returned: success
  type: dict
  contains:
    vm:
      description: The name of the VM.
      type: str
      sample: web01
    source:
      description: The VM as its source describes it.
      type: dict
      sample: {kind: vmx, firmware: bios, memory: 2048}
    facts:
      description: What inspection found out.
      type: dict
      sample: {os: linux, firmware: bios, boot_disk: 0}
    disks:
      description: The converted disks, each with its path and its format.
      type: list
      elements: dict
      sample: [{path: /var/lib/images/web01/web01-disk0.qcow2, format: qcow2}]
  sample: {vm: web01, source: {kind: vmx}, facts: {os: linux}, disks: [{path: /var/lib/images/web01/web01-disk0.qcow2, format: qcow2}]}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import source_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places, recorded


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {"path": {"type": "path", "required": True}, "source": {"type": "list", "elements": "str"}}


def work(module: AnsibleModule) -> Result:
    params = module.params
    found = recorded.read(params["path"])
    if params["source"]:
        places.require_reported(found.done.source.identity, source_of(params), params["path"])
    return {"changed": False, "report": found.as_result()}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
