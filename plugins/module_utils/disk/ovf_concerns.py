# SPDX-License-Identifier: GPL-3.0-or-later
"""What an OVF says of its VM and a migration does not take with it, so that nothing of it is passed over in silence.

Source: DSP0004's resource types (CIM_ResourceAllocationSettingData.ResourceType); DSP0243 7.3 (sections that must be known), 8.4 (bounds), 9.5 and 11
(settings that a guest reads from its environment), 9.8 (configurations); VMware's and VirtualBox's subtypes.
"""

from __future__ import annotations

import itertools
import re
from typing import AbstractSet, Iterator, Optional
from xml.etree import ElementTree as ET

from ..core.concern import INFO, WARNING, Concern, listed
from . import unused, vbox_concerns, vmx_concerns
from .ovf_disks import REMOVABLE, Found
from .ovf_items import CPU, DISK, MEMORY, NIC, Hardware, Item
from .ovf_system import System

_USED = (CPU, MEMORY, NIC, DISK, "5", "6", "20")
# Ports and what every machine has anew: other devices, serial, parallel, USB, graphics, FireWire, sound.
_HARMLESS = ("1", "21", "22", "23", "24", "25", "35")
_PASSED = re.compile(r"passthrough|passthru|vgpu", re.IGNORECASE)
_TPM = re.compile(r"\bv?tpm|trustedplatform", re.IGNORECASE)
_SRIOV = re.compile("sriov", re.IGNORECASE)
_SECTIONS = frozenset((
    "References", "DiskSection", "NetworkSection", "VirtualSystem", "VirtualSystemCollection", "Strings", "Info", "Name", "ResourceAllocationSection",
    "AnnotationSection", "ProductSection", "EulaSection", "StartupSection", "DeploymentOptionSection", "OperatingSystemSection",
    "EnvironmentFilesSection", "BootDeviceSection", "SharedDiskSection", "PlacementGroupSection", "PlacementSection",
    "VirtualHardwareSection", "Machine",
))  # fmt: skip


def of(
    root: ET.Element, system: System, hardware: Hardware, disks: tuple[Found, ...], box: Optional[ET.Element] = None
) -> Iterator[Concern]:
    """All of it but what choosing the system has said. `box` is VirtualBox's own description of the hardware, if it has written one."""
    found = list(_said(root, system, hardware, disks))
    codes = {concern.code for concern in found}
    yield from found
    if box is not None:
        yield from (concern for concern in vbox_concerns.of_hardware(box, system.name) if concern.code not in codes)


def _said(root: ET.Element, system: System, hardware: Hardware, disks: tuple[Found, ...]) -> Iterator[Concern]:
    name = system.name
    yield from _devices(name, hardware)
    extra = {entry.get("key", "").lower(): entry.get("value", "") for entry in system.element.iter("ExtraConfig")}
    yield from vmx_concerns.of(extra, name)
    yield from _cards(name, hardware)
    cards = {item.get("InstanceID") for item in hardware.all(NIC)}
    first = next(iter(system.element.iter("BootOrderSection")), None)
    yield from unused.from_network(
        name, first is not None and (first.get("type") in ("net", "ethernet") or first.get("instanceId") in cards)
    )
    if hardware.twins:
        yield Concern(
            "source.instance-id",
            INFO,
            f"Devices of {name} have the InstanceID of another one: {listed(hardware.twins)}.",
            "Each is taken as a device of its own, since nothing else goes by these ids.",
        )
    yield from _choices(name, hardware)
    blank = [f"{found.id} ({found.disk.chain.virtual_size} bytes)" for found in disks if not found.names]
    if blank:
        yield Concern(
            "source.blank-disk",
            INFO,
            f"Disks of {name} have no file in the package: {listed(blank)}.",
            "They are made empty, as whoever deploys the package does.",
        )
    yield from _sections(name, root, system)
    yield from _files(name, root, {found.id for found in disks} | system.of_others)


