# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptions that say more than one thing, or what cannot be: no VM, no disk and no size is chosen in silence."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile

import pytest
from test_vbox import CONTROLLERS, MEDIA, box
from test_vmdk_chain import descriptor, flat, sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

MIB = 1 << 20
FILES = '<File id="f1" href="a.vmdk"/><File id="f2" href="b.vmdk"/>'
DISKS = (
    f'<Disk diskId="d1" fileRef="f1" capacity="{MIB}"/><Disk diskId="d2" fileRef="f2" capacity="1" capacityAllocationUnits="byte * 2^20"/>'
)
HALF, HALF_DISK = '<File id="f1" href="a.vmdk"/>', f'<Disk diskId="d1" fileRef="f1" capacity="{MIB}"/>'
BUS = "<Item><InstanceID>3</InstanceID><ResourceType>6</ResourceType><Address>0</Address></Item>"


def cpu(count: int, extra: str = "", number: int = 1) -> str:
    return f"<Item{extra}><InstanceID>{number}</InstanceID><ResourceType>3</ResourceType><VirtualQuantity>{count}</VirtualQuantity></Item>"


def memory(quantity: str = "512", unit: str = "byte * 2^20") -> str:
    return (
        f"<Item><InstanceID>2</InstanceID><ResourceType>4</ResourceType><VirtualQuantity>{quantity}</VirtualQuantity>"
        f"<AllocationUnits>{unit}</AllocationUnits></Item>"
    )


def attached(disk: str, number: int, more: str = "") -> str:
    return (
        f"<Item><InstanceID>{number}</InstanceID><ResourceType>17</ResourceType><Parent>3</Parent><AddressOnParent>{number}</AddressOnParent>"
        f"<HostResource>{disk}</HostResource>{more}</Item>"
    )


BOTH = attached("ovf:/disk/d1", 4) + attached("/disk/d2", 5)


def system(name: str = "web01", hardware: str = cpu(2) + memory() + BUS + BOTH, sections: int = 1) -> str:
    section = f"<VirtualHardwareSection><System><VirtualSystemType>vmx-19</VirtualSystemType></System>{hardware}</VirtualHardwareSection>"
    return f'<VirtualSystem id="{name}"><Name>{name}</Name>{section * sections}</VirtualSystem>'


def envelope(systems: str = system(), files: str = FILES, disks: str = DISKS, options: str = "") -> str:
    return f"<Envelope><References>{files}</References><DiskSection>{disks}</DiskSection>{options}{systems}</Envelope>"


