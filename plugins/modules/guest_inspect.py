#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspect the guest on a VM's disks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_inspect
short_description: Inspect the guest on a VM's disks
description:
  - Opens all disks of a VM read-only in one appliance and reports what is on them. Nothing is written.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
requirements:
  - libguestfs with its Python bindings
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.disk_set.guest
  - hyper2kvm.migration.disk_set.look
  - hyper2kvm.migration.disk_set.system
"""

EXAMPLES = r"""
- name: Inspect a VM that was never staged
  hyper2kvm.migration.guest_inspect:
    source: /exports/web01/web01.vmx
  register: guest

- name: Inspect a VM that was never staged by its images
  hyper2kvm.migration.guest_inspect:
    disks:
      - path: /var/lib/images/web01/web01-disk0.qcow2
        format: qcow2
"""

RETURN = r"""
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
"""


from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import report_on_guest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.guest_work import look


def main() -> None:
    report_on_guest(lambda request: look(request, plan_too=False))


if __name__ == "__main__":
    main()
