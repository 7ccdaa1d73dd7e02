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
options:
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
  description: The VM as its source describes it; each disk with its files, chain length, virtual size and an upper bound of its data in bytes.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.running import Result, module_for, run


def argument_spec() -> dict:
    return {"source": {"type": "list", "elements": "path", "required": True}, "verify": {"type": "bool", "default": False}}


def work(module: AnsibleModule) -> Result:
    vm = open_source(module.params["source"], module.params["verify"])
    result = vm.as_result()
    for disk, entry in zip(vm.disks, result["disks"]):
        entry["allocated"] = disk.chain.allocated()
    return {"changed": False, "vm": result}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
