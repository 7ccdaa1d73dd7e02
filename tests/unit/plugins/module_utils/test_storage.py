# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS, md, LVM, multipath and the tools that name disks; and which disk a letter means."""

from __future__ import annotations

import json
import struct

import pytest
from fixtures import DATA, DEVICES, LUKS, ROOT, SWAP

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Disk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.resolver import DeviceTable, Use
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import crypttab, inspect, mdadm, mounts, storage


def crypt(text, tool="initramfs-tools", containers=(LUKS.uuid,)):
    made = MemoryGuest({crypttab.PATH: text}, DEVICES)
    findings = Findings()
    changes = crypttab.plan(made, GuestFacts(initramfs_tool=tool, boot_containers=containers), "stabilize-all", findings)
    return changes[0].after if changes else text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a /dev/sda4 none luks # x\n", "a UUID={} none luks,initramfs # x\n"),
        ("a\t/dev/sda4\tnone  luks,discard\n", "a\tUUID={}\tnone  luks,discard,initramfs\n"),
        ("a /dev/sda4 none luks,initramfs\n", "a UUID={} none luks,initramfs\n"),
        ("a /dev/sda4 none\n", "a UUID={} none luks,initramfs\n"),
        ("a /dev/sda4\n", "a UUID={} none luks,initramfs\n"),
        ("# a /dev/sda4\n", "# a /dev/sda4\n"),
    ],
)
def test_what_the_boot_needs_is_unlocked_by_the_initramfs(before, after):
    expected = after.format(LUKS.uuid)
    assert crypt(before) == expected and crypt(expected) == expected


def test_data_and_other_tools_need_no_option():
    assert crypt("a /dev/sda4 none luks\n", containers=()) == f"a UUID={LUKS.uuid} none luks\n"
    assert crypt("a /dev/sda4 none luks\n", tool="dracut") == f"a UUID={LUKS.uuid} none luks\n"


@pytest.mark.parametrize(
    ("tokens", "codes"),
    [
        ({"0": {"type": "clevis", "jwe": {}}}, ["luks.clevis"]),
        ({"0": {"type": "systemd-tpm2"}, "1": {"type": "clevis"}}, ["luks.tpm", "luks.clevis"]),
        ({}, []), ([], []), ({"0": 7}, []),
    ],
)  # fmt: skip
def test_slots_that_stay_behind_are_said(tokens, codes):
    body = json.dumps({"tokens": tokens}).encode()
    header = (b"LUKS\xba\xbe\0\x02" + struct.pack(">Q", 16384)).ljust(4096, b"\0") + body.ljust(12288, b"\0")
    made, findings = MemoryGuest({}, DEVICES, {LUKS.name: header}), Findings()
    crypttab.plan(made, GuestFacts(), "noop", findings)
    assert [concern.code for concern in findings.concerns] == codes


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"LUKS\xba\xbe\0\x01" + bytes(5000),
        b"LUKS\xba\xbe\0\x02" + b"\xff" * 5000,
        b"LUKS\xba\xbe\0\x02" + struct.pack(">Q", 9000) + bytes(9000),
    ],
)
def test_a_header_of_any_bytes_has_no_tokens(header):
    assert crypttab.tokens(MemoryGuest({}, {}, {"x": header}), BlockDevice("x")) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DEVICE /dev/sda1 /dev/sdb1 # both\nARRAY /dev/md0 UUID=x\n", "DEVICE partitions # both\nARRAY /dev/md0 UUID=x\n"),
        ("DEVICE /dev/sd[a-z]*\n", "DEVICE partitions\n"),
        ("DEVICE partitions containers\n", "DEVICE partitions containers\n"),
        ("#DEVICE /dev/sda1\n", "#DEVICE /dev/sda1\n"),
        ("ARRAY /dev/md0 devices=/dev/sda1,/dev/sdb1 UUID=a:b\n", "ARRAY /dev/md0 UUID=a:b\n"),
        ("ARRAY /dev/md0 UUID=a:b devices=/dev/sda1,/dev/sdb1\n", "ARRAY /dev/md0 UUID=a:b\n"),
        ("ARRAY /dev/md0 devices=/dev/sda1,/dev/sdb1\n", "ARRAY /dev/md0 devices=/dev/sda1,/dev/sdb1\n"),
    ],
)
def test_arrays_are_looked_for_everywhere(before, after):
    assert mdadm.rewritten(before) == after and mdadm.rewritten(after) == after


def test_maps_kdump_and_smartd_follow():
    made = MemoryGuest({
        "/etc/auto.data": "srv -fstype=ext4 :/dev/sdb1\nnas -rw host:/x\n", "/etc/kdump.conf": "ext4 /dev/sdb1\n#raw /dev/sdb1\nnfs host:/x\n",
        "/etc/smartd.conf": "DEVICESCAN\n/dev/sda -a\n",
    }, DEVICES)  # fmt: skip
    changes = {change.path: change.after for change in [*mounts.plan(made, Findings()), *storage.plan(made, Findings())]}
    assert changes == {
        "/etc/auto.data": f"srv -fstype=ext4 :/dev/disk/by-uuid/{DATA.uuid}\nnas -rw host:/x\n",
        "/etc/kdump.conf": f"ext4 UUID={DATA.uuid}\n#raw /dev/sdb1\nnfs host:/x\n",
        "/etc/smartd.conf": "DEVICESCAN\n# /dev/sda -a\n",
    }


