#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration has changed at its source is changed back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_restore
short_description: Start a source again that was shut down for its migration
description:
  - A migration changes nothing at its source but its power, and that only where it was told to (C(running=shutdown)). The work directory says whether it
    did. This module starts such a VM again, and only the very VM that was shut down; a VM that was off before stays off.
  - Shut the migrated VM down first. Two VMs with the same addresses disturb each other.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  work_dir:
    description: The work directory of the migration.
    type: path
    required: true
  source:
    description: The source of the VM, as it was migrated. A work directory of another VM is refused.
    type: list
    elements: str
    version_added: 0.2.0
  forget:
    description:
      - Whether what was staged of the source is removed from the work directory, so that a later migration does not begin with what it was.
      - Of the copy in C(<work_dir>/source) only what a migration has brought there is removed; the rest stays, with a warning.
    type: bool
    default: false
    version_added: 0.2.0
extends_documentation_fragment:
  - hyper2kvm.migration.attributes.run
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
"""

EXAMPLES = r"""
- name: Start the source again
  hyper2kvm.migration.source_restore:
    work_dir: /var/lib/images/web01/.work
"""

RETURN = r"""
actions:
  description: What was done, or, in check mode, would be.
  returned: success
  type: list
  elements: str
  sample: [start vsphere://vcenter.example.com/DC1/vm/production/web01]
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import (
    module_with_source,
    require_own,
    run_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import copied, power
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import libraries_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import working_on


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.RUN,
        **vsphere.SOURCE,
        "work_dir": {"type": "path", "required": True},
        "source": {"type": "list", "elements": "str"},
        "forget": {"type": "bool", "default": False},
    }


def work(module: AnsibleModule) -> Result:
    directory = module.params["work_dir"]
    require_own(module)
    respawn_for(*libraries_of([power.noted(directory)]))
    if not os.path.isdir(directory):
        return {"changed": False, "actions": []}
    with working_on(run_of(module), directory):
        actions = power.give_back(directory, access_of(module.params), module.check_mode)
        removed, left = copied.forget(directory, module.check_mode) if module.params["forget"] else (False, [])
    actions += [f"removed what was staged in {directory}"] if removed else []
    if left:
        module.warn(f"{copied.place(directory)} is kept, since it holds what no migration has put there: {', '.join(left[:5])}")
    return {"changed": bool(actions), "actions": actions}


def main() -> None:
    module = module_with_source(argument_spec())
    respawn_for(*libraries_of(module.params["source"] or ()))
    run(module, work)


if __name__ == "__main__":
    main()
