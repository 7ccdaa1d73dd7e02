#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take back the repair of a guest, on its images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_fix_rollback
short_description: Take back what guest_fix changed, on the images of a VM
description:
  - Restores every file and registry hive that M(hyper2kvm.migration.guest_fix) replaced, removed or created, from the backup in the guest.
  - Nothing is restored when the guest has changed one of them since, as Windows does with its registry at every start; the module then names them.
  - It writes to the images that it is given. Never give it a source, nor the image of a VM that runs.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  disks:
    required: true
  id:
    description: The repair to take back, as M(hyper2kvm.migration.guest_fix) returned it. Not needed where there is one.
    type: str
    default: ""
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.disk_set.guest
  - hyper2kvm.migration.disk_set.system
requirements:
  - libguestfs with its Python bindings
seealso:
  - module: hyper2kvm.migration.guest_fix
"""

EXAMPLES = r"""
- name: Take the repair back
  hyper2kvm.migration.guest_fix_rollback:
    disks:
      - path: /var/lib/images/web01/web01-disk0.qcow2
        format: qcow2
"""

RETURN = r"""
undone:
  description: The repairs that were taken back.
  returned: success
  type: list
  elements: str
  sample: [3f2a9c1d0b7e]
"""

from typing import Any

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.repairs import rollback_work
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import module_for, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import disk_set


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **disk_set.GUEST,
        **disk_set.SYSTEM,
        "disks": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "path": {"type": "path", "required": True},
                "format": {"type": "str", "required": True, "choices": ["qcow2", "raw", "vmdk", "vdi"]},
            },
        },
        "id": {"type": "str", "default": ""},
    }


def main() -> None:
    module = module_for(argument_spec())
    respawn_for("guestfs")
    run(module, rollback_work)


if __name__ == "__main__":
    main()
