#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a conversion host has and lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: conversion_host_info
short_description: Check what a conversion host has and lacks
description:
  - Looks for the programs and libraries that the other modules need, and finds out whether KVM really runs a kernel on this host.
  - The answer about KVM is remembered until the host boots again.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  probe_accelerator:
    description: Start a kernel under KVM for a moment, where C(/dev/kvm) is present and nothing is remembered.
    type: bool
    default: true
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
"""

EXAMPLES = r"""
- name: Check this host
  hyper2kvm.migration.conversion_host_info:
"""

RETURN = r"""
missing:
  description: Programs and libraries that are not there.
  returned: success
  type: list
  elements: str
  sample: [qemu-img]
accelerator:
  description: V(kvm) or V(tcg), or V(unknown) without O(probe_accelerator).
  returned: success
  type: str
  sample: kvm
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.accel import accelerator
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MissingTool
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import require
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.offline import GUESTFS_ERROR
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio, yamlfile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, module_for, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.qemu_arguments import firmware_files
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import edit_hive


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {"probe_accelerator": {"type": "bool", "default": True}}


def work(module: AnsibleModule) -> Result:
    missing = [] if GUESTFS_ERROR is None else ["libguestfs Python bindings"]
    for check, argument in ((require, "qemu-img"), (require, "qemu-system-x86_64"), (firmware_files, None)):
        try:
            check(*([argument] if argument else []))
        except MissingTool:
            missing.append(argument or "OVMF")
    libraries = {"zstandard": cpio.zstandard, "lz4": cpio.lz4_block, "yaml": yamlfile.yaml}
    there = {**{name: library is not None for name, library in libraries.items()}, "hivex": edit_hive.HIVEX_ERROR is None}
    missing += [f"Python module {name}" for name, found in there.items() if not found]
    return {"changed": False, "missing": missing, "accelerator": accelerator() if module.params["probe_accelerator"] else "unknown"}


def main() -> None:
    module = module_for(argument_spec())
    respawn_for("guestfs")
    run(module, work)


if __name__ == "__main__":
    main()
