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
options:  # written by make options
  work_dir:
    required: true
  fixes:
    description: Which fixes to make. All of them by default.
    type: list
    elements: str
    default: []
    choices: [fstab, storage, bootloader, network, vmware_tools, agent, customize, initramfs, virtio, boot_files, firstboot]
  plan:
    description:
      - A plan to carry out instead of making one, as O(plan_file) has it.
      - One that was returned (O(return_plan)) lacks what is secret in the guest, and is refused where it needs that.
    type: dict
  plan_file:
    description: The file on the conversion host with the plan to carry out instead of making one, as M(hyper2kvm.migration.guest_plan) writes it.
    type: path
    version_added: 0.2.0
  plan_digest:
    description: The digest that the plan in O(plan_file) must have, so that what was reviewed is what is carried out.
    type: str
    default: ""
    version_added: 0.2.0
  grow:
    description:
      - New sizes by disk, as V(+10G) or V(50G), for disks whose space the guest is to get. An empty string leaves a disk as it is.
      - The last partition of each grows, with encryption and LVM on it, up to the file system (ext2 to ext4, XFS, btrfs, NTFS); in a volume group the
        volume of the root, or the only one that can. A swap area behind the partition moves to the end. Nothing else is moved and nothing shrinks.
      - M(hyper2kvm.migration.qemu_convert) wants the same sizes. M(hyper2kvm.migration.guest_fix_rollback) leaves sizes as they are.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  moved:
    description: Whether the VM may come from another place than before, which in check mode is noted nowhere.
    type: bool
    default: false
    version_added: 0.2.0
  engine:
    description:
      - Who repairs the guest. V(own) is this collection, V(v2v) is C(virt-v2v-in-place); the others are both, one after the other.
      - Whoever does, this collection proves the result.
    type: str
    default: own
    choices: [own, v2v, v2v_then_own, own_then_v2v]
    version_added: 0.2.0
  v2v_options:
    description: Options for C(virt-v2v-in-place), such as C(--root) and a device, each word an element. Keys and the input are set by the module.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
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
  sample: 3f2a9c1d0b7e
