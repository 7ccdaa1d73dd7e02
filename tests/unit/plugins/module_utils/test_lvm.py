# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM's configuration: filters by what they do to the disks' new names, with LVM's own parser as the judge of the texts; devices files."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from promptly import within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import lvm, proof

PV = BlockDevice("/dev/sda2", "LVM2_member", "pv-id", partuuid="part-id", disk=0, part=2)
ON_DISK = lvm.new_names(MemoryGuest({}, {PV.name: PV}))
# text, and what becomes of it (None: it stays)
FILTERS = {
    "names of the old disks": ('\tfilter = [ "a|^/dev/sda|", "r|.*|" ]\n', '\t# filter = [ "a|^/dev/sda|", "r|.*|" ]\n'),
    "over two lines": ('global_filter=["a|/dev/disk/by-path/.*|",\n "r|.*|"]\n', '# global_filter=["a|/dev/disk/by-path/.*|",\n#  "r|.*|"]\n'),
    "over several lines, with a bracket in a pattern": (
        'devices {\n    filter = [\n        "a|^/dev/sd[ab]$|",\n        "r|.*|"\n    ]\n    cache_dir = "/x"\n}\n',
        'devices {\n    # filter = [\n#         "a|^/dev/sd[ab]$|",\n#         "r|.*|"\n#     ]\n    cache_dir = "/x"\n}\n'),
    "a bracket in a comment": ('filter = [\n # disks [local]\n "a|sda2|",\n "r|.*|" ]\n', '# filter = [\n#  # disks [local]\n#  "a|sda2|",\n#  "r|.*|" ]\n'),
    "on the line of its section": ('devices { filter = [ "a|/dev/sda|", "r|.*|" ]\n}\n', 'devices { filter = [ "a|.*|" ]\n}\n'),
    "before another setting": ('filter = [ "a|sda2|", "r|.*|" ] write_cache_state = 0\n', 'filter = [ "a|.*|" ] write_cache_state = 0\n'),
    "before a comment": ('filter = [ "r|.*|" ] # none\n', '# filter = [ "r|.*|" ] # none\n'),
    "multipath alone": ('filter = [ "a|/dev/mapper/mpath.*|", "r|.*|" ]\n', '# filter = [ "a|/dev/mapper/mpath.*|", "r|.*|" ]\n'),
    "a serial number": ('filter = [ "a|^/dev/mapper/36000c29.*|", "r|.*|" ]\n', '# filter = [ "a|^/dev/mapper/36000c29.*|", "r|.*|" ]\n'),
    "other delimiters": ('filter = [ "a(^/dev/sda2$)", "r{.*}" ]\n', '# filter = [ "a(^/dev/sda2$)", "r{.*}" ]\n'),
    "a pattern that is none": ('filter = [ "a|[|", "r|.*|" ]\n', '# filter = [ "a|[|", "r|.*|" ]\n'),  # with which LVM uses no device at all
    "accepts the old name by a group": ('filter = [ "a|^/dev/sda([0-9]+)?$|", "r|.*|" ]\n', '# filter = [ "a|^/dev/sda([0-9]+)?$|", "r|.*|" ]\n'),
    "patterns that take long": ('filter = [ "r|.*.*.*.*.*.*zz|" ]\n', '# filter = [ "r|.*.*.*.*.*.*zz|" ]\n'),
    "flat": ('devices/filter = [ "a|sda|", "r|.*|" ]\n', '# devices/filter = [ "a|sda|", "r|.*|" ]\n'),
    "rejects others": ('filter = [ "r|/dev/drbd.*|", "r|^/dev/vdx|", "a|.*|" ]\n', None),
    "rejects a drive": ('filter = [ "r|/dev/cdrom|" ]\n', None),
    "rejects nothing": ('filter = "a|/dev/nvme0n1p2|"\n', None),
    "by the volume's own identifier": ('filter = [ "a|/dev/disk/by-id/lvm-pv-uuid-pv-id|", "r|.*|" ]\n', None),
    "by the partition's identifier": ('filter = [ "a|/by-partuuid/part-id|", "r|.*|" ]\n', None),
    "a pattern that takes for ever": ('filter = [ "r|^(/?[a-zA-Z0-9-]+)+!$|" ]\n', '# filter = [ "r|^(/?[a-zA-Z0-9-]+)+!$|" ]\n'),
    "a pattern that is too much": ('filter = [ "r|x{1,99999999999}|" ]\n', '# filter = [ "r|x{1,99999999999}|" ]\n'),
    "a comment": ('# filter = [ "a|/dev/sda|", "r|.*|" ]\n', None),
    "in a string": ('x = "filter = [ \\"r|.*|\\" ]"\n', None),
}  # fmt: skip


@pytest.mark.parametrize("case", FILTERS)
def test_filters_that_reject_the_disks_go(case):
    before, after = FILTERS[case]
    assert lvm.conf(before, ON_DISK) == (after or before) == lvm.conf(after or before, ON_DISK)


