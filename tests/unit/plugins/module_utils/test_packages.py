# SPDX-License-Identifier: GPL-3.0-or-later
""".vmx, OVF folders and OVA archives: what they say, and what is refused."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from test_vmdk_chain import flat, sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils import api
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import ovf, vmx
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

VMX = """.encoding = "UTF-8"
displayName = "web|2201"
memsize = "2048"
numvcpus = "4"
cpuid.coresPerSocket = "2"
firmware = "efi"
uefi.secureBoot.enabled = "TRUE"
guestOS = "debian12-64"
sata0:1.present = "TRUE"
sata0:1.fileName = "c.vmdk"
scsi1:0.present = "TRUE"
scsi1:0.fileName = "b.vmdk"
scsi0:3.present = "TRUE"
scsi0:3.fileName = "a.vmdk"
scsi0:4.present = "FALSE"
scsi0:4.fileName = "gone.vmdk"
ide1:0.present = "TRUE"
ide1:0.deviceType = "cdrom-image"
ide1:0.fileName = "cd.iso"
ethernet1.present = "TRUE"
ethernet1.generatedAddress = "00:0C:29:AA:BB:CC"
ethernet1.pciSlotNumber = "224"
ethernet0.present = "TRUE"
ethernet0.addressType = "static"
ethernet0.address = "00:50:56:3A:BB:CC"
ethernet0.networkName = "VM Network"
ethernet0.pciSlotNumber = "192"
"""


def test_a_vmx_gives_disks_in_bus_order_and_cards_with_macs(tmp_path):
    for name in "abc":
        flat(tmp_path, name)
    (tmp_path / "vm.vmx").write_text(VMX)
    vm = vmx.read(str(tmp_path / "vm.vmx"))
    assert [disk.place.at for disk in vm.disks] == [("scsi", 0, 3), ("scsi", 1, 0), ("sata", 0, 1)]
    assert [(nic.mac, nic.slot) for nic in vm.nics] == [("00:50:56:3a:bb:cc", 192), ("00:0c:29:aa:bb:cc", 224)]
    assert (vm.name, vm.memory, vm.cpus, vm.cores_per_socket, vm.firmware, vm.secure_boot) == ('web"01', 2048, 4, 2, "uefi", True)


@pytest.mark.parametrize("text", ["", 'scsi0:0.fileName = "cd.iso"\n'])
def test_a_vmx_without_disks_is_refused(tmp_path, text):
    (tmp_path / "vm.vmx").write_text(text)
    with pytest.raises(InvalidInput, match="no virtual disks"):
        vmx.read(str(tmp_path / "vm.vmx"))


def test_a_vmx_that_names_a_disk_elsewhere_is_refused(tmp_path):
    (tmp_path / "vm.vmx").write_text('scsi0:0.present = "TRUE"\nscsi0:0.fileName = "/etc/x.vmdk"\n')
    with pytest.raises(UnsafeInput):
        vmx.read(str(tmp_path / "vm.vmx"))


OVF = """<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="r" xmlns:vmw="v"><References><File ovf:id="f" ovf:href="{href}" {extra}/></References>
<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="1"/></DiskSection>
<VirtualSystem ovf:id="vm"><Name>app01</Name><OperatingSystemSection vmw:osType="debian12_64Guest"/><VirtualHardwareSection>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity>
 <vmw:CoresPerSocket>2</vmw:CoresPerSocket></Item>
<Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity>
 <rasd:AllocationUnits>byte * 2^30</rasd:AllocationUnits></Item>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType><rasd:Address>1</rasd:Address></Item>
<Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType><rasd:Parent>3</rasd:Parent>
 <rasd:AddressOnParent>5</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/d</rasd:HostResource></Item>
<Item><rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceType>10</rasd:ResourceType><rasd:Connection>VM Network</rasd:Connection>
 <rasd:Address>00:50:56:AA:BB:CC</rasd:Address></Item>
