# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter summary."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
short_description: What came of each VM, in a line
version_added: 0.2.0
description:
  - From what the tasks of the role migrate have registered. A line has the VM, the verdict of its report, the codes of its concerns and the path of the
    report; or the stage that failed, and why.
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  _input:
    description: The names of the hosts, in the order of the lines. Those that have no C(migrate_source), and conversion hosts, are left out.
    type: list
    elements: str
    required: true
  hostvars:
    description: Always C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what came of each VM
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | hyper2kvm.migration.summary(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["web01: Migrated, proved and booted. 1 concern (tools.needed). /var/lib/libvirt/images/web01/report.md"]
"""

from typing import Any, Callable, Iterable, Mapping

from ansible_collections.hyper2kvm.migration.plugins.filter.conversion_hosts import conversion_hosts

# In the order in which they run: what a task registers, and what it is called for people.
STAGES = {
    "variables_checked": "the variables",
    "migrate_fetched": "FETCH",
    "migrate_flattened": "FLATTEN",
    "migrate_fixed": "FIX",
    "migrate_converted": "CONVERT",
    "migrate_described": "the description",
    "migrate_booted": "VALIDATE",
    "migrate_reported": "the report",
}
_CAUSE = 400  # characters of why a VM failed, from its beginning
_REMEDY = 200  # from its end, where the codes are that can be accepted


def summary(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """See DOCUMENTATION."""
    workers = conversion_hosts(hostvars)
    return [
        f"{host}: {_line(hostvars[host])}"
        for host in hosts
        if host not in workers and {"migrate_source", "migrate_failed"} & set(hostvars[host])
    ]


def _line(found: Mapping[str, Any]) -> str:
    said = {stage: found[name] for name, stage in STAGES.items() if isinstance(found.get(name), dict)}
    failed = next((stage for stage, result in said.items() if result.get("failed")), None)
    if failed is not None:
        why = " ".join(str(said[failed].get("msg", "its message is above")).split())
        return f"FAILED in {failed}: {why if len(why) <= _CAUSE + _REMEDY else f'{why[:_CAUSE]} ... {why[-_REMEDY:]}'}"
    if found.get("migrate_failed"):
        return f"FAILED in the task {found['migrate_failed']!r}; its message is above"
    report = said.get("the report", {})
    if "verdict" not in report:
        done = ", ".join(said)
        return f"no report; done: {done}" if done else "not begun; its message is above"
    concerns = [concern for concern in said.get("FIX", {}).get("concerns") or () if concern.get("severity") != "info"]
    codes = ", ".join(sorted({str(concern.get("code")) for concern in concerns}))
    counted = f"{len(concerns)} concern{'' if len(concerns) == 1 else 's'}{f' ({codes})' if codes else ''}."
    return " ".join(filter(None, [str(report["verdict"]), counted, str(report.get("report", ""))]))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"summary": summary}