def read_by_lvm(text, tmp_path):
    """What LVM's own parser finds, but for filters."""
    (tmp_path / "lvm.conf").write_text(text + "backup {\n backup = 1\n}\n")
    said = subprocess.run(
        ["/usr/sbin/lvmconfig"], env={"LVM_SYSTEM_DIR": str(tmp_path)}, text=True, stdout=subprocess.PIPE, check=True
    ).stdout
    return [line for line in said.splitlines() if "=" in line and "filter" not in line]


@pytest.mark.parametrize("case", FILTERS)
def test_lvm_reads_what_is_left_and_loses_no_other_setting(case, tmp_path):
    before = FILTERS[case][0]
    before = before if before.lstrip().startswith(("devices", "#", "x =")) else f"devices {{\n{before}}}\n"
    found = read_by_lvm(before, tmp_path)
    assert found and read_by_lvm(lvm.conf(before, ON_DISK), tmp_path) == found


@given(st.text(' \n\t#"[]{}=,|\\ar.*sdfilter/', max_size=80))
def test_any_text_keeps_what_it_says_and_comes_to_rest(text):
    after = lvm.conf(text, ON_DISK)
    assert lvm.conf(after, ON_DISK) == after
    assert len(after.splitlines()) == len(text.splitlines())


def test_arrays_and_encrypted_devices_keep_their_names():
    crypt = BlockDevice("/dev/mapper/luks-x", "LVM2_member", "pv", kind="crypt")
    text = 'filter = [ "a|/dev/mapper/luks-.*|", "r|.*|" ]\n'
    assert lvm.conf(text, lvm.new_names(MemoryGuest({}, {crypt.name: crypt}))) == text


ENTRIES = {
    "sys_wwid IDNAME=eui.000c2968b3e85a41 DEVNAME=/dev/nvme0n1p3": True,
    "sys_serial IDNAME=x DEVNAME=/dev/sda3": True,
    "mpath_uuid IDNAME=mpath-36000c29d DEVNAME=/dev/mapper/mpatha3": True,
    "wwid_naa IDNAME=naa.6000c29d DEVNAME=/dev/sda3": True,
    "wwid_t10 IDNAME=t10.VMware DEVNAME=/dev/sda3": True,
    "devname IDNAME=/dev/sda3 DEVNAME=/dev/sda3": True,
    "md_uuid IDNAME=aa:bb DEVNAME=/dev/md127": False,
    "crypt_uuid IDNAME=CRYPT-LUKS2-aa DEVNAME=/dev/mapper/luks-aa": False,
    "lvmlv_uuid IDNAME=LVM-aa DEVNAME=/dev/vg/lv": False,
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_of_the_old_hardware_are_those_that_it_identifies(entry):
    content = f"# HASH=1\nPRODUCT_UUID=4239d6a0\nVERSION=1.1.9\nIDTYPE={entry} PVID=abc PART=3\n"
    assert lvm.names_old_devices(content) == ENTRIES[entry]
    after = lvm.devices_file(content)
    assert (after != content) == (ENTRIES[entry] and not entry.startswith("devname")) and lvm.devices_file(after) == after
    assert after.splitlines()[:3] == content.splitlines()[:3]


def test_the_devices_file_inside_an_image_finds_volumes_by_their_own_id():
    before = "VERSION=1\nIDTYPE=sys_wwid IDNAME=naa.6 DEVNAME=/dev/sda3 PVID=abc PART=3\nIDTYPE=devname IDNAME=/dev/sdb DEVNAME=/dev/sdb PVID=d\n"
    after = lvm.devices_file(before)
    assert after.splitlines() == [
        "VERSION=1", "IDTYPE=devname IDNAME=/dev/sda3 DEVNAME=/dev/sda3 PVID=abc PART=3", "IDTYPE=devname IDNAME=/dev/sdb DEVNAME=/dev/sdb PVID=d",
    ]  # fmt: skip


def test_a_devices_file_of_another_name_is_found():
    conf = 'devices {\n use_devicesfile = 1\n devicesfile = "corp.devices"\n}\n'
    assert lvm.devices_files([conf, ""]) == (lvm.DEVICES, "/etc/lvm/devices/corp.devices")
    assert lvm.devices_files(['devices { devicesfile = "../../x" }']) == (lvm.DEVICES,)


@pytest.mark.parametrize("text", ['"\\' * 30_000, 'x = "' + '\\"' * 30_000 + "\\", "filter = [" + '"a|x|",' * 40_000 + "]\n"])
def test_no_text_takes_long(text):
    with within(5):
        lvm.conf(text, ON_DISK)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("etc/lvm/lvm.conf", 'devices {\n filter = [\n  "a|^/dev/sda|",\n  "r|.*|"\n ]\n}\n', "devices {\n}\n"),
        ("etc/mdadm/mdadm.conf", "DEVICE /dev/sda1\n", "DEVICE partitions\n"),
    ],
)
def test_the_proof_says_of_an_initramfs_what_it_does_and_not_what_it_should(name, before, after):
    guest = MemoryGuest({}, {PV.name: PV})
    (refused,), (passed,) = (list(proof._steering(guest, "/boot/initrd", name, content)) for content in (before, after))
    assert not refused.passed and refused.detail.endswith(f"on some devices only, by {name}")
    assert passed.passed and passed.detail.endswith(f"on every device, by {name}")