def opened(folder, text: str, packed: bool = False):
    for name in ("a", "b"):
        (folder / f"{name}.vmdk").write_bytes(sparse(text=descriptor(f'RW 2048 SPARSE "{name}.vmdk"')))
    (folder / "vm.ovf").write_text(text)
    if not packed:
        return open_source([str(folder / "vm.ovf")])
    with tarfile.open(folder / "vm.ova", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("vm.ovf", "a.vmdk", "b.vmdk"):
            tar.add(folder / name, name)
    return open_source([str(folder / "vm.ova")])


ONE = system(hardware=BUS + attached("ovf:/disk/d1", 4))
OPTIONS = '<DeploymentOptionSection><Configuration id="s"/><Configuration id="l"{}/></DeploymentOptionSection>'
BAD = {
    "a vApp": (
        envelope(f'<VirtualSystemCollection id="erp">{ONE}{system("db01", BUS + attached("ovf:/disk/d2", 4))}</VirtualSystemCollection>'),
        "vApp of 2 VMs: web01, db01",
    ),
    "a vApp in a vApp": (
        envelope(
            f"<VirtualSystemCollection>{ONE}<VirtualSystemCollection>{system('db01')}</VirtualSystemCollection></VirtualSystemCollection>"
        ),
        "web01, db01",
    ),
    "two systems without a collection": (envelope(ONE + ONE), "web01, web01"),
    "no system": (envelope(""), "no virtual system"),
    "two sections of hardware": (envelope(system(sections=2)), r"2 times \(vmx-19, vmx-19\)"),
    "a delta": (envelope(disks=DISKS.replace('diskId="d2"', 'diskId="d2" parentRef="d1"')), "differs from another disk"),
    "a delta without its parent": (envelope(ONE, disks=DISKS.replace('diskId="d1"', 'diskId="d1" parentRef="x"')), "differs from"),
    "two disks of one id": (envelope(disks=DISKS.replace("d2", "d1")), "two disks with the diskId 'd1'"),
    "two files of one id": (envelope(files=FILES.replace("f2", "f1")), "two files with the id 'f1'"),
    "one file of two disks": (envelope(disks=DISKS.replace("f2", "f1")), "one disk twice"),
    "one file under two ids": (envelope(files=FILES.replace("b.vmdk", "a.vmdk")), "one disk twice"),
    "one disk of two items": (envelope(system(hardware=BUS + attached("ovf:/disk/d1", 4) + attached("/disk/d1", 5))), "one disk twice"),
    "an item with two disks": (
        envelope(system(hardware=BUS + attached("ovf:/disk/d1", 4, "<HostResource>ovf:/disk/d2</HostResource>"))),
        "two disks",
    ),
    "two controllers of one id": (envelope(system(hardware=BUS + BUS.replace("6</R", "20</R") + BOTH)), "InstanceID '3'"),
    "a file for a disk": (envelope(system(hardware=BUS + attached("ovf:/file/f1", 4))), "a disk without a file"),
    "a file that is cut off": (envelope(files=FILES.replace('id="f1"', 'id="f1" size="99999999"')), "of 99999999"),
    **{
        f"a disk of {capacity} {unit}": (
            envelope(disks=DISKS.replace(f'capacity="{MIB}"', f'capacity="{capacity}" capacityAllocationUnits="{unit}"')),
            "says that the disk a.vmdk has",
        )
        for capacity, unit in (
            ("2", "byte * 2^40"),
            (str(2 * MIB), ""),
            ("2", "MegaBytes"),
            ("3", "byte * 10^9"),
            ("1", "byte * 2^40"),
            ("9" * 18, "byte * 2^99"),
        )
    }
    | {"a disk of 2 GiB in GiB": (envelope(disks=DISKS.replace(f'capacity="{MIB}"', 'capacity="2" capacityAllocationUnits="GB"')), "says")},
    "a disk in furlongs": (
        envelope(disks=DISKS.replace('capacity="1" capacityAllocationUnits="byte', 'capacity="1" capacityAllocationUnits="x')),
        "unit",
    ),
    **{
        f"memory of {quantity} {unit}": (envelope(system(hardware=memory(quantity, unit) + BUS + BOTH)), "MiB of memory")
        for quantity, unit in (("4294967296", "byte * 2^99"), ("1", "byte * 10^99"), ("9" * 18, "byte * 2^20"), ("0", "byte * 2^20"))
    },
    **{f"{count} CPUs": (envelope(system(hardware=cpu(count) + BUS + BOTH)), "CPUs") for count in (0, 10**9)},
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("name", BAD)
def test_an_envelope_that_says_more_than_one_thing_is_refused(tmp_path, name, packed):
    text, words = BAD[name]
    with pytest.raises(InvalidInput, match=words) as caught:
        opened(tmp_path, text, packed)
    assert caught.value.hint


@pytest.mark.parametrize(
    "capacity",
    [
        "",
        f'capacity="{MIB}"',
        'capacity="1" capacityAllocationUnits="byte * 2^20"',
        'capacity="${size}" capacityAllocationUnits="byte * 2^30"',
        f'capacity="{2 * MIB - 1}"',  # rounded up to MiB
        'capacity="1" capacityAllocationUnits="byte * 2^30"',  # rounded up to the unit
        'capacity="1"',  # more is there than is said
    ],
)
def test_a_capacity_that_a_tool_may_write_is_read(tmp_path, capacity):
    assert len(opened(tmp_path, envelope(disks=DISKS.replace(f'capacity="{MIB}"', capacity))).disks) == 2


@pytest.mark.parametrize(
    ("quantity", "unit", "expected"),
    [
        ("2", "byte * 2^30", 2048),
        ("2048", "MegaBytes", 2048),
        ("2097152", "KiloBytes", 2048),
        ("2", "GigaBytes", 2048),
        ("1", "byte * 1048576", 1),
    ],
)
def test_units_of_memory_are_read(tmp_path, quantity, unit, expected):
    assert opened(tmp_path, envelope(system(hardware=memory(quantity, unit) + BUS + BOTH))).memory == expected


@pytest.mark.parametrize(("default", "cpus", "disks"), [("", 2, ["a.vmdk"]), (' default="true"', 8, ["a.vmdk", "b.vmdk"])])
def test_of_deployment_options_the_default_is_meant_else_the_first(tmp_path, default, cpus, disks):
    large = attached("ovf:/disk/d2", 5).replace("<Item>", '<Item configuration="l">')
    hardware = cpu(2) + cpu(1, ' bound="min"') + cpu(8, ' configuration="l xl"') + memory() + BUS + attached("ovf:/disk/d1", 4) + large
    vm = opened(tmp_path, envelope(system(hardware=hardware), options=OPTIONS.format(default)))
    assert vm.cpus == cpus and [os.path.basename(disk.chain.links[0].path) for disk in vm.disks] == disks


def test_one_vm_in_a_collection_is_read(tmp_path):
    assert opened(tmp_path, envelope(f"<VirtualSystemCollection>{system()}</VirtualSystemCollection>")).name == "web01"


VMX = 'displayName = "web01"\nscsi0:0.fileName = "a.vmdk"\nscsi0:1.fileName = "{}.vmdk"\n{}\n'


@pytest.mark.parametrize(
    ("second", "more", "words"),
    [
        ("a", "", "one disk twice"),
        ("same", "", "one disk twice"),
        ("other", "", "one disk twice"),
        ("b", 'numvcpus = "0"', "CPUs"),
        ("b", 'numvcpus = "999999999"', "CPUs"),
        ("b", 'memsize = "999999999999999999"', "MiB of memory"),
        ("b", 'cpuid.corespersocket = "99999"', "cores per socket"),
    ],
)
def test_a_vmx_with_one_disk_twice_or_hardware_that_cannot_be_is_refused(tmp_path, second, more, words):
    for name in ("a", "b"):
        flat(tmp_path, name)
    os.link(tmp_path / "a.vmdk", tmp_path / "same.vmdk")
    (tmp_path / "other.vmdk").write_text((tmp_path / "a.vmdk").read_text())  # another description of the same data
    (tmp_path / "vm.vmx").write_text(VMX.format(second, more))
    with pytest.raises(InvalidInput, match=words) as caught:
        open_source([str(tmp_path / "vm.vmx")])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (box(CONTROLLERS.replace("{b}", "{a}")), "one disk twice"),
        (box(CONTROLLERS, media=re.sub(r"b\.vmdk|c\.vhd", "a.vdi", MEDIA)), "one disk twice"),
        (box(CONTROLLERS).replace('RAMSize="2048"', 'RAMSize="99999999999"'), "MiB of memory"),
        (box(CONTROLLERS).replace('count="4"', 'count="99999"'), "CPUs"),
    ],
)
def test_a_vbox_with_one_disk_twice_or_hardware_that_cannot_be_is_refused(images_of_a_box, text, words):
    (images_of_a_box / "web01.vbox").write_text(text)
    with pytest.raises(InvalidInput, match=words) as caught:
        open_source([str(images_of_a_box / "web01.vbox")])
    assert caught.value.hint


