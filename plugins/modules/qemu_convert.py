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

from typing import Any, Mapping

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, subject_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.convert import Convert, ConvertOptions


def argument_spec() -> dict[str, Any]:
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


def stage_of(params: Mapping[str, Any]) -> Convert:
    return Convert(made(ConvertOptions, params, subject=subject_of(params), mode=modes.parse(params["mode"])))


def main() -> None:
    run_stage(module_with_source(argument_spec()), stage_of)


if __name__ == "__main__":
    main()
