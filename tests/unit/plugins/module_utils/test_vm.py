# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM is which: the rules, and what every reader of sources says of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import device
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import MIB, Mark, VmId, place_of, require_same, same, uuid_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import fingerprint
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

UUID = "564d1234-aabb-ccdd-eeff-001122334455"
OTHER = "564d1234-aabb-ccdd-eeff-001122334456"

marks = st.builds(Mark, st.sampled_from([MIB, 2 * MIB]), st.sampled_from(["", "aa", "bb"]), st.sampled_from(["", "cc"]))
vms = st.builds(
    VmId,
    st.sampled_from(["", UUID, OTHER]),
    st.sampled_from(["/a/web01.vmx", "/b/web01.vmx", "vsphere://vc"]),
    st.tuples(st.sampled_from(["/a/web01.vmx", "vsphere://vc/DC/vm/web01"])),
    st.sampled_from(["web01", "web02", ""]),
    st.sampled_from(["", "d1", "d2"]),
    st.lists(marks, max_size=2).map(tuple),
)


@given(vms, vms, st.text(max_size=5), st.text(max_size=5))
def test_a_name_and_a_configuration_decide_nothing(one, other, name, digest):
    for moved in (False, True):
        assert same(one, other, moved) == same(replace(one, name=name, digest=digest), replace(other, source=("x",)), moved)


@given(vms, vms)
def test_the_rule_looks_the_same_from_both_sides_and_a_word_of_the_operator_only_widens_it(one, other):
    assert same(one, one) and same(one, other) == same(other, one)
    assert not same(one, other) or same(one, other, moved=True)


@given(vms, vms, st.booleans())
def test_two_uuids_are_two_vms_and_two_places_are_one_vm_only_on_the_operators_word(one, other, moved):
    if one.uuid and other.uuid and one.uuid != other.uuid:
        assert not same(one, other, moved)
    if one.place != other.place and not moved:
        assert not same(one, other)


@given(vms, vms, st.booleans())
def test_what_is_refused_names_both_and_a_remedy(one, other, moved):
    if same(one, other, moved):
        require_same(one, other, "The directory /x", moved)
        return
    with pytest.raises(InvalidInput) as refused:
        require_same(one, other, "The directory /x", moved)
    said = str(refused.value)
    assert str(one) in said and str(other) in said and "migrate_name" in said
    assert ("migrate_moved" in said) == same(one, other, moved=True)


@given(vms)
def test_a_vm_is_the_same_after_it_was_written_down(vm):
    assert VmId.from_data(to_data(vm)) == vm


