# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices behind network adapters: of which kind each is, where it sat, its MAC, and whether it was still there when Windows last ran.

The MAC stands in NetworkSetup2 (Windows 10 and later) or in the instance id of cards with a serial number; else the place tells: VMware's
slot, which Windows keeps as UINumber, the PCI bus and device of LocationInformation, or the number of Xen's virtual interface.
Sources: Microsoft, "DEVPKEY_Device_LastArrivalDate" and "DEVPKEY_Device_LastRemovalDate" ({83da6326-97a6-4088-9453-a1923f573b29}, 102
and 103, from Windows 8 on), "Registry trees and keys for devices and drivers" (NetCfgInstanceId, NetLuidIndex, *IfType, NetworkAddress),
"NIC Teaming" (ms_implat), "Hyper-V virtual switch" (vms_mp), "Network bridge" (ms_bridgemp); Intel, ANS (iansmp); Broadcom, BASP (basp);
Xen Project, Windows PV drivers, XENVIF (its devices end in the number of the vif). Layouts as in hives of Windows 7 and 10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Optional

from ..core.macs import Mac, of_nic
from ..guest.model import WindowsFacts
from . import nsi
from .hives import Draft

CLASS = "{4D36E972-E325-11CE-BFC1-08002BE10318}"
GUID = re.compile(r"\{[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", re.IGNORECASE)
_DATES = "{83da6326-97a6-4088-9453-a1923f573b29}"
_SERIAL = re.compile(r"\\([0-9A-F]{6})FFFF([0-9A-F]{6})[0-9A-F]*$", re.IGNORECASE)
_PLACE = re.compile(r"(\d{1,3})\D{1,40}(\d{1,3})\D{1,40}(\d{1,3})\)?$")
_VIF = re.compile(r"^(?:XENVIF|XEN)\\.*\\(\d{1,2})$", re.IGNORECASE)
_CARDS = ("PCI", "VMBUS", "XENVIF", "XENBUS", "XEN", "USB")
_FOREIGN = ("VMBUS\\", "XENVIF\\", "XENBUS\\", "XEN\\")
CARD, OTHER, GONE = "card", "virtual adapter", "adapter without a device"
# By what a component's id or a device's instance has in it, and whether what lies below it stays behind.
_MADE = {
    "ms_implat": "team",
    "ms_lbfo": "team",
    "vms_": "virtual switch",
    "ms_bridge": "bridge",
    "iansmp": "team or VLAN of Intel's driver",
    "iansvlan": "team or VLAN of Intel's driver",
    "basp": "team or VLAN of Broadcom's driver",
    "cpqteam": "team of HP's driver",
    "rtteam": "team or VLAN of Realtek's driver",
    "rtkvlan": "team or VLAN of Realtek's driver",
    "mlx4eth_bond": "team of Mellanox' driver",
}
_MODELS = {  # of the description; vendor and device as in an instance id
    "vmxnet3": ("VEN_15AD&DEV_07B0",),
    "e1000": ("VEN_8086&DEV_100F", "VEN_8086&DEV_100E"),
    "e1000e": ("VEN_8086&DEV_10D3",),
    "virtio": ("VEN_1AF4&DEV_1000", "VEN_1AF4&DEV_1041"),
}


@dataclass(frozen=True)
class Device:
    """`kind` is CARD, what is made of cards, OTHER, or GONE where nothing is known of a device; `permanent` the MAC that it was made with.

    `luid` is its number in the network store, `bus` bus and device of PCI, `vif` Xen's number, `given` a MAC that was set in Windows.
    `arrived` and `installed` grow with time; `removed`: it was not there when Windows last ran.
    """

    instance: str = ""
    kind: str = GONE
    permanent: Mac = Mac("")
    slot: Optional[int] = None
    bus: Optional[tuple[int, int]] = None
    vif: Optional[int] = None
    luid: Optional[int] = None
    given: Mac = Mac("")
    arrived: int = 0
    installed: bytes = b""
    removed: bool = False

    @property
    def made_of_cards(self) -> bool:
        """Whether the cards that it stands on are others on the target, so that what it is set to leads nowhere."""
        return self.kind in _MADE.values()

    @property
    def of_another_hypervisor(self) -> bool:
        """Whether it is a virtual card that KVM has none of."""
        return self.kind == CARD and ("VEN_15AD" in self.instance.upper() or self.instance.upper().startswith(_FOREIGN))

    def fits(self, model: str) -> bool:
        """Whether a card of a model of the description can be this one, as far as is known."""
        names = _MODELS.get(model.lower())
        return names is None or any(name in self.instance.upper() for name in names)


