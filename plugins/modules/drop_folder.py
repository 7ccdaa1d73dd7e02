#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that are dropped into a folder."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drop_folder
short_description: Find VMs that were dropped into a folder, and put them away
description:
  - Without O(item) it waits until what lies in the folder has arrived, and returns the VMs. One with the same content as one that was processed before
    is moved to V(duplicates).
  - With O(item) it moves that VM to V(processed) or V(failed), with the report of its migration. What is not what has arrived any more is not moved to
    V(processed), and fails with the error code V(source_changed); the next run looks at it anew.
  - A VM is a directory with one VM in it, or one file at the top of the folder (an OVA, a disk, an archive) with the parts that belong to it. Parts
    (C(-flat), C(-delta), C(-s001)) are never taken for VMs. Hidden files, and those that end in V(.part), V(.partial) or V(.tmp), are still on their way.
    Links at the top are passed over with a warning.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  path:
    description: The folder.
    type: path
    required: true
  settle:
    description: For how many seconds nothing of a VM must change until it has arrived. A file of its name with the suffix C(.done) says it at once.
    type: float
    default: 30
  wait:
    description: How many seconds to wait for VMs that are still arriving.
    type: float
    default: 3600
  item:
    description: A VM as RV(vms) has it.
    type: dict
  state:
    description: Where O(item) goes.
    type: str
    default: processed
    choices: [processed, failed]
  report:
    description: The directory with the report of its migration.
    type: path
    default: ""
  reason:
    description: What is written beside it, as V(result.txt).
    type: str
    default: ""
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
"""

EXAMPLES = r"""
- name: Wait for VMs
  hyper2kvm.migration.drop_folder:
    path: /srv/drop
  register: dropped

- name: Put one away
  hyper2kvm.migration.drop_folder:
    path: /srv/drop
    item: "{{ dropped.vms[0] }}"
    state: processed
    report: /var/lib/libvirt/images/web01
"""

RETURN = r"""
vms:
  description: The VMs that have arrived.
  returned: without O(item)
  type: list
  elements: dict
  contains:
    name: {description: The name., type: str}
    source: {description: "What the migration takes, empty for what is no VM.", type: raw}
    entries: {description: What in the folder belongs to it., type: list, elements: str}
    digest: {description: A digest of its content., type: str}
    fault: {description: Why it is no VM., type: str}
    seal: {description: What tells whether its files are still what has arrived., type: str}
  sample: [{"name": "web01", "source": "/srv/drop/web01.ova", "entries": ["web01.ova"], "digest": "9f86d0...", "fault": "", "seal": "2c26b4..."}]
duplicates:
  description: Names of those that were moved away because they came before.
  returned: without O(item)
  type: list
  elements: str
  sample: [web01]
directory:
  description: Where it is now.
  returned: with O(item), but not in check mode where it would only be put there
  type: str
  sample: /srv/drop/processed/web01
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes, names
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, SourceChanged
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.shape import SECONDS, TEXT, require
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import drop

_ITEM = {"name": TEXT, "source": (TEXT, None), "entries": [TEXT], "digest": TEXT, "fault": (TEXT, None), "seal": (TEXT, None)}
_SHOWN = 10


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.MODE,
        "path": {"type": "path", "required": True},
        "settle": {"type": "float", "default": 30},
        "wait": {"type": "float", "default": 3600},
        "item": {"type": "dict"},
        "state": {"type": "str", "default": "processed", "choices": ["processed", "failed"]},
        "report": {"type": "path", "default": ""},
        "reason": {"type": "str", "default": ""},
    }


def work(module: AnsibleModule) -> Result:
    params = module.params
    for option in ("settle", "wait"):
        require(option, params[option], SECONDS, "Write how many seconds, such as 30.")
    if params["item"] is not None:
        return _put_away(module)
    mode = modes.parse(params["mode"])
    found, seen, duplicates = [], dict(drop.known(params["path"])), []
    for item in drop.arrived(params["path"], params["settle"], 0 if module.check_mode else params["wait"]):
        if item.digest not in seen:
            seen[item.digest] = item.name
            found.append(item.as_result())
            continue
        with contextlib.suppress(SourceChanged):  # it is still arriving; the next run looks at it anew
            if module.check_mode:
                drop.require_same(params["path"], item, drop.DUPLICATES)
            else:
                drop.put_away(params["path"], item, drop.DUPLICATES, "", f"The same as {seen[item.digest]}, which came before.", mode)
            duplicates.append(item.name)
    links = drop.links(params["path"])
    if links:
        more = f" and {len(links) - _SHOWN} more" if len(links) > _SHOWN else ""
        shown = ", ".join(map(repr, links[:_SHOWN]))
        module.warn(f"Symbolic links are not followed: {shown}{more} in {params['path']}. Put the files themselves there.")
    return {"changed": bool(duplicates), "vms": found, "duplicates": duplicates}


def _put_away(module: AnsibleModule) -> Result:
    params = module.params
    require("item", params["item"], _ITEM, "Give the item as the module has returned it.")
    given = params["item"]
    unknown = sorted(given.keys() - _ITEM.keys())
    if unknown:
        raise InvalidInput(f"item has {', '.join(unknown)}, which none has.", "Give the item as the module has returned it.", option="item")
    words = {key: given.get(key) or "" for key in ("source", "fault", "seal")}
    item = drop.Item(name=given["name"], entries=tuple(given["entries"]), digest=given["digest"], **words)
    there = any(os.path.lexists(os.path.join(params["path"], entry)) for entry in item.entries)
    if module.check_mode and there:
        drop.require_same(params["path"], item, params["state"])
        return {"changed": True}
    if not there:
        return {"changed": False, "directory": os.path.join(params["path"], params["state"], names.safe(item.name))}
    mode, why = modes.parse(params["mode"]), item.fault or params["reason"] or params["state"]
    return {"changed": True, "directory": drop.put_away(params["path"], item, params["state"], params["report"], why, mode)}


def main() -> None:
    run(module_for(argument_spec()), work)


if __name__ == "__main__":
    main()
