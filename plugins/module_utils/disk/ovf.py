# SPDX-License-Identifier: GPL-3.0-or-later
"""OVF packages: an .ovf with its files in a folder, or all of it in an uncompressed tar (.ova), whose disks are read in place.

Source: DMTF DSP0243 (OVF 1.1, 2.0) and DSP0004 resource types; VMware's vmw: extensions.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from dataclasses import dataclass
from typing import Optional
from xml.etree import ElementTree as ET

from ..core import files, held
from ..core.errors import InvalidInput, UnsafeInput
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import chain, tape, vmdk, xmlfile
from .machine import Nic, SourceDisk, SourceVm, bus_key

_MAX_MEMBERS = 1000
_MANIFEST_LINE = re.compile(r"^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$")
_CONTROLLERS = {"5": "ide", "6": "scsi", "20": "sata"}
_MIB = {"": 1, "megabytes": 1, "mb": 1, "kilobytes": 1 / 1024, "gigabytes": 1024, "byte": 1 / (1 << 20)}


@dataclass(frozen=True)
class Member:
    """A file of the package: which file it lies in, from which byte, how many."""

    name: str
    path: str
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        if self.size > limit:
            raise InvalidInput(
                f"{self.name} in {self.path} is larger than {limit >> 20} MiB.",
                "The package is damaged; export the VM again.",
                member=self.name,
            )
        with files.opened(self.path, "The package") as file:
            file.seek(self.offset)
            return file.read(self.size)


def read(path: str, verify: bool = True) -> SourceVm:
    """The VM of an .ova or .ovf. With `verify` the manifest's digests are compared, which reads every listed file once."""
    archive = path.lower().endswith(".ova")
    members = _index_tar(path) if archive else _index_folder(path)
    descriptors = [name for name in members if name.lower().endswith(".ovf")] if archive else [os.path.basename(path)]
    if len(descriptors) != 1:
        raise InvalidInput(f"{path} holds {len(descriptors)} .ovf descriptors, it must hold one.", "Export the VM again.", path=path)
    envelope = members.get(descriptors[0])
    if envelope is None:
        files.opened(path, "The description", links=False).close()
        raise InvalidInput(f"The description {path} cannot be read.", "Check the path and its permissions.", path=path)
    if verify:
        _verify(members, os.path.splitext(descriptors[0])[0] + ".mf", path)
    text = envelope.read(xmlfile.LIMIT)
    return _vm(xmlfile.parse(text, envelope.name), members, archive, path)


def _index_tar(path: str) -> dict[str, Member]:
    try:
        with files.opened(path, "The package") as file:
            members: dict[str, Member] = {}
            for info, dummy in tape.members(file, path):
                if len(members) == _MAX_MEMBERS:
                    raise UnsafeInput(
                        f"{path} has more than {_MAX_MEMBERS} members.", "An OVA has a handful of files; export the VM again.", path=path
                    )
                if not info.isreg() or info.sparse is not None:
                    raise UnsafeInput(
                        f"{path} holds {info.name!r}, which is not a plain file.",
                        "Links and devices are never followed; export the VM again.",
                        path=path,
                    )
                name = vmdk.plain_name(info.name[2:] if info.name.startswith("./") else info.name, "the member")
                if info.offset_data + info.size > held.status(path).st_size:
                    raise InvalidInput(f"{path} ends inside {name}.", "The copy is incomplete; copy the file again.", path=path)
                if name in members:
                    raise UnsafeInput(f"{path} holds {name} twice.", "Export the VM again.", path=path)
                members[name] = Member(name, path, info.offset_data, info.size)
            return members
    except (tarfile.TarError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path} is not an uncompressed tar archive: {error}.",
            "If it is compressed (gzip, xz), unpack it and name the .ovf.",
            path=path,
        ) from error


def _index_folder(path: str) -> dict[str, Member]:
    folder = os.path.dirname(os.path.abspath(path))
    found = (os.path.join(folder, name) for name in os.listdir(folder))
    return {
        os.path.basename(file): Member(os.path.basename(file), file, 0, os.path.getsize(file))
        for file in found
        if os.path.isfile(file) and not os.path.islink(file)
    }


def _verify(members: dict[str, Member], manifest: str, path: str) -> None:
    if manifest not in members:
        return
    for line in members[manifest].read(xmlfile.LIMIT).decode("utf-8", "replace").splitlines():
        match = _MANIFEST_LINE.match(line)
        if match is None or match[2] not in members:
            if line.strip():
                raise InvalidInput(
                    f"{manifest} has a line that names no file of {path}: {line[:80]!r}.",
                    "The package is incomplete; copy it again.",
                    path=path,
                )
            continue
        digest, member = hashlib.new(match[1].lower()), members[match[2]]
        with files.opened(member.path, "The package") as file:
            file.seek(member.offset)
            left = member.size
            while left:
                block = file.read(min(left, 1 << 20))
                digest.update(block)
                left -= len(block)
                if not block:
                    break
        if digest.hexdigest() != match[3].lower():
            raise InvalidInput(
                f"{member.name} does not have the {match[1]} digest that the manifest of {path} gives.",
                "The file was changed or damaged on the way; copy it again.",
                path=path,
                member=member.name,
            )