def _devices(name: str, hardware: Hardware) -> Iterator[Concern]:
    found: dict[str, list[str]] = {kind: [] for kind in ("media", "passed", "tpm", "harmless", "other")}
    for item in hardware.meant:
        kind = _kind(item)
        if kind:
            found[kind].append(str(item))
    yield from unused.media(name, found["media"])
    yield from unused.passthrough(name, found["passed"])
    yield from unused.vtpm(name, bool(found["tpm"]))
    yield from unused.devices(name, found["harmless"])
    yield from unused.devices(name, found["other"], WARNING)


def _kind(item: Item) -> str:
    """What a device is that is neither used nor refused; empty for one that is."""
    special = "passed" if _PASSED.search(item.get("ResourceSubType")) else "tpm" if _TPM.search(item.get("ResourceSubType")) else ""
    if item.type == DISK:
        return "" if item.get("HostResource") else "harmless"
    if item.type == NIC or (item.type in _USED and not special):
        return ""
    # A drive whose medium is a client's is a drive: vmware.cdrom.remotepassthrough.
    return "media" if item.type in REMOVABLE else special or ("harmless" if item.type in _HARMLESS else "other")


def _cards(name: str, hardware: Hardware) -> Iterator[Concern]:
    cards = hardware.all(NIC)
    yield from unused.passthrough(name, [str(item) for item in cards if _PASSED.search(item.get("ResourceSubType"))])
    yield from unused.sriov(name, [str(item) for item in cards if _SRIOV.search(item.get("ResourceSubType"))])
    yield from unused.disconnected(name, [str(item) for item in cards if item.get("AutomaticAllocation").lower() in ("false", "0")])


def _choices(name: str, hardware: Hardware) -> Iterator[Concern]:
    if len(hardware.options) > 1:
        yield Concern(
            "source.configuration",
            INFO,
            f"The package of {name} has the configurations {listed(hardware.options)}; {hardware.option[:80]} is taken.",
            "Name another one behind the package in migrate_source: '...#config=NAME'.",
        )
    # Those of processors and memory, of which there is one, have ids of their own too.
    ids, kinds = {item.get("InstanceID") for item in hardware.meant}, {item.type for item in hardware.meant} & {CPU, MEMORY}
    bounds = [item for item in hardware.bounds if item.get("InstanceID") not in ids and item.type not in kinds]
    if bounds:
        said = [f"{item}: {item.bound} {item.get('VirtualQuantity')[:20]}" for item in bounds]
        yield Concern(
            "source.bounds",
            WARNING,
            f"Of devices of {name} the description gives only bounds, and not what is normal: {listed(said)}.",
            "Say what the VM is to have: migrate_cpus, migrate_memory, migrate_nics.",
        )


def _sections(name: str, root: ET.Element, system: System) -> Iterator[Concern]:
    unknown = [
        child.tag
        for parent in (root, system.element)
        for child in parent
        if child.tag not in _SECTIONS and child.get("required", "true").strip().lower() not in ("false", "0")
    ]
    if unknown:
        yield Concern(
            "source.section",
            WARNING,
            f"The package of {name} has sections that are not known, and whose meaning it asks for: {listed(list(dict.fromkeys(unknown)))}.",
            "Look into the .ovf whether the VM needs what they say.",
        )
    transports = next((section.get("transport", "").strip() for section in system.element.iter("VirtualHardwareSection")), "")
    above = (one for vapp in root.iter("VirtualSystemCollection") for one in vapp.iterfind("ProductSection/Property"))
    if transports and next(itertools.chain(system.element.iter("Property"), above), None) is not None:
        yield Concern(
            "source.properties",
            WARNING,
            f"{name} reads settings of its own from an OVF environment ({transports[:80]}), which it finds at the target no more.",
            "Set in the guest what it needs (an address, a password), or give it by cloud-init.",
        )


def _files(name: str, root: ET.Element, known: AbstractSet[str]) -> Iterator[Concern]:
    """Files of the package that are of no disk: of CDs, of the firmware's variables."""
    used = {disk.get("fileRef") for disk in root.iterfind(".//DiskSection/Disk") if disk.get("diskId") in known}
    names = [file.get("href", "") for file in root.iterfind(".//References/File") if file.get("id") not in used]
    if names:
        yield Concern("source.file", INFO, f"Files of the package are no disks of {name}: {listed(names)}.", "They are not migrated.")