<vmw:Config vmw:key="firmware" vmw:value="efi"/><vmw:Config vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="true"/>
</VirtualHardwareSection></VirtualSystem></Envelope>"""


def folder(tmp_path, href="disk.vmdk", extra="", digest="sha256", wrong=False):
    (tmp_path / "disk.vmdk").write_bytes(sparse())
    (tmp_path / "app01.ovf").write_text(OVF.format(href=href, extra=extra))
    value = hashlib.new(digest, sparse()).hexdigest()
    (tmp_path / "app01.mf").write_text(f"{digest.upper()}(disk.vmdk)= {'0' * len(value) if wrong else value}\r\n")
    return tmp_path / "app01.ovf"


def archive(tmp_path, *extra, names=("app01.ovf", "app01.mf", "disk.vmdk"), **options):
    folder(tmp_path, **options)
    with tarfile.open(tmp_path / "app01.ova", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            tar.add(tmp_path / name, name)
        for member, data in extra:
            if member.size > len(data):  # claims more than the archive holds
                tar.fileobj.write(member.tobuf(tarfile.USTAR_FORMAT))
            else:
                tar.addfile(member, io.BytesIO(data))
    return tmp_path / "app01.ova"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("make", [folder, archive])
def test_an_ovf_gives_everything_it_says(tmp_path, make, digest):
    vm = open_source([str(make(tmp_path, digest=digest))])
    assert (vm.name, vm.cpus, vm.cores_per_socket, vm.memory, vm.firmware, vm.secure_boot) == ("app01", 2, 2, 2048, "uefi", True)
    assert [(*disk.place.at, disk.chain.virtual_size) for disk in vm.disks] == [("scsi", 1, 5, 1 << 20)]
    assert [nic.mac for nic in vm.nics] == ["00:50:56:aa:bb:cc"]


def test_a_disk_in_an_archive_is_read_in_place(tmp_path):
    (disk,) = open_source([str(archive(tmp_path))]).disks
    assert disk.chain.offset and disk.chain.length == len(sparse()) and disk.chain.files() == (str(tmp_path / "app01.ova"),)


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("make", [folder, archive])
def test_a_wrong_digest_is_refused(tmp_path, make, digest):
    with pytest.raises(InvalidInput, match=f"does not have the {digest.upper()} digest"):
        open_source([str(make(tmp_path, digest=digest, wrong=True))])


@pytest.mark.parametrize("make", [folder, archive])
def test_the_library_compares_digests_unless_told_otherwise(tmp_path, make):
    source, work_dir = (str(make(tmp_path, wrong=True)),), str(tmp_path / "work")
    with pytest.raises(InvalidInput, match="does not have the SHA256 digest"):
        api.carry_out(api.Fetch(api.FetchOptions(source, work_dir)), api.Run())
    assert api.carry_out(api.Fetch(api.FetchOptions(source, work_dir, verify=False)), api.Run())["vm"]["name"] == "app01"


def member(name, kind=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.parametrize(
    "extra",
    [
        member("../x"),
        member("/etc/x"),
        member("a/../b"),
        member("l", tarfile.SYMTYPE, link="/etc/passwd"),
        member("h", tarfile.LNKTYPE, link="disk.vmdk"),
        member("p", tarfile.FIFOTYPE),
        member("d", tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_members_that_are_not_plain_files_are_refused(tmp_path, extra):
    with pytest.raises(UnsafeInput):
        ovf.read(str(archive(tmp_path, (extra, b""))))


def test_too_many_members_are_refused(tmp_path):
    with pytest.raises(UnsafeInput, match="more than 1000"):
        ovf.read(str(archive(tmp_path, *((member(f"f{number}"), b"") for number in range(1001)))))


def test_a_member_larger_than_the_archive_is_refused(tmp_path):
    path = archive(tmp_path, (member("big", size=(1 << 33) - 1), b""))
    with pytest.raises(InvalidInput, match="ends inside big"):
        ovf.read(str(path))


def test_a_member_twice_is_refused(tmp_path):
    with pytest.raises(UnsafeInput, match="twice"):
        ovf.read(str(archive(tmp_path, names=("app01.ovf", "disk.vmdk", "disk.vmdk"))))


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b\x08" + bytes(600), bytes(20000)])
def test_what_is_no_tar_is_refused(tmp_path, damage):
    (tmp_path / "x.ova").write_bytes(damage)
    with pytest.raises(InvalidInput):
        ovf.read(str(tmp_path / "x.ova"))


@pytest.mark.parametrize(("href", "error"), [("../disk.vmdk", UnsafeInput), ("/etc/passwd", UnsafeInput), ("gone.vmdk", InvalidInput)])
def test_a_disk_elsewhere_is_refused(tmp_path, href, error):
    with pytest.raises(error):
        ovf.read(str(folder(tmp_path, href=href)))


def test_a_compressed_disk_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(InvalidInput, match="compressed") as caught:
        ovf.read(str(folder(tmp_path, extra='ovf:compression="gzip"')))
    assert "decompress" in caught.value.hint


def test_entities_are_refused(tmp_path):
    path = folder(tmp_path)
    path.write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + path.read_text())
    with pytest.raises(UnsafeInput, match="entities"):
        ovf.read(str(path))


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], "No source"),
        (["/nowhere/x.vmdk"], "does not exist"),
        (["{}/a.txt"], "an unknown kind"),
        (["{}/a.vmx", "{}/b.vmx"], "an unknown kind"),
    ],
)
def test_a_wrong_source_is_named(tmp_path, paths, words):
    for name in ("a.txt", "a.vmx", "b.vmx"):
        (tmp_path / name).touch()
    with pytest.raises(InvalidInput, match=words):
        open_source([path.format(tmp_path) for path in paths])
