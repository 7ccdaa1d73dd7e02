#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_report
short_description: Write the report of a VM's migration
description: Writes V(report.json), V(report.md) and V(plan.json) into a directory, from what the stages returned.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  dest:
    description: The directory, created if it is missing.
    type: path
    required: true
  vm:
    description: What M(hyper2kvm.migration.vmdk_fetch) returned as RV(hyper2kvm.migration.vmdk_fetch#module:vm).
    type: dict
    required: true
  guest:
    description: What M(hyper2kvm.migration.guest_fix) returned.
    type: dict
    default: {}
  disks:
    description: What M(hyper2kvm.migration.qemu_convert) returned as RV(hyper2kvm.migration.qemu_convert#module:disks).
    type: list
    elements: dict
    default: []
  boot:
    description: What M(hyper2kvm.migration.boot_test) returned as RV(hyper2kvm.migration.boot_test#module:boot).
    type: dict
    default: {}
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
"""

EXAMPLES = r"""
- name: Write the report
  hyper2kvm.migration.migration_report:
    dest: /var/lib/images/web01
    vm: "{{ fetched.vm }}"
    guest: "{{ fixed }}"
    disks: "{{ converted.disks }}"
    boot: "{{ booted.boot }}"
"""

RETURN = r"""
report:
  description: The path of the report for people.
  returned: success, and in check mode only where it is there and would stay as it is
  type: str
  sample: /var/lib/images/web01/report.md
verdict:
  description: The first sentence of the report.
  returned: success
  type: str
  sample: Migrated, proved and booted.
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, atomic, modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.report import as_data, as_json, as_markdown, verdict
from ansible_collections.hyper2kvm.migration.plugins.module_utils.running import Result, module_for, run


def argument_spec() -> dict:
    return {
        "dest": {"type": "path", "required": True},
        "vm": {"type": "dict", "required": True},
        "guest": {"type": "dict", "default": {}},
        "disks": {"type": "list", "elements": "dict", "default": []},
        "mode": {"type": "raw"},
        "boot": {"type": "dict", "default": {}},
    }


def work(module: AnsibleModule) -> Result:
    params, dest, mode = module.params, module.params["dest"], modes.parse(module.params["mode"])
    data = as_data(params["vm"], params["guest"], params["disks"], params["boot"])
    texts = {"report.json": as_json(data), "report.md": as_markdown(data), "plan.json": as_json(params["guest"].get("plan") or {})}
    changes = {name: after for name, after in texts.items() if atomic.read_text(os.path.join(dest, name)) != after}
    if changes and module.check_mode:
        ahead.writable(dest)
        return {"changed": True, "verdict": "Dry run: nothing was written."}
    if changes:
        modes.make_directory(dest, modes.with_disks(mode), modes.with_disks(mode))
        for name, after in changes.items():
            atomic.write_text(os.path.join(dest, name), after, modes.FILE if name == "plan.json" else mode)
    return {"changed": bool(changes), "report": os.path.join(dest, "report.md"), "verdict": verdict(data)}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
