# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter safe_name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: safe_name
short_description: The name that a VM's folder, files and domain have here
version_added: 0.2.0
description:
  - A name of letters and digits of any script, V(.), V(_), V(-), V(+) and inner spaces stays as it is, if it begins with a letter, a digit or V(_) and has
    at most 128 bytes.
  - In any other name what does not fit becomes V(_), and a digest of the whole name follows. So do names that mean something to Ansible, as V(all).
  - A name in which nothing can be seen is refused.
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  _input:
    description: Any text.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say where its results are
  ansible.builtin.debug:
    msg: "/var/lib/libvirt/images/{{ migrate_name | hyper2kvm.migration.safe_name }}"
"""

RETURN = r"""
_value:
  description: The name.
  type: str
  sample: web01
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.names import safe


def safe_name(text: object) -> str:
    """See DOCUMENTATION."""
    try:
        return safe(str(text))
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"safe_name": safe_name}