def known(system: Draft, facts: WindowsFacts) -> dict[str, Device]:
    """The device of each adapter, by its GUID in capitals."""
    found: dict[str, Device] = {}
    root = f"{facts.control_set}\\Control\\Class\\{CLASS}"
    components = {}
    for name in system.keys(root):
        key = f"{root}\\{name}"
        guid = system.text(key, "NetCfgInstanceId").upper()
        if guid:
            components[guid] = system.text(key, "ComponentId").lower()
            stamp = system.value(key, "InstallTimeStamp")
            found[guid] = Device(
                system.text(key, "DeviceInstanceID"),
                luid=_luid(system, key, "*IfType"),
                given=of_nic(system.text(key, "NetworkAddress")) or Mac(""),
                installed=_stamp(stamp.data) if stamp is not None else b"",
            )
    connections = f"{facts.control_set}\\Control\\Network\\{CLASS}"
    for guid in filter(GUID.fullmatch, system.keys(connections)):
        device = found.get(guid.upper(), Device())
        instance = system.text(f"{connections}\\{guid}\\Connection", "PnpInstanceID") or device.instance
        found[guid.upper()] = replace(device, instance=instance)
    return {guid: _looked_up(system, facts, guid, device, components.get(guid, "")) for guid, device in found.items()}


def _luid(system: Draft, key: str, kind: str) -> Optional[int]:
    index, number = system.number(key, "NetLuidIndex"), system.number(key, kind)
    return None if index is None or number is None else nsi.luid(index, number)


def _stamp(data: bytes) -> bytes:
    """A SYSTEMTIME in an order that grows: year, month, day, hour, minute, second; the day of the week is left out."""
    words = [data[at : at + 2][::-1] for at in (0, 2, 6, 8, 10, 12)]
    return b"".join(words) if len(data) >= 14 else b""


def _looked_up(system: Draft, facts: WindowsFacts, guid: str, device: Device, component: str) -> Device:
    """With what its own keys say."""
    kernel = f"{facts.control_set}\\Control\\NetworkSetup2\\Interfaces\\{guid}\\Kernel"
    enum = f"{facts.control_set}\\Enum\\{device.instance}"
    place = _PLACE.search(system.text(enum, "LocationInformation")) if device.instance.upper().startswith("PCI\\") else None
    vif = _VIF.match(device.instance)
    arrived, removed = (_date(system, enum, name) for name in ("0066", "0067"))
    return replace(
        device,
        kind=_kind(device.instance, component),
        permanent=_mac(system, kernel, device),
        slot=system.number(enum, "UINumber"),
        bus=(int(place.group(1)), int(place.group(2))) if place is not None else None,
        vif=int(vif.group(1)) if vif is not None else None,
        luid=device.luid if device.luid is not None else _luid(system, kernel, "IfType"),
        arrived=arrived,
        removed=removed > arrived,
    )


def _kind(instance: str, component: str) -> str:
    if not instance:
        return GONE
    low = f"{component} {instance.lower()}"
    made = next((kind for word, kind in _MADE.items() if word in low), "")
    return made or (CARD if instance.upper().startswith(tuple(f"{bus}\\" for bus in _CARDS)) else OTHER)


def _mac(system: Draft, kernel: str, device: Device) -> Mac:
    """The one that the card was made with; that in use is another where one was set in Windows."""
    for name in ("PermanentAddress", *(() if device.given else ("CurrentAddress",))):
        value = system.value(kernel, name)
        mac = of_nic(value.data.hex()) if value is not None and len(value.data) == 6 else None
        if mac:
            return mac
    serial = _SERIAL.search(device.instance)
    return (of_nic(serial.group(1) + serial.group(2)) if serial is not None else None) or Mac("")


def _date(system: Draft, enum: str, name: str) -> int:
    value = system.value(f"{enum}\\Properties\\{_DATES}\\{name}", "")
    return int.from_bytes(value.data, "little") if value is not None and len(value.data) == 8 else 0
