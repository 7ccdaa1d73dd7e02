# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter conversion_hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: conversion_hosts
short_description: The hosts that do the work for others
version_added: 0.2.0
description:
  - Hosts of the inventory that are the C(migrate_conversion_host) of another host. They are no VMs.
  - A warning names one that has a C(migrate_source) all the same, as it does for members of the group C(conversion_hosts).
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  _input:
    description: Always C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Leave out the conversion hosts of others
  ansible.builtin.meta: end_host
  when: inventory_hostname in (hostvars | hyper2kvm.migration.conversion_hosts)
"""

RETURN = r"""
_value:
  description: Their names.
  type: list
  elements: str
  sample: [conv1]
"""

from typing import Any, Callable, Mapping

from ansible.errors import AnsibleError
from ansible.utils.display import Display

display = Display()
GROUP = "conversion_hosts"  # the plays leave its members out themselves
_known: dict[
    tuple[str, ...], list[str]
] = {}  # by the names of all hosts; a play asks once for each of them, which would be a square of their number


def conversion_hosts(hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """See DOCUMENTATION."""
    hosts = tuple(hostvars)
    if hosts not in _known:
        _known.clear()
        named = {host: _of(hostvars[host], "migrate_conversion_host") for host in hosts}
        _known[hosts] = sorted({at for host, at in named.items() if at in named and at != host})
        for host in hosts:
            why = "migrate_conversion_host" if host in _known[hosts] else "the group conversion_hosts"
            if (host in _known[hosts] or GROUP in (_of(hostvars[host], "group_names") or ())) and _of(hostvars[host], "migrate_source"):
                display.warning(f"{host} does the work for other hosts ({why}), so it is not a VM, although it has a migrate_source.")
    return _known[hosts]


def _of(variables: Mapping[str, Any], name: str) -> Any:
    try:
        return variables.get(name)
    except AnsibleError:  # it hangs on something that only the role knows
        return None


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"conversion_hosts": conversion_hosts}
