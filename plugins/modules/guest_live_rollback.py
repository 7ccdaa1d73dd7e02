#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take back the repairs on a running system."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_live_rollback
short_description: Take back what guest_live_fix changed
description:
  - Restores every file that M(hyper2kvm.migration.guest_live_fix) replaced, removed or created on the system that the module runs on.
  - Nothing is restored when somebody else has changed one of the files since; the module then names them.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  id:
    description: The repair to take back, as its directory below C(/var/lib/hyper2kvm) is called. All of them by default, newest first.
    type: str
    default: ""
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
seealso:
  - module: hyper2kvm.migration.guest_live_fix
"""

EXAMPLES = r"""
- name: Take everything back
  hyper2kvm.migration.guest_live_rollback:
  become: true
"""

RETURN = r"""
undone:
  description: The repairs that were taken back, newest first.
  returned: success
  type: list
  elements: str
  sample: [3f2a9c1d0b7e]
left:
  description: The repairs that are still in place.
  returned: success
  type: list
  elements: str
  sample: [77c1a90be2d4]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.live_rollback import rollback


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {"id": {"type": "str", "default": ""}}


def work(module: AnsibleModule) -> Result:
    done = rollback(module.params["id"], module.check_mode)
    return {"changed": bool(done.undone), "undone": list(done.undone), "left": list(done.left)}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
