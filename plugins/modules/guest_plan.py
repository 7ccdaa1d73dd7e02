#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PLAN: what a migration would change in a guest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_plan
short_description: Plan the changes that make a guest boot on KVM
description:
  - Opens all disks of a VM read-only, inspects the guest and returns the ordered changes, each with its reason and diff, and the concerns.
  - A saved plan can be reviewed, kept, and carried out later by M(hyper2kvm.migration.guest_fix). It is refused on a guest that has changed since.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  fixes:
    description: Which fixes to plan. All of them by default.
    type: list
    elements: str
    default: []
    choices: [fstab, storage, bootloader, network, vmware_tools, agent, customize, initramfs, virtio, boot_files, firstboot]
  dest:
    description: A file on the conversion host to save the plan to, as JSON, in a directory that is created if it is missing. It holds files of the guest,
      so that only its owner reads it. Not beside the results or the report of another VM, nor in place of the plan of O(source) of another one.
    type: path
  moved:
    description: Whether what is beside it may be of the VM of O(source) although that comes from another place.
    type: bool
    default: false
    version_added: 0.2.0
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.disk_set.guest
  - hyper2kvm.migration.disk_set.system
  - hyper2kvm.migration.disk_set.fix
  - hyper2kvm.migration.disk_set.options
"""

EXAMPLES = r"""
- name: Plan and keep the plan
  hyper2kvm.migration.guest_plan:
    source: /exports/web01/web01.vmx
    dest: /var/lib/migration/web01.plan.json
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
  description: Where the plan is kept, on the conversion host. Only its owner reads it.
  returned: with O(dest), not in check mode
  type: str
  sample: /var/lib/migration/web01.plan.json
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
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, atomic, modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.guest_options import guest_request
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.repairs import report_result
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import (
    module_with_source,
    run_of,
    source_of,
    sources_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import look
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import identified, libraries_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import belonging


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **disk_set.MAIN,
        **vsphere.SOURCE,
        **disk_set.GUEST,
        **disk_set.SYSTEM,
        **disk_set.FIX,
        **disk_set.OPTIONS,
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
        "dest": {"type": "path"},
        "moved": {"type": "bool", "default": False},
    }


def work(module: AnsibleModule) -> Result:
    dest = module.params["dest"] or ""
    if not dest:
        return planned(module, dest)
    directory = os.path.dirname(os.path.abspath(dest))
    if module.params["source"]:
        vm = identified(source_of(module.params), access_of(module.params))
        places.require_one_of(directory, vm, module.params["moved"])
        with belonging(run_of(module), places.plan(dest), vm):
            return planned(module, dest)
    if not module.check_mode:
        modes.make_directory(directory, modes.PASSABLE, modes.PASSABLE)
    return planned(module, dest)


def planned(module: AnsibleModule, dest: str) -> Result:
    with guest_request(module, module.params["fixes"]) as request:
        report = look(request, plan_too=True)
    text = report.plan.text()
    changed = bool(dest) and atomic.read_text(dest) != text
    if changed and module.check_mode:
        ahead.file(dest)
    elif changed:
        atomic.write_text(dest, text)
    return report_result(module, report, changed, "" if module.check_mode else dest)


def main() -> None:
    module = module_with_source(
        argument_spec(),
        required_one_of=[("source", "disks", "work_dir")],
        mutually_exclusive=[("source", "disks")],
    )
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))
    run(module, work)


if __name__ == "__main__":
    main()
