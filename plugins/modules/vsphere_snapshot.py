#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a VM of vSphere: taken, removed and awaited, put back to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_snapshot
short_description: Take, remove or go back to a snapshot of a VM of vSphere
description:
  - Every task is awaited. A removal is done when the disks are consolidated, so that the next snapshot does not meet it.
  - M(hyper2kvm.migration.source_cleanup) removes those that a migration which died has left.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  name:
    description: The snapshot's name. Its path in the tree (names with V(/) between) or its id where a name occurs twice.
    type: str
    required: true
  state:
    description: What shall be.
    type: str
    default: present
    choices: [present, absent, reverted]
  description:
    description: A description for a new snapshot.
    type: str
    default: ""
  quiesce:
    description: Whether the guest's file systems are quiesced (VMware Tools must run).
    type: bool
    default: false
  memory:
    description: Whether the memory of a running VM is kept.
    type: bool
    default: false
  children:
    description: Whether the snapshots that were taken after it are removed with it.
    type: bool
    default: false
  timeout:
    description: Seconds until a removal must have ended.
    type: int
    default: 86400
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.vsphere
  - hyper2kvm.migration.vsphere.vm
"""

EXAMPLES = r"""
- name: Freeze a VM
  hyper2kvm.migration.vsphere_snapshot:
    vm: DC1/vm/production/web01
    name: before-migration
    quiesce: true
"""

RETURN = r"""
snapshots:
  description: The VM's snapshots afterwards. In check mode those of now.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: The id of the snapshot., type: str}
    name: {description: The name., type: str}
    path: {description: "The names from the root of the tree, V(/) between.", type: str}
    created: {description: When it was taken., type: str}
    quiesced: {description: Whether the guest was quiesced., type: bool}
    current: {description: Whether the VM goes on from it., type: bool}
  sample: [{"id": "snapshot-12", "name": "before-migration", "path": "before-migration", "current": true}]
"""

from dataclasses import asdict
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
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent", "reverted"]},
        "description": {"type": "str", "default": ""},
        "quiesce": {"type": "bool", "default": False},
        "memory": {"type": "bool", "default": False},
        "children": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 86400},
    }


def work(module: AnsibleModule, session: Session, vm: Vm) -> Result:
    params, state = module.params, module.params["state"]
    found = snapshots.find(vm, params["name"])
    if state == "reverted" and found is None:
        raise InvalidInput(f"{vm.name} has no snapshot {params['name']}.", "Look at its snapshots with vsphere_vm_info.", vm=vm.path)
    changed = state == "reverted" or (state == "present") == (found is None)
    if changed and not module.check_mode:
        if found is None:
            snapshots.create(session, vm, params["name"], params["quiesce"], params["memory"], params["description"])
        elif state == "absent":
            snapshots.remove(session, vm, found, params["children"], params["timeout"])
        else:
            snapshots.revert(session, vm, found)
        vm = snapshots.again(session, vm)
    return {"changed": changed, "snapshots": [asdict(snapshot) for snapshot in vm.snapshots]}


def main() -> None:
    vsphere_vm.on_vm(argument_spec(), work)


if __name__ == "__main__":
    main()
