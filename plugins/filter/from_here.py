# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter from_here."""

from __future__ import annotations

DOCUMENTATION = r"""
name: from_here
short_description: A relative path, from the directory where the playbook was called
version_added: 0.2.0
description:
  - A module that runs on the controller would take a relative path from the directory of the playbook, which may be that of an installed collection.
  - Absolute paths, those in a home directory (V(~)), URLs and images of Ceph (V(rbd:)) stay as they are. Nothing in them is expanded.
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  _input:
    description: A path. Nothing for an empty one.
    type: str
    required: true
  here:
    description: Whether what uses the path runs on the controller. Elsewhere a relative path is refused.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Say where that is
  ansible.builtin.debug:
    msg: "{{ 'out' | hyper2kvm.migration.from_here }}"
"""

RETURN = r"""
_value:
  description: The path.
  type: str
  sample: /home/admin/out
"""

import os
import re
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

_ELSEWHERE = re.compile(r"/|~|rbd:|(?i:[a-z][a-z0-9+.-]*)://")
_LOGIN = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:[^/@]*@")


def from_here(path: Any, here: bool = True) -> str:
    """See DOCUMENTATION."""
    if path is None or isinstance(path, (bool, dict, list, tuple, set)):
        raise AnsibleFilterError(f"A path is one text, and not {path!r}. Write it in quotes; a source may be a list of them.")
    given = str(path)
    if not given or _ELSEWHERE.match(given):
        return given
    if _LOGIN.match(given):  # it is not shown
        raise AnsibleFilterError(
            "A path looks like a login (name:password@host), which has no place there. If it is a file, write ./ before it."
        )
    if not here:
        raise AnsibleFilterError(
            f"{given!r} is a relative path, and the conversion host is another machine, where it means nothing. Write an absolute path."
        )
    return os.path.abspath(given)


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"from_here": from_here}
