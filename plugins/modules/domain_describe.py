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

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, modes, names, shapes, spared
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.shape import TEXT, require
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import qemu_img
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BOOTSTRAP, FINAL
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.holding import belonging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, require_own
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import descriptions, places, stages
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.domains import describe, unmapped
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import libvirt_xml
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.formats import FORMATS

SIDE_DISK_SIZE = 64 << 20  # bytes


def argument_spec() -> dict:
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


def work(module: AnsibleModule) -> Result:
    params = module.params
    require_own(module)
    if params["work_dir"]:
        params = with_records(params)
    _require_right(params)
    with belonging(module, places.results(params["dest"], params["name"]), places.recorded(params["vm"]), modes.parse(params["mode"])):
        return written(module, params)


def _require_right(params: dict) -> None:
    """Raise InvalidInput, which names the option, for what no VM can have."""
    require("vm", params["vm"], shapes.VM, "Give what vmdk_fetch returned as vm, or leave it out where there is a work_dir.")
    require("facts", params["facts"], shapes.FACTS, "Give what guest_fix returned as facts, or leave it out where there is a work_dir.")
    require("disks", params["disks"], [shapes.DISK], "Give what qemu_convert returned as disks.")
    require(
        "networks",
        params["networks"],
        {"": TEXT},
        "Write the name of a network, or bridge: and that of a bridge, for each network at the source.",
    )


def with_records(params: dict) -> dict:
    """The parameters, with what the stages before have recorded where they say nothing."""
    before = stages.known(params["work_dir"])
    facts, phase = params["facts"], params["phase"]
    if not facts:
        facts, phase = before.facts, next(iter(before.facts.get("phases") or ()), phase)
    disks = stages.so_far(params["work_dir"]).disks if params["disks"] is None else params["disks"]
    return {**params, "vm": {**before.vm, **params["vm"]}, "facts": facts, "phase": phase, "disks": disks}


def written(module: AnsibleModule, params: dict) -> Result:
    if not params["disks"]:
        raise InvalidInput("disks is empty: a VM needs one to start from.", "Give what qemu_convert returned as disks.", option="disks")
    dest, name, phase = params["dest"], names.safe(params["name"]), params["phase"]
    side = os.path.join(dest, f"{name}-driver.qcow2") if phase == BOOTSTRAP else ""
    _require_side(side)
    for concern in unmapped(params["vm"], params["network"], params["networks"]):
        module.warn(str(concern))
    domain = describe(name, params["vm"], params["facts"], params["disks"], phase, params["network"], side, params["networks"])
    formats = (FORMATS[fmt] for fmt in dict.fromkeys(params["formats"])) if phase == FINAL else ()
    base, mode = os.path.join(dest, f"{name}-bootstrap" if phase == BOOTSTRAP else name), modes.parse(params["mode"])
    described = descriptions.of(domain, base, mode, [libvirt_xml.FORMAT, *formats])
    stale = [one for one in described if one.stale]
    for one in stale:
        ahead.file(one.path)
    descriptions.require_ours(stale)
    changed = bool(stale) or bool(side and not os.path.exists(side))
    if changed and module.check_mode:
        ahead.writable(dest)
    elif changed:
        modes.make_directory(dest, modes.with_disks(mode), modes.with_disks(mode))
        if side and not os.path.exists(side):
            qemu_img.create_empty(side, SIDE_DISK_SIZE)
            os.chmod(side, mode)
        descriptions.write(stale)
    named = [one.path for one in described if not (module.check_mode and one in stale)]
    side = "" if module.check_mode and side and not os.path.exists(side) else side
    path = described[0].path
    answer = {"changed": changed, "files": [file for file in named if file != path], "side_disk": side}
    return {**answer, "path": path} if path in named else answer


def _require_side(path: str) -> None:
    """Raise InvalidInput where something else has the name of the small disk, which Windows writes to."""
    if not path or not os.path.lexists(path):
        return
    spared.require(path)
    try:
        image = None if os.path.islink(path) else qemu_img.info(path, "qcow2")
    except ToolFailed:
        image = None
    if image is None or image.virtual_size != SIDE_DISK_SIZE or image.backing:
        raise InvalidInput(
            f"{path} is not the small disk that lets Windows install its driver.",
            "Give the VM another name (migrate_name) or another directory, or move away what is there.",
            path=path,
        )


def main() -> None:
    run(module_with_source(argument_spec(), required_one_of=[("disks", "work_dir")]), work)


if __name__ == "__main__":
    main()