facts:
  description: What inspection found out.
  returned: success
  type: dict
  contains:
    os: {description: "V(linux), V(windows), or V(unknown) for what is only copied.", type: str}
    distribution: {description: The distribution's own short name., type: str}
    version: {description: Its version., type: str}
    product: {description: The name and version for people., type: str}
    family: {description: "V(debian), V(rhel), V(suse) and so on.", type: str}
    architecture: {description: The processor's architecture., type: str}
    hostname: {description: The host name., type: str}
    machine_id: {description: The system's own id., type: str}
    firmware: {description: V(bios) or V(uefi)., type: str}
    root: {description: The device of the root file system., type: str}
    root_subvolume: {description: Its Btrfs subvolume., type: str}
    root_stack: {description: "What lies between the disk and the root file system (LVM, RAID, LUKS).", type: list, elements: str}
    boot_containers: {description: Encrypted containers that must be open for the start., type: list, elements: str}
    boot_disk: {description: "The number of the disk that the firmware starts from, from 0.", type: int}
    disk_bus: {description: "The bus that the guest can start from: V(virtio), V(sata) or V(ide).", type: str}
    nic_model: {description: The model of network card that the guest can drive., type: str}
    mounts: {description: "The file systems that were mounted, each with device, path and options.", type: list, elements: dict}
    kernels: {description: "The kernels, each with version, image, initramfs and modules.", type: list, elements: dict}
    boot_loaders: {description: The boot loaders., type: list, elements: str}
    initramfs_tool: {description: What makes the initramfs., type: str}
    network: {description: What configures the network., type: list, elements: str}
    interfaces: {description: "The network cards that profiles name, each as name and MAC.", type: list, elements: list}
    nics: {description: "How each NIC will come up: name, mac, method, addresses, gateway, backend, path, on.", type: list, elements: dict}
    tools: {description: Tools of other hypervisors that are installed., type: list, elements: str}
    selinux: {description: Whether SELinux is on., type: bool}
    encrypted: {description: The encrypted containers., type: list, elements: str}
    live: {description: Whether it is the running system., type: bool}
    machine: {description: The machine type of the VM., type: str}
    phases: {description: "The device sets to start on, one after the other: V(bootstrap), V(final).", type: list, elements: str}
    console: {description: Whether its serial console tells that it has started., type: bool}
    first_steps: {description: "What a person does at the first start, and knows of it; {vm} stands for the name of the VM.", type: list, elements: str}
    windows: {description: "What only Windows has: release, build, system_root, control_set, stores and so on.", type: dict}
  sample: {os: linux, product: Debian GNU/Linux 12 (bookworm), firmware: bios, root: /dev/sda2, disk_bus: virtio, nic_model: virtio}
concerns:
  description: What a person should know before migrating.
  returned: success
  type: list
  elements: dict
  contains:
    code: {description: "The code, which O(accept) takes.", type: str}
    severity: {description: "V(blocker), V(warning) or V(info).", type: str}
    cause: {description: What was found., type: str}
    remedy: {description: What can be done., type: str}
  sample: [{code: tools.needed, severity: warning, cause: "The package open-vm-tools stays: app depends on it.", remedy: Remove it in the guest.}]
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
  contains:
    launch: {description: Until the appliance was there., type: float}
    inspect: {description: The inspection., type: float}
    plan: {description: Planning., type: float}
    apply: {description: Writing., type: float}
    prove: {description: The proof., type: float}
    trim: {description: Discarding what is free., type: float}
    shutdown: {description: Until everything was flushed., type: float}
  sample: {launch: 7.9, inspect: 3.1, plan: 0.4}
changes:
  description: The changes.
  returned: success
  type: list
  elements: dict
  contains:
    kind: {description: "V(write), V(remove), V(copy), V(link), V(upload), V(extend_initramfs), V(registry), V(patch) or V(run).", type: str}
    path: {description: The file in the guest., type: str}
    reason: {description: Why., type: str}
  sample: [{kind: write, path: /etc/fstab, reason: stable names in fstab}]
summary:
  description: How many changes there are of each kind.
  returned: success
  type: dict
  contains:
    write: {description: Files that are written. The other kinds of RV(changes) likewise., type: int}
  sample: {extend_initramfs: 1, write: 4}
plan_digest:
  description: The SHA-256 digest of the plan as the file holds it.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
plan_file:
  description: Where the plan is kept, on the conversion host. Only its owner reads it. Of a repair that its proof refuses it is C(plan-refused.json) there,
    which C(details) and the hint name.
  returned: with O(work_dir), not in check mode
  type: str
  sample: /var/lib/migration/web01/plan.json
cut:
  description: What of this result was too long, by key, with how much there is in all. The plan, and the report of the migration, have the rest.
  returned: when something was cut
  type: dict
  contains:
    changes: {description: How many changes there are; other keys likewise., type: str}
  sample: {changes: 412 in all}
plan:
  description: The plan as data, without what is secret in the guest.
  returned: when O(return_plan) is true
  type: dict
  contains:
    format: {description: The version of its format., type: int}
    changes: {description: The changes., type: list, elements: dict}
    concerns: {description: The concerns., type: list, elements: dict}
  sample: {format: 1, changes: [], concerns: []}
proof:
  description: The static proof.
  returned: success
  type: dict
  contains:
    verdict: {description: V(passed) or V(failed)., type: str}
    checks: {description: "Every check with name, passed and detail.", type: list, elements: dict}
  sample: {verdict: passed, checks: [{name: boot loader, passed: true, detail: grub on disk 0}]}
"""

from typing import Any, Optional

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.guest_options import all_options_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.records import nics_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, subject_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.engines import Engine
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.fix import Fix, FixOptions
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repaired import load_plan


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.ACTION,
        **disk_set.MAIN,
        **disk_set.SYSTEM,
        **vsphere.SOURCE,
        **disk_set.FIX,
        **disk_set.OPTIONS,
        "work_dir": {"type": "path", "required": True},
        "fixes": {
            "type": "list",
            "elements": "str",
            "default": [],
            "choices": [
                "fstab",
                "storage",
                "bootloader",
                "network",
                "vmware_tools",
                "agent",
                "customize",
                "initramfs",
                "virtio",
                "boot_files",
                "firstboot",
            ],
        },
        "plan": {"type": "dict"},
        "plan_file": {"type": "path"},
        "plan_digest": {"type": "str", "default": ""},
        "grow": {"type": "list", "elements": "str", "default": []},
        "moved": {"type": "bool", "default": False},
        "engine": {"type": "str", "default": "own", "choices": ["own", "v2v", "v2v_then_own", "own_then_v2v"]},
        "v2v_options": {"type": "list", "elements": "str", "default": []},
    }


def stage_of(params: dict[str, Any]) -> Fix:
    return Fix(
        made(
            FixOptions,
            params,
            subject=subject_of(params),
            nics=nics_of(params),
            chosen=all_options_of(params, params["fixes"]),
            engine=Engine(params["engine"], tuple(params["v2v_options"])),
            plan=_saved_plan(params),
            plan_too=params["return_plan"],
        )
    )


def _saved_plan(params: dict[str, Any]) -> Optional[Plan]:
    """The plan that the user gave, as data or as a file, if there is one. Ansible does not answer with it."""
    if params["plan_file"]:
        return load_plan(params["plan_file"], params["plan_digest"])
    if not params["plan"]:
        return None
    plan = Plan.from_data(params["plan"], KINDS)
    params["plan"] = {"id": plan.id}
    return plan


def main() -> None:
    run_stage(module_with_source(argument_spec(), mutually_exclusive=[("plan", "plan_file")]), stage_of)


if __name__ == "__main__":
    main()
