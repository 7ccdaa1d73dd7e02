# SPDX-License-Identifier: GPL-3.0-or-later
"""OVF packages: an .ovf with its files in a folder, or all of it in an uncompressed tar (.ova), whose disks are read in place.

Source: DMTF DSP0243 (OVF 1.1, 2.0) and DSP0004 resource types; VMware's vmw: extensions. What a consumer may choose by DSP0243 (one of several
hardware sections, one of several VMs) is not chosen here; only of deployment options it says which one is meant.
"""

from __future__ import annotations

import os
import re
from typing import Iterable, Optional
from xml.etree import ElementTree as ET

from ..core import files, limits
from ..core.errors import InvalidInput
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import chain, ovf_manifest, ovf_package, xmlfile
from .machine import Nic, SourceDisk, SourceVm, bus_key

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


def read(path: str, verify: bool = True) -> SourceVm:
    """The VM of an .ova or .ovf. With `verify` the manifest's digests are compared, which reads every listed file once."""
    package = ovf_package.index(path)
    members = package.members
    descriptors = [name for name in members if name.lower().endswith(".ovf")] if package.archive else [os.path.basename(path)]
    if len(descriptors) != 1:
        raise InvalidInput(f"{path} holds {len(descriptors)} .ovf descriptors, it must hold one.", "Export the VM again.", path=path)
    envelope = members.get(descriptors[0])
    if envelope is None:
        files.opened(path, "The description", links=False).close()
        raise InvalidInput(f"The description {path} cannot be read.", "Check the path and its permissions.", path=path)
    manifest = ovf_manifest.find(package, descriptors[0]) if verify else None
    if manifest is not None:
        manifest.verify(envelope.name)
    vm, names = _vm(xmlfile.parse(envelope.read(xmlfile.LIMIT), envelope.name), package)
    if manifest is not None:
        manifest.require(names)
        manifest.verify()
    return vm


def _vm(root: ET.Element, package: ovf_package.Package) -> tuple[SourceVm, tuple[str, ...]]:
    """The VM, and the files of the package that hold its disks."""
    path = package.path
    system = _system(root, path)
    files = _by_id(root.findall(".//References/File"), "id", "files", path)
    disks = _by_id(root.findall(".//DiskSection/Disk"), "diskId", "disks", path)
    items = _items(system, root, path)
    buses = {item["InstanceID"]: (_bus(item), decimal(item.get("Address"))) for item in items if _bus(item) and item.get("InstanceID")}
    found: list[SourceDisk] = []
    names: list[str] = []
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
        read_as, lies_in = _chain(file, disk, package)
        found.append(SourceDisk(read_as, bus, number, decimal(item.get("AddressOnParent"))))
        names += lies_in
    if not found:
        raise InvalidInput(f"{path} has no disks.", "Export the VM again, with its disks.", path=path)
    config = {entry.get("key"): entry.get("value", "") for entry in system.iter("Config")}
    cpu = next((item for item in items if item.get("ResourceType") == "3"), {})
    memory = next((item for item in items if item.get("ResourceType") == "4"), {})
    vm = SourceVm(
        name=(system.findtext("Name") or system.get("id") or os.path.splitext(os.path.basename(path))[0]).strip(),
        kind="ova" if package.archive else "ovf",
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
    return vm, tuple(names)


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


def _chain(file: ET.Element, disk: ET.Element, package: ovf_package.Package) -> tuple[chain.Chain, tuple[str, ...]]:
    """The disk of a file, and the files of the package that it lies in."""
    path = package.path
    name, member = package.find(file.get("href", ""))
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
    if member is None:
        raise InvalidInput(f"The disk {name} of {path} is missing.", "Copy the whole package.", path=path)
    if member.size < (decimal(file.get("size")) or 0):
        raise InvalidInput(
            f"The disk {name} of {path} has {member.size} bytes of {file.get('size')}.", "The copy is incomplete; copy it again.", path=path
        )
    found = chain.embedded(member.path, member.offset, member.size, name) if package.archive else chain.resolve(member.path)
    _check_capacity(disk, found.virtual_size, name, path)
    return found, (name,) if package.archive else tuple(os.path.basename(one) for one in found.files())


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
