# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the old hardware over disks whose places are known: each row is a machine, the names its guest uses, and the disks that they are.

Expected values are of the kernel's and udev's documentation (guest/device_names, guest/disk_orders say which), not of what the code gave.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Disk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import multipath
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.resolver import DeviceTable, Use

PCI = "/dev/disk/by-path/pci-0000:{}"
VMBUS = "/dev/disk/by-path/acpi-VMBUS:01-vmbus-f8b3781a1e824818a1c363d806ec15bb-lun-{}"
NVME_ID = "/dev/disk/by-id/nvme-VMware_Virtual_NVMe_Disk_VMWARE_NVME_000{}"


def resolved(disks, uses, root, parts=1):
    """What each name is, where every disk has the same partitions, so that nothing but its place tells it apart. `root` is (disk, partition)."""
    devices = [
        BlockDevice(f"{disk}.{part}", "ext4", f"u{disk}{part}", disk=disk, part=part)
        for disk in range(len(disks))
        for part in (1, 2, 3)[:parts]
    ]
    table = DeviceTable(disks, devices)
    at = f"{root[0]}.{root[1]}"
    mounts = [Use(spec, "/" if want == at and number == 0 else f"/m{number}", "ext4") for number, (spec, want) in enumerate(uses.items())]
    table.learn(mounts, next(device for device in devices if device.name == at))
    return {spec: found.name if (found := table.resolve(spec)) else None for spec in uses}


