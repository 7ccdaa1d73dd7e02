# SPDX-License-Identifier: GPL-3.0-or-later
"""OVF packages: an .ovf with its files in a folder, or all of it in an uncompressed tar (.ova), whose disks are read in place.

Source: DMTF DSP0243 (OVF 1.1, 2.0) and DSP0004 resource types; VMware's vmw: extensions. What a consumer may choose by DSP0243 (one of several
hardware sections, one of several VMs) is not chosen here; only of deployment options it says which one is meant.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from dataclasses import dataclass
from typing import Iterable, Optional
from xml.etree import ElementTree as ET

from ..core import files, held, limits
from ..core.errors import InvalidInput, UnsafeInput
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import chain, tape, vmdk, xmlfile
from .machine import Nic, SourceDisk, SourceVm, bus_key

_MAX_MEMBERS = 1000
_MANIFEST_LINE = re.compile(r"^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$")
_CONTROLLERS = {"5": "ide", "6": "scsi", "20": "sata"}
_UNITS = {
    "byte": 1,
    "bytes": 1,
    "kilobytes": 1 << 10,
    "kb": 1 << 10,
    "megabytes": 1 << 20,
    "mb": 1 << 20,
    "gigabytes": 1 << 30,
    "gb": 1 << 30,
}
_UNIT = re.compile(r"bytes?\*(?:(2|10)\^([0-9]{1,2})|([0-9]{1,18}))")
_RANGES = ("min", "max")  # bounds of what is normal, not the hardware
_PLACE = re.compile(r"^(?:(?:ovf:)?/*disk/)?([^/]+)$")
_ALONE = "Export the VM alone and anew, or leave one in the .ovf; its manifest (.mf) does not fit then, so remove it."


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
    system = _system(root, path)
    files = _by_id(root.findall(".//References/File"), "id", "files", path)
    disks = _by_id(root.findall(".//DiskSection/Disk"), "diskId", "disks", path)
    items = _items(system, root, path)
    buses = {item["InstanceID"]: (_bus(item), decimal(item.get("Address"))) for item in items if _bus(item) and item.get("InstanceID")}
    found = []
    for item in items:
        if item.get("ResourceType") != "17" or "HostResource" not in item:
            continue
        place = _PLACE.match(item["HostResource"])
        disk = disks.get(place[1]) if place else None
        file = files.get(disk.get("fileRef", "")) if disk is not None else None
        if disk is None or file is None:
            raise InvalidInput(
                f"{path} has a disk without a file ({item['HostResource']}).", "The package is incomplete; export the VM again.", path=path
            )
        bus, number = buses.get(item.get("Parent", ""), (None, None))
        found.append(SourceDisk(_chain(file, disk, members, archive, path), bus, number, decimal(item.get("AddressOnParent"))))
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


def _system(root: ET.Element, path: str) -> ET.Element:
    """The one VM, with its one description of the hardware."""
    systems = list(root.iter("VirtualSystem"))
    if not systems:
        raise InvalidInput(f"{path} describes no virtual system.", "Export the VM again.", path=path)
    if len(systems) > 1:
        names = ", ".join((system.findtext("Name") or system.get("id") or "one without a name").strip()[:80] for system in systems)
        raise InvalidInput(f"{path} is a vApp of {len(systems)} VMs: {names}.", _ALONE, path=path)
    sections = list(systems[0].iter("VirtualHardwareSection"))
    if len(sections) > 1:
        types = ", ".join((section.findtext("System/VirtualSystemType") or "of no type").strip()[:80] for section in sections)
        raise InvalidInput(
            f"{path} describes the hardware of its VM {len(sections)} times ({types}), and does not say which one it is.", _ALONE, path=path
        )
    return systems[0]


def _by_id(elements: Iterable[ET.Element], key: str, what: str, path: str) -> dict[str, ET.Element]:
    found: dict[str, ET.Element] = {}
    for element in elements:
        name = element.get(key, "")
        if name in found:
            raise InvalidInput(
                f"{path} has two {what} with the {key} {name[:80]!r}.", "The package is damaged; export the VM again.", path=path
            )
        found[name] = element
    return found


def _items(system: ET.Element, root: ET.Element, path: str) -> list[dict[str, str]]:
    """The hardware under the deployment option that is meant where nobody chooses: the default, else the first.

    An item of an option stands in place of the one with its InstanceID that belongs to none.
    """
    options = list(root.iterfind(".//DeploymentOptionSection/Configuration"))
    option = next((one for one in options if one.get("default", "").lower() in ("true", "1")), options[0] if options else None)
    meant = option.get("id", "") if option is not None else ""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    for element in (element for tag in ("Item", "StorageItem", "EthernetPortItem") for element in system.iter(tag)):
        only = element.get("configuration", "").split()
        if element.get("bound") in _RANGES or (only and meant not in only):
            continue
        item = {child.tag: (child.text or "").strip() for child in element}
        key = item.get("InstanceID", "") or f"without {len(found)}", bool(only)
        if key in found or len(element.findall("HostResource")) > 1:
            raise InvalidInput(
                f"{path} has two devices with the InstanceID {key[0][:80]!r}, or one with two disks.",
                "The package is damaged; export the VM again.",
                path=path,
            )
        found[key] = item
    return [item for (name, special), item in found.items() if special or (name, True) not in found]


def _uuid(system: ET.Element) -> str:
    """What VMware and VirtualBox write beside the id, which is often but a name."""
    extra = {str(entry.get("key")).lower(): entry.get("value", "") for tag in ("Config", "ExtraConfig") for entry in system.iter(tag)}
    machines = [machine.get("uuid") for machine in system.iter("Machine")]
    found = (extra.get("vc.uuid"), extra.get("instanceuuid"), extra.get("uuid.bios"), extra.get("uuid"), *machines, system.get("id"))
    return next((uuid for uuid in map(uuid_of, found) if uuid), "")


def _chain(file: ET.Element, disk: ET.Element, members: dict[str, Member], archive: bool, path: str) -> chain.Chain:
    name = vmdk.plain_name(file.get("href", ""), "the disk file")
    if disk.get("parentRef"):
        raise InvalidInput(
            f"The disk {name} of {path} holds only what differs from another disk ({disk.get('parentRef', '')[:80]}).",
            "Delete the VM's snapshots at the source, and export it again.",
            path=path,
        )
    if file.get("compression", "identity") not in ("", "identity"):
        raise InvalidInput(
            f"The disk {name} of {path} is compressed ({file.get('compression')}).",
            "Unpack the package, decompress the disk and name the .ovf.",
            path=path,
        )
    member = members.get(name)
    if member is None:
        raise InvalidInput(f"The disk {name} of {path} is missing.", "Copy the whole package.", path=path)
    if member.size < (decimal(file.get("size")) or 0):
        raise InvalidInput(
            f"The disk {name} of {path} has {member.size} bytes of {file.get('size')}.", "The copy is incomplete; copy it again.", path=path
        )
    found = chain.embedded(member.path, member.offset, member.size, name) if archive else chain.resolve(member.path)
    _check_capacity(disk, found.virtual_size, name, path)
    return found


def _check_capacity(disk: ET.Element, size: int, name: str, path: str) -> None:
    """Raise InvalidInput for a disk that is smaller than it is said to be, by more than a tool that rounds up would say.

    Nothing is compared where a property that is asked for at deployment says it.
    """
    said_size = disk.get("capacity", "").strip()
    if not said_size or said_size.startswith("${"):
        return
    unit = _unit(disk.get("capacityAllocationUnits", ""), 1, "capacityAllocationUnits", path)
    capacity = (said(said_size, f"the capacity of {name}", path) or 0) * unit
    if capacity >= size + min(max(unit, limits.MIB), limits.GIB):
        raise InvalidInput(
            f"{path} says that the disk {name} has {capacity} bytes, and it has {size}.",
            "The package is incomplete, or its disk is to grow when it is deployed. If it is whole, correct the capacity in the .ovf, remove the manifest "
            "(.mf), and let the disk grow by migrate_resize.",
            path=path,
            disk=name,
        )


def _bus(item: dict[str, str]) -> Optional[str]:
    if item.get("ResourceType") == "20" and "nvme" in item.get("ResourceSubType", "").lower():
        return "nvme"
    return _CONTROLLERS.get(item.get("ResourceType", ""))


def _nic(item: dict[str, str]) -> Nic:
    mac = item.get("Address", "").lower()
    valid = re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac) and mac != "00:00:00:00:00:00"
    return Nic(mac if valid else None, item.get("Connection", ""), item.get("ResourceSubType", ""))


def _memory(item: dict[str, str], path: str) -> Optional[int]:
    """In MiB, at least one where there is any."""
    quantity = said(item.get("VirtualQuantity"), "the memory", path)
    if quantity is None:
        return None
    size = quantity * _unit(item.get("AllocationUnits", ""), limits.MIB, "AllocationUnits", path)
    return max(size >> 20, min(size, 1))


def _unit(text: str, usual: int, what: str, path: str) -> int:
    """Bytes of a unit as DSP0004 writes it, or by a word; the `usual` where none is given."""
    plain = text.lower().replace(" ", "")
    programmatic = _UNIT.fullmatch(plain)
    if programmatic is not None:
        return int(int(programmatic[1]) ** int(programmatic[2]) if programmatic[1] else int(programmatic[3]))
    if plain and plain not in _UNITS:
        raise InvalidInput(f"{path} gives {what} as {text[:40]!r}, which is no known unit.", f"Correct {what} in {path}.", path=path)
    return _UNITS.get(plain, usual)
