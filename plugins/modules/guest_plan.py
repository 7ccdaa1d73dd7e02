#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PLAN: what a migration would change in a guest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_plan
short_description: Plan the changes that make a guest boot on KVM
description:
  - Opens all disks of a VM read-only, inspects the guest and returns the ordered changes, each with its reason and diff, and the concerns.
  - A saved plan can be reviewed, kept, and carried out later by M(hyper2kvm.migration.guest_fix). It is refused on a guest that has changed since.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  fixes:
    description: Which fixes to plan. All of them by default.
    type: list
    elements: str
    default: []
    choices: [fstab, storage, bootloader, network, vmware_tools, agent, customize, initramfs, virtio, boot_files, firstboot]
  dest:
    description: A file to save the plan to, as JSON.
    type: path
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.disk_set.guest
  - hyper2kvm.migration.disk_set.system
  - hyper2kvm.migration.disk_set.fix
  - hyper2kvm.migration.disk_set.options
"""

EXAMPLES = r"""
- name: Plan and keep the plan
  hyper2kvm.migration.guest_plan:
    source: /exports/web01/web01.vmx
    dest: /var/lib/migration/web01.plan.json
"""

RETURN = r"""
id:
  description: The repair's id. What it replaced or removed is below C(/var/lib/hyper2kvm/<id>) in the guest.
  returned: success
  type: str
facts:
  description: What inspection found out (distribution, kernels, boot loaders, root, mounts, interfaces with their MACs, ...).
  returned: success
  type: dict
concerns:
  description: What a person should know before migrating, each with code, severity, cause and remedy.
  returned: success
  type: list
  elements: dict
timings:
  description: Seconds per phase.
  returned: success
  type: dict

changes:
  description: The changes with kind, path, reason and diff.
  returned: success
  type: list
  elements: dict
plan:
  description: The plan as data; C(guest_fix) takes it as O(hyper2kvm.migration.guest_fix#module:plan).
  returned: success
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import (
    fix_spec,
    fixes_spec,
    guest_request,
    report_result,
    sources_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import atomic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.guest_work import look
from ansible_collections.hyper2kvm.migration.plugins.module_utils.running import Result, libraries_of, module_for, respawn_for, run


def work(module: AnsibleModule) -> Result:
    with guest_request(module, module.params["fixes"]) as request:
        report = look(request, plan_too=True)
    return report_result(module, report, save(module, report.plan.as_data()))


def save(module: AnsibleModule, plan: dict) -> bool:
    dest = module.params["dest"]
    if not dest:
        return False
    try:
        with open(dest, encoding="utf-8") as file:
            changed = json.load(file) != json.loads(json.dumps(plan))
    except (OSError, ValueError):
        changed = True
    if changed and not module.check_mode:
        atomic.write_json(dest, plan, 0o600)
    return changed


def main() -> None:
    module = module_for(
        {**fix_spec(), **fixes_spec(), "dest": {"type": "path"}},
        required_one_of=[("source", "disks", "work_dir")],
        mutually_exclusive=[("source", "disks")],
    )
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))
    run(module, work)


if __name__ == "__main__":
    main()