def test_what_cannot_be_repaired_is_said():
    findings = Findings()
    pool = {"/dev/sdb1": BlockDevice("/dev/sdb1", "zfs_member")}
    storage.plan(MemoryGuest({"/etc/fstab": "/dev/mapper/mpatha1 /x ext4 defaults 0 0\n"}, pool), findings)
    assert [concern.code for concern in findings.concerns] == ["storage.zfs", "storage.multipath"]


def test_the_boot_needs_what_root_and_swap_lie_on():
    part = BlockDevice("/dev/sda2", "crypto_LUKS", "lu-ks")
    opened = BlockDevice("/dev/mapper/luks-lu-ks", "LVM2_member", "pv", kind="crypt", parents=(part.name,))
    root = BlockDevice("/dev/vg/root", "ext4", "ro-ot", kind="lvm", parents=(opened.name,))
    made = MemoryGuest({}, {device.name: device for device in (part, opened, root, DATA, LUKS)})
    facts = inspect.inspect(made, root, "", (), "bios", ())
    assert facts.root_stack == ("lvm", "crypt", "part") and facts.boot_containers == ("lu-ks",)


TWO = (
    BlockDevice("/dev/sda1", "xfs", "data", disk=0, part=1), BlockDevice("/dev/sdb1", "ext4", "boot", disk=1, part=1),
    BlockDevice("/dev/sdb2", "ext4", "root", disk=1, part=2),
)  # fmt: skip


def table(*uses, root=TWO[2], disks=2, devices=TWO):
    made = DeviceTable([Disk("scsi", 0, number, f"{number}" * 32) for number in range(disks)], devices)
    made.learn(uses, root)
    return made


def test_letters_in_the_order_of_the_disks():
    made = table(Use("/dev/sdb2", "/", "ext4"), Use("/dev/sda1", "/srv", "xfs"))
    assert made.resolve("/dev/sdb2").uuid == "root" and made.resolve("/dev/sda1").uuid == "data"


def test_letters_in_another_order_are_learnt_from_the_root():
    made = table(Use("/dev/sda2", "/", "ext4"), Use("/dev/sdb1", "/srv", "xfs"))
    assert made.resolve("/dev/sda2").uuid == "root" and made.resolve("/dev/sdb1").uuid == "data"


def test_letters_that_fit_nothing_are_not_guessed():
    made = table(Use("/dev/sdc2", "/", "ext4"), Use("/dev/sda7", "/x", "ext4"))
    # What / is called is certain, whatever else is wrong.
    assert made.resolve("/dev/sda1") is None and made.resolve("/dev/sda7") is None and made.resolve("/dev/sdc2").uuid == "root"


def test_a_wrong_entry_for_data_does_not_make_the_root_uncertain():
    made = table(Use("/dev/sdb2", "/", "ext4"), Use("/dev/sda1", "/srv", "ext4"))
    assert made.resolve("/dev/sdb2").uuid == "root" and made.resolve("/dev/sda1") is None


def test_names_that_the_guest_gives():
    made = table()
    made.alias("/dev/mapper/vault", "/dev/sda1")
    made.multipath("mpatha", "3" + "1" * 32)
    assert (
        made.resolve("/dev/mapper/vault").uuid == "data"
        and made.resolve("/dev/mapper/mpatha2").uuid == made.resolve("/dev/mapper/mpatha-part2").uuid == "root"
    )
    assert made.resolve("/dev/mapper/mpathb1") is None


def test_an_identifier_of_storage_elsewhere_is_not_the_only_disk():
    made = DeviceTable([Disk("scsi", 0, 0)], [BlockDevice("/dev/sda1", "ext4", "u", disk=0, part=1)])
    made.multipath("sandata", "3600a0980" + "1" * 24)
    made.multipath("mpatha", "36000c29" + "1" * 25)
    assert made.resolve("/dev/mapper/sandata1") is None and made.resolve("/dev/mapper/mpatha1").uuid == "u"


def test_what_a_server_exports_under_such_a_name_stays():
    made = MemoryGuest({"/etc/fstab": "nas:/dev/sda1 /m nfs defaults 0 0\n"}, {"/dev/sda1": ROOT})
    findings = Findings()
    assert mounts.plan(made, findings) == [] and not findings.concerns


def test_multipath_names_become_stable():
    made = MemoryGuest(
        {"/etc/fstab": "/dev/mapper/mpatha2 / ext4 defaults 0 1\n/dev/mapper/vg-x /y ext4 defaults 0 0\n"},
        {"/dev/mapper/mpatha2": ROOT, "s": SWAP},
    )
    (change,) = mounts.plan(made, Findings())
    assert change.after == f"UUID={ROOT.uuid} / ext4 defaults 0 1\n/dev/mapper/vg-x /y ext4 defaults 0 0\n"
