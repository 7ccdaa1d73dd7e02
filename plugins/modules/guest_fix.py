#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""INSPECT, PLAN, FIX, prove and trim in one appliance session."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_fix
short_description: Repair a guest so that it boots on KVM, and prove it
description:
  - Starts one appliance with every disk of the VM, inspects the guest, plans, applies the plan to the overlays, proves from the bytes that the
    guest will boot, and discards free space.
  - Nothing is written when a blocker among the concerns is not accepted or the guest lacks space.
  - In check mode the same happens on throw-away overlays, so that the diff and the proof are those of the real run.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:
  work_dir:
    required: true
  fixes:
    description: Which fixes to make. All of them by default.
    type: list
    elements: str
    default: []
    choices: [fstab, storage, bootloader, network, vmware_tools, agent, customize, initramfs, virtio, boot_files, firstboot]
  plan:
    description: A plan as returned by M(hyper2kvm.migration.guest_plan), to carry out instead of making one.
    type: dict
  grow:
    description:
      - New sizes by disk, as V(+10G) or V(50G), for disks whose space the guest is to get. An empty string leaves a disk as it is.
      - The last partition of each grows, with encryption and LVM on it, up to the file system (ext2 to ext4, XFS, btrfs, NTFS); in a volume group the
        volume of the root, or the only one that can. A swap area behind the partition moves to the end. Nothing else is moved and nothing shrinks.
      - M(hyper2kvm.migration.qemu_convert) wants the same sizes. M(hyper2kvm.migration.guest_fix_rollback) leaves sizes as they are.
    type: list
    elements: str
    default: []
  engine:
    description:
      - Who repairs the guest. V(own) is this collection, V(v2v) is C(virt-v2v-in-place); the others are both, one after the other.
      - Whoever does, this collection proves the result.
    type: str
    default: own
    choices: [own, v2v, v2v_then_own, own_then_v2v]
  v2v_options:
    description: Options for C(virt-v2v-in-place), such as C(--root) and a device, each word an element. Keys and the input are set by the module.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.action
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.disk_set.system
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.disk_set.fix
  - hyper2kvm.migration.disk_set.options
"""

EXAMPLES = r"""
- name: Repair the staged guest
  hyper2kvm.migration.guest_fix:
    work_dir: /var/lib/migration/web01

- name: See what would be repaired
  hyper2kvm.migration.guest_fix:
    source: /exports/web01/web01.vmx
    work_dir: /var/lib/migration/web01
  check_mode: true
  diff: true
"""

RETURN = r"""
id:
  description: The repair's id. What it replaced or removed is below C(/var/lib/hyper2kvm/<id>) in the guest.
  returned: success
  type: str
facts:
  description: What inspection found out (distribution, kernels, boot loaders, root, mounts, interfaces with their MACs, ...).
  returned: success
  type: dict
concerns:
  description: What a person should know before migrating, each with code, severity, cause and remedy.
  returned: success
  type: list
  elements: dict
grown:
  description: What has grown, a line for each partition, volume and file system, with sizes before and after.
  returned: when O(grow) is given
  type: list
  elements: str
  sample: ["partition 2 of disk 0: 9.50 GiB -> 49.50 GiB", "ext4 of /: 9.27 GiB -> 48.58 GiB"]
timings:
  description: Seconds per phase.
  returned: success
  type: dict

changes:
  description: The changes with kind, path, reason and diff.
  returned: success
  type: list
  elements: dict
plan:
  description: The plan as data; C(guest_fix) takes it as O(hyper2kvm.migration.guest_fix#module:plan).
  returned: success
  type: dict

proof:
  description: The static proof, with its verdict (V(passed) or V(failed)) and every check.
  returned: success
  type: dict
"""

from ansible_collections.hyper2kvm.migration.plugins.module_utils.adapter import (
    composite_fix,
    fix_spec,
    fixes_spec,
    progress_spec,
    sources_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.engines import ENGINES, OWN
from ansible_collections.hyper2kvm.migration.plugins.module_utils.running import libraries_of, module_for, respawn_for, run


def argument_spec() -> dict:
    spec = {
        **fix_spec(),
        **progress_spec(),
        **fixes_spec(),
        "plan": {"type": "dict"},
        "grow": {"type": "list", "elements": "str", "default": []},
        "engine": {"type": "str", "default": OWN, "choices": list(ENGINES)},
        "v2v_options": {"type": "list", "elements": "str", "default": []},
        "work_dir": {"type": "path", "required": True},
    }
    del spec["disks"]
    return spec


def main() -> None:
    module = module_for(argument_spec())
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))
    run(module, composite_fix)


if __name__ == "__main__":
    main()
