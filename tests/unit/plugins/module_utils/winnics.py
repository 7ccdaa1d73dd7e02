# SPDX-License-Identifier: GPL-3.0-or-later
"""Network adapters of every kind as the registry has them, for the guests of winlab."""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

import winlab
from winlab import CS, NET

from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import regf

Tree = dict[str, dict[str, object]]
SERVICES = f"{CS}\\Services"
NSI = {
    4: f"{CS}\\Control\\Nsi\\{{eb004a00-9b1a-11d4-9123-0050047759bc}}",
    6: f"{CS}\\Control\\Nsi\\{{eb004a01-9b1a-11d4-9123-0050047759bc}}",
}
DATES = "Properties\\{83da6326-97a6-4088-9453-a1923f573b29}"
VMXNET3 = "PCI\\VEN_15AD&DEV_07B0&SUBSYS_07B015AD&REV_01\\4&b70f118&0&{:02X}88"
E1000 = "PCI\\VEN_8086&DEV_100F&SUBSYS_075015AD&REV_01\\4&b70f118&0&{:02X}88"
E1000E = "PCI\\VEN_8086&DEV_10D3&SUBSYS_07D015AD&REV_00\\{}"
VMBUS = "VMBUS\\{{F8615163-DF3E-46C5-913F-F2D2F965ED0E}}\\{{0FE9B3E8-1111-2222-3333-4444555566{:02X}}}"
XENVIF = "XENVIF\\VEN_XS0002&DEV_NET&REV_09000000\\{}"
NUTANIX = "PCI\\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00\\3&13c0b0c5&0&{:02X}"
TEAM = "COMPOSITEBUS\\MS_IMPLAT_MP\\{{AAAAAAAA-AB3E-4D0E-8FDE-6957992500{:02X}}}"
SWITCH = "ROOT\\VMS_MP\\{:04d}"
BRIDGE = "ROOT\\MS_BRIDGEMP\\{:04d}"
VLAN = "ROOT\\INTELANS\\{:04d}"
LOOPBACK = "ROOT\\NET\\{:04d}"
COMPONENTS = {TEAM: "ms_implat_mp", SWITCH: "vms_mp", BRIDGE: "ms_bridgemp", VLAN: "iansmp", LOOPBACK: "*msloop"}

NAME = 'Büro "100%PATH%", !x! & ^ (日本語)'


def guid(number: int) -> str:
    return f"{{0000{number:04X}-AB3E-4D0E-8FDE-69579925A20F}}"


@dataclass(frozen=True)
class Card:
    """An adapter. `addresses` are of both versions of IP; those of IPv6 are in the network store, as Windows has them from Vista on."""

    number: int
    instance: str
    addresses: tuple[str, ...] = ()
    name: str = ""
    mac: str = ""
    slot: int | None = None
    place: str = ""
    removed: bool | None = None
    installed: int = 0
    dhcp: bool = False
    alternate: str = ""
    component: str = ""
    more: tuple[tuple[str, object], ...] = ()

    @property
    def guid(self) -> str:
        return guid(self.number)

    @property
    def settings(self) -> str:
        return f"{SERVICES}\\Tcpip\\Parameters\\Interfaces\\{self.guid.lower()}"


def tree(release: winlab.Release, *cards: Card) -> Tree:
    """The keys of some adapters."""
    made: Tree = {}
    for card in cards:
        made.update(_of(release, card))
    for version, root in NSI.items():
        rows: dict[str, object] = {}
        for card in cards:
            rows.update({row_name(card.number, one): row(one) for one in card.addresses if (":" in one) == (version == 6)})
        if rows and release.nt >= (6, 0) and version == 6:
            made[f"{root}\\10"] = rows
    return made


