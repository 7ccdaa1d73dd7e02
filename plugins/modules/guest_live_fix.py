#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repairs on a running system, before it is moved."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_live_fix
short_description: Repair the running system so that it boots on KVM after the move
description:
  - Makes the same repairs as M(hyper2kvm.migration.guest_fix), by the same rules, on the Linux system that the module runs on, which needs root.
  - The system goes on as it is. The next boot works on KVM, and on the old hypervisor as well unless its tools were removed.
  - What was replaced or removed is kept below C(/var/lib/hyper2kvm); M(hyper2kvm.migration.guest_live_rollback) takes it back.
  - After the repair it is proved from the files that the next boot will work; otherwise the module fails and names the place.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  fixes:
    description: Which fixes to make. All of them by default.
    type: list
    elements: str
    default: []
    choices: [fstab, storage, bootloader, network, vmware_tools, agent, customize, initramfs]
  fstab_mode:
    description: Which entries of fstab, crypttab and mount units get stable names; all unstable ones, only by-path ones, or none.
    type: str
    default: stabilize-all
    choices: [stabilize-all, bypath-only, noop]
  pin:
    description:
      - What the names of a Linux guest's network cards go by, for targets that give a card another MAC than the source's.
      - V(mac) pins each name to its card's MAC. Profiles that match the MAC stay as they are.
      - V(mac_or_position) also gives a card with an unknown MAC the name of its position, unless another card has the MAC of that name. Profiles that
        match the card's MAC match its name instead.
      - V(auto) is V(mac_or_position) for a VM with one card, and V(mac) for one with several, which a target may put in another order.
    type: str
    default: auto
    choices: [auto, mac, mac_or_position]
    version_added: 0.2.0
  initramfs:
    description:
      - How the initramfs of each kernel gets the virtio drivers.
      - V(regenerate) runs the system's own tool for each kernel whose image lacks the drivers.
      - V(overlay) appends the drivers to the images instead, which takes seconds.
    type: str
    default: regenerate
    choices: [overlay, regenerate, skip]
  agent_packages:
    description: Packages with the QEMU guest agent and what it depends on, or directories of such, on this system.
    type: list
    elements: path
    default: []
  accept:
    description: Codes of concerns that the operator accepts.
    type: list
    elements: str
    default: []
requirements:
  - Python 3.9 or newer on the system
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.disk_set.options
seealso:
  - module: hyper2kvm.migration.guest_live_rollback
  - module: hyper2kvm.migration.guest_fix
"""

EXAMPLES = r"""
- name: Repair the hosts before they are moved
  hyper2kvm.migration.guest_live_fix:
  become: true

- name: See what would be changed, except for VMware's tools
  hyper2kvm.migration.guest_live_fix:
    fixes: [fstab, storage, bootloader, network, initramfs]
  become: true
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
  description: Where the plan is kept, on the system.
  returned: not in check mode
  type: str
  sample: /var/lib/hyper2kvm/3f2a9c1d5e77/plan.json
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
output:
  description: What the system's own tools printed.
  returned: success
  type: list
  elements: str
  sample: ["update-initramfs: Generating /boot/initrd.img-6.1.0-56-amd64"]
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
"""

from typing import Any

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.repairs import live_fix_work
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import module_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import disk_set


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **disk_set.OPTIONS,
        "fixes": {
            "type": "list",
            "elements": "str",
            "default": [],
            "choices": ["fstab", "storage", "bootloader", "network", "vmware_tools", "agent", "customize", "initramfs"],
        },
        "fstab_mode": {"type": "str", "default": "stabilize-all", "choices": ["stabilize-all", "bypath-only", "noop"]},
        "pin": {"type": "str", "default": "auto", "choices": ["auto", "mac", "mac_or_position"]},
        "initramfs": {"type": "str", "default": "regenerate", "choices": ["overlay", "regenerate", "skip"]},
        "agent_packages": {"type": "list", "elements": "path", "default": []},
        "accept": {"type": "list", "elements": "str", "default": []},
    }


def main() -> None:
    run(module_for(argument_spec()), live_fix_work)


if __name__ == "__main__":
    main()
