#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed block tracking of a VM of vSphere: on, off, proved, asked."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_cbt
short_description: Enable and query changed block tracking of a VM of vSphere
description:
  - Tracking takes effect only after the VM was stunned, so a snapshot is taken and removed, and each disk is then checked for its changeId.
  - It is refused while the VM has snapshots, because queries would be silently wrong.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  state:
    description: Whether tracking is on. V(query) only asks for areas.
    type: str
    default: enabled
    choices: [enabled, query]
  snapshot:
    description: The snapshot whose disks are asked for. A VM that is off needs none.
    type: str
    default: ""
  since:
    description: For each disk key the changeId since which areas are wanted. What is allocated where a disk is not named.
    type: dict
    default: {}
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.vsphere
  - hyper2kvm.migration.vsphere.vm
"""

EXAMPLES = r"""
- name: Turn change tracking on
  hyper2kvm.migration.vsphere_cbt:
    vm: DC1/vm/production/web01

- name: How much of its disks is in use
  hyper2kvm.migration.vsphere_cbt:
    vm: DC1/vm/production/web01
    state: query
    snapshot: before-migration
"""

RETURN = r"""
disks:
  description: What was asked for of each disk.
  returned: with O(state=query)
  type: list
  elements: dict
  contains:
    key: {description: The disk's key., type: int}
    change_id: {description: "Its changeId, from which a later query goes on.", type: str}
    areas: {description: "The areas, each as offset and length in bytes.", type: list, elements: list}
    bytes: {description: The sum of their lengths., type: int}
  sample: [{"key": 2000, "change_id": "52 8a/7", "areas": [[0, 65536]], "bytes": 65536}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import vsphere_vm
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import snapshots
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.connection import Session
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.model import Vm


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **vsphere.MAIN,
        **vsphere.VM,
        "state": {"type": "str", "default": "enabled", "choices": ["enabled", "query"]},
        "snapshot": {"type": "str", "default": ""},
        "since": {"type": "dict", "default": {}},
    }


def work(module: AnsibleModule, session: Session, vm: Vm) -> Result:
    params = module.params
    if params["state"] == "enabled":
        if not vm.cbt and not module.check_mode:
            snapshots.enable_tracking(session, vm)
        return {"changed": not vm.cbt}
    snapshot = snapshots.find(vm, params["snapshot"]) if params["snapshot"] else ""
    if snapshot is None:
        raise InvalidInput(f"{vm.name} has no snapshot {params['snapshot']}.", "Look at its snapshots with vsphere_vm_info.", vm=vm.path)
    point = snapshots.at(session, vm, snapshot) if snapshot else snapshots.Point(session, vm)
    disks = []
    for disk in point.vm.disks:
        areas = point.areas(disk, str(params["since"].get(str(disk.key), "*")))
        disks.append({"key": disk.key, "change_id": disk.change_id, "areas": areas, "bytes": sum(length for dummy, length in areas)})
    return {"changed": False, "disks": disks}


def main() -> None:
    vsphere_vm.on_vm(argument_spec(), work)


if __name__ == "__main__":
    main()