def _of(release: winlab.Release, card: Card) -> Tree:
    four = [ipaddress.IPv4Interface(one) for one in card.addresses if ":" not in one]
    settings: dict[str, object] = {"EnableDHCP": int(card.dhcp), **dict(card.more)}
    if four:
        settings.update(IPAddress=[str(one.ip) for one in four], SubnetMask=[str(one.netmask) for one in four])
    made: Tree = {card.settings: settings}
    if card.alternate:
        made[f"{SERVICES}\\Dhcp\\Configurations\\Alternate_{card.guid}"] = {"Options": alternate(card.alternate)}
    if not card.instance:
        return made
    made[f"{CS}\\Control\\Network\\{NET}\\{card.guid}\\Connection"] = {
        "Name": card.name or f"LAN {card.number}",
        "PnpInstanceID": card.instance,
    }
    made[f"{CS}\\Control\\Class\\{NET}\\{card.number:04d}"] = {
        "NetCfgInstanceId": card.guid, "NetLuidIndex": card.number, "*IfType": 6, "DeviceInstanceID": card.instance,
        "ComponentId": card.component or next((word for form, word in COMPONENTS.items() if card.instance.startswith(form.partition("{")[0])), ""),
        "InstallTimeStamp": struct.pack("<8H", 2011, 7, 2, card.installed, 12, 0, 0, 0),
    }  # fmt: skip
    enum = f"{CS}\\Enum\\{card.instance}"
    if card.slot is not None:
        made.setdefault(enum, {})["UINumber"] = card.slot
    if card.place:
        made.setdefault(enum, {})["LocationInformation"] = card.place
    if card.removed is not None and release.nt >= (6, 2):
        made[f"{enum}\\{DATES}\\0066"] = {"": (2000).to_bytes(8, "little")}
        made[f"{enum}\\{DATES}\\0067"] = {"": (3000 if card.removed else 1000).to_bytes(8, "little")}
    if card.mac and release.nt >= (10, 0):
        key = f"{CS}\\Control\\NetworkSetup2\\Interfaces\\{card.guid}\\Kernel"
        made[key] = {"PermanentAddress": bytes.fromhex(card.mac.replace(":", ""))}
    return made


def row_name(number: int, address: str) -> str:
    """The name of a row of the network store: the interface, 24 bits of nothing, 24 bits index, 16 bits type; then the address."""
    packed = ipaddress.ip_interface(address).ip.packed
    return (bytes(3) + number.to_bytes(3, "little") + b"\6\0" + packed + bytes(4 if len(packed) == 4 else 0)).hex()


def row(address: str) -> bytes:
    """The rest of it, as a hive of Windows 7 has it: two times, two origins, the length of the prefix."""
    return struct.pack("<5I", 0xFFFFFFFF, 0xFFFFFFFF, 16, 16, ipaddress.ip_interface(address).network.prefixlen) + b"\xff" * 20


def route_name(number: int, prefix: str, gateway: str) -> str:
    network, hop = ipaddress.ip_network(prefix), ipaddress.ip_address(gateway)
    interface = bytes(3) + number.to_bytes(3, "little") + b"\6\0"
    pad = bytes(4) if network.version == 6 else b""
    tail = b"" if network.version == 6 else bytes(4)
    return (
        bytes(4) + network.network_address.packed + bytes([network.prefixlen]) + bytes(15) + pad + interface * 2 + hop.packed + tail
    ).hex()


def alternate(address: str) -> bytes:
    """Options of DHCP: 50 is the address, 1 the mask."""
    one = ipaddress.IPv4Interface(address)
    return b"".join(
        struct.pack("<4I4s", code, 0, 4, 0, b"\xff\xff\xff\x7f") + data for code, data in ((50, one.ip.packed), (1, one.netmask.packed))
    )


def in_the_hive(data: bytes) -> set[str]:
    """Every static address that any key has, found without what is tested."""
    found: set[str] = set()
    for path, values in regf.Hive(data).walk():
        low = path.lower()
        for value in values:
            if value.name == "IPAddress" and ("\\parameters\\interfaces\\" in low or low.endswith("\\parameters\\tcpip")):
                found.update(text.partition("/")[0] for text in value.texts)
            elif "\\control\\nsi\\{eb004a0" in low and low.endswith("\\10"):
                raw = bytes.fromhex(value.name)[8:]
                found.add(str(ipaddress.ip_address(raw[:4] if "{eb004a00" in low else raw[:16])))
            elif re.search(r"\\dhcp\\configurations\\alternate_", low):
                found.add(str(ipaddress.IPv4Address(value.data[20:24])))
    return {address for address in found if address and not ipaddress.ip_address(address).is_unspecified}


def told(changes) -> str:
    return "\n".join(concern.cause for concern in changes.concerns)


def script_of(made, release: winlab.Release) -> str:
    return made.read(f"/c/{release.root}/hyper2kvm/work.cmd").decode("ascii")


def named(text: str) -> set[str]:
    """The addresses that a text speaks of."""
    found = {one.partition("/")[0] for one in re.findall(r"[0-9a-f.:]+(?:/\d+)?", text)}
    return found | {one.rstrip(".:") for one in found}


def set_by(text: str) -> set[str]:
    return {one.partition("/")[0] for one in re.findall(r"\b(?:address|addr)=(\S+)", text)}
