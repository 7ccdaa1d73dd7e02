#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH: check a VM's disks to the last extent and stage them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vmdk_fetch
short_description: Bring the disks of a VM here, check them and stage them for the conversion
description:
  - Reads the description of a VM (V(.vmx), V(.vbox), V(.ovf), V(.ova), or plain disks), follows every snapshot chain, and checks each header,
    extent, parent and digest before any other program sees them.
  - Staging a local source copies nothing. Freshly written descriptors and links in the work directory stand for the chain.
  - A source that is elsewhere is copied into the work directory in checked pieces. A run that was killed or cut off is resumed from what has
    arrived. What was fetched is kept; remove the work directory to fetch the VM anew.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  source:
    description:
      - One V(.vmx), V(.vbox), V(.ova) or V(.ovf) file, or one or more disks of one VM in their order (V(.vmdk), V(.vhdx), V(.vhd), V(.qcow2), V(.vdi),
        V(.raw), V(.img), block devices; C(docs/sources.md)).
      - Or one URL, as V(vsphere://vcenter.example.com/Datacenter/vm/folder/name) (C(?moref=vm-57), C(?uuid=...), C(?name=...) in place of the path), or
        V(ssh://root@esx1.example.com/name) (a VM that an ESXi host has registered), or V(ssh://root@esx1.example.com/vmfs/volumes/datastore/name/name.vmx)
        (or C(.vmdk)).
      - V(azure://subscription/resource-group/name) and V(aws://region/instance) are VMs of clouds.
    type: list
    elements: str
    required: true
  work_dir:
    description: The VM's work directory, created if it is missing. It belongs to one VM alone.
    type: path
    required: true
  verify:
    description: Compare the digests of an OVF manifest. This reads the files once.
    type: bool
    default: true
  fetch:
    description:
      - Of a source that is elsewhere. V(stage) copies it into the work directory first.
      - V(stream) leaves it where it is. Repairs read what they look at, and the conversion reads the rest once, straight into the result. It needs disks
        that are single flat files (or I(access.transport=vddk)) of a VM that is off until the migration has ended, and resumes nothing.
    type: str
    default: stage
    choices: [stage, stream]
    version_added: 0.2.0
  needs:
    description:
      - Files and directories of the conversion host that later stages will read, as the driver source of a Windows guest.
      - What is missing is refused before anything is copied.
    type: list
    elements: path
    default: []
    version_added: 0.2.0
  name:
    description: The name that the results will have, for O(dest) and O(report_dir).
    type: str
    default: ""
    version_added: 0.2.0
  dest:
    description:
      - The directory that the results will be written into (O(hyper2kvm.migration.qemu_convert#module:dest)).
      - It remembers its VM, as the work directory and the report do, and a source that is another VM is refused before anything is written. Two VMs of one
        name never get each other's disks.
    type: path
    version_added: 0.2.0
  report_dir:
    description: The directory of the report, if that is another one.
    type: path
    version_added: 0.2.0
  moved:
    description:
      - Whether the source may be the VM that O(work_dir), O(dest) and O(report_dir) belong to although it comes from another place.
      - A copied folder has the UUIDs of its original, so that this is nothing to be assumed.
    type: bool
    default: false
    version_added: 0.2.0
  accept:
    description: Codes of concerns that the operator accepts. V(source.busy) allows a local source that somebody has open for writing, V(source.suspended)
      a local VM that is suspended.
    type: list
    elements: str
    default: []
attributes:
  action:
    support: full
extends_documentation_fragment:
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
  - hyper2kvm.migration.attributes.action
"""

EXAMPLES = r"""
- name: Stage a VM from its configuration file
  hyper2kvm.migration.vmdk_fetch:
    source: /exports/web01/web01.vmx
    work_dir: /var/lib/migration/web01

- name: Stage two disks of one VM
  hyper2kvm.migration.vmdk_fetch:
    source:
      - /exports/db01/db01.vmdk
      - /exports/db01/db01_1.vmdk
    work_dir: /var/lib/migration/db01

- name: Bring a VM from vCenter, frozen by a snapshot while it runs
  hyper2kvm.migration.vmdk_fetch:
    source: vsphere://vcenter.example.com/DC1/vm/production/web01
    work_dir: /var/lib/migration/web01
    access:
      running: snapshot
      vsphere:
        username: migration@vsphere.local
        password: "{{ vcenter_password }}"

- name: Bring a VM from an ESXi host by SSH
  hyper2kvm.migration.vmdk_fetch:
    source: ssh://root@esx1.example.com/vmfs/volumes/datastore1/web01/web01.vmx
    work_dir: /var/lib/migration/web01
"""

RETURN = r"""
vm:
  description: The VM as its source describes it.
  returned: success
  type: dict
  contains:
    name: {description: The name., type: str}
    kind: {description: "What kind of source it is, such as V(vmx), V(ovf), V(vsphere) or V(disks).", type: str}
    cpus: {description: The number of processors., type: int}
    cores_per_socket: {description: How many of them are in one socket., type: int}
    memory: {description: The memory in MiB., type: int}
    firmware: {description: V(bios) or V(uefi)., type: str}
    secure_boot: {description: Whether Secure Boot is on., type: bool}
    guest_os: {description: What the source takes the guest for., type: str}
    identity: {description: "Which VM it is (C(docs/security.md)), with C(uuid), C(place), and a C(digest) of its configuration.", type: dict}
    nics: {description: "The cards, each with mac, network, model and slot.", type: list, elements: dict}
    concerns:
      description: What of its description is not migrated (C(docs/concerns.md)), each with code, severity, cause and remedy. Not there if nothing.
      type: list
      elements: dict
    disks:
      description: The disks in the order of their controllers.
      type: list
      elements: dict
      contains:
        path: {description: The newest image of the disk's chain., type: str}
        files: {description: Every file that is read for it., type: list, elements: str}
        links: {description: How many images its chain has., type: int}
        virtual_size: {description: The size that the guest sees in bytes., type: int}
        bus: {description: The bus., type: str}
        controller: {description: The number of the controller., type: int}
        unit: {description: The unit on it., type: int}
        wwn: {description: The disk's NAA identifier., type: str}
        names: {description: Names that the source's guests have for it., type: list, elements: str}
        staged: {description: What qemu opens for it., type: str}
        staged_format: {description: In which format., type: str}
    origin:
      description: Of a source that is elsewhere how it came, with the transport and for each file its size, the bytes transferred and a digest.
      type: dict
    seconds: {description: How long it took., type: float}
  sample: {"name": "web01", "kind": "vmx", "firmware": "bios", "memory": 2048, "disks": [{"path": "/exports/web01/web01.vmdk", "virtual_size": 10737418240}]}
"""

from typing import Any, Mapping

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, source_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.fetch import Fetch, FetchOptions


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **vsphere.SOURCE,
        **attributes.MODE,
        **attributes.ACTION,
        "source": {"type": "list", "elements": "str", "required": True},
        "work_dir": {"type": "path", "required": True},
        "verify": {"type": "bool", "default": True},
        "fetch": {"type": "str", "default": "stage", "choices": ["stage", "stream"]},
        "needs": {"type": "list", "elements": "path", "default": []},
        "name": {"type": "str", "default": ""},
        "dest": {"type": "path"},
        "report_dir": {"type": "path"},
        "moved": {"type": "bool", "default": False},
        "accept": {"type": "list", "elements": "str", "default": []},
    }


def stage_of(params: Mapping[str, Any]) -> Fetch:
    return Fetch(
        made(
            FetchOptions,
            params,
            source=tuple(source_of(params)),
            access=access_of(params),
            stay=params["fetch"] == "stream",
            mode=modes.parse(params["mode"]),
        )
    )


def main() -> None:
    run_stage(module_with_source(argument_spec()), stage_of)


if __name__ == "__main__":
    main()
