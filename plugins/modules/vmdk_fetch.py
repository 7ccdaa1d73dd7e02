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

import contextlib
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import memory, modes, spared
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import (
    AccessDenied,
    InvalidInput,
    MissingTool,
    TransferFailed,
    Unreachable,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import sink
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.holding import belonging, working_on
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, give_back_when_ended, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, source_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import copied, fetch, places
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import identified, is_remote, libraries_of


def argument_spec() -> dict:
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


def work(module: AnsibleModule) -> Result:
    params, directory = module.params, module.params["work_dir"]
    source = source_of(params)
    require_needs(params["needs"])
    stay = is_remote(source) and params["fetch"] == "stream"
    options = {"source": source, "verify": params["verify"], **({"fetch": "stream"} if stay else {})}
    vm_id = which(module, source, options)
    copied.require_apart(directory, spared.paths())
    mode = modes.parse(params["mode"])
    owned = [places.work_dir(directory)]
    for dest in dict.fromkeys(filter(None, (params["dest"], params["report_dir"]))):
        owned.append(places.results(dest, params["name"], directory))
    admit(module, owned, vm_id)
    with working_on(module, directory, mode), contextlib.ExitStack() as stack:
        for place in owned:
            stack.enter_context(belonging(module, place, vm_id, mode))
        earlier = staging.fetched(directory)
        if earlier is not None and earlier.options == options and fetch.unchanged(earlier.result, vm_id):
            return {"changed": False, "vm": earlier.result}
        if params["probe"]:
            return {"changed": False, "pending": True}
        vm, concerns = fetch.fetch(
            source,
            access_of(params),
            directory,
            options,
            sink(params["progress_file"]),
            check=module.check_mode,
            stay=stay,
            expected=vm_id,
            admit=lambda found: admit(module, owned, found, note=not module.check_mode),
        )
        for concern in concerns:
            module.warn(str(concern))
        return {"changed": True, "vm": vm}


def require_needs(needs: list) -> None:
    """Raise InvalidInput for what a later stage would look for in vain, perhaps hours later."""
    missing = next((path for path in needs if not os.path.exists(path)), "")
    if missing:
        raise InvalidInput(
            f"{missing} does not exist on the conversion host. The repair of the guest reads it.",
            "Check migrate_virtio_win, migrate_guest_agent_packages and migrate_windows_wrapper; paths are on the conversion host.",
            path=missing,
        )


def admit(module: AnsibleModule, owned: list, vm_id: VmId, note: bool = False) -> None:
    """Refuse a VM where anything that it is to have belongs to another one; `note` that it does not."""
    params = module.params
    for place in owned:
        place.require(vm_id, params["moved"])
    if params["report_dir"]:
        places.require_report(params["report_dir"], vm_id, params["moved"])
    for place in owned if note else ():
        memory.claim(place.path, place.what, vm_id, None, moved=params["moved"])


def which(module: AnsibleModule, source: list, options: dict) -> VmId:
    """Which VM the source is. What was fetched of a place that does not answer now is still known."""
    try:
        return identified(source, access_of(module.params))
    except (Unreachable, AccessDenied, MissingTool, TransferFailed) as error:
        earlier = staging.fetched(module.params["work_dir"])
        known = places.recorded(earlier.result) if earlier is not None and earlier.options == options else None
        if known is None or not is_remote(source):
            raise
        module.warn(f"The source was not asked whether it still is what was fetched of it: {error}")
        return known


def main() -> None:
    module = module_with_source(argument_spec())
    respawn_for(*libraries_of(module.params["source"]))
    give_back_when_ended()
    if (module.params["dest"] or module.params["report_dir"]) and not module.params["name"]:
        module.fail_json(msg="dest and report_dir need name, the name of the VM there.")
    run(module, work)


if __name__ == "__main__":
    main()