@pytest.fixture
def images_of_a_box(tmp_path):
    for name, fmt in (("a.vdi", "vdi"), ("b.vmdk", "vmdk"), ("c.vhd", "vpc")):
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, tmp_path / name, "8M"], check=True)
    return tmp_path


@pytest.mark.parametrize("second", ["a.raw", "./a.raw", "hard.raw", "link/a.raw"])
def test_a_disk_that_is_named_twice_is_refused(tmp_path, second):
    (tmp_path / "a.raw").write_bytes(bytes(MIB))
    os.link(tmp_path / "a.raw", tmp_path / "hard.raw")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="one disk twice"):
        open_source([str(tmp_path / "a.raw"), os.path.join(tmp_path, second)])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_file_and_a_device_that_is_made_of_it_are_one_disk(tmp_path, order):
    file = tmp_path / "a.raw"
    file.write_bytes(bytes(MIB))
    device = subprocess.run(["losetup", "-f", "--show", "-r", file], check=True, capture_output=True, text=True).stdout.strip()
    try:
        with pytest.raises(InvalidInput, match="one disk twice"):
            open_source([(str(file), device)[which] for which in order])
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@pytest.mark.parametrize("order", [("b", "a"), ("a", "b")])
def test_a_snapshot_and_its_parent_are_one_disk_and_two_snapshots_of_a_parent_are_two(tmp_path, order):
    base = flat(tmp_path, "a")
    for name in ("b", "c"):
        flat(tmp_path, name, parent="00000001", extra='parentFileNameHint="a.vmdk"')
    assert len(open_source([str(tmp_path / "b.vmdk"), str(tmp_path / "c.vmdk")]).disks) == 2 and base.exists()
    with pytest.raises(InvalidInput, match="one disk twice"):
        open_source([str(tmp_path / f"{name}.vmdk") for name in order])


@pytest.mark.parametrize(
    ("path", "words"),
    [("/dev/null", "a character device"), ("/dev/zero", "a character device"), ("pipe", "a pipe"), ("pipe.raw", "pipe.raw")],
)
def test_what_is_no_disk_is_refused_by_its_kind(tmp_path, path, words):
    if path.startswith("pipe"):
        os.mkfifo(tmp_path / path)
    with pytest.raises(UnsafeInput, match=words) as caught:
        open_source([os.path.join(tmp_path, path)])
    assert caught.value.hint
