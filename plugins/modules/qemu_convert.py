#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CONVERT: the one full copy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_convert
short_description: Convert the repaired disks of a VM to images for KVM
description:
  - Reads each overlay with its chain once and writes the result once, in an explicit format. The boot sector and partition table of the result are
    compared with the source, its metadata are checked, and it appears under its name only when complete and flushed.
  - A manifest beside each image records what it was made from, with which options, and the digest of the disk's content,
    which was taken from the copied stream; it is the same in every format.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  work_dir:
    required: true
  accept:
    version_added: 0.2.0
  name:
    description: The name of the VM. Images are called NAME-diskN.FORMAT, after what P(hyper2kvm.migration.safe_name#filter) makes of it.
    type: str
    required: true
  dest:
    description: The directory for the images, created if it is missing.
    type: path
    required: true
  format:
    description: The format of the images. Block devices (O(devices)) always get raw.
    type: str
    default: qcow2
    choices: [qcow2, raw, vdi]
  compression:
    description: Compression of qcow2 images. qcow2 has no choice of level.
    type: str
    default: none
    choices: [none, zstd, zlib]
  resize:
    description:
      - New sizes, by disk, as V(+10G) or V(50G). An empty string keeps a disk's size. Images are never shrunk.
      - Only the image grows here. O(hyper2kvm.migration.guest_fix#module:grow) gives the space to partitions and file systems before.
    type: list
    elements: str
    default: []
  preallocation:
    description:
      - How much of an image is allocated before it is written. V(metadata) is for qcow2, V(falloc) and V(full) reserve or write the whole size.
      - Compressed and vdi images have none.
    type: str
    default: "off"
    choices: ["off", metadata, falloc, full]
    version_added: 0.2.0
  cluster_size:
    description: The size of qcow2's clusters in bytes, a power of two from 512 to 2097152. V(0) leaves it to qemu.
    type: int
    default: 0
    version_added: 0.2.0
  devices:
    description:
      - Block devices that get the disks, by disk, such as LVM volumes and disks of a SAN; an empty string makes an image, and at least one device is
        named. They exist, and are at least as large as their disks; what is left of them reads as zeros. O(compression), O(preallocation) and
        O(cluster_size) are for images.
      - V(rbd:POOL/IMAGE) is an image of Ceph, which qemu writes by itself; V(rbd:POOL/IMAGE:id=USER:conf=FILE) where these are not Ceph's defaults.
      - A device that is in use, or that holds anything but an earlier result which nobody has written to since, is refused.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  passphrase:
    description:
      - Encrypts the images with LUKS, as V(qcow2) has it; whoever opens them needs it. It is written nowhere, and the same images are made again where it
        is another one.
      - For V(qcow2) without compression, and not for O(devices).
    type: str
    default: ""
    version_added: 0.2.0
  overwrite:
    description: Whether a result is replaced that is no longer as it was made, as after a VM has run on it, and a device whatever it holds. These data are
      lost then. A result never replaces a file that the VM comes from.
    type: bool
    default: false
    version_added: 0.2.0
  moved:
    description: Whether the VM may come from another place than before, which in check mode is noted nowhere.
    type: bool
    default: false
    version_added: 0.2.0
  file_digest:
    description: Whether the SHA-256 of each image's file, or of the whole device, is wanted too. It costs another pass over the result.
    type: bool
    default: false
    version_added: 0.2.0
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
  - hyper2kvm.migration.attributes.action
  - hyper2kvm.migration.disk_set
  - hyper2kvm.migration.vsphere.source
"""

EXAMPLES = r"""
- name: Convert to compressed qcow2
  hyper2kvm.migration.qemu_convert:
    work_dir: /var/lib/migration/web01
    name: web01
    dest: /var/lib/images/web01
    compression: zstd

- name: Write the first disk to an LVM volume, and the second one to an image
  hyper2kvm.migration.qemu_convert:
    work_dir: /var/lib/migration/db01
    name: db01
    dest: /var/lib/images/db01
    devices: [/dev/vg0/db01, ""]

- name: Write it to an image of Ceph
  hyper2kvm.migration.qemu_convert:
    work_dir: /var/lib/migration/db02
    name: db02
    dest: /var/lib/images/db02
    devices: ["rbd:vms/db02"]
"""

RETURN = r"""
disks:
  description: The images in the order of the disks.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: "The image or the device; in check mode the one that the run would write, for the stages that come after.", type: str}
    format: {description: Its format., type: str}
    virtual_size: {description: The size that the guest sees in bytes., type: int}
    allocated: {description: The bytes that it takes on disk. Not in check mode., type: int}
    bytes_read: {description: The bytes that were read. Not in check mode., type: int}
    bytes_written: {description: The bytes that were written. Not in check mode., type: int}
    content_digest: {description: The digest of the content as a guest sees it (C(docs/security.md)). Not in check mode., type: str}
    sha256: {description: The SHA-256 of the file or device. Where O(file_digest) is set., type: str}
    seconds: {description: How long it took. Not in check mode., type: float}
    data: {description: An upper bound of the data in bytes. In check mode., type: int}
    device: {description: Whether it is a block device., type: bool}
    encrypted: {description: Whether it is encrypted., type: bool}
    luks: {description: The UUID of its LUKS header., type: str}
  sample: [{"path": "/var/lib/images/web01/web01-disk0.qcow2", "format": "qcow2", "virtual_size": 10737418240, "device": false, "encrypted": false}]
"""

import contextlib
import os
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, modes, names
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.device import absolute
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import require
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import sink
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import convert, earlier, sizes, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.request import Request
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.holding import belonging, working_on
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import (
    fetched_of,
    module_with_source,
    require_fetched,
    require_own,
    source_of,
    sources_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places, stages
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.fetch import reading
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import libraries_of, opened


def argument_spec() -> dict:
    # Written by make options.
    return {
        **attributes.MODE,
        **attributes.ACTION,
        **disk_set.MAIN,
        **vsphere.SOURCE,
        "work_dir": {"type": "path", "required": True},
        "accept": {"type": "list", "elements": "str", "default": []},
        "name": {"type": "str", "required": True},
        "dest": {"type": "path", "required": True},
        "format": {"type": "str", "default": "qcow2", "choices": ["qcow2", "raw", "vdi"]},
        "compression": {"type": "str", "default": "none", "choices": ["none", "zstd", "zlib"]},
        "resize": {"type": "list", "elements": "str", "default": []},
        "preallocation": {"type": "str", "default": "off", "choices": ["off", "metadata", "falloc", "full"]},
        "cluster_size": {"type": "int", "default": 0},
        "devices": {"type": "list", "elements": "str", "default": []},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "overwrite": {"type": "bool", "default": False},
        "moved": {"type": "bool", "default": False},
        "file_digest": {"type": "bool", "default": False},
    }


def requests(params: dict, disks: Sequence[staging.StagedDisk]) -> list:
    """One request per disk."""
    named = [os.path.realpath(absolute(device)) for device in params["devices"] if device]
    if params["devices"] and not named:
        raise InvalidInput("The list of devices names none: its texts are empty.", "Name a device, or leave the list out to make images.")
    if disks:  # of an archive nothing is known before it is unpacked
        sizes.require_at_most_one_each(params["resize"], len(disks))
    if len(params["devices"]) > len(disks) > 0 or len(set(named)) < len(named):
        raise InvalidInput(
            f"{', '.join(params['devices'])} are not one device for each of {len(disks)} disks.",
            "Name each device once, in the order of the disks.",
        )
    wishes, devices = dict(enumerate(params["resize"])), dict(enumerate(params["devices"]))
    return [request(params, number, disk, wishes.get(number, ""), devices.get(number, "")) for number, disk in enumerate(disks)]


def request(params: dict, number: int, disk: staging.StagedDisk, wish: str, device: str) -> Request:
    """What a device gets is raw, and as large as the device."""
    fmt = "raw" if device else params["format"]
    dest = os.path.join(params["dest"], f"{names.safe(params['name'])}-disk{number}.{fmt}")
    of_images = {} if device else {name: params[name] for name in ("compression", "preallocation", "cluster_size")}
    return Request(
        disk.overlay,
        "qcow2",
        dest,
        fmt,
        size=sizes.new_size(wish, disk.virtual_size) if wish else None,
        overwrite=params["overwrite"],
        device=absolute(device) if device else "",
        passphrase=params["passphrase"],
        mode=modes.parse(params["mode"]),
        file_digest=params["file_digest"],
        **of_images,
    )


def work(module: AnsibleModule) -> Result:
    params, directory = module.params, module.params["work_dir"]
    require_own(module)
    with working_on(module, directory), contextlib.ExitStack() as stack:
        if module.check_mode and params["source"] and not (fetched_of(params) and staging.flattened(directory)):
            with opened(source_of(params), access_of(params), check=True) as found:
                disks = found.sizes()
            wanted = requests(params, [staging.StagedDisk("", "", disk.virtual_size) for disk in disks])
            planned = [convert.looked_at(wish, disk.virtual_size, disk.data, disk.files) for wish, disk in zip(wanted, disks)]
            return _ahead(params, wanted, planned)
        base = require_fetched(params)
        wanted = requests(params, staging.staged_disks(base.result, directory))
        stack.enter_context(
            belonging(
                module, places.results(params["dest"], params["name"], directory), places.recorded(base.result), modes.parse(params["mode"])
            )
        )
        inputs = [(*base.inputs, Identity.of(wish.source)) for wish in wanted]
        done = [earlier.done_before(wish, made_from, params["probe"]) for wish, made_from in zip(wanted, inputs)]
        if all(done):
            if not module.check_mode:
                stages.converted(directory, [made_from[-1] for made_from in inputs], done)
            return {"changed": False, "disks": done}
        if params["probe"]:
            return {"changed": False, "pending": True}
        staging.require_whole(directory)
        if module.check_mode:
            with reading(base, directory, access_of(params), cached=False):
                planned = [before or convert.plan(wish, made_from) for wish, made_from, before in zip(wanted, inputs, done)]
            return _ahead(params, [wish for wish, before in zip(wanted, done) if not before], planned)
        progress = sink(params["progress_file"])
        with reading(base, directory, access_of(params), cached=False) as unchanged:
            results = [
                before or convert.convert(wish, made_from, progress, unchanged) for wish, made_from, before in zip(wanted, inputs, done)
            ]
        stages.converted(directory, [made_from[-1] for made_from in inputs], results)
        return {"changed": True, "disks": results}


def _ahead(params: dict, wanted: Sequence[Request], planned: list) -> Result:
    """For check mode: the plans, unless the run would lack a tool, rights or space."""
    require("qemu-img")
    ahead.writable(params["dest"])
    plans = {plan["path"]: plan for plan in planned}
    convert.check_room([(wish, plans[wish.output]) for wish in wanted])
    return {"changed": True, "disks": planned}


def main() -> None:
    module = module_with_source(argument_spec())
    respawn_for(*libraries_of(sources_of(module.params)))
    run(module, work)


if __name__ == "__main__":
    main()
