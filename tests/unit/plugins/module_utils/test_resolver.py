# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device a name means, over whole disk sets; partition tables from the bytes."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Disk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import parttable
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.resolver import DeviceTable, Use


def dev(disk, part, fstype="ext4"):
    return BlockDevice(
        f"d{disk}p{part}", fstype, f"u{disk}{part}", f"l{disk}{part}", f"P{disk}{part}", f"q{disk}{part}", disk=disk, part=part
    )


def path(address, unit, part):
    return f"/dev/disk/by-path/pci-0000:{address}:00.0-scsi-0:0:{unit}:0-part{part}"


BARE = (dev(0, 1, "swap"), dev(0, 2), dev(1, 1))
PLACED = [Disk("scsi", 0, 0), Disk("scsi", 1, 0)]


def table(disks, devices, uses, root=None):
    made = DeviceTable(disks, devices)
    made.learn([use if isinstance(use, Use) else Use(use) for use in uses], root)
    return made


def name(found):
    return found.name if found else None


@pytest.mark.parametrize(
    "spec",
    [
        "UUID=u02",
        "UUID=U02",
        'UUID="u02"',
        "LABEL=l02",
        "PARTUUID=p02",
        "PARTLABEL=q02",
        "/dev/disk/by-uuid/u02",
        "/dev/disk/by-label/l02",
        "/dev/sda2",
        "/dev/vda2",
        "/dev/xvda2",
        "/dev/hda2",
    ],
)
def test_names_that_say_it_themselves(spec):
    assert name(DeviceTable([Disk(), Disk()], BARE).resolve(spec)) == "d0p2"


def test_the_second_disk_by_letter():
    assert name(DeviceTable([Disk(), Disk()], BARE).resolve("/dev/sdb1")) == "d1p1"
    assert DeviceTable([Disk()], BARE[:2]).resolve("/dev/sdb1") is None


def test_letters_and_numbers_count_each_bus_for_itself():
    made = DeviceTable([Disk("scsi", 0, 0), Disk("nvme", 0, 0)], (dev(0, 1), dev(1, 1)))
    assert (
        name(made.resolve("/dev/sda1")) == "d0p1" and name(made.resolve("/dev/nvme0n1p1")) == "d1p1" and made.resolve("/dev/sdb1") is None
    )


def test_two_controllers_by_their_order():
    made = table(PLACED, (dev(0, 1), dev(1, 1)), [path("13", 0, 1), path("03", 0, 1)])
    assert name(made.resolve(path("03", 0, 1))) == "d0p1" and name(made.resolve(path("13", 0, 1))) == "d1p1"


def test_a_second_controller_alone_is_found_by_what_is_on_it():
    uses = [Use(path("13", 0, 1), "/srv", "xfs")]
    made = table(PLACED, (dev(0, 1), dev(1, 1, "xfs")), uses)
    assert name(made.resolve(path("13", 0, 1))) == "d1p1"


def test_two_units_on_one_controller():
    disks = [Disk("scsi", 0, 0), Disk("scsi", 0, 2)]
    made = table(disks, (dev(0, 1), dev(1, 1)), [path("03", 0, 1), path("03", 2, 1)])
    assert name(made.resolve(path("03", 2, 1))) == "d1p1"


def test_a_unit_that_the_source_contradicts_resolves_to_nothing():
    made = table([Disk("scsi", 0, 0), Disk("scsi", 0, 2)], (dev(0, 1), dev(1, 1)), [path("03", 1, 1)])
    assert made.resolve(path("03", 1, 1)) is None


def test_the_root_entry_is_the_root_that_was_found():
    devices = (dev(0, 1), dev(1, 1))
    made = table([Disk(), Disk()], devices, [Use(path("0b", 5, 1), "/", "ext4")], devices[1])
    assert name(made.resolve(path("0b", 5, 1))) == "d1p1"


def test_bare_disks_follow_the_order_they_are_given_in():
    made = table([Disk(), Disk()], (dev(0, 1), dev(1, 1)), [path("03", 0, 1), path("03", 1, 1)])
    assert [name(made.resolve(path("03", unit, 1))) for unit in (0, 1)] == ["d0p1", "d1p1"]


def test_what_stays_open_is_not_guessed():
    made = table([Disk(), Disk(), Disk()], (dev(0, 1), dev(1, 1), dev(2, 1)), [path("13", 9, 1)])
    assert made.resolve(path("13", 9, 1)) is None
    assert table([Disk()], (dev(0, 1),), []).resolve(path("03", 0, 1)) is None  # never learned


def test_a_data_disks_path_never_becomes_the_root_disks_partition():
    """What older tools do: glue the partition number to the root disk."""
    devices = (dev(0, 1), dev(0, 2), dev(1, 1, "xfs"))
    made = table(PLACED, devices, [Use(path("03", 0, 2), "/", "ext4"), Use(path("13", 0, 1), "/data", "xfs")], devices[1])
    assert name(made.resolve(path("13", 0, 1))) == "d1p1"


def test_the_disks_identifier():
    wwn = "6000c29d8f1b2c0aa1b2c3d4e5f60718"
    made = DeviceTable([Disk(), Disk(wwn=wwn)], BARE)
    assert [name(made.resolve(f"/dev/disk/by-id/{kind}{wwn}-part1")) for kind in ("scsi-3", "wwn-0x")] == ["d1p1", "d1p1"]
    assert made.resolve("/dev/disk/by-id/scsi-3" + "0" * 32 + "-part1") is None


