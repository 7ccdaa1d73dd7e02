# SPDX-License-Identifier: GPL-3.0-or-later
"""What a .vbox says of its VM and a migration does not take with it.

Source: VirtualBox-settings.xsd (THardware, TAttachedDevice, TMediumType); the user manual, Special Image Write Modes.
"""

from __future__ import annotations

from typing import AbstractSet, Iterator, Sequence
from xml.etree.ElementTree import Element

from ..core.concern import INFO, WARNING, Concern, listed
from . import unused

YES = ("true", "1")  # xs:boolean
# Settings of what every machine has, and what is looked at here or by the reader itself.
_KNOWN = frozenset((
    "CPU", "Memory", "Firmware", "Boot", "Display", "VideoCapture", "Recording", "RemoteDisplay", "BIOS", "USB", "USBController", "Network", "UART",
    "LPT", "AudioAdapter", "RTC", "SharedFolders", "Clipboard", "DragAndDrop", "IO", "HostPci", "EmulatedUSB", "GuestProperties", "Guest",
    "StorageControllers", "TrustedPlatformModule", "Paravirt", "HID", "Chipset", "X86IoApic", "Iommu", "HPET", "Uart", "NvramFile", "PageFusion",
    "Debugging",
))  # fmt: skip


def of(hardware: Element, controllers: Element, media: dict[str, Element], name: str) -> Iterator[Concern]:
    """All that is neither used nor refused. `controllers` are those of the disks, `media` the disks that the settings list."""
    attached = [(bus.get("name", ""), device) for bus in controllers for device in bus.iterfind("AttachedDevice")]
    drives = [(bus, device) for bus, device in attached if device.get("type") in ("DVD", "Floppy")]
    yield from unused.media(name, [f"{bus} {device.get('type')}" for bus, device in drives if device.get("passthrough") not in YES])
    yield from of_hardware(hardware, name, [f"{bus} {device.get('type')}" for bus, device in drives if device.get("passthrough") in YES])
    yield from unused.devices(name, list(_others(hardware)))
    strange = [
        f"{bus} {device.get('type', 'of no type')}" for bus, device in attached if device.get("type") not in ("HardDisk", "DVD", "Floppy")
    ]
    yield from unused.devices(name, strange, WARNING)
    used = {image.get("uuid", "") for dummy, device in attached if device.get("type") == "HardDisk" for image in device.iterfind("Image")}
    yield from _media(media, used, name)


def of_hardware(hardware: Element, name: str, passed: Sequence[str] = ()) -> Iterator[Concern]:
    """What these settings say of devices of the host (beside `passed`), of a TPM and of cards that are not connected."""
    order = {one.get("position", ""): one.get("device", "") for one in hardware.iterfind("Boot/Order")}
    tried = [order[place] for place in sorted(order) if order[place] in ("HardDisk", "Network")]
    yield from unused.from_network(name, tried[:1] == ["Network"])
    devices = [f"{device.get('host', '')[:40]}" for device in hardware.iterfind("HostPci/Devices/Device")]
    devices += [f"USB {one.get('name', '')}" for one in hardware.iterfind("USB/DeviceFilters/DeviceFilter") if one.get("active") in YES]
    yield from unused.passthrough(name, [*passed, *devices])
    module = hardware.find("TrustedPlatformModule")
    yield from unused.vtpm(name, module is not None and module.get("type", "None").lower() != "none")
    cards = [one for one in hardware.iterfind("Network/Adapter") if one.get("enabled") in YES]
    yield from unused.disconnected(
        name, [f"the one in slot {one.get('slot', '')[:10]}" for one in cards if one.get("cable") in ("false", "0")]
    )


def _others(hardware: Element) -> Iterator[str]:
    for kind, path in (("serial port", "UART/Port"), ("parallel port", "LPT/Port"), ("sound card", "AudioAdapter")):
        yield from (kind for port in hardware.iterfind(path) if port.get("enabled") in YES)
    yield from (f"shared folder {one.get('name', '')}" for one in hardware.iterfind("SharedFolders/SharedFolder"))
    yield from (f"USB {one.get('type', '')}" for one in hardware.iterfind("USB/Controllers/Controller"))
    yield from ("card reader" for one in hardware.iterfind("EmulatedUSB/CardReader") if one.get("enabled") in YES)
    yield from (child.tag for child in hardware if child.tag not in _KNOWN and child.get("enabled") not in ("false", "0"))


def _media(media: dict[str, Element], used: AbstractSet[str], name: str) -> Iterator[Concern]:
    kinds = {uuid: medium.get("type", "Normal") for uuid, medium in media.items() if uuid in used}
    yield from unused.shared(name, [media[uuid].get("location", "") for uuid, kind in kinds.items() if kind == "Shareable"])
    yield from unused.forgetful(name, [media[uuid].get("location", "") for uuid, kind in kinds.items() if kind == "Immutable"], "immutable")
    later = [child.get("location", "") for uuid in kinds for child in media[uuid].iter("HardDisk") if child is not media[uuid]]
    if later:
        yield Concern(
            "source.snapshots",
            INFO,
            f"Images of snapshots or of other VMs go on from disks of {name}, and are attached to nothing: {listed(later)}.",
            "The present state is migrated, and no other.",
        )
    left = [medium.get("location", "") for uuid, medium in media.items() if uuid not in used]
    if left:
        yield Concern(
            "source.file",
            INFO,
            f"Disks that the settings list are attached to nothing of {name}: {listed(left)}.",
            "They are not migrated.",
        )
