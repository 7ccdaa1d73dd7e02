# SPDX-License-Identifier: GPL-3.0-or-later
"""What an OVF says is used, or refused with what to do: each disk, each name, each number; and what tools write is read."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile

import pytest
from test_hostile_descriptions import (
    BOTH,
    BUS,
    DISKS,
    FILES,
    HALF,
    HALF_DISK,
    MIB,
    ONE,
    OPTIONS,
    attached,
    cpu,
    envelope,
    memory,
    opened,
    system,
)
from test_vmdk_chain import descriptor, sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

FIRST, SECOND = attached("ovf:/disk/d1", 4), attached("ovf:/disk/d2", 5)
OPTIONAL = SECOND.replace("<Item>", '<Item required="false">')
BLANK = HALF_DISK + '<Disk diskId="d2" capacity="8" capacityAllocationUnits="byte * 2^30"/>'


def disks_of(vm):
    return [os.path.basename(disk.chain.links[0].path) for disk in vm.disks]


def with_second(item, options="", more=""):
    return envelope(system(hardware=cpu(2) + memory() + BUS + FIRST + item + more), options=options)


REPLACED = FIRST + FIRST.replace("<Item>", '<Item configuration="s">').replace("d1", "d2")
LEFT_OUT = {
    "no item": (envelope(ONE), r"disk d2 \(b.vmdk\).* no Item"),
    "an item without a resource": (with_second(re.sub("<HostResource>.*</HostResource>", "", SECOND)), "disk d2 .*'5' has no HostResource"),
    "an item with an empty resource": (with_second(SECOND.replace("ovf:/disk/d2", "")), "disk d2 .*'5' has no HostResource"),
    "a logical disk": (with_second(SECOND.replace(">17<", ">31<")), "disk d2 .*'31'"),
    "a type with a zero": (with_second(SECOND.replace(">17<", ">017<")), "disk d2 .*'017'"),
    "a type in words": (with_second(SECOND.replace(">17<", ">disk<")), "disk d2 .*'disk'"),
    "a drive for CDs": (with_second(SECOND.replace(">17<", ">15<")), "disk d2 .*'15'"),
    "two types": (with_second(SECOND.replace("</Item>", "<ResourceType>31</ResourceType></Item>")), "two values of ResourceType"),
    "an option that is not there": (
        with_second(SECOND.replace("<Item>", '<Item configuration="big">')),
        "'big', which it does not describe",
    ),
    "another option than there are": (
        with_second(SECOND.replace("<Item>", '<Item configuration="big">'), OPTIONS.format("")),
        "'big', which it does not describe",
    ),
    "a bound": (with_second(SECOND.replace("<Item>", '<Item bound="max">')), "disk d2 .*bound"),
    "two defaults": (
        with_second(
            SECOND.replace("<Item>", '<Item configuration="l">'), OPTIONS.format(' default="true"').replace("/><", ' default="1"/><', 1)
        ),
        "2 deployment options that are the default",
    ),
    "another type in this option": (
        with_second(
            SECOND.replace(">17<", ">31<"), OPTIONS.format(""), SECOND.replace("<Item>", '<Item configuration="l">').replace(">5<", ">6<")
        ),
        "disk d2 .*'31'",
    ),
    "XenServer": (with_second(SECOND.replace(">17<", ">19<")), "disk d2 .*XenServer writes 19"),
    "XenServer, by its id": (
        with_second("<Item><InstanceID>d2</InstanceID><ResourceType>19</ResourceType><HostResource>sr</HostResource></Item>"),
        "disk d2 .*XenServer writes 19",
    ),
    "a file without a disk": (envelope(ONE, disks=HALF_DISK), "lists the file 'b.vmdk'"),
    "a file of an optional disk that lost it": (
        envelope(system(hardware=BUS + FIRST + OPTIONAL), disks=DISKS.replace('fileRef="f2"', "")),
        "lists the file 'b.vmdk'",
    ),
    "a processor with a zero": (envelope(system(hardware=cpu(2).replace(">3<", ">03<") + BUS + BOTH)), "ResourceType '03'"),
}
TWICE = {
    "one place": (with_second(SECOND.replace("<AddressOnParent>5", "<AddressOnParent>04")), "two disks at one place, d1 and d2"),
    "one place on two controllers of one address": (
        with_second(SECOND.replace("Parent>3<", "Parent>9<").replace("OnParent>5", "OnParent>4"), more=BUS.replace("ID>3", "ID>9")),
        "two disks at one place",
    ),
    "chunks and a whole file": (envelope(files=FILES.replace('"a.vmdk"', '"a.vmdk" chunkSize="2147483648"')), "in chunks of 2147483648"),
    "a file without an id": (
        envelope(system(hardware=BUS + FIRST + SECOND), FILES.replace("f2", ""), DISKS.replace('fileRef="f2"', "")),
        "files without the attribute id",
    ),
    "a disk without an id": (envelope(disks=DISKS.replace("d2", "")), "disks without the attribute diskId"),
    "a file that is not listed": (envelope(files=HALF), "disk without a file: d2"),
    "no such disk": (envelope(system(hardware=BUS + FIRST + SECOND.replace("d2", "d3"))), "disk without a file: ovf:/disk/d3"),
    "firmware": (
        envelope(system(hardware=BUS + BOTH + '<Config key="firmware" value="efi"/><Config key="firmware" value="bios"/>')),
        "firmware twice, as 'efi' and as 'bios'",
    ),
    "firmware that is none": (envelope(system(hardware=BUS + BOTH + '<Config key="firmware" value="coreboot"/>')), "'coreboot'"),
    "processors": (envelope(system(hardware=cpu(2) + cpu(4, number=8) + BUS + BOTH)), r"number of CPUs 2 times, and differently \(2, 4\)"),
    "memory": (envelope(system(hardware=memory() + memory("1024").replace("ID>2", "ID>8") + BUS + BOTH)), "the memory 2 times"),
    "two quantities": (
        envelope(system(hardware=cpu(2).replace("</Item>", "<VirtualQuantity>4</VirtualQuantity></Item>") + BUS + BOTH)),
        "two values of VirtualQuantity",
    ),
    "a unit of nothing": (envelope(disks=DISKS.replace("byte * 2^20", "byte * 0")), "not a known unit"),
    "memory in units of nothing": (envelope(system(hardware=memory(unit="byte * 0") + BUS + BOTH)), "not a known unit"),
    "a blank disk of no size": (envelope(files=HALF, disks=BLANK.replace('capacity="8"', "")), "does not say the capacity of the disk d2"),
    "a blank disk of a size that is asked for": (
        envelope(files=HALF, disks=BLANK.replace('"8"', '"${size}"')),
        "leaves it to whoever deploys",
    ),
    "a blank disk of nothing": (envelope(files=HALF, disks=BLANK.replace('"8"', '"0"')), "gives 0 bytes"),
    "a blank disk that is too large": (envelope(files=HALF, disks=BLANK.replace('"8"', '"65537"')), "64 TiB can be"),
    "a blank disk of no name": (
        envelope(system(hardware=BUS + FIRST + "<Item><InstanceID>7</InstanceID><ResourceType>17</ResourceType></Item>"), HALF, HALF_DISK),
        "InstanceID '7' .* is blank",
    ),
    "oVirt": (
        envelope(system(hardware=BUS + FIRST + SECOND.replace("ovf:/disk/d2", "/".join(["9f1b7a14-1f7e-4a9f-9f1b-7a141f7e4a9f"] * 2)))),
        "oVirt storage domain",
    ),
    "before OVF 1.0": (
        '<Envelope><References/><Section type="ovf:DiskSection_Type"/><Content type="ovf:VirtualSystem_Type"/></Envelope>',
        "before OVF 1.0",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("name", [*LEFT_OUT, *TWICE])
def test_no_disk_is_left_out_and_nothing_is_said_twice(tmp_path, name, packed):
    text, words = {**LEFT_OUT, **TWICE}[name]
    with pytest.raises(InvalidInput, match=words) as caught:
        opened(tmp_path, text, packed)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "disks"),
    [
        (with_second(SECOND.replace("<Item>", '<Item configuration="l">'), OPTIONS.format("")), ["a.vmdk"]),
        (envelope(system(hardware=BUS + REPLACED), options=OPTIONS.format("")), ["b.vmdk"]),
        (envelope(ONE, HALF, BLANK), ["a.vmdk"]),
        (with_second(SECOND.replace(">17<", ">15<")).replace("b.vmdk", "tools.iso"), ["a.vmdk"]),
        (envelope(system(hardware=cpu(2) + cpu(2, number=8) + BUS + BOTH)), ["a.vmdk", "b.vmdk"]),
        (
            with_second(
                SECOND.replace("Parent>3<", "Parent>9<").replace("OnParent>5", "OnParent>4"),
                more=BUS.replace("ID>3", "ID>9").replace("6<", "20<"),
            ),
            ["a.vmdk", "b.vmdk"],
        ),
        (envelope(files=FILES.replace('"a.vmdk"', '"a.vmdk" chunkSize="0" compression="identity"')), ["a.vmdk", "b.vmdk"]),
    ],
    ids=["an option", "an option in place", "a blank of nobody", "a CD", "one number twice", "two buses", "no chunks"],
)
def test_what_the_description_leaves_out_itself_is_left_out(tmp_path, text, disks):
    assert disks_of(opened(tmp_path, text)) == disks


def alone(folder, href, name="a.vmdk", extra="", disk=HALF_DISK, data=None):
    """One disk, which the description calls `href`, and the folder `name`."""
    (folder / "vm.ovf").write_text(envelope(ONE, f'<File id="f1" href="{href}" {extra}/>', disk))
    if name:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data or sparse())
    return open_source([str(folder / "vm.ovf")])


def packed_as(folder, *names):
    with tarfile.open(folder / "vm.ova", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("vm.ovf", *names):
            tar.add(folder / name, name)
    return str(folder / "vm.ova")


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("My%20VM-disk1.vmdk", "My VM-disk1.vmdk"),
        ("My%20VM-disk1.vmdk", "My%20VM-disk1.vmdk"),
        ("My VM-disk1.vmdk", "My VM-disk1.vmdk"),
        ("100%.vmdk", "100%.vmdk"),
        ("%C3%BC.vmdk", "\u00fc.vmdk"),
        ("./a.vmdk", "a.vmdk"),
        ("././a.vmdk", "a.vmdk"),
        ("a", "a"),
    ],
)
def test_a_name_is_what_the_folder_has_or_a_uri(tmp_path, href, name):
    assert disks_of(alone(tmp_path, href, name)) == [name]
    if "./" not in href:
        (disk,) = open_source([packed_as(tmp_path, name)]).disks
        assert disk.chain.offset


def test_of_two_files_the_one_of_the_literal_name_is_meant(tmp_path):
    (tmp_path / "a b.vmdk").write_bytes(b"another")
    assert disks_of(alone(tmp_path, "a%20b.vmdk", "a%20b.vmdk")) == ["a%20b.vmdk"]


def test_what_a_mac_adds_to_a_package_is_no_part_of_it(tmp_path):
    alone(tmp_path, "a.vmdk")
    litter = ("._vm.ovf", "._a.vmdk", ".DS_Store", "._other.mf", ".old.ovf", ".old.mf", "@eaDir/vm.ovf", "__MACOSX/._vm.ovf")
    for name in litter:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (disk,) = open_source([packed_as(tmp_path, "a.vmdk", *litter, "@eaDir")]).disks
    assert disk.chain.offset


@pytest.mark.parametrize(
    "href",
    [
        "disks//a.vmdk",
        "disks/./a.vmdk",
        "disks/../a.vmdk",
        "disks/",
        "../a.vmdk",
        "/a.vmdk",
        "%2e%2e%2fa.vmdk",
        "disks%2Fa.vmdk",
        "a%00.vmdk",
        "a%0a.vmdk",
        "file:a.vmdk",
        "..",
        "",
        "./",
    ],
)
def test_a_name_that_is_none_is_refused_in_the_words_of_the_package(tmp_path, href):
    with pytest.raises(UnsafeInput, match=r"vm\.ovf names the file") as caught:
        alone(tmp_path, href, "disks/a.vmdk")
    assert "beside the .ovf" in caught.value.hint and "VMDK" not in str(caught.value)


@pytest.mark.parametrize("href", ["disks/a.vmdk", "./disks/a.vmdk", "my%20disks/a.vmdk"])
def test_a_file_in_a_folder_of_the_package_is_read(tmp_path, href):
    name = href.replace("%20", " ").replace("./", "")
    assert disks_of(alone(tmp_path, href, name)) == ["a.vmdk"]
    (disk,) = open_source([packed_as(tmp_path, name)]).disks
    assert disk.chain.offset
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    (tmp_path / "vm.mf").write_text(f"SHA256({name})= {digest}\n")
    assert open_source([str(tmp_path / "vm.ovf")]).disks and open_source([packed_as(tmp_path, name, "vm.mf")]).disks
    (tmp_path / "vm.mf").write_text(f"SHA256({name})= {'0' * 64}\n")
    for source in (str(tmp_path / "vm.ovf"), packed_as(tmp_path, name, "vm.mf")):
        with pytest.raises(InvalidInput, match="does not have the SHA256 digest"):
            open_source([source])


def test_an_archive_may_have_all_of_it_in_a_folder(tmp_path):
    alone(tmp_path, "a.vmdk")
    digest = hashlib.sha256((tmp_path / "a.vmdk").read_bytes()).hexdigest()
    (tmp_path / "vm.mf").write_text(f"SHA256(a.vmdk)= {digest}\n")
    (tmp_path / "web01").mkdir()
    with tarfile.open(tmp_path / "vm.ova", "w") as tar:
        tar.add(tmp_path / "web01", "./web01")
        for name in ("vm.ovf", "vm.mf", "a.vmdk"):
            tar.add(tmp_path / name, f"./web01/{name}")
    (disk,) = open_source([str(tmp_path / "vm.ova")]).disks
    assert disk.chain.offset


@pytest.mark.parametrize("name", ["../a.vmdk", "disks/../../a.vmdk", "/a.vmdk", "a//b.vmdk", "a:b.vmdk"])
def test_a_member_that_reaches_elsewhere_is_refused_in_the_words_of_the_package(tmp_path, name):
    alone(tmp_path, "a.vmdk")
    with tarfile.open(tmp_path / "vm.ova", "w") as tar:
        tar.add(tmp_path / "vm.ovf", "vm.ovf")
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"KDMV"))
    with pytest.raises(UnsafeInput, match=r"vm\.ova holds") as caught:
        open_source([str(tmp_path / "vm.ova")])
    assert "VMDK" not in str(caught.value)


def test_a_folder_that_is_a_link_is_refused_as_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.vmdk").write_bytes(sparse())
    (tmp_path / "disks").symlink_to("elsewhere")
    with pytest.raises(UnsafeInput, match="disks on the way to it is a link"):
        alone(tmp_path, "disks/a.vmdk", "")


@pytest.mark.parametrize("target", ["b.vmdk", "nowhere"])
def test_a_disk_that_is_a_link_is_refused_as_one(tmp_path, target):
    (tmp_path / "b.vmdk").write_bytes(sparse())
    (tmp_path / "a.vmdk").symlink_to(target)
    with pytest.raises(UnsafeInput, match="not a regular file"):
        alone(tmp_path, "a.vmdk", "")


@pytest.mark.parametrize(
    ("href", "extra", "command"),
    [
        ("a.vmdk", 'compression="gzip"', "gunzip -c a.vmdk > plain-a.vmdk"),
        ("a.vmdk.gz", 'compression="gzip"', "gunzip -c a.vmdk.gz > a.vmdk"),
        ("a.vmdk.gz", "", "gunzip -c a.vmdk.gz > a.vmdk"),
        ("my a.vmdk.xz", 'compression="xz"', "xz -dc 'my a.vmdk.xz' > 'my a.vmdk'"),
    ],
)
def test_of_a_compressed_disk_is_said_what_to_change(tmp_path, href, extra, command):
    with pytest.raises(InvalidInput, match="is compressed") as caught:
        alone(tmp_path, href, href, extra)
    assert all(words in caught.value.hint for words in (command, "ovf:compression", "ovf:href", "(.mf)"))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    ("numbers", "extra", "words"),
    [
        ((0, 1), 'chunkSize="2048"', r"is in 2 chunks, a\.vmdk\.000000000 to a\.vmdk\.000000001"),
        ((0, 1), "", "is in 2 chunks"),
        ((0, 2), "", r"a\.vmdk\.000000001 is missing"),
        ((1,), "", r"a\.vmdk\.000000000 is missing"),
        ((0,), 'chunkSize="2048" size="4097"', r"a\.vmdk\.000000001 is missing"),
        ((), 'chunkSize="2048"', r"a\.vmdk\.000000000 is missing"),
        ((), "", r"a\.vmdk of .* is missing"),
    ],
)
def test_a_disk_in_chunks_is_said_to_be_so(tmp_path, numbers, extra, words, packed):
    names = [f"a.vmdk.{number:09d}" for number in numbers]
    for name in names:
        (tmp_path / name).write_bytes(bytes(2048))
    with pytest.raises(InvalidInput, match=words) as caught:
        alone(tmp_path, "a.vmdk", "", extra)
    if packed:
        with pytest.raises(InvalidInput, match=words) as caught:
            open_source([packed_as(tmp_path, *names)])
    assert "cat a.vmdk.????????? > a.vmdk" in caught.value.hint if "in 2 chunks" in words else "Copy the whole package" in caught.value.hint


@pytest.mark.parametrize(("suffix", "fmt"), [("qcow2", "qcow2"), ("vhd", "vpc"), ("vdi", "vdi"), ("raw", "raw"), ("img", "raw")])
def test_a_disk_that_is_no_vmdk_is_read_by_its_suffix(tmp_path, suffix, fmt):
    name = f"a.{suffix}"
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, tmp_path / name, "1M"], check=True)
    vm = alone(tmp_path, name, "")
    assert disks_of(vm) == [name] and vm.disks[0].chain.links[0].header.format == fmt
    with pytest.raises(InvalidInput, match="not a VMDK, and only VMDKs") as caught:
        open_source([packed_as(tmp_path, name)])
    assert "Unpack" in caught.value.hint
    with pytest.raises(InvalidInput, match="says that the disk"):
        alone(tmp_path, name, "", disk=HALF_DISK.replace(str(MIB), str(64 * MIB)))


@pytest.mark.parametrize("data", [sparse(), descriptor('RW 8 FLAT "b.vmdk" 0').encode()], ids=["sparse", "a descriptor"])
@pytest.mark.parametrize("suffix", ["raw", "img", "qcow2"])
def test_a_vmdk_of_another_suffix_is_not_read_as_what_it_is_called(tmp_path, suffix, data):
    with pytest.raises(InvalidInput, match="begins as a VMDK") as caught:
        alone(tmp_path, f"a.{suffix}", f"a.{suffix}", data=data.ljust(MIB, b"\0"))
    assert caught.value.hint


@pytest.mark.parametrize("name", ["0d8a4c3e", "a.disk"])
def test_a_disk_of_no_suffix_that_is_no_vmdk_is_refused_as_that(tmp_path, name):
    data = b"QFI\xfb".ljust(MIB, b"\0")
    with pytest.raises(InvalidInput, match="its suffix does not say what it is") as caught:
        alone(tmp_path, name, name, data=data)
    with pytest.raises(InvalidInput, match="its suffix does not say what it is"):
        open_source([packed_as(tmp_path, name)])
    assert ".qcow2" in caught.value.hint


def test_a_disk_of_ovirt_is_what_its_volume_format_says_and_nothing_is_guessed(tmp_path):
    """Source: oVirt's OvfWriter, volume-format (COW: qcow2, RAW), and files that are called by the ids of their images."""
    name = "0b6e1a52-0000-4000-8000-000000000001"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / name, "1M"], check=True)
    said = HALF_DISK.replace("<Disk ", '<Disk volume-format="COW" ')
    vm = alone(tmp_path, name, "", disk=said)
    assert disks_of(vm) == [name] and vm.disks[0].chain.links[0].header.format == "qcow2"
    with pytest.raises(InvalidInput, match="its suffix does not say"):
        alone(tmp_path, name, "", disk=said.replace("COW", "RAW"))
    (tmp_path / name).write_bytes(bytes(MIB))
    with pytest.raises(InvalidInput, match="is not a qcow2 image"):
        alone(tmp_path, name, "", disk=said)
