#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration that died has left at its source is removed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_cleanup
short_description: Remove the snapshots that a migration which died has left at its source
description:
  - A run that is killed cannot remove the snapshot that froze a running VM. This module removes the snapshots whose names begin with C(hyper2kvm-),
    and no others, and waits until the disks are consolidated. No migration of the same VM must be running.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  source:
    description: The VM as a URL, as M(hyper2kvm.migration.vmdk_fetch) takes it.
    type: str
    required: true
extends_documentation_fragment:
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
"""

EXAMPLES = r"""
- name: Remove what a migration that was killed has left in vCenter
  hyper2kvm.migration.source_cleanup:
    source: vsphere://vcenter.example.com/DC1/vm/production/web01

- name: Remove what it has left on an ESXi host
  hyper2kvm.migration.source_cleanup:
    source: ssh://root@esx1.example.com/web01
"""

RETURN = r"""
snapshots:
  description: The names of the snapshots that were removed, or, in check mode, would be.
  returned: success
  type: list
  elements: str
  sample: [hyper2kvm-20261121-101530]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import sources


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {**vsphere.SOURCE, "source": {"type": "str", "required": True}}


def work(module: AnsibleModule) -> Result:
    left = sources.of(module.params["source"]).clean(module.params["source"], access_of(module.params), module.check_mode)
    return {"changed": bool(left), "snapshots": list(left)}


def main() -> None:
    module = module_with_source(argument_spec())
    respawn_for(*sources.libraries_of([module.params["source"]]))
    run(module, work)


if __name__ == "__main__":
    main()
