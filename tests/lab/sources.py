# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab guest's raw disks become: the kinds of source that VMware leaves behind."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from disk import run
from parts import MACS

SLOTS = (192, 224)
# Four cards as after years of adding and removing: of bridges 6, 7 and 8, and one in a further port of bridge 6, whose number is the highest.
MIXED_SLOTS = (256, 192, 1216, 224)


def _convert(source: Path, dest: Path, subformat: str) -> Path:
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", source, dest)
    return dest


def vmdk_chain(disks: list[Path], folder: Path) -> list[Path]:
    """A base with two snapshots (real CIDs), the newest written to; a plain second disk; and the .vmx over them."""
    _convert(disks[0], folder / "web01.vmdk", "monolithicSparse")
    for parent, child in (("web01.vmdk", "web01-000001.vmdk"), ("web01-000001.vmdk", "web01-000002.vmdk")):
        run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child, cwd=folder)
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x5a 2900M 64k", folder / "web01-000002.vmdk")
    _convert(disks[1], folder / "web01_1.vmdk", "monolithicFlat")
    _vmx(folder / "web01.vmx", [["web01-000002.vmdk"], ["web01_1.vmdk"]], SLOTS[:1])
    return [folder / "web01.vmx"]


def vmx(cards: int, slots: Sequence[int] = SLOTS, bus: str = "scsi") -> Callable[[list[Path], Path], list[Path]]:
    """A .vmx over monolithic disks on one controller, with network cards on slots 192, 224, ... or those that are given."""

    def package(disks: list[Path], folder: Path) -> list[Path]:
        names = [_convert(disk, folder / f"srv01_{number}.vmdk", "monolithicSparse").name for number, disk in enumerate(disks)]
        _vmx(folder / "srv01.vmx", [names], slots[:cards], bus)
        return [folder / "srv01.vmx"]

    return package


def _vmx(path: Path, controllers: list[list[str]], slots: Sequence[int], kind: str = "scsi") -> None:
    lines = [
        '.encoding = "UTF-8"', f'displayName = "{path.stem}"', 'guestOS = "debian12-64"', 'memSize = "1024"', 'numvcpus = "2"',
        'firmware = "bios"',
    ]  # fmt: skip
    for bus, names in enumerate(controllers):
        lines += [f'{kind}{bus}.present = "TRUE"', *([f'scsi{bus}.virtualDev = "pvscsi"'] if kind == "scsi" else [])]
        for unit, name in enumerate(names):
            lines += [f'{kind}{bus}:{unit}.present = "TRUE"', f'{kind}{bus}:{unit}.fileName = "{name}"']
    for number, slot in enumerate(slots):
        lines += [
            f'ethernet{number}.present = "TRUE"', f'ethernet{number}.virtualDev = "vmxnet3"', f'ethernet{number}.networkName = "VM Network"',
            f'ethernet{number}.addressType = "static"', f'ethernet{number}.address = "{MACS[number]}"',
            f'ethernet{number}.pciSlotNumber = "{slot}"',
        ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def plain(disks: list[Path], folder: Path) -> list[Path]:
    return [_convert(disk, folder / f"db01_{number}.vmdk", "monolithicSparse") for number, disk in enumerate(disks)]


def ova(disks: list[Path], folder: Path) -> list[Path]:
    path = _convert(disks[0], folder / "app01-disk1.vmdk", "streamOptimized")
    ovf = folder / "app01.ovf"
    ovf.write_text(_ovf("app01", path, "bios"))
    (folder / "app01.mf").write_text("".join(f"SHA256({file.name})= {run('sha256sum', file).split()[0]}\n" for file in (ovf, path)))
    run("tar", "--format=ustar", "-cf", "app01.ova", "app01.ovf", "app01.mf", path.name, cwd=folder)
    for file in (ovf, path, folder / "app01.mf"):
        file.unlink()
    return [folder / "app01.ova"]


def split(disks: list[Path], folder: Path) -> list[Path]:
    return [_convert(disks[0], folder / "old01.vmdk", "twoGbMaxExtentSparse")]


def ovf_folder(disks: list[Path], folder: Path) -> list[Path]:
    path = _convert(disks[0], folder / "new01-disk1.vmdk", "streamOptimized")
    (folder / "new01.ovf").write_text(_ovf("new01", path, "efi"))
    (folder / "new01.mf").write_text(f"SHA512({path.name})= {run('sha512sum', path).split()[0]}\n")
    return [folder / "new01.ovf"]


def _ovf(name: str, disk: Path, firmware: str) -> str:
    with open(disk, "rb") as file:
        sectors = struct.unpack_from("<Q", file.read(512), 12)[0]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:id="file1" ovf:href="{disk.name}" ovf:size="{disk.stat().st_size}"/></References>
 <DiskSection><Info>Disks</Info><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{sectors}" ovf:capacityAllocationUnits="byte * 2^9"/></DiskSection>
 <VirtualSystem ovf:id="{name}"><Info>A VM</Info><Name>{name}</Name>
  <VirtualHardwareSection><Info>Hardware</Info>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1024</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
    <rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>7</rasd:AddressOnParent><rasd:Connection>VM Network</rasd:Connection>
    <rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""
