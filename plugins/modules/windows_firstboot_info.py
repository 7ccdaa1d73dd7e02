#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say how far the first start of a migrated Windows has come."""

from __future__ import annotations

DOCUMENTATION = r"""
module: windows_firstboot_info
short_description: Say how far the first start of a migrated Windows has come
description:
  - Reads the marker, the number of tries and the log that the first-boot work leaves in Windows, from the disks of a VM that is switched off.
    Nothing is written.
  - It also proves again that Windows will start on virtio, now from what Windows itself has made of its registry.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
requirements:
  - libguestfs with its Python bindings
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.disk_set.guest
  - hyper2kvm.migration.disk_set.look
  - hyper2kvm.migration.disk_set.system
"""

EXAMPLES = r"""
- name: Ask the disks of a VM that is switched off
  hyper2kvm.migration.windows_firstboot_info:
    disks:
      - path: /var/lib/images/web01/web01-disk0.qcow2
        format: qcow2
"""

RETURN = r"""
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
    code: {description: "The code, which O(hyper2kvm.migration.guest_fix#module:accept) takes.", type: str}
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
firstboot:
  description: How far the first start has come.
  returned: success
  type: dict
  contains:
    state: {description: "V(none), V(armed), V(running), V(done) or V(failed).", type: str}
    tries: {description: How often it has begun., type: int}
    log: {description: The end of its log., type: list, elements: str}
    ready: {description: "What the final devices need is done: drivers and network. The rest may still be tried at later starts.", type: bool}
    steps:
      description: The steps in their order. A first start of an earlier version has none.
      type: list
      elements: dict
      contains:
        name: {description: "V(drivers), V(network), V(disks), V(settings), V(extras), V(agent), V(tools) or V(cleanup).", type: str}
        state: {description: "V(waiting), V(running), V(done) or V(failed).", type: str}
        tries: {description: How often it was tried., type: int}
        code: {description: Its last exit code., type: int}
        meaning: {description: What that code means., type: str}
  sample:
    state: done
    tries: 1
    log: ["drivers: done"]
    ready: true
    steps: [{name: drivers, state: done, tries: 1, code: 0, meaning: ""}]
proof:
  description: The static proof.
  returned: success
  type: dict
  contains:
    verdict: {description: V(passed) or V(failed)., type: str}
    checks: {description: "Every check with name, passed and detail.", type: list, elements: dict}
  sample: {verdict: passed, checks: [{name: boot loader, passed: true, detail: grub on disk 0}]}
"""


from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.repairs import report_on_guest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import first_start


def main() -> None:
    report_on_guest(first_start)


if __name__ == "__main__":
    main()