@pytest.mark.parametrize(
    "spec",
    [
        "/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part1",
        "/dev/disk/by-path/pci-0000:0b:00.0-nvme-1-part1",
        "/dev/disk/by-path/pci-0000:03:00.0-sas-phy0-lun-0-part1",
        "/dev/disk/by-path/pci-0000:03:00.0-sas-0x5000c29a-lun-0-part1",
    ],
)
def test_other_buses(spec):
    assert name(table([Disk()], (dev(0, 1),), [Use(spec, "/", "ext4")], dev(0, 1)).resolve(spec)) == "d0p1"


@given(st.lists(st.tuples(st.sampled_from(["03", "0b", "13"]), st.integers(0, 4), st.integers(1, 3)), max_size=5), st.integers(1, 4))
def test_two_places_are_never_one_disk(places, count):
    devices = [dev(disk, part) for disk in range(count) for part in (1, 2)]
    made = table([Disk()] * count, devices, [path(*place) for place in places])
    disks = {place[:2]: found.disk for place in places for found in [made.resolve(path(*place))] if found}
    assert len(set(disks.values())) == len(disks)


def reader(data):
    return lambda offset, size: data[offset : offset + size]


def test_an_mbr_with_logical_partitions():
    disk = bytearray(512 * 4096)

    def entry(at, kind, start, size, active=0):
        disk[at : at + 16] = struct.pack("<B3sB3sII", active, b"", kind, b"", start, size)

    entry(446, 0x83, 2048, 100, 0x80)
    entry(462, 0x05, 1000, 2000)
    disk[440:444] = struct.pack("<I", 0xCAFE)
    entry(1000 * 512 + 446, 0x82, 10, 20)
    entry(1000 * 512 + 462, 0x05, 500, 100)
    entry(1500 * 512 + 446, 0x83, 5, 6)
    entry(1500 * 512 + 462, 0x05, 500, 100)  # points back at itself
    for sector in (0, 1000, 1500):
        disk[sector * 512 + 510 : sector * 512 + 512] = b"\x55\xaa"
    found = parttable.parse(reader(bytes(disk)))
    assert [(part.number, part.start // 512, part.uuid) for part in found.partitions] == [
        (1, 2048, "0000cafe-01"),
        (5, 1010, "0000cafe-05"),
        (6, 1505, "0000cafe-06"),
    ]
    assert found.partitions[0].active


def test_a_gpt():
    disk = bytearray(512 * 64)
    disk[446:462] = struct.pack("<B3sB3sII", 0, b"", 0xEE, b"", 1, 63)
    disk[510:512] = b"\x55\xaa"
    disk[512:520] = b"EFI PART"
    disk[512 + 72 : 512 + 88] = struct.pack("<QII", 2, 4, 128)
    kind, own = uuid.UUID(parttable.ESP), uuid.uuid4()
    disk[1024 + 128 : 1024 + 256] = (
        kind.bytes_le + own.bytes_le + struct.pack("<QQQ", 34, 40, 0) + "EFI".encode("utf-16-le").ljust(72, b"\0")
    )
    (part,) = parttable.parse(reader(bytes(disk))).partitions
    assert (part.number, part.start, part.size, part.type, part.uuid, part.label) == (2, 34 * 512, 7 * 512, parttable.ESP, str(own), "EFI")


@given(st.binary(max_size=4096), st.sampled_from([0x83, 0xEE, 0x05, 0]))
def test_any_bytes_are_a_table_or_none(data, kind):
    disk = bytearray(data.ljust(4096, b"\0"))
    disk[450], disk[510:512] = kind, b"\x55\xaa"
    disk[512:520] = b"EFI PART"
    parttable.parse(reader(bytes(disk)))
    parttable.parse(reader(data))


EBS = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0"


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        ("/dev/xvda2", "d0p2"),
        ("/dev/xvdf1", "d1p1"),
        ("/dev/sdf1", "d1p1"),
        ("/dev/xvdfa", None),
        ("/dev/xvdg1", None),
        (f"{EBS}b-part1", "d1p1"),
        (f"{EBS}b-ns-1-part1", "d1p1"),
        (f"{EBS}a_1-part2", "d0p2"),
        (f"{EBS}bb-part1", None),
        (f"{EBS}c-part1", None),
        ("/dev/nvme1n1p1", "d1p1"),
    ],
)
def test_names_that_the_source_knows(spec, device):
    disks = [Disk(names=(f"{EBS}a", "/dev/sda", "/dev/xvda")), Disk(names=(f"{EBS}b", "/dev/sdf", "/dev/xvdf"))]
    assert name(DeviceTable(disks, BARE).resolve(spec)) == device


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        ("/dev/disk/azure/root-part2", "d0p2"),
        ("/dev/disk/azure/os-part1", "d0p1"),
        ("/dev/disk/azure/scsi1/lun3-part1", "d1p1"),
        ("/dev/disk/azure/data/by-lun/3-part1", "d1p1"),
        ("/dev/disk/azure/scsi1/lun0-part1", None),
        ("/dev/disk/azure/resource-part1", None),
    ],
)
def test_azure_numbers_data_disks_apart_from_the_system_disk(spec, device):
    assert name(DeviceTable([Disk(None, 0, 0), Disk(None, 1, 3)], BARE).resolve(spec)) == device
    # Disks alone do not say their numbers.
    assert name(DeviceTable([Disk(), Disk()], BARE).resolve(spec)) == (device if "root" in spec or "os" in spec else None)
