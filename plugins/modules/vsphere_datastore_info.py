#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a datastore of vSphere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_datastore_info
short_description: List the datastores of vSphere, and the files of one
description:
  - Without a path the datastores with their capacity; with one the files in that directory and below it.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  path:
    description: A directory as V([datastore1] web01).
    type: str
    default: ""
  pattern:
    description: Which names are wanted, with V(*) and V(?).
    type: str
    default: "*"
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.vsphere
"""

EXAMPLES = r"""
- name: Which disks lie in a folder
  hyper2kvm.migration.vsphere_datastore_info:
    hostname: vcenter.example.com
    username: migration@vsphere.local
    password: "{{ vcenter_password }}"
    path: "[datastore1] web01"
    pattern: "*.vmdk"
"""

RETURN = r"""
datastores:
  description: The datastores.
  returned: without O(path)
  type: list
  elements: dict
  contains:
    name: {description: The name., type: str}
    kind: {description: "V(VMFS), V(NFS), V(vsan) and so on.", type: str}
    capacity: {description: The capacity in bytes., type: int}
    free: {description: What of it is free in bytes., type: int}
    accessible: {description: Whether it can be reached., type: bool}
  sample: [{"name": "datastore1", "kind": "VMFS", "capacity": 1099511627776, "free": 549755813888, "accessible": true}]
files:
  description: The files.
  returned: with O(path)
  type: list
  elements: dict
  contains:
    path: {description: The path., type: str}
    size: {description: "The size in bytes, none where the host does not say.", type: int}
  sample: [{"path": "[datastore1] web01/web01.vmdk", "size": 512}]
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import vsphere_login
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import datastores
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.connection import session


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {**vsphere.MAIN, "path": {"type": "str", "default": ""}, "pattern": {"type": "str", "default": "*"}}


def work(module: AnsibleModule) -> Result:
    with session(vsphere_login.endpoint_of(module.params)) as opened:
        if module.params["path"]:
            found = datastores.browse(opened, module.params["path"], module.params["pattern"])
            return {"changed": False, "files": [asdict(file) for file in found]}
        return {"changed": False, "datastores": [asdict(datastore) for datastore in datastores.every(opened)]}


def main() -> None:
    module = module_for(argument_spec())
    respawn_for("pyVmomi")
    run(module, work)


if __name__ == "__main__":
    main()
