# SPDX-License-Identifier: GPL-3.0-or-later
"""OVF packages: an .ovf with its files in a folder, or all of it in an uncompressed tar (.ova), whose disks are read in place.

Source: DMTF DSP0243 (OVF 1.1, 2.0) and DSP0004 resource types; VMware's vmw: extensions; oVirt's OvfWriter (MACAddress, while its Address
is a place on the PCI bus).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Optional, Sequence
from xml.etree import ElementTree as ET

from ..core import files, macs
from ..core.choice import Choice
from ..core.concern import Concern
from ..core.errors import InvalidInput
from ..core.machine import Nic
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import litter, nvram, ovf_concerns, ovf_disks, ovf_items, ovf_manifest, ovf_package, ovf_system, vbox, xmlfile
from .machine import Place, SourceVm

_FIRMWARE, _SECURE = "firmware", ("bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled")


def read(path: str, verify: bool = True, choice: Choice = Choice()) -> SourceVm:
    """The VM of an .ova or .ovf, of several the one that is chosen. With `verify` the manifest's digests are compared, which reads every listed file once."""
    package = ovf_package.index(path)
    members = package.members
    inside = (name for name in members if name.lower().endswith(".ovf") and not litter.is_hidden(name))
    descriptors = list(inside) if package.archive else [os.path.basename(path)]
    if len(descriptors) != 1:
        raise InvalidInput(f"{path} holds {len(descriptors)} .ovf descriptors, it must hold one.", "Export the VM again.", path=path)
    envelope = members.get(descriptors[0])
    if envelope is None:
        files.opened(path, "The description", links=False).close()
        raise InvalidInput(f"The description {path} cannot be read.", "Check the path and its permissions.", path=path)
    package = replace(package, base=os.path.dirname(descriptors[0]) if package.archive else "")
    manifest = ovf_manifest.find(package, descriptors[0]) if verify else None
    if manifest is not None:
        manifest.verify(envelope.name)
    vm, names = _vm(xmlfile.parse(envelope.read(xmlfile.LIMIT), envelope.name), package, choice)
    if manifest is not None:
        manifest.require(names)
        manifest.verify()
    return vm


def _vm(root: ET.Element, package: ovf_package.Package, choice: Choice) -> tuple[SourceVm, tuple[str, ...]]:
    """The VM, and the files of the package that hold its disks."""
    path = package.path
    meant = ovf_system.find(root, choice, path)
    system = meant.element
    hardware = ovf_items.hardware(system, root, path, choice.configuration)
    found = ovf_disks.find(root, hardware, package, meant.of_others | meant.left_out)
    ovf_items.require_types(hardware, path)
    if not any(one.names for one in found):
        raise InvalidInput(f"{path} has no disks.", "Export the VM again, with its disks.", path=path)
    # VMware writes an ExtraConfig into the .vmx as it is.
    entries = (entry for tag in ("Config", "ExtraConfig") for entry in system.iter(tag))
    config = ovf_items.settings(entries, (_FIRMWARE, *_SECURE), path)
    cpu = hardware.one(ovf_items.CPU, "the number of CPUs", ("VirtualQuantity", "CoresPerSocket"), path)
    memory = hardware.one(ovf_items.MEMORY, "the memory", ("VirtualQuantity", "AllocationUnits"), path)
    box = next((machine.find("Hardware") for machine in system.iter("Machine")), None)
    name = meant.name or os.path.splitext(os.path.basename(path))[0]
    vm = SourceVm(
        name=name,
        kind="ova" if package.archive else "ovf",
        disks=tuple(sorted((one.disk for one in found), key=lambda disk: disk.place.order)),
        nics=_nics(hardware.all(ovf_items.NIC), tuple(vbox.nics(box)) if box is not None else ()),
        cpus=said(cpu.get("VirtualQuantity"), "the number of CPUs", path) if cpu is not None else None,
        cores_per_socket=said(cpu.get("CoresPerSocket"), "CoresPerSocket", path) if cpu is not None else None,
        memory=ovf_items.memory(memory, path),
        firmware=_firmware(config.get(_FIRMWARE, ""), box, path),
        secure_boot=any(config.get(key, "").lower() == "true" for key in _SECURE),
        guest_os=next((section.get("osType") for section in system.iter("OperatingSystemSection")), None),
        uuid=_uuid(system),
        suspended=any(machine.get("stateFile") for machine in system.iter("Machine")),
        part=meant.part,
        starts=_starts(system, hardware, found),
        concerns=(*meant.concerns, *ovf_concerns.of(root, replace(meant, name=name), hardware, found, box)),
    )
    told = _boot_entries(vm, root, package) if not meant.of_others else ()  # whose file it is, is said nowhere
    return replace(vm, concerns=(*vm.concerns, *told)), tuple(name for one in found for name in one.names)


