#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say how far the first start of a migrated Windows has come."""

from __future__ import annotations

DOCUMENTATION = r"""
module: windows_firstboot_info
short_description: Say how far the first start of a migrated Windows has come
description:
  - Reads the marker, the number of tries and the log that the first-boot work leaves in Windows, from the disks of a VM that is switched off.
    Nothing is written.
  - It also proves again that Windows will start on virtio, now from what Windows itself has made of its registry.
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
- name: Ask the disks of a VM that is switched off
  hyper2kvm.migration.windows_firstboot_info:
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

firstboot:
  description:
    - RV(ignore:state) is V(none), V(armed), V(running), V(done) or V(failed); RV(ignore:tries) counts the starts; RV(ignore:log) is the end of the log.
  returned: success
  type: dict
  sample: {state: done, tries: 1, log: [drivers and network are done]}
proof:
  description: The static proof, with its verdict (V(passed) or V(failed)) and every check.
  returned: success
  type: dict
"""


from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import report_on_guest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.guest_work import first_start


def main() -> None:
    report_on_guest(first_start)


if __name__ == "__main__":
    main()
