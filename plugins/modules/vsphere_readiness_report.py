#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report over a fleet: who can be migrated, who cannot and why."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_readiness_report
short_description: Write how ready the VMs of vSphere are to be migrated
description:
  - Writes C(readiness.md) for people, C(readiness.csv) for spreadsheets and C(readiness.json) for programs.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  vms:
    description: The VMs, as M(hyper2kvm.migration.vsphere_vm_info) returns them, or as the inventory plugin gives them in C(vsphere_vm).
    type: list
    elements: dict
    required: true
  dest:
    description: The directory, created if it is missing.
    type: path
    required: true
  rate:
    description: The MiB a second that durations are computed with.
    type: float
    default: 75
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
"""

EXAMPLES = r"""
- name: Report on what was found
  hyper2kvm.migration.vsphere_readiness_report:
    vms: "{{ found.vms }}"
    dest: reports
"""

RETURN = r"""
report:
  description: The path of the report for people.
  returned: success, and in check mode only where it is there and would stay as it is
  type: str
  sample: reports/readiness.md
summary:
  description: How many VMs there are of each kind.
  returned: success
  type: dict
  contains:
    ready: {description: VMs without migration risks., type: int}
    look: {description: A person should look at them., type: int}
    blocked: {description: They cannot be migrated as they are., type: int}
  sample: {"ready": 12, "look": 3, "blocked": 1}
"""

import json
import os
from collections import Counter
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, atomic, modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import each_from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import fleet


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.MODE,
        "vms": {"type": "list", "elements": "dict", "required": True},
        "dest": {"type": "path", "required": True},
        "rate": {"type": "float", "default": 75},
    }


def work(module: AnsibleModule) -> Result:
    dest, rate = module.params["dest"], module.params["rate"]
    vms = each_from_data(fleet.Assessed, module.params["vms"], "vms", "Give what vsphere_vm_info returned as vms.")
    mode = modes.parse(module.params["mode"])
    table = fleet.rows(vms, rate)
    texts = {
        "readiness.md": fleet.as_markdown(vms, table, rate),
        "readiness.csv": fleet.as_csv(table),
        "readiness.json": json.dumps({"vms": [asdict(row) for row in table]}, indent=2, sort_keys=True) + "\n",
    }
    changed = any(atomic.read_text(os.path.join(dest, name)) != text for name, text in texts.items())
    if changed and module.check_mode:
        ahead.writable(dest)
    elif changed:
        modes.make_directory(dest, modes.of_directory(mode))
        for name, text in texts.items():
            atomic.write_text(os.path.join(dest, name), text, mode)
    counted = Counter(row.verdict for row in table)
    summary = {verdict: counted[verdict] for verdict in ("ready", "look", "blocked")}
    written = {} if changed and module.check_mode else {"report": os.path.join(dest, "readiness.md")}
    return {"changed": changed, "summary": summary, **written}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
