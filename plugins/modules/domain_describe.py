#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the description of a migrated VM."""

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_describe
short_description: Write the description of a migrated VM
description:
  - Writes C(<name>.xml) into a directory, with the buses, cards, MACs, machine and firmware that the guest was repaired and proved for.
  - For O(phase=bootstrap) it writes C(<name>-bootstrap.xml), in which the system disk lies where Windows needs no driver of ours, and creates a small
    empty disk on virtio beside it, so that Windows installs the driver.
  - A file of that name that describes another VM, or that is no such description, is refused.
  - Nothing is defined; C(virsh define) takes the file. O(formats) writes it for others too.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  dest:
    description: The directory, created if it is missing.
    type: path
    required: true
  name:
    description: The name of the VM, of which P(hyper2kvm.migration.safe_name#filter) makes that of the domain and of the files.
    type: str
    required: true
  work_dir:
    description: The VM's work directory, whose records say what O(vm) does not, and O(facts), with O(phase), and O(disks) where they are not given.
    type: path
    version_added: 0.2.0
  source:
    description: The source of the VM, as for M(hyper2kvm.migration.vmdk_fetch). A O(work_dir) of another VM is refused.
    type: list
    elements: str
    version_added: 0.2.0
  moved:
    description: Whether the VM may come from another place than before, which in check mode is noted nowhere.
    type: bool
    default: false
    version_added: 0.2.0
  vm:
    description: What M(hyper2kvm.migration.vmdk_fetch) returned as RV(hyper2kvm.migration.vmdk_fetch#module:vm).
    type: dict
    default: {}
  facts:
    description: What M(hyper2kvm.migration.guest_fix) returned as RV(hyper2kvm.migration.guest_fix#module:facts).
    type: dict
    default: {}
  disks:
    description: What M(hyper2kvm.migration.qemu_convert) returned as RV(hyper2kvm.migration.qemu_convert#module:disks).
    type: list
    elements: dict
  phase:
    description: The set of devices.
    type: str
    default: final
    choices: [bootstrap, final]
  network:
    description: The libvirt network of every card that O(networks) says nothing of; V(bridge:br0) for a bridge of the host.
    type: str
    default: default
  networks:
    description: For networks at the source the libvirt network, or V(bridge:br0), that takes their place.
    type: dict
    default: {}
  formats:
    description:
      - What is written beside the libvirt description of O(phase=final).
      - V(kubevirt) is C(<name>-kubevirt.json), a C(VirtualMachine) whose disks are claims C(<name>-disk0) and so on.
      - V(openstack) is C(<name>-openstack.json), the properties of the image of the system disk.
      - V(proxmox) is C(<name>-proxmox.json), options of C(qm create) and the disks to import.
      - V(qemu) is C(<name>.sh), a script that starts the VM with qemu itself.
    type: list
    elements: str
    default: []
    choices: [kubevirt, openstack, proxmox, qemu]
extends_documentation_fragment:
  - hyper2kvm.migration.attributes.run
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
requirements:
  - qemu-img
"""

EXAMPLES = r"""
- name: Describe the VM
  hyper2kvm.migration.domain_describe:
    dest: /var/lib/images/web01
    name: web01
    vm: "{{ fetched.vm }}"
    facts: "{{ fixed.facts }}"
    disks: "{{ converted.disks }}"
    networks:
      VM Network: default
      DMZ: bridge:br-dmz
"""

RETURN = r"""
path:
  description: The description.
  returned: success, and in check mode only where it is there and would stay as it is
  type: str
  sample: /var/lib/images/web01/web01.xml
files:
  description: The descriptions in other formats; in check mode those that are there and would stay as they are.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/images/web01/web01.sh]
side_disk:
  description: The small disk on virtio, for O(phase=bootstrap); in check mode where it is there.
  returned: success
  type: str
  sample: ""
"""

from typing import Any, Mapping

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.records import disks_of, facts_of, whole_vm_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, subject_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.describe import Describe, DescribeOptions
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.formats import FORMATS


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.RUN,
        **attributes.MODE,
        "dest": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "work_dir": {"type": "path"},
        "source": {"type": "list", "elements": "str"},
        "moved": {"type": "bool", "default": False},
        "vm": {"type": "dict", "default": {}},
        "facts": {"type": "dict", "default": {}},
        "disks": {"type": "list", "elements": "dict"},
        "phase": {"type": "str", "default": "final", "choices": ["bootstrap", "final"]},
        "network": {"type": "str", "default": "default"},
        "networks": {"type": "dict", "default": {}},
        "formats": {"type": "list", "elements": "str", "default": [], "choices": ["kubevirt", "openstack", "proxmox", "qemu"]},
    }


def stage_of(params: Mapping[str, Any]) -> Describe:
    answers = {"vm": whole_vm_of(params), "facts": facts_of(params), "disks": disks_of(params)}
    return Describe(made(DescribeOptions, params, subject=subject_of(params), mode=modes.parse(params["mode"]), **answers))


def main() -> None:
    spec = argument_spec()
    spec["formats"]["choices"] = list(FORMATS)  # also one that was added since the specs were written
    run_stage(module_with_source(spec, required_one_of=[("disks", "work_dir")]), stage_of)


if __name__ == "__main__":
    main()