def _boot_entries(vm: SourceVm, root: ET.Element, package: ovf_package.Package) -> tuple[Concern, ...]:
    """What the variables of the firmware say, where the package has them."""
    named = [file.get("href", "") for file in root.iterfind(".//References/File") if file.get("href", "").lower().endswith(".nvram")]
    member = package.known_as(named[0]) if len(named) == 1 and vm.firmware == "uefi" else None
    return nvram.concerns(vm.name, member.read(nvram.LIMIT)) if member is not None and member.size <= nvram.LIMIT else ()


def _starts(system: ET.Element, hardware: ovf_items.Hardware, found: Sequence[ovf_disks.Found]) -> Optional[Place]:
    """The disk that the firmware tries first, as VMware writes it: vmw:BootOrderSection names the item of each device that is tried."""
    places = {one.id: one.disk.place for one in found}
    items = {item.get("InstanceID"): item for item in hardware.all(ovf_items.DISK)}
    for section in system.iter("BootOrderSection"):
        item = items.get(section.get("instanceId", ""))
        named = ovf_system.PLACE.match(item.get("HostResource")) if item is not None else None
        place = places.get(named[1]) if named is not None else None
        if place is not None and place.bus is not None and place.controller is not None and place.unit is not None:
            return place.bus, place.controller, place.unit
    return None


def _uuid(system: ET.Element) -> str:
    """What VMware and VirtualBox write beside the id, which is often but a name."""
    extra = {str(entry.get("key")).lower(): entry.get("value", "") for tag in ("Config", "ExtraConfig") for entry in system.iter(tag)}
    machines = [machine.get("uuid") for machine in system.iter("Machine")]
    found = (extra.get("vc.uuid"), extra.get("instanceuuid"), extra.get("uuid.bios"), extra.get("uuid"), *machines, system.get("id"))
    return next((uuid for uuid in map(uuid_of, found) if uuid), "")


def _nics(items: Sequence[ovf_items.Item], adapters: Sequence[Nic]) -> tuple[Nic, ...]:
    """The NICs. VirtualBox, which writes no MACs into them, describes each once more in their order in its own section."""
    found = tuple(_nic(item) for item in items)
    if not found or len(found) != len(adapters):
        return found or tuple(adapters)
    return tuple(nic if nic.mac else replace(nic, mac=adapter.mac) for nic, adapter in zip(found, adapters))


def _nic(item: ovf_items.Item) -> Nic:
    return Nic(
        macs.of_nic(item.get("Address")) or macs.of_nic(item.get("MACAddress")),
        item.get("Connection"),
        item.get("ResourceSubType"),
        decimal(item.config.get("slotInfo.pciSlotNumber")),
    )


def _firmware(said_so: str, box: Optional[ET.Element], path: str) -> Optional[str]:
    """As VMware or VirtualBox say it. Raises InvalidInput where they say different things, or what is none."""
    element = box.find("Firmware") if box is not None else None
    kinds = [
        said_so.lower(),
        "" if element is None else "efi" if element.get("type", "").startswith("EFI") else element.get("type", "").lower(),
    ]
    found = {kind for kind in kinds if kind}
    if len(found) > 1 or not found <= {"efi", "bios"}:
        raise InvalidInput(
            f"{path} gives the firmware as {' and as '.join(repr(kind[:40]) for kind in kinds if kind)}; it is efi or bios.",
            "Leave the one that is meant in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
            path=path,
        )
    return {"efi": "uefi", "bios": "bios"}[found.pop()] if found else None
