#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH: check a VM's disks to the last extent and stage them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vmdk_fetch
short_description: Check the disks of a VMware VM and stage them for the conversion
description:
  - Reads the description of a VM (V(.vmx), V(.ovf), V(.ova), or plain V(.vmdk) files), follows every snapshot chain, and checks each
    extent, parent and digest before any other program sees them.
  - Staging a local source copies nothing. Freshly written descriptors and links in the work directory stand for the chain.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  source:
    description: One V(.vmx), V(.ova) or V(.ovf) file, or one or more V(.vmdk) files that are the disks of one VM in their order.
    type: list
    elements: path
    required: true
  work_dir:
    description: The VM's work directory, created if it is missing. It belongs to one VM alone.
    type: path
    required: true
  verify:
    description: Compare the digests of an OVF manifest. This reads the files once.
    type: bool
    default: true
  accept:
    description: Codes of concerns that the operator accepts. V(source.busy) allows a source that somebody has open for writing.
    type: list
    elements: str
    default: []
attributes:
  action:
    support: full
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.action
"""

EXAMPLES = r"""
- name: Stage a VM from its configuration file
  hyper2kvm.migration.vmdk_fetch:
    source: /exports/web01/web01.vmx
    work_dir: /var/lib/migration/web01

- name: Stage two disks of one VM
  hyper2kvm.migration.vmdk_fetch:
    source:
      - /exports/db01/db01.vmdk
      - /exports/db01/db01_1.vmdk
    work_dir: /var/lib/migration/db01
"""

RETURN = r"""
vm:
  description: The VM as its source describes it, with name, firmware, CPUs, memory (MiB), NICs and disks (files, virtual size in bytes, bus, unit).
  returned: success
  type: dict
  sample: {"name": "web01", "firmware": "bios", "memory": 2048}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import Result, module_for, progress_spec, run, working_on
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import sink
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import chain, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source


def argument_spec() -> dict:
    return {
        "source": {"type": "list", "elements": "path", "required": True},
        "work_dir": {"type": "path", "required": True},
        "verify": {"type": "bool", "default": True},
        "accept": {"type": "list", "elements": "str", "default": []},
        **progress_spec(),
    }


def work(module: AnsibleModule) -> Result:
    params, directory = module.params, module.params["work_dir"]
    options = {"source": [os.path.abspath(path) for path in params["source"]], "verify": params["verify"]}
    with working_on(module, directory):
        earlier = staging.fetched(directory)
        if earlier is not None and earlier.options == options:
            return {"changed": False, "vm": earlier.result}
        if params["probe"]:
            return {"changed": False, "pending": True}
        begin = time.monotonic()
        sink(params["progress_file"]).phase("check the source")
        vm = open_source(params["source"], params["verify"])
        for disk in vm.disks if "source.busy" not in params["accept"] else ():
            chain.check_idle(disk.chain)
        if module.check_mode:
            return {"changed": True, "vm": vm.as_result()}
        return {"changed": True, "vm": staging.fetch(vm, params["source"], directory, options, begin)}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
