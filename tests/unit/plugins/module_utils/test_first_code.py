# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disk the firmware starts, by what its boot code is; and what of a guest is on which disk."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures import GRUB_MBR

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.first_code import boot_disk, leads_on, system_disks
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Mount
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import ESP, Partition, Table

# What a partition tool leaves: libparted and Windows' Disk Management write boot code into every MBR that they make.
TOOL = bytes.fromhex("fab8001088d0bc00b0b8000088d88ec0fbbe007cbf0006b90002f3a4ea21060000").ljust(440, b"\x90")
SECTOR = bytes(510) + b"\x55\xaa"
DATA = Partition(1, 1 << 20, 10 << 30, "07", "cc-01")
SYSTEM = Partition(1, 1 << 20, 1 << 30, "83", "aa-01")
ACTIVE = replace(SYSTEM, active=True)
EFI = Partition(1, 1 << 20, 100 << 20, ESP, "e-1")
GRUB, EMPTY = Table("mbr", (SYSTEM,), GRUB_MBR), Table("mbr", (DATA,), bytes(440))
TOOLS = Table("mbr", (DATA,), TOOL)
STARTS = Table("mbr", (ACTIVE,), TOOL)
# stage1 of GRUB legacy has the sector of what comes next at 0x44, and code at 0x5c.
LEGACY = Table("mbr", (SYSTEM,), (bytes(0x44) + b"\1\0\0\0" + b"\xb8" * 0x40 + b"GRUB \0Geom").ljust(440, b"\xa0"))
EXTENDED = Table("mbr", (SYSTEM,), TOOL, extended=replace(ACTIVE, number=2, type="05"))
UEFI = Table("gpt", (EFI, replace(DATA, number=2)), bytes(440))


def disk(table, core=b"core" * 128):
    """The beginning of a disk, with a core image of GRUB behind the MBR and a boot sector in its partition."""
    image = bytearray(2 << 20)
    image[512 : 512 + len(core)] = core
    if any(part.active for part in (*table.partitions, *([table.extended] if table.extended else []))):
        image[1 << 20 : (1 << 20) + 512] = SECTOR
    return bytes(image)


MACHINES = {
    "GRUB": ("bios", [GRUB], (), 0),
    "a data disk of a partition tool before GRUB": ("bios", [TOOLS, GRUB], (1,), 1),
    "the same, where nothing is known of the system": ("bios", [TOOLS, GRUB], (), 1),
    "a data disk with a GPT and a tool's code before GRUB": ("bios", [Table("gpt", (DATA,), TOOL), GRUB], (), 1),
    "a data disk of Disk Management before the active partition": ("bios", [TOOLS, STARTS], (), 1),
    "an old GRUB on a data disk before the system's": ("bios", [GRUB, GRUB], (1,), 1),
    "two of them, where nothing is known of the system": ("bios", [GRUB, GRUB], (), 0),
    "the system is elsewhere than its boot code": ("bios", [GRUB, EMPTY], (1,), 0),
    "LILO": ("bios", [EMPTY, Table("mbr", (SYSTEM,), b"\xfa\xebLILO".ljust(440, b"\x01"))], (), 1),
    "a loader on a disk without a table": ("bios", [EMPTY, Table("", (), b"\xeb\x58\x90".ljust(440, b"\x01"))], (), 1),
    "GRUB legacy": ("bios", [LEGACY, STARTS], (0,), 0),
    "an active extended partition": ("bios", [EXTENDED, TOOLS], (), 0),
    "a GPT with the attribute of syslinux": ("bios", [Table("gpt", (ACTIVE,), TOOL), TOOLS], (), 0),
    "nothing that leads on": ("bios", [EMPTY, TOOLS], (), 1),
    "nothing at all": ("bios", [EMPTY], (), 0),
    "the EFI system partition on the second disk": ("uefi", [Table("gpt", (DATA,), bytes(440)), UEFI], (), 1),
    "an unused EFI system partition before the system's": ("uefi", [UEFI, UEFI], (1,), 1),
    "two, where nothing is known": ("uefi", [UEFI, UEFI], (), 0),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_disk_that_the_firmware_starts(machine):
    firmware, disks, system, expected = MACHINES[machine]
    tables = {f"disk{number}": table for number, table in enumerate(disks)}
    made = MemoryGuest({}, {}, {name: disk(table) for name, table in tables.items()})
    assert boot_disk(firmware, made, tables, system) == expected


@pytest.mark.parametrize(
    ("table", "image", "leads"),
    [
        (GRUB, disk(GRUB), True),
        (GRUB, disk(GRUB, core=b""), False),
        (Table("mbr", (SYSTEM,), GRUB_MBR[:0x5C] + b"\xff" * 8 + GRUB_MBR[0x64:]), disk(GRUB), False),
        (STARTS, disk(STARTS), True),
        (STARTS, bytes(2 << 20), False),
        (TOOLS, disk(TOOLS), False),
        (STARTS, b"", False),
    ],
)
def test_boot_code_is_judged_by_where_it_leads(table, image, leads):
    assert leads_on(MemoryGuest({}, {}, {"disk0": image}), "disk0", table) == leads


def test_what_the_system_is_on_is_followed_through_volumes():
    devices = [
        BlockDevice("/dev/sda1", "vfat", parttype=ESP, disk=0, part=1),
        BlockDevice("/dev/sdb1", "LVM2_member", disk=1, part=1),
        BlockDevice("/dev/sdc1", "LVM2_member", disk=2, part=1),
        BlockDevice("/dev/vg/root", "ext4", kind="lvm", parents=("/dev/sdb1", "/dev/sdc1", "/dev/gone")),
    ]
    made = MemoryGuest({}, {device.name: device for device in devices})
    facts = GuestFacts(root="/dev/vg/root", mounts=(Mount("/dev/vg/root", "/"),))
    assert system_disks(made, facts) == {1, 2}
    mounted = (*facts.mounts, Mount("/dev/sda1", "/boot/efi"))
    assert system_disks(made, replace(facts, firmware="uefi", mounts=mounted)) == {0}
    assert system_disks(made, replace(facts, mounts=mounted)) == {1, 2}


@pytest.mark.parametrize(
    ("disks", "first", "expected"),
    [([GRUB, GRUB], 0, 0), ([GRUB, GRUB], 1, 1), ([TOOLS, GRUB], 0, 1), ([GRUB, TOOLS, GRUB], 2, 2), ([GRUB, GRUB], 7, 1)],
)
def test_what_the_source_tries_first_is_started_if_it_leads_on(disks, first, expected):
    tables = {f"disk{number}": table for number, table in enumerate(disks)}
    made = MemoryGuest({}, {}, {name: disk(table) for name, table in tables.items()})
    assert boot_disk("bios", made, tables, (1,), first) == expected