def _vm(root: ET.Element, members: dict[str, Member], archive: bool, path: str) -> SourceVm:
    system = root.find(".//VirtualSystem")
    if system is None:
        raise InvalidInput(f"{path} describes no virtual system.", "vApps with several VMs are not read; export the VM alone.", path=path)
    files = {file.get("id"): file for file in root.findall(".//References/File")}
    disks = {disk.get("diskId"): disk for disk in root.findall(".//DiskSection/Disk")}
    items = [
        {child.tag: (child.text or "").strip() for child in item}
        for tag in ("Item", "StorageItem", "EthernetPortItem")
        for item in system.iter(tag)
    ]
    buses = {item["InstanceID"]: (_bus(item), decimal(item.get("Address"))) for item in items if _bus(item) and item.get("InstanceID")}
    found = []
    for item in items:
        if item.get("ResourceType") != "17" or "HostResource" not in item:
            continue
        disk = disks.get(item["HostResource"].rsplit("/", 1)[-1])
        file = files.get(disk.get("fileRef")) if disk is not None else None
        if file is None:
            raise InvalidInput(
                f"{path} has a disk without a file ({item['HostResource']}).", "The package is incomplete; export the VM again.", path=path
            )
        bus, number = buses.get(item.get("Parent", ""), (None, None))
        found.append(SourceDisk(_chain(file, members, archive, path), bus, number, decimal(item.get("AddressOnParent"))))
    if not found:
        raise InvalidInput(f"{path} has no disks.", "Export the VM again, with its disks.", path=path)
    config = {entry.get("key"): entry.get("value", "") for entry in system.iter("Config")}
    cpu = next((item for item in items if item.get("ResourceType") == "3"), {})
    memory = next((item for item in items if item.get("ResourceType") == "4"), {})
    return SourceVm(
        name=(system.findtext("Name") or system.get("id") or os.path.splitext(os.path.basename(path))[0]).strip(),
        kind="ova" if archive else "ovf",
        disks=tuple(sorted(found, key=bus_key)),
        nics=tuple(_nic(item) for item in items if item.get("ResourceType") == "10"),
        cpus=said(cpu.get("VirtualQuantity"), "the number of CPUs", path),
        cores_per_socket=said(cpu.get("CoresPerSocket"), "CoresPerSocket", path),
        memory=_memory(memory, path),
        firmware={"efi": "uefi", "bios": "bios"}.get(config.get("firmware", "").lower()),
        secure_boot=config.get("bootOptions.efiSecureBootEnabled", "").lower() == "true",
        guest_os=next((section.get("osType") for section in system.iter("OperatingSystemSection")), None),
        uuid=_uuid(system),
    )


def _uuid(system: ET.Element) -> str:
    """What VMware and VirtualBox write beside the id, which is often but a name."""
    extra = {str(entry.get("key")).lower(): entry.get("value", "") for tag in ("Config", "ExtraConfig") for entry in system.iter(tag)}
    machines = [machine.get("uuid") for machine in system.iter("Machine")]
    found = (extra.get("vc.uuid"), extra.get("instanceuuid"), extra.get("uuid.bios"), extra.get("uuid"), *machines, system.get("id"))
    return next((uuid for uuid in map(uuid_of, found) if uuid), "")


def _chain(file: ET.Element, members: dict[str, Member], archive: bool, path: str) -> chain.Chain:
    name = vmdk.plain_name(file.get("href", ""), "the disk file")
    if file.get("compression", "identity") not in ("", "identity"):
        raise InvalidInput(
            f"The disk {name} of {path} is compressed ({file.get('compression')}).",
            "Unpack the package, decompress the disk and name the .ovf.",
            path=path,
        )
    member = members.get(name)
    if member is None:
        raise InvalidInput(f"The disk {name} of {path} is missing.", "Copy the whole package.", path=path)
    return chain.embedded(member.path, member.offset, member.size, name) if archive else chain.resolve(member.path)


def _bus(item: dict[str, str]) -> Optional[str]:
    if item.get("ResourceType") == "20" and "nvme" in item.get("ResourceSubType", "").lower():
        return "nvme"
    return _CONTROLLERS.get(item.get("ResourceType", ""))


def _nic(item: dict[str, str]) -> Nic:
    mac = item.get("Address", "").lower()
    valid = re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac) and mac != "00:00:00:00:00:00"
    return Nic(mac if valid else None, item.get("Connection", ""), item.get("ResourceSubType", ""))


def _memory(item: dict[str, str], path: str) -> Optional[int]:
    quantity, units = said(item.get("VirtualQuantity"), "the memory", path), item.get("AllocationUnits", "").lower().replace(" ", "")
    if quantity is None:
        return None
    power = re.fullmatch(r"byte\*2\^([0-9]{1,2})", units)
    if power is None and units not in _MIB:
        raise InvalidInput(
            f"{path} gives the memory in {units[:40]!r}, which is no known unit.", f"Correct AllocationUnits in {path}.", path=path
        )
    return int(quantity * (2 ** int(power[1]) / (1 << 20) if power else _MIB[units]))
