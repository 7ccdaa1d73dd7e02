#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repairs on a running system, before it is moved."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_live_fix
short_description: Repair the running system so that it boots on KVM after the move
description:
  - Makes the same repairs as M(hyper2kvm.migration.guest_fix), by the same rules, on the Linux system that the module runs on, which needs root.
  - The system goes on as it is. The next boot works on KVM, and on the old hypervisor as well unless its tools were removed.
  - What was replaced or removed is kept below C(/var/lib/hyper2kvm); M(hyper2kvm.migration.guest_live_rollback) takes it back.
  - After the repair it is proved from the files that the next boot will work; otherwise the module fails and names the place.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  fixes:
    description: Which fixes to make. All of them by default.
    type: list
    elements: str
    default: []
    choices: [fstab, storage, bootloader, network, vmware_tools, agent, customize, initramfs]
  fstab_mode:
    description: Which entries of fstab, crypttab and mount units get stable names; all unstable ones, only by-path ones, or none.
    type: str
    default: stabilize-all
    choices: [stabilize-all, bypath-only, noop]
  initramfs:
    description:
      - V(regenerate) runs the system's own tool for each kernel whose image lacks the drivers.
      - V(overlay) appends the drivers to the images instead, which takes seconds.
    type: str
    default: regenerate
    choices: [overlay, regenerate, skip]
  agent_packages:
    description: Packages with the QEMU guest agent and what it depends on, or directories of such, on this system.
    type: list
    elements: path
    default: []
  accept:
    description: Codes of concerns that the operator accepts.
    type: list
    elements: str
    default: []
requirements:
  - Python 3.9 or newer on the system
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.disk_set.options
seealso:
  - module: hyper2kvm.migration.guest_live_rollback
  - module: hyper2kvm.migration.guest_fix
"""

EXAMPLES = r"""
- name: Repair the hosts before they are moved
  hyper2kvm.migration.guest_live_fix:
  become: true

- name: See what would be changed, except for VMware's tools
  hyper2kvm.migration.guest_live_fix:
    fixes: [fstab, storage, bootloader, network, initramfs]
  become: true
  check_mode: true
  diff: true
"""

RETURN = r"""
id:
  description: The repair's id. What it replaced or removed is below C(/var/lib/hyper2kvm/<id>) in the guest.
  returned: success
  type: str
facts:
  description: What inspection found out.
  returned: success
  type: dict
concerns:
  description: What a person should know before migrating, each with code, severity, cause and remedy.
  returned: success
  type: list
  elements: dict
changes:
  description: The changes with kind, path, reason and diff.
  returned: success
  type: list
  elements: dict
plan:
  description: The plan as data.
  returned: success
  type: dict
proof:
  description: The static proof, with its verdict and every check. Not in check mode.
  returned: success
  type: dict
output:
  description: What the system's own tools printed.
  returned: success
  type: list
  elements: str
timings:
  description: Seconds per phase.
  returned: success
  type: dict
"""

from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import live_fix_work, live_spec
from ansible_collections.hyper2kvm.migration.plugins.module_utils.running import module_for, run


def main() -> None:
    run(module_for(live_spec()), live_fix_work)


if __name__ == "__main__":
    main()
