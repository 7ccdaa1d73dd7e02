#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power of a VM of vSphere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_power
short_description: Shut down or start a VM of vSphere
description:
  - V(off) asks the guest, waits, and is done only when vSphere says that the VM is off. Hard power-off is a choice of its own.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  state:
    description: What shall be.
    type: str
    required: true
    choices: ["on", "off"]
  timeout:
    description: Seconds until the guest must have shut down.
    type: int
    default: 600
  power_off:
    description: Whether the VM is switched off hard when its guest does not shut down, or cannot be asked to.
    type: bool
    default: false
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.vsphere
  - hyper2kvm.migration.vsphere.vm
"""

EXAMPLES = r"""
- name: Shut a VM down for its migration
  hyper2kvm.migration.vsphere_power:
    vm: DC1/vm/production/web01
    state: "off"
"""

RETURN = r"""
power:
  description: The power state afterwards (V(on), V(off), V(suspended)). In check mode that of now.
  returned: success
  type: str
  sample: "off"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

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
        "state": {"type": "str", "required": True, "choices": ["on", "off"]},
        "timeout": {"type": "int", "default": 600},
        "power_off": {"type": "bool", "default": False},
    }


def work(module: AnsibleModule, session: Session, vm: Vm) -> Result:
    params = module.params
    changed = vm.power != params["state"]
    if changed and not module.check_mode:
        if params["state"] == "off":
            snapshots.shut_down(session, vm, params["timeout"], params["power_off"])
        else:
            snapshots.power_on(session, vm)
        vm = snapshots.again(session, vm)
    return {"changed": changed, "power": vm.power}


def main() -> None:
    vsphere_vm.on_vm(argument_spec(), work)


if __name__ == "__main__":
    main()
