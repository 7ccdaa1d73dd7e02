#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe the disks of a VM without opening a guest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_info
short_description: Describe the disks of a VM
description: Reads the metadata of a VM's disks and their snapshot chains, checks them, and says what they are. Nothing is written.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  source:
    description: One V(.vmx), V(.vbox), V(.ova) or V(.ovf) file, or one or more disks of one VM in their order, as C(docs/sources.md) lists them.
    type: list
    elements: path
    required: true
  verify:
    description: Compare the digests of an OVF manifest. This reads the files once.
    type: bool
    default: false
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
"""

EXAMPLES = r"""
- name: Look at a VM's disks
  hyper2kvm.migration.disk_info:
    source: /exports/web01/web01.vmx
  register: web01
"""

RETURN = r"""
vm:
  description: The VM as its source describes it.
  returned: success
  type: dict
  contains:
    name: {description: The name., type: str}
    kind: {description: "What kind of source it is, such as V(vmx), V(ovf), V(vsphere) or V(disks).", type: str}
    cpus: {description: The number of processors., type: int}
    cores_per_socket: {description: How many of them are in one socket., type: int}
    memory: {description: The memory in MiB., type: int}
    firmware: {description: V(bios) or V(uefi)., type: str}
    secure_boot: {description: Whether Secure Boot is on., type: bool}
    guest_os: {description: What the source takes the guest for., type: str}
    nics: {description: "The cards, each with mac, network, model and slot.", type: list, elements: dict}
    concerns:
      description: What of its description is not migrated (C(docs/concerns.md)), each with code, severity, cause and remedy. Not there if nothing.
      type: list
      elements: dict
    disks:
      description: The disks in the order of their controllers.
      type: list
      elements: dict
      contains:
        path: {description: The newest image of the disk's chain., type: str}
        files: {description: Every file that is read for it., type: list, elements: str}
        links: {description: How many images its chain has., type: int}
        virtual_size: {description: The size that the guest sees in bytes., type: int}
        bus: {description: The bus., type: str}
        controller: {description: The number of the controller., type: int}
        unit: {description: The unit on it., type: int}
        wwn: {description: The disk's NAA identifier., type: str}
        names: {description: Names that the source's guests have for it., type: list, elements: str}
        allocated: {description: An upper bound of its data in bytes., type: int}
  sample: {"name": "web01", "kind": "vmx", "firmware": "bios", "memory": 2048, "disks": [{"path": "/exports/web01/web01.vmdk", "virtual_size": 10737418240}]}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import held
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, run


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {"source": {"type": "list", "elements": "path", "required": True}, "verify": {"type": "bool", "default": False}}


def work(module: AnsibleModule) -> Result:
    with held.sources():
        vm = open_source(module.params["source"], module.params["verify"])
        result = to_data(vm.said())
        for disk, entry in zip(vm.disks, result["disks"]):
            entry["allocated"] = disk.chain.allocated()
    return {"changed": False, "vm": result}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