TWO_NVME = [Disk("nvme", 0, 0), Disk("nvme", 0, 1), Disk("nvme", 1, 0)]
IDE_SCSI = [Disk("scsi", 0, 0), Disk("ide", 0, 0)]
MACHINES = {
    "VMware's NVMe disks are name spaces of their controller": (
        TWO_NVME, {"/dev/nvme0n1p1": "0.1", "/dev/nvme0n2p1": "1.1", "/dev/nvme1n1p1": "2.1"}, (0, 1)),
    "NVMe by path, whose name spaces count from 1": (
        TWO_NVME[:2], {PCI.format("0b:00.0-nvme-1-part1"): "0.1", PCI.format("0b:00.0-nvme-2-part1"): "1.1"}, (0, 1)),
    "NVMe by the serial number that VMware gives": (
        TWO_NVME, {f"{NVME_ID.format(0)}_1-part1": "0.1", f"{NVME_ID.format(0)}_2-part1": "1.1", f"{NVME_ID.format(1)}-part1": "2.1"}, (0, 1)),
    "a gap between name spaces can be read in two ways": ([Disk("nvme", 0, 0), Disk("nvme", 0, 2)], {"/dev/nvme0n1p1": "0.1", "/dev/nvme0n2p1": "1.1"}, (0, 1)),
    "three name spaces of bare disks": ([Disk()] * 3, {"/dev/nvme0n1p1": "0.1", "/dev/nvme0n2p1": "1.1", "/dev/nvme0n3p1": "2.1"}, (0, 1)),
    "three controllers of bare disks, as in a cloud": ([Disk()] * 3, {"/dev/nvme0n1p1": "0.1", "/dev/nvme1n1p1": "1.1", "/dev/nvme2n1p1": "2.1"}, (0, 1)),
    "both at once with bare disks": ([Disk()] * 3, {"/dev/nvme0n1p1": None, "/dev/nvme0n2p1": None, "/dev/nvme1n1p1": None}, (2, 1)),
    "NVMe beside SCSI": (
        [Disk("scsi", 0, 0), Disk("scsi", 0, 1), Disk("nvme", 0, 0)],
        {"/dev/nvme0n1p1": "2.1", "/dev/sda1": "0.1", "/dev/sdb1": "1.1"}, (2, 1)),
    "ports of SATA count from 1": (
        [Disk("sata", 0, 0), Disk("sata", 0, 1)],
        {PCI.format("02:05.0-ata-1-part1"): "0.1", PCI.format("02:05.0-ata-2-part1"): "1.1"}, (0, 1)),
    "a port of SATA, as newer udev writes it": ([Disk("sata", 0, 0), Disk("sata", 0, 1)], {PCI.format("02:05.0-ata-2.0-part1"): "1.1"}, (1, 1)),
    "the second port, where a CD drive has the first": ([Disk("sata", 0, 1)], {PCI.format("02:05.0-ata-2-part1"): "0.1"}, (0, 1)),
    "a port with bare disks is not guessed": ([Disk()] * 2, {"UUID=u02": "0.2", PCI.format("02:05.0-ata-1-part1"): None}, (0, 2)),
    "all ports with bare disks": ([Disk()] * 2, {PCI.format("02:05.0-ata-1-part1"): "0.1", PCI.format("02:05.0-ata-3-part1"): "1.1"}, (0, 1)),
    "channels of IDE are one device of PCI": (
        [Disk("ide", 0, 0), Disk("ide", 1, 0)],
        {PCI.format("00:07.1-ide-0:0-part1"): "0.1", PCI.format("00:07.1-ide-1:0-part1"): "1.1"}, (0, 1)),
    "channels of IDE under libata": (
        [Disk("ide", 0, 0), Disk("ide", 1, 0)],
        {PCI.format("00:07.1-ata-1-part1"): "0.1", PCI.format("00:07.1-ata-2-part1"): "1.1"}, (0, 1)),
    "a slave of IDE under libata": ([Disk("ide", 0, 0), Disk("ide", 0, 1)], {PCI.format("00:07.1-ata-1.1-part1"): "1.1"}, (1, 1)),
    "letters of IDE are places": ([Disk("ide", 0, 0), Disk("ide", 1, 0)], {"/dev/hda1": "0.1", "/dev/hdc1": "1.1", "/dev/hdb1": None}, (0, 1)),
    "hda and sda are two disks: SCSI starts": (IDE_SCSI, {"/dev/sda2": "0.2", "/dev/sda1": "0.1", "/dev/hda1": "1.1"}, (0, 2)),
    "hda and sda are two disks: IDE starts": (IDE_SCSI, {"/dev/hda2": "1.2", "/dev/hda1": "1.1", "/dev/sda1": "0.1"}, (1, 2)),
    "hda and sda of bare disks: the root tells": ([Disk()] * 2, {"/dev/hda2": "1.2", "/dev/hda1": "1.1", "/dev/sda1": "0.1"}, (1, 2)),
    "letters over two buses are uncertain": (IDE_SCSI, {"UUID=u12": "1.2", "/dev/sdb1": None, "/dev/sda1": None}, (1, 2)),
    "letters over two buses, where the root has one": (IDE_SCSI, {"/dev/sda2": "1.2", "/dev/sdb1": "0.1"}, (1, 2)),
    "SCSI beside IDE, by path": (
        IDE_SCSI, {PCI.format("00:07.1-ata-1-part2"): "1.2", PCI.format("03:00.0-scsi-0:0:0:0-part1"): "0.1"}, (1, 2)),
    "partitions by number, as newer udev writes them": (
        [Disk("scsi", 0, 0)], {PCI.format("03:00.0-scsi-0:0:0:0-part/by-partnum/2"): "0.2"}, (0, 2)),
    "partitions by UUID, as newer udev writes them": (
        [Disk("scsi", 0, 0)] , {PCI.format("03:00.0-scsi-0:0:0:0-part/by-uuid/u02"): "0.2"}, (0, 2)),
    "Hyper-V's bus": ([Disk(), Disk()], {VMBUS.format("0-part2"): "0.2", VMBUS.format("1-part1"): "1.1"}, (0, 2)),
    "Azure's places on Hyper-V's bus": ([Disk(None, 0, 0), Disk(None, 1, 3)], {VMBUS.format("3-part1"): "1.1"}, (0, 1)),
    "a virtio disk is a device of PCI": ([Disk()], {PCI.format("00:05.0-part2"): "0.2"}, (0, 2)),
    "a virtio disk, as older udev writes it": ([Disk()], {"/dev/disk/by-path/virtio-pci-0000:00:05.0-part2": "0.2"}, (0, 2)),
    "a disk of Xen by the number of hda": ([Disk()], {"/dev/disk/by-path/xen-vbd-768-part2": "0.2"}, (0, 2)),
    "a disk of Xen by the number of xvdb": ([Disk(), Disk()], {"/dev/disk/by-path/xen-vbd-51728-part1": "1.1", "/dev/xvda1": "0.1"}, (0, 1)),
    "RHEL 6 on Xen counts from xvde": ([Disk(), Disk()], {"/dev/xvde1": "0.1", "/dev/xvdf1": "1.1"}, (0, 1)),
    "the 27th disk": ([Disk("scsi", 0, number) for number in range(28)], {"/dev/sda1": "0.1", "/dev/sdaa1": "26.1", "/dev/sdab1": "27.1"}, (0, 1)),
    "a drive of IDE says nothing about disks": (
        [Disk()] * 2, {"/dev/sda2": "0.2", "/dev/hdc": None, "/dev/sdb1": "1.1"}, (0, 2)),
    "a drive beside a disk of IDE under libata": ([Disk("ide", 0, 0)], {"/dev/sda2": "0.2", "/dev/hdc": None, "/dev/sda1": "0.1"}, (0, 2)),
    "volumes that a cloud attaches from f on": ([Disk()] * 3, {"UUID=u02": "0.2", "/dev/xvdf1": None}, (0, 2)),
    "a letter after the last disk's is of one that is gone, although a disk has all that the guest says of it": (
        [Disk("scsi", 0, 0), Disk("scsi", 0, 1)], {"/dev/sda2": "0.2", "/dev/sdc1": None}, (0, 2)),
    "a letter after the last disk's that is the root": ([Disk(), Disk()], {"/dev/sdc2": "1.2"}, (1, 2)),
    "a wrong entry says nothing about the others": ([Disk()] * 2, {"/dev/sda1": "0.1", "/dev/sdb1": "1.1", "/dev/sdf1": None}, (0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_what_names_are_on_this_machine(machine):
    disks, uses, root = MACHINES[machine]
    assert resolved(disks, uses, root, 3) == uses


LETTERS = st.lists(
    st.sampled_from([f"/dev/{kind}{letter}1" for kind in ("sd", "hd", "vd", "xvd") for letter in "abcef"]),
    min_size=1,
    max_size=5,
    unique=True,
)
SPACES = st.lists(st.builds("/dev/nvme{}n{}p1".format, st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=5, unique=True)
DISKS = st.lists(
    st.builds(Disk, st.sampled_from([None, "scsi", "sata", "ide", "nvme"]), st.integers(0, 1), st.integers(0, 1)),
    min_size=1,
    max_size=4,
    unique=True,
).map(lambda disks: sorted(disks, key=lambda disk: disk.order))


@given(DISKS, st.one_of(LETTERS, SPACES))
def test_two_names_of_one_kind_are_never_one_disk(disks, names):
    found = resolved(disks, dict.fromkeys(names), (0, 1), 1)
    for kind in ("/dev/sd", "/dev/hd", "/dev/vd", "/dev/xvd", "/dev/nvme"):
        known = [one for name, one in found.items() if name.startswith(kind) and one]
        assert len(set(known)) == len(known)


@given(
    DISKS,
    st.lists(st.sampled_from([f"/dev/{kind}{letter}1" for kind in ("sd", "hd") for letter in "abc"]), min_size=1, max_size=6, unique=True),
)
def test_one_kernel_has_one_name_for_a_disk(disks, names):
    known = [one for one in resolved(disks, dict.fromkeys(names), (0, 1)).values() if one]
    assert len(set(known)) == len(known)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True).map(sorted), st.sampled_from(["sata", "nvme", "scsi"]))
def test_a_path_is_the_disk_of_its_unit(units, bus):
    form = {"sata": "ata-{1}", "nvme": "nvme-{1}", "scsi": "scsi-0:0:{0}:0"}[bus]
    names = {unit: PCI.format(f"0b:00.0-{form.format(unit, unit + 1)}-part1") for unit in units}
    found = resolved([Disk(bus, 0, unit) for unit in units], dict.fromkeys(names.values()), (0, 1))
    assert [found[names[unit]] for unit in units] == [f"{number}.1" for number in range(len(units))]


@pytest.mark.parametrize("count", [7, 8])
def test_disks_in_another_order_that_cannot_be_told_apart_are_not_guessed(count):
    """sda and sdf have the same content, and the guest says it of the last two the other way round; with eight disks there are 40,320 orders."""
    kinds = (
        ["ext4", "xfs", "xfs", "xfs", "xfs", "ext4", "vfat", "btrfs"][8 - count :]
        if count == 8
        else ["ext4", "xfs", "xfs", "xfs", "ext4", "vfat", "btrfs"]
    )
    part = {number: number if kind == "xfs" else 1 for number, kind in enumerate(kinds)}
    devices = [BlockDevice(f"d{number}", kind, f"u{number}", disk=number, part=part[number]) for number, kind in enumerate(kinds)]
    table = DeviceTable([Disk()] * count, devices)
    said = [*kinds[:-2], kinds[-1], kinds[-2]]
    table.learn([Use(f"/dev/sd{chr(97 + number)}{part[number]}", f"/m{number}", kind) for number, kind in enumerate(said)], None)
    assert table.resolve("/dev/sda1") is None and table.resolve(f"/dev/sd{chr(97 + count - 3)}1") is None


def test_thirty_disks_that_cannot_be_told_apart_settle_nothing_and_take_no_time():
    devices = [BlockDevice(f"d{number}", "ext4", f"u{number}", disk=number, part=1) for number in range(30)]
    table = DeviceTable([Disk()] * 30, devices)
    table.learn([Use(f"/dev/sd{chr(97 + number % 26)}{1 + number // 26}", f"/m{number}", "ext4") for number in range(30)], None)
    assert table.resolve("/dev/sdz2") is None


def test_names_of_multipath():
    configuration = (
        'defaults { user_friendly_names no }\n# multipath { wwid 1 alias no }\nmultipaths {\n multipath {\n  wwid "36000c29a"\n  alias boss\n }\n'
        " multipath {\n  wwid 36000c29b\n }\n}\n"
    )
    found = multipath.names("# Format:\nmpatha 36000c29c\n", "# Valid WWIDs:\n/36000c29d/\n", configuration)
    assert list(found) == [("boss", "36000c29a"), ("mpatha", "36000c29c"), ("36000c29d", "36000c29d")]
