# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of OVF, one a row: files, disks and numbers. DSP0243 is OVF 1.1 and 2.0, DSP0004 has the units and the types of resources."""

from __future__ import annotations

import pytest
from descriptions import MIB, Got, Refused, Rule, Told, folder_with_disks, holds
from descriptions_ovf import (
    BLANK,
    BUS,
    CPU,
    DISK,
    DRIVE,
    FILE,
    FIRST,
    ISO,
    SECOND,
    TWO_DISKS,
    TWO_FILES,
    href,
    item,
    memory,
    of_file,
    ovf,
    unit,
    with_items,
)

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import UnsafeInput

RULES = [
    # Files.
    Rule("a file is named by a URI", "DSP0243 7.1", href("my%20disk.vmdk"), Got(disks=[("my disk.vmdk", "scsi", 0, 0)])),
    Rule(
        "a name that is not encoded is taken as it is",
        "ovftool writes them so",
        href("my disk.vmdk"),
        Got(disks=[("my disk.vmdk", "scsi", 0, 0)]),
    ),
    Rule(
        "a file may lie in a folder of the package",
        "DSP0243 7.1: a relative URI",
        href("disks/d.vmdk"),
        Got(disks=[("d.vmdk", "scsi", 0, 0)]),
    ),
    Rule("a folder's file may be encoded too", "DSP0243 7.1", href("./disks/my%20e.vmdk"), Got(disks=[("my e.vmdk", "scsi", 0, 0)])),
    Rule("nothing above the .ovf is read", "DSP0243 5.4", href("../c.vmdk"), Refused("names the file '../c.vmdk'", UnsafeInput)),
    Rule("an encoded way up is none either", "RFC 3986, 2.2", href("%2e%2e%2fc.vmdk"), Refused("names the file", UnsafeInput)),
    Rule(
        "what lies on a server is not fetched",
        "DSP0243 7.1: http and https may be",
        href("http://example.org/c.vmdk"),
        Refused("no plain name", UnsafeInput),
    ),
    Rule(
        "a file in chunks is refused with what puts it together",
        "DSP0243 7.1, ovf:chunkSize",
        href("gone.vmdk").replace("/><", ' ovf:chunkSize="1024"/><', 1),
        Refused("is in chunks"),
    ),
    Rule("chunks of nothing are none", "DSP0243 7.1", of_file('ovf:chunkSize="0"'), Got(disks=[FIRST])),
    Rule("a compressed file is refused", "DSP0243 7.1, ovf:compression", of_file('ovf:compression="gzip"'), Refused("is compressed")),
    Rule("identity is no compression", "DSP0243 7.1", of_file('ovf:compression="identity"'), Got(disks=[FIRST])),
    Rule("a file has the size that is said", "DSP0243 7.1, ovf:size", of_file('ovf:size="99999999"'), Refused("bytes of 99999999")),
    Rule("files that are no disks are told", "DSP0243 7.1", ovf(files=FILE + ISO), Told("source.file", "tools.iso")),
    # Disks.
    Rule("a disk is its Item's, by ovf:/disk/", "DSP0243 8.3, rasd:HostResource", ovf(), Got(disks=[FIRST], sizes=[MIB])),
    Rule("or by /disk/ alone", "DSP0243 8.3; OVF 0.9", ovf().replace("ovf:/disk/d1", "/disk/d1"), Got(disks=[FIRST])),
    Rule(
        "a disk without a file is made empty",
        "DSP0243 9.1",
        with_items(SECOND, DISK + BLANK),
        Got(disks=[FIRST, ("blank", "scsi", 0, 1)], sizes=[MIB, 8 << 30]),
    ),
    Rule(
        "an empty disk is told", "the project's rule", with_items(SECOND, DISK + BLANK), Told("source.blank-disk", "d2 (8589934592 bytes)")
    ),
    Rule(
        "an empty disk that may be missing is made too",
        "DSP0243 8.3, ovf:required",
        with_items(SECOND.replace("<Item ", '<Item ovf:required="false"'), DISK + BLANK),
        Got(sizes=[MIB, 8 << 30]),
    ),
    Rule(
        "an empty disk whose size is asked for is refused",
        "DSP0243 9.1: ${property}",
        with_items(SECOND, DISK + BLANK.replace('"8"', '"${size}"')),
        Refused("leaves it to whoever deploys"),
    ),
    Rule(
        "a disk of no Item is refused", "the project's rule", ovf(files=TWO_FILES, disks=TWO_DISKS), Refused("disk d2 .* would be left out")
    ),
    Rule(
        "a delta is refused",
        "DSP0243 9.1, ovf:parentRef",
        ovf(disks=DISK.replace("ovf:fileRef", 'ovf:parentRef="d0" ovf:fileRef')),
        Refused("differs from another disk"),
    ),
    Rule(
        "how full a disk is changes nothing",
        "DSP0243 9.1, ovf:populatedSize",
        ovf(disks=DISK.replace("/>", ' ovf:populatedSize="12"/>')),
        Got(sizes=[MIB]),
    ),
    Rule(
        "a capacity may be in a unit",
        "DSP0243 9.1",
        ovf(disks=DISK.replace(f'"{MIB}"', '"1" ovf:capacityAllocationUnits="byte * 2^20"')),
        Got(sizes=[MIB]),
    ),
    Rule(
        "a disk that is smaller than is said is refused",
        "the project's rule",
        ovf(disks=DISK.replace(f'"{MIB}"', '"1" ovf:capacityAllocationUnits="byte * 2^40"')),
        Refused("has 1099511627776 bytes, and it has"),
    ),
    Rule(
        "a disk that several VMs share is refused",
        "DSP0243 2.0, 9.13",
        with_items(SECOND, before=f"<SharedDiskSection>{BLANK.replace('<Disk', '<SharedDisk')}</SharedDiskSection>"),
        Refused("several VMs share"),
    ),
    Rule(
        "one disk of two Items is refused", "DSP0243 9.1 would copy it", with_items(SECOND.replace("d2", "d1")), Refused("one disk twice")
    ),
    Rule(
        "a disk without a way to its size is refused",
        "DSP0243 8.3",
        with_items(item(9, "17", "Parent=3;AddressOnParent=2")),
        Refused("InstanceID '9' .*no HostResource"),
    ),
    # Controllers.
    *(
        Rule(
            f"{words} is {bus}",
            "DSP0004: ResourceType; VMware and VirtualBox: ResourceSubType",
            ovf().replace(BUS, item(3, kind, f"Address=1;ResourceSubType={sub}")),
            Got(disks=[("c.vmdk", bus, 1, 0)]),
        )
        for words, kind, sub, bus in (
            ("type 5", "5", "PIIX4", "ide"),
            ("type 6", "6", "VirtualSCSI", "scsi"),
            ("type 20", "20", "AHCI", "sata"),
            ("type 20 of NVMe", "20", "vmware.nvme.controller", "nvme"),
            ("type 20 of virtio", "20", "VirtioSCSI", "scsi"),
        )
    ),
    Rule(
        "drafts of OVF write InstanceId and BusNumber",
        "VirtualBox up to 3; OVF 0.9",
        ovf().replace("InstanceID>", "InstanceId>").replace("rasd:Address>", "rasd:BusNumber>"),
        Got(disks=[FIRST]),
    ),
    # Items of OVF 2.0.
    Rule("the namespace of OVF 2.0 is read", "DSP0243 2.0, 6", ovf().replace("ovf/envelope/1", "ovf/envelope/2"), Got(disks=[FIRST])),
    Rule(
        "a StorageItem is a disk",
        "DSP0243 2.0, 8.1",
        ovf().replace(DRIVE, item(4, "17", "AddressOnParent=0;HostResource=ovf:/disk/d1;Parent=3", tag="StorageItem", prefix="sasd")),
        Got(disks=[FIRST]),
    ),
    Rule(
        "an EthernetPortItem is a card",
        "DSP0243 2.0, 8.1",
        with_items(item(7, "10", "Address=00:50:56:11:22:33;Connection=LAN;ResourceSubType=E1000", tag="EthernetPortItem", prefix="epasd")),
        Got(nics=[("00:50:56:11:22:33", "LAN", "E1000")]),
    ),
    # Numbers.
    unit("byte * 2^20", 4),
    unit("byte*2^30", 4096, "blanks in a unit mean nothing"),
    unit("byte * 10^9", 4 * 10**9 >> 20, "powers of ten are no powers of two"),
    unit("byte * 1048576", 4),
    unit("byte * 1024 * 1024", 4, "factors may be several"),
    unit("mebibyte", 4, "a prefix of two"),
    unit("gigabyte", 4 * 10**9 >> 20, "a prefix of ten"),
    unit("MegaBytes", 4, "the words of OVF 0.9 are powers of two"),
    unit("MiB", 4, "symbols of IEC are powers of two"),
    unit("TeraBytes", 4 << 20),
    unit("", 4, "memory without a unit is in MiB, as VMware has it"),
    Rule("a unit that is none is refused", "DSP0004, Annex C", memory("4", "furlong"), Refused("'furlong', which is not a known unit")),
    Rule("a quantity that is none is refused", "DSP0243 8.3: a uint64", memory("many", ""), Refused("'many' for the memory")),
    Rule(
        "what is normal counts",
        "DSP0243 8.4",
        with_items("").replace(
            CPU,
            CPU.replace("<Item ", '<Item ovf:bound="normal"')
            + "".join(item(1, "3", f"VirtualQuantity={count}", f'ovf:bound="{bound}"') for bound, count in (("min", 1), ("max", 8))),
        ),
        Got(cpus=2, codes=[]),
    ),
    Rule(
        "bounds may have ids of their own",
        "DSP0243 8.4",
        with_items(item(81, "3", "VirtualQuantity=1", 'ovf:bound="min"') + item(82, "3", "VirtualQuantity=8", 'ovf:bound="max"')),
        Got(cpus=2, codes=[]),
    ),
    Rule(
        "bounds alone are told",
        "DSP0243 8.4",
        with_items("").replace(CPU, item(1, "3", "VirtualQuantity=1", 'ovf:bound="min"')),
        Told("source.bounds", "min 1"),
    ),
    Rule(
        "cores of a socket are VMware's",
        "vmw:CoresPerSocket",
        ovf().replace("</rasd:VirtualQuantity></Item>", "</rasd:VirtualQuantity><vmw:CoresPerSocket>2</vmw:CoresPerSocket></Item>", 1),
        Got(cpus=2, cores_per_socket=2),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_an_ovf_follows_its_rules(tmp_path, rule):
    holds(folder_with_disks(tmp_path), rule, "vm.ovf")


def test_each_row_is_another_rule():
    assert len({rule.rule for rule in RULES}) == len(RULES) >= 40 and all(rule.source for rule in RULES)
