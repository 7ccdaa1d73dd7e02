# SPDX-License-Identifier: GPL-3.0-or-later
"""VirtualBox's .vbox settings: disks in bus order, NICs with their MACs, size and firmware.

Source: VirtualBox's VirtualBox-settings.xsd. Up to version 1.14 the controllers stand beside the hardware, later in it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Callable, Iterator, Optional
from xml.etree import ElementTree

from ..core import files, macs
from ..core.errors import InvalidInput, UnsafeInput
from ..core.machine import Disk, Nic
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import around, below, vbox_concerns, xmlfile
from .machine import Chain, SourceDisk, SourceVm

_BUSES = {
    "AHCI": "sata",
    **dict.fromkeys(("PIIX3", "PIIX4", "ICH6"), "ide"),
    **dict.fromkeys(("LsiLogic", "LsiLogicSas", "BusLogic", "VirtioSCSI"), "scsi"),
    "NVMe": "nvme",
}
_DECRYPT = "Decrypt the VM in VirtualBox (Settings, General, Disk Encryption), then copy it."
_NETWORKS = ("BridgedInterface", "InternalNetwork", "HostOnlyInterface", "HostOnlyNetwork", "NATNetwork", "GenericInterface")


def read(path: str, resolve: Callable[[str], Chain]) -> SourceVm:
    """The VM of a .vbox file; its disks must lie beside it, or in folders below its own. `resolve` reads one.

    Raises InvalidInput when it has no disks, one that is a snapshot, or something that cannot be read.
    """
    text = files.read(path, xmlfile.LIMIT, "The description")
    root = xmlfile.parse(text, path)
    if root.find("MachineEncrypted") is not None:
        raise InvalidInput(f"{path} is encrypted.", _DECRYPT, path=path)
    if len(root.findall("Machine")) > 1:
        raise InvalidInput(
            f"{path} describes {len(root.findall('Machine'))} machines.", "Leave the one that is meant in a copy of it.", path=path
        )
    machine = root.find("Machine")
    hardware = machine.find("Hardware") if machine is not None else None
    if machine is None or hardware is None:
        raise InvalidInput(f"{path} describes no machine.", "Name the VM's .vbox file.", path=path)
    media = {medium.get("uuid", ""): medium for medium in machine.iterfind("MediaRegistry/HardDisks/HardDisk")}
    controllers = _controllers(machine, hardware)
    found = tuple(sorted(_disks(controllers, media, path, resolve), key=lambda disk: disk.place.order))
    if not found:
        raise InvalidInput(f"{path} names no disks of its own.", "Name the disks as a list in migrate_source.", path=path)
    firmware = hardware.find("Firmware")
    name = machine.get("name") or os.path.splitext(os.path.basename(path))[0]
    vm = SourceVm(
        name=name,
        kind="vbox",
        disks=found,
        nics=tuple(nics(hardware)),
        cpus=said(_text(hardware.find("CPU"), "count"), "the CPU count", path) or 1,
        memory=said(_text(hardware.find("Memory"), "RAMSize"), "RAMSize", path),
        firmware="uefi" if firmware is not None and firmware.get("type", "").startswith("EFI") else "bios",
        guest_os=machine.get("OSType"),
        uuid=uuid_of(machine.get("uuid")),
        suspended=machine.get("stateFile", "") != "",
        concerns=tuple(vbox_concerns.of(hardware, controllers, media, name)),
    )
    kept = _text(next(hardware.iter("NvramFile"), None), "path") or f"{os.path.splitext(os.path.basename(path))[0]}.nvram"
    return replace(vm, concerns=(*vm.concerns, *around.boot_entries(vm, os.path.dirname(os.path.abspath(path)), kept)))


def _controllers(machine: ElementTree.Element, hardware: ElementTree.Element) -> ElementTree.Element:
    found = (parent.find("StorageControllers") for parent in (hardware, machine))
    return next((one for one in found if one is not None), ElementTree.Element("StorageControllers"))


def _disks(
    controllers: ElementTree.Element, media: dict[str, ElementTree.Element], path: str, resolve: Callable[[str], Chain]
) -> Iterator[SourceDisk]:
    numbers: dict[str, int] = {}
    for controller in controllers:
        bus = _BUSES.get(controller.get("type", ""))
        number = numbers[bus or ""] = numbers.get(bus or "", -1) + 1
        for device in controller.iterfind("AttachedDevice[@type='HardDisk']"):
            image = device.find("Image")
            uuid = image.get("uuid", "") if image is not None else ""
            medium = media.get(uuid)
            if medium is None:
                raise InvalidInput(
                    f"{path} runs on a snapshot, or on a disk that it does not list ({uuid or 'none'}).",
                    "Delete the VM's snapshots in VirtualBox, or copy the disk as it is now: VBoxManage clonemedium disk UUID NEW.vdi --format VDI.",
                    path=path,
                )
            name = medium.get("location", "").removeprefix("./")
            if not below.is_plain(name):
                raise UnsafeInput(
                    f"{path} names the disk {name[:200]!r}, which is not a plain file name.",
                    "Only disks beside the .vbox and in folders below it are read. Put the file there, and correct its location in a copy of the VM.",
                    name=name,
                )
            if any(one.get("name", "").startswith("CRYPT/") for one in medium.iterfind("Property")):
                raise InvalidInput(f"The disk {name} of {path} is encrypted.", _DECRYPT, path=path)
            file = below.place(os.path.dirname(os.path.abspath(path)), name, path)
            if not os.path.isfile(file) or os.path.islink(file):
                raise InvalidInput(f"The disk {name} of {path} is missing.", "Copy the whole folder of the VM.", path=path)
            unit = 2 * (_number(device, "port") or 0) + (_number(device, "device") or 0) if bus == "ide" else _number(device, "port")
            yield SourceDisk(resolve(file), Disk(bus, number, unit))


def nics(hardware: ElementTree.Element) -> Iterator[Nic]:
    """The NICs that are plugged in, in the order of their slots."""
    for adapter in sorted(hardware.iterfind("Network/Adapter"), key=lambda found: _number(found, "slot") or 0):
        if adapter.get("enabled") not in vbox_concerns.YES:
            continue
        network = next((element.get("name", "") for tag in _NETWORKS for element in adapter.iterfind(tag)), "")
        yield Nic(macs.of_nic(adapter.get("MACAddress")), network, adapter.get("type", ""))


def _number(element: Optional[ElementTree.Element], name: str) -> Optional[int]:
    return decimal(_text(element, name))


def _text(element: Optional[ElementTree.Element], name: str) -> str:
    return element.get(name, "") if element is not None else ""
