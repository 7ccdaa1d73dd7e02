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

from typing import Any, Mapping

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, subject_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.flatten import Flatten, FlattenOptions


def argument_spec() -> dict[str, Any]:
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


def stage_of(params: Mapping[str, Any]) -> Flatten:
    if params["mode"] == "copy" and not params["dest"]:
        raise InvalidInput("dest is empty: copies need a directory.", "Name the directory that the copies go to.", option="dest")
    dest = params["dest"] if params["mode"] == "copy" else ""
    return Flatten(FlattenOptions(subject_of(params), dest, params["format"]))


def main() -> None:
    run_stage(module_with_source(argument_spec(), required_if=[("mode", "copy", ["dest"])]), stage_of)


if __name__ == "__main__":
    main()
