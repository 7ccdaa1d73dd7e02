#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vSphere knows of its VMs, and the risks of their migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_vm_info
short_description: Describe VMs of vSphere and judge whether they are ready to be migrated
description:
  - Reads hardware, disks with their chains, cards, firmware, snapshots, change tracking and guest of one VM, or of all.
  - Lists every concern before a byte moves, each with its cause and its remedy.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  vm:
    description: The VM by its inventory path (V(DC1/vm/production/web01)), or as V(moref=vm-57), V(uuid=...) or V(name=...). All VMs without it.
    type: str
  tags:
    description: Whether the VMs' tags are read, by vCenter's REST interface. A host without vCenter has none.
    type: bool
    default: true
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.vsphere
"""

EXAMPLES = r"""
- name: Look at one VM
  hyper2kvm.migration.vsphere_vm_info:
    hostname: vcenter.example.com
    username: migration@vsphere.local
    password: "{{ vcenter_password }}"
    vm: DC1/vm/production/web01
  register: web01

- name: Show the migration risks
  ansible.builtin.debug:
    msg: "{{ web01.vms[0].concerns | map(attribute='cause') }}"
"""

RETURN = r"""
vms:
  description: Each VM with its hardware and its migration risks.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: The id of the managed object., type: str}
    name: {description: The name., type: str}
    path: {description: The inventory path., type: str}
    power: {description: "V(on), V(off) or V(suspended).", type: str}
    uuid: {description: The UUID that the guest sees., type: str}
    instance_uuid: {description: The UUID that vCenter knows it by., type: str}
    size: {description: The bytes of all its disks as the guest sees them., type: int}
    cpus: {description: The number of processors., type: int}
    memory: {description: The memory in MiB., type: int}
    firmware: {description: V(bios) or V(uefi)., type: str}
    disks: {description: "The disks with key, files, capacity, bus, unit, backing and so on.", type: list, elements: dict}
    nics: {description: "The cards with mac, network, model and slot.", type: list, elements: dict}
    snapshots: {description: "The snapshots with id, name, path, created, quiesced and current.", type: list, elements: dict}
    tags: {description: The tags as category/name., type: list, elements: str}
    concerns: {description: "Migration risks, each with code, severity, cause and remedy.", type: list, elements: dict}
  sample: [{"name": "web01", "power": "off", "concerns": []}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import vsphere_login, vsphere_vm
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import inventory, readiness, tagging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.connection import session
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.describe import described


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {**vsphere.MAIN, "vm": {"type": "str"}, "tags": {"type": "bool", "default": True}}


def work(module: AnsibleModule) -> Result:
    with session(vsphere_login.endpoint_of(module.params)) as opened:
        wanted = module.params["vm"]
        vms = [vsphere_vm.find(opened, wanted)] if wanted else list(inventory.vms(opened))
        vms = tagging.tagged(opened, vms) if module.params["tags"] else vms
    wave = readiness.of_wave(vms)
    return {"changed": False, "vms": [described(vm, (*readiness.concerns(vm), *wave.get(vm.id, ()))) for vm in vms]}


def main() -> None:
    module = module_for(argument_spec())
    respawn_for("pyVmomi")
    run(module, work)


if __name__ == "__main__":
    main()
