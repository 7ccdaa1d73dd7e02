# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of images of Ceph: what qemu, rbd and libvirt are told is the same image, and nothing else can be told by a name."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import rbd
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import domain, domain_xml, libvirt_xml

NAMES = {
    "rbd:vms/web01": rbd.Image("vms/web01"),
    "rbd:vms/prod/web01-disk0": rbd.Image("vms/prod/web01-disk0"),
    "rbd:vms/web01:id=libvirt": rbd.Image("vms/web01", "libvirt"),
    "rbd:vms/web01:id=libvirt:conf=/etc/ceph/other.conf": rbd.Image("vms/web01", "libvirt", "/etc/ceph/other.conf"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_program_is_told_the_same_image(name):
    image = rbd.parse(name)
    assert image == NAMES[name]
    argv = image.command("info", image.name)
    assert argv[0] == "rbd" and argv[-1] == image.name and ("libvirt" in argv) == (image.user == "libvirt")
    text = libvirt_xml.FORMAT.text(domain.Domain("vm", ((name, "raw"),), devices=frozenset([name])))
    ((disk, path),) = domain_xml.disks(domain_xml.parse(text))
    assert path == name and disk.get("type") == "network"
    over = domain_xml.for_a_test(text, "test", ["/run/overlay.qcow2"], "tcg", "/run", [])
    ((disk, path),) = domain_xml.disks(domain_xml.parse(over))
    assert path == "/run/overlay.qcow2" and [child.tag for child in disk.find("source")] == []


@pytest.mark.parametrize(
    "name",
    ["rbd:", "rbd:vms", "rbd:vms/", "rbd:a/b/c/d", "rbd:vms/x@snap", "rbd:vms/x:mon_host=h", "rbd:vms/x:key=k", "rbd:vms/x:id=", "rbd:vms/x y",
     "rbd:vms/x\n", "rbd:../x:y", "rbd:vms/--help:", "rbd:-p/x"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidInput, match="does not name a Ceph image"):
        rbd.parse(name)