BROKEN = {
    "nothing": {},
    "a list of numbers": {**to_data(VmId("", "/a")), "source": 3},
    "disks that are none": {**to_data(VmId("", "/a")), "disks": [1]},
    "a size that is none": {**to_data(VmId("", "/a")), "disks": [{"size": "x", "head": "", "tail": ""}]},
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_identity_is_refused(name):
    with pytest.raises(InvalidInput, match="not the identity"):
        VmId.from_data(BROKEN[name])


UUIDS = {
    "56 4d 12 34 aa bb cc dd-ee ff 00 11 22 33 44 55": UUID,
    "564D1234-AABB-CCDD-EEFF-001122334455": UUID,
    "{564d1234-aabb-ccdd-eeff-001122334455}": UUID,
    "urn:uuid:564d1234-aabb-ccdd-eeff-001122334455": UUID,
    "564d1234aabbccddeeff001122334455": UUID,
    "00000000-0000-0000-0000-000000000000": "",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF": "",
    "": "",
    "   ": "",
    "i-0123456789abcdef0": "i-0123456789abcdef0",
    "/subscriptions/S/resourceGroups/g/virtualMachines/web01": "/subscriptions/S/resourceGroups/g/virtualMachines/web01",
    "web01": "web01",
    "web\n01\x00": "web01",
    "{{ lookup('pipe', 'id') }}": "{{ lookup('pipe', 'id') }}",
    "x" * 5000: "x" * 200,
    "56 4d 12 34": "56 4d 12 34",
    "²²²": "²²²",
    "zz4d1234-aabb-ccdd-eeff-001122334455": "zz4d1234-aabb-ccdd-eeff-001122334455",
}


@pytest.mark.parametrize("text", UUIDS)
def test_a_uuid_is_one_in_every_spelling(text):
    assert uuid_of(text) == UUIDS[text]


PLACES = {
    "vsphere://VC.example.com:443/DC/vm/web01": "vsphere://vc.example.com/DC/vm/web01",
    "vsphere://vc:8443/DC/vm/web01?moref=vm-1": "vsphere://vc:8443/DC/vm/web01?moref=vm-1",
    "ssh://root:secret@esx1:22/vmfs/volumes/ds/a.vmx": "ssh://esx1/vmfs/volumes/ds/a.vmx",
    "ssh://root@[FE80::1]:2222/a.vmx": "ssh://[fe80::1]:2222/a.vmx",
    "Store:///srv/VMs/web01": "store:///srv/VMs/web01",
    "aws://eu-central-1/i-0123456789abcdef0": "aws://eu-central-1/i-0123456789abcdef0",
}


@pytest.mark.parametrize("url", PLACES)
def test_a_place_has_no_login_and_one_spelling(url):
    assert place_of(url) == PLACES[url]


@pytest.mark.parametrize("url", ["ssh://h:port/x", "vsphere://h:99999/x"])
def test_a_place_with_a_port_that_is_none_is_refused(url):
    with pytest.raises(InvalidInput, match="port"):
        place_of(url)


def flat(folder: Path, name: str = "web01", size: int = 3 * MIB) -> Path:
    """A VMDK of a descriptor and a flat file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-flat.vmdk").write_bytes(os.urandom(size))
    (folder / f"{name}.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="vmfs"\nRW {size // 512} VMFS "{name}-flat.vmdk"\n'
    )
    return folder / f"{name}.vmdk"


def vmx(folder: Path, *lines: str) -> Path:
    flat(folder)
    (folder / "web01.vmx").write_text(
        "\n".join(['scsi0:0.fileName = "web01.vmdk"', 'scsi0:0.present = "TRUE"', 'displayName = "web01"', *lines])
    )
    return folder / "web01.vmx"


def known(*paths: Path) -> VmId:
    return fingerprint.identity(open_source([str(path) for path in paths]), [str(path) for path in paths])


BIOS = 'uuid.bios = "56 4d 12 34 aa bb cc dd-ee ff 00 11 22 33 44 55"'
INSTANCE = 'vc.uuid = "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 01"'


def test_a_vmx_has_its_instance_uuid_or_that_of_its_firmware(tmp_path):
    first = known(vmx(tmp_path / "a", BIOS))
    assert (first.uuid, first.place, first.name) == (UUID, str(tmp_path / "a" / "web01.vmx"), "web01")
    assert known(vmx(tmp_path / "b", BIOS, INSTANCE)).uuid == "52000000-0000-0000-0000-000000000001"
    assert known(vmx(tmp_path / "c")).uuid == ""


def test_a_copied_folder_is_another_vm_until_the_operator_says_that_it_moved(tmp_path):
    first = known(vmx(tmp_path / "a", BIOS))
    subprocess.run(["cp", "-a", tmp_path / "a", tmp_path / "b"], check=True)
    copy = known(tmp_path / "b" / "web01.vmx")
    assert not same(first, copy) and same(first, copy, moved=True)
    with pytest.raises(InvalidInput, match="it may be a copy"):
        require_same(first, copy, "The directory /x")


def test_another_name_and_more_memory_are_the_same_vm_and_only_memory_is_another_migration(tmp_path):
    path = vmx(tmp_path, BIOS)
    first = known(path)
    path.write_text(path.read_text().replace('"web01"', '"web01-old"'))
    renamed = known(path)
    path.write_text(path.read_text() + '\nmemsize = "4096"\n')
    larger = known(path)
    assert same(first, renamed) and same(first, larger)
    assert first.digest == renamed.digest != larger.digest


def test_a_link_leads_to_the_same_place(tmp_path):
    path = vmx(tmp_path / "a", BIOS)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert known(path).place == known(tmp_path / "b" / "web01.vmx").place


def raw(path: Path, size: int, head: bytes, tail: bytes = b"end") -> Path:
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(size - len(tail))
        file.write(tail)
    return path


# What became of a raw disk under its path, and whether that is still the VM; with the operator's word it is in every row.
FATES = {
    "untouched": (8 * MIB, b"one", b"end", True),
    "its end was written": (8 * MIB, b"one", b"END", True),
    "its beginning was written": (8 * MIB, b"two", b"end", True),
    "it has grown": (9 * MIB, b"one", b"end", True),
    "it is another disk": (9 * MIB, b"two", b"end", False),
}


@pytest.mark.parametrize("fate", FATES)
def test_bare_disks_are_known_by_their_path_and_by_size_or_beginning(tmp_path, fate):
    size, head, tail, expected = FATES[fate]
    first = known(raw(tmp_path / "d.raw", 8 * MIB, b"one"))
    later = known(raw(tmp_path / "d.raw", size, head, tail))
    assert first.uuid == "" and same(first, later) is expected and same(first, later, moved=True)
    assert (first.digest == later.digest) is (fate == "untouched")


def test_disks_of_the_same_bytes_in_two_places_are_two_vms(tmp_path):
    one, other = known(raw(tmp_path / "a.raw", 2 * MIB, b"x")), known(raw(tmp_path / "b.raw", 2 * MIB, b"x"))
    assert one.disks == other.disks and not same(one, other) and same(one, other, moved=True)


def test_of_a_large_disk_only_the_ends_are_read(tmp_path, monkeypatch):
    path, read = raw(tmp_path / "big.raw", 1 << 40, b"x"), []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: read.append((count, at)) or pread(fd, count, at))
    assert known(path).disks[0].size == 1 << 40
    assert read == [(MIB, 0), (MIB, (1 << 40) - MIB)]


OVF = (
    '<Envelope xmlns:ovf="o" xmlns:vmw="v" xmlns:vbox="b"><References><File ovf:id="f" ovf:href="web01.vmdk"/></References>'
    '<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f"/></DiskSection><VirtualSystem{id}><Name>web01</Name><VirtualHardwareSection>'
    "<Item><InstanceID>1</InstanceID><ResourceType>17</ResourceType><HostResource>ovf:/disk/d</HostResource></Item>{extra}"
    "</VirtualHardwareSection>{machine}</VirtualSystem></Envelope>"
)
OVFS = {
    "its id": ({"id": ' ovf:id="web01"'}, "web01"),
    "no id": ({}, ""),
    "VMware's": ({"id": ' ovf:id="vm"', "extra": f'<vmw:ExtraConfig vmw:key="uuid.bios" vmw:value="{UUID}"/>'}, UUID),
    "VirtualBox's": ({"id": ' ovf:id="vm"', "machine": f'<vbox:Machine uuid="{{{UUID}}}"/>'}, UUID),
}


@pytest.mark.parametrize("name", OVFS)
def test_an_ovf_has_the_uuid_of_its_maker_or_its_id(tmp_path, name):
    parts, expected = OVFS[name]
    flat(tmp_path)
    (tmp_path / "web01.ovf").write_text(OVF.format(**{"id": "", "extra": "", "machine": "", **parts}))
    assert known(tmp_path / "web01.ovf").uuid == expected


def test_an_id_that_is_but_a_name_needs_a_disk_that_was_there_before():
    """Many packages call their VM "vm"; one under the path of another is no later state of it."""
    first = VmId("vm", "/drop/web01.ova", disks=(Mark(1, "aa"),))
    assert same(first, replace(first, disks=(Mark(1, "bb"),))) and same(first, replace(first, disks=(Mark(2, "aa"),)))
    other = replace(first, disks=(Mark(2, "bb"),))
    assert not same(first, other) and same(first, other, moved=True)
    assert same(replace(first, uuid=UUID), replace(other, uuid=UUID))


def test_of_a_packed_source_only_the_place_is_known(tmp_path):
    first = fingerprint.packed([str(tmp_path / "a.zip")])
    assert (first.uuid, first.disks) == ("", ()) and same(first, replace(first, uuid=UUID, disks=(Mark(1),)))
    assert not same(first, fingerprint.packed([str(tmp_path / "b.zip")]))


def test_a_loop_device_is_known_by_its_file_and_mapped_ones_by_their_name(tmp_path, monkeypatch):
    there = {"loop/backing_file": f"{tmp_path}/d.raw\n", "loop/offset": "0\n"}
    monkeypatch.setattr(device, "_read", lambda *path: there.get("/".join(path[1:]), ""))
    assert device.lasting("/dev/null") == f"{tmp_path}/d.raw@0"
    there = {"dm/name": "vg0-web01\n"}
    assert device.lasting("/dev/null") == "/dev/mapper/vg0-web01"
    there = {}
    monkeypatch.setattr(device, "_BY_ID", str(tmp_path))
    (tmp_path / "wwn-1").symlink_to("/dev/null")
    assert device.lasting("/dev/null") == f"{tmp_path}/wwn-1"
