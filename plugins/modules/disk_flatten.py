#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FLATTEN: one overlay per disk over the staged chain."""

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_flatten
short_description: Put a writable overlay over each staged disk of a VM
description:
  - Creates one qcow2 overlay per disk, whose backing file is the staged snapshot chain. No data are copied and the source is never written.
  - With O(mode=copy) each chain is instead copied into one standalone image.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  mode:
    description: V(overlay) for the migration, V(copy) when a standalone image of the unrepaired disk is wanted.
    type: str
    default: overlay
    choices: [overlay, copy]
  dest:
    description: The directory for the standalone images, with O(mode=copy).
    type: path
  format:
    description: The format of the standalone images.
    type: str
    default: qcow2
    choices: [qcow2, raw, vdi]
  moved:
    description: Whether the VM may come from another place than before, which in check mode is noted nowhere.
    type: bool
    default: false
    version_added: 0.2.0
  work_dir:
    required: true
  accept:
    version_added: 0.2.0
extends_documentation_fragment:
  - hyper2kvm.migration.attributes.run
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
"""

EXAMPLES = r"""
- name: Make the overlays
  hyper2kvm.migration.disk_flatten:
    work_dir: /var/lib/migration/web01

- name: Consolidate a snapshot chain into one raw file
  hyper2kvm.migration.disk_flatten:
    work_dir: /var/lib/migration/web01
    mode: copy
    dest: /var/lib/images
    format: raw
"""

RETURN = r"""
disks:
  description: The disks in their order.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: "The path of the overlay or of the standalone image; in check mode the one that the run would make.", type: str}
    format: {description: Its format., type: str}
    virtual_size: {description: The size that the guest sees in bytes., type: int}
  sample: [{"path": "/var/lib/migration/web01/disk0-overlay.qcow2", "format": "qcow2", "virtual_size": 10737418240}]
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.names import safe
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import require
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import convert, earlier, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.request import Request
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.holding import belonging, working_on
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import (
    fetched_of,
    module_with_source,
    require_fetched,
    require_own,
    source_of,
    sources_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import libraries_of, opened


def argument_spec() -> dict:
    # Written by make options.
    return {
        **attributes.RUN,
        **disk_set.MAIN,
        **vsphere.SOURCE,
        "work_dir": {"type": "path", "required": True},
        "accept": {"type": "list", "elements": "str", "default": []},
        "mode": {"type": "str", "default": "overlay", "choices": ["overlay", "copy"]},
        "dest": {"type": "path"},
        "format": {"type": "str", "default": "qcow2", "choices": ["qcow2", "raw", "vdi"]},
        "moved": {"type": "bool", "default": False},
    }


def work(module: AnsibleModule) -> Result:
    params, directory = module.params, module.params["work_dir"]
    require_own(module)
    with working_on(module, directory):
        if module.check_mode:
            require("qemu-img")
        if module.check_mode and fetched_of(params) is None and params["source"]:
            with opened(source_of(params), access_of(params), check=True) as found:
                sizes = found.sizes()
            for number, disk in enumerate(sizes if params["mode"] == "copy" else ()):
                if disk.files:
                    earlier.refuse_source(Request("", "raw", result(params, disk.vm, number), params["format"]), disk.files)
            return {
                "changed": True,
                "disks": [
                    {"path": os.path.join(directory, f"disk{number}-overlay.qcow2"), "format": "qcow2", "virtual_size": disk.virtual_size}
                    for number, disk in enumerate(sizes)
                ],
            }
        base = require_fetched(params)
        if params["mode"] == "copy":
            dest = places.results(params["dest"], base.result["name"], directory)
            with belonging(module, dest, places.recorded(base.result)):
                return copy(module, base)
        staging.require_apart(staging.staged_disks(base.result, directory), base.inputs)
        changed = not staging.flattened(directory)
        if changed and not module.check_mode:
            with staging.holding(base, directory):
                staging.flatten(base.result, directory, base.inputs)
        disks = staging.staged_disks(base.result, directory)
        return {
            "changed": changed,
            "disks": [{"path": disk.overlay, "format": "qcow2", "virtual_size": disk.virtual_size} for disk in disks],
        }


def copy(module: AnsibleModule, base: staging.Manifest) -> Result:
    changed, disks = False, []
    if "stream" in base.result.get("origin", {}):
        raise InvalidInput("The disks were not staged, so there is nothing to copy.", "Stage them (migrate_fetch: stage).")
    if module.check_mode:
        ahead.writable(module.params["dest"])
    for number, disk in enumerate(staging.staged_disks(base.result, module.params["work_dir"])):
        dest = result(module.params, base.result["name"], number)
        request = Request(disk.top, disk.format, dest, module.params["format"])
        done = earlier.done_before(request, base.inputs)
        if done is None:
            changed = True
            with staging.holding(base, module.params["work_dir"]) as unchanged:
                done = (
                    convert.plan(request, base.inputs) if module.check_mode else convert.convert(request, base.inputs, Silent(), unchanged)
                )
        disks.append(done)
    return {"changed": changed, "disks": disks}


def result(params: dict, name: str, number: int) -> str:
    """Where the copy of a disk goes."""
    return os.path.join(params["dest"], f"{safe(name)}-disk{number}.{params['format']}")


def main() -> None:
    module = module_with_source(argument_spec(), required_if=[("mode", "copy", ["dest"])])
    respawn_for(*libraries_of(sources_of(module.params)))
    run(module, work)


if __name__ == "__main__":
    main()
