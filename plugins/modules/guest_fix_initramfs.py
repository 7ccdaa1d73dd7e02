#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the initramfs of every kernel the virtio drivers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_fix_initramfs
short_description: Give the initramfs of every kernel the virtio drivers
description:
  - Looks into each image first and appends what it lacks, from the guest's own modules.
  - One step of what M(hyper2kvm.migration.guest_fix) does in one session. Use it for a repair by hand.
  - It writes to overlays only, never to a source.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
seealso:
  - module: hyper2kvm.migration.guest_fix
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.disk_set.guest
  - hyper2kvm.migration.disk_set.system
  - hyper2kvm.migration.disk_set.fix
  - hyper2kvm.migration.disk_set.options
"""

EXAMPLES = r"""
- name: Carry out this step on the overlays of a staged VM
  hyper2kvm.migration.guest_fix_initramfs:
    work_dir: /var/lib/migration/web01

- name: See what it would change
  hyper2kvm.migration.guest_fix_initramfs:
    source: /exports/web01/web01.vmx
  check_mode: true
  diff: true
"""

RETURN = r"""
id:
  description: The repair's id. What it replaced or removed is below C(/var/lib/hyper2kvm/<id>) in the guest.
  returned: success
  type: str
facts:
  description: What inspection found out (distribution, kernels, boot loaders, root, mounts, interfaces with their MACs, ...).
  returned: success
  type: dict
concerns:
  description: What a person should know before migrating, each with code, severity, cause and remedy.
  returned: success
  type: list
  elements: dict
timings:
  description: Seconds per phase.
  returned: success
  type: dict

changes:
  description: The changes with kind, path, reason and diff.
  returned: success
  type: list
  elements: dict
plan:
  description: The plan as data; C(guest_fix) takes it as O(hyper2kvm.migration.guest_fix#module:plan).
  returned: success
  type: dict
"""

from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import single_fix


def main() -> None:
    single_fix(["initramfs"])


if __name__ == "__main__":
    main()
