#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove from the bytes that a guest will boot on KVM."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_validate
short_description: Prove from the bytes that a guest will boot on KVM
description:
  - Walks the chain from firmware, boot loader, kernel and initramfs to root, mounts and network.
  - Every link is checked from the bytes of the disks. Nothing is written.
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
- name: Prove a result
  hyper2kvm.migration.guest_validate:
    source: /exports/web01/web01.vmx
  register: guest

- name: Prove a result by its images
  hyper2kvm.migration.guest_validate:
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

proof:
  description: The static proof, with its verdict (V(passed) or V(failed)) and every check.
  returned: success
  type: dict
"""


from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import report_on_guest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.guest_work import validate


def main() -> None:
    report_on_guest(validate)


if __name__ == "__main__":
    main()
