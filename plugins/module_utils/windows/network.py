# SPDX-License-Identifier: GPL-3.0-or-later
"""The network adapters of a Windows guest and what each is set to, read from every place of the registry that has an address.

Sources: Microsoft, KB 314053 "TCP/IP and NBT configuration parameters" and "Windows Server 2003 TCP/IP Implementation Details", appendix A
(EnableDHCP is 0 where it is missing; DefaultGatewayMetric, InterfaceMetric, MTU, NetbiosOptions, RegistrationEnabled, RegisterAdapterName);
"Configure IPv6 in Windows" (bit 0x10 of DisabledComponents switches it off on every card); "TCP/IP fundamentals", alternate configurations
of DHCP. Layouts as in hives of Windows XP, 7 and 10.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Iterator, Optional, Sequence

from ..core.machine import NicFacts
from ..core.macs import Mac
from ..core.numbers import decimal
from ..guest.model import WindowsFacts
from . import adapter_devices, nsi
from .adapter_devices import Device
from .hives import Draft
from .pnp import services

SUFFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_MASK, _REQUESTED = 1, 50  # RFC 2132, 3.3 and 9.1
_NO_IPV6 = 0x10  # of DisabledComponents
_NO_ADDRESS = ("", str(ipaddress.IPv4Address(0)), str(ipaddress.IPv6Address(0)))
_PARSERS = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}
_MTU_LEAST = {4: 576, 6: 1280}  # RFC 791, RFC 8200


@dataclass(frozen=True)
class Route:
    """To a network, by a gateway or, where that is empty, on the link. A metric of 0 is for Windows to choose."""

    prefix: str
    gateway: str = ""
    metric: int = 0


@dataclass(frozen=True)
class Ip:
    """What an adapter is set to for one version of IP: addresses as CIDR, `gateways` (address, metric). 0: nothing is set."""

    addresses: tuple[str, ...] = ()
    gateways: tuple[tuple[str, int], ...] = ()
    dns: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    metric: int = 0
    mtu: int = 0


@dataclass(frozen=True)
class Adapter:
    """A network adapter as Windows knows it, and what it is set to.

    `mac` is the one that it has on the target, once that is known. `unused` are static addresses that are not in force with the reason why,
    `unread` is what stands in the place of an address and is none. `numbers` are REG_DWORD values of its keys: service, name, number.
    """

    guid: str
    name: str = ""
    device: Device = Device()
    mac: Mac = Mac("")
    v4: Ip = Ip()
    v6: Ip = Ip()
    suffix: str = ""
    wins: tuple[str, ...] = ()
    numbers: tuple[tuple[str, str, int], ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its static addresses that are in force."""
        return self.v4.addresses + self.v6.addresses

    @property
    def configured(self) -> bool:
        """Whether there is anything to be restored."""
        return self.v4 != Ip() or self.v6 != Ip() or bool(self.suffix or self.wins or self.numbers)

    def facts(self) -> NicFacts:
        gateway = next((gateway for gateway, dummy in (*self.v4.gateways, *self.v6.gateways)), "")
        return NicFacts(
            self.mac, self.name, "static" if self.addresses else "dhcp", self.addresses, gateway, "registry", self.device.instance
        )


def adapters(system: Draft, facts: WindowsFacts) -> list[Adapter]:
    """Every adapter that has a connection or settings, ghosts and those that are no device included."""
    devices = adapter_devices.known(system, facts)
    kept = nsi.kept(system, facts)
    found, seen = [], set()
    for guid in _guids(system, facts):
        connection = f"{facts.control_set}\\Control\\Network\\{adapter_devices.CLASS}\\{guid}\\Connection"
        device = devices.get(guid.upper(), Device())
        luid = -1 if device.luid is None else device.luid
        seen.add(luid)
        adapter = _settings(
            system, facts, Adapter(guid, system.text(connection, "Name"), device), *(kept.get((luid, ip), nsi.Kept()) for ip in (4, 6))
        )
        if adapter.device.instance or adapter.configured or adapter.unused or adapter.unread:
            found.append(adapter)
    for (luid, dummy), row in sorted(kept.items()):
        if luid not in seen and row.addresses:
            unused = tuple((address, "the adapter that had it is no more") for address in row.addresses)
            found.append(Adapter("", f"interface {luid >> 24 & 0xFFFFFF}", unused=unused))
    return _without_repeats(found)


def _guids(system: Draft, facts: WindowsFacts) -> list[str]:
    """Of every adapter that any key speaks of, each once, as it is first spelt."""
    root = services(facts)
    names = [
        *system.keys(f"{facts.control_set}\\Control\\Network\\{adapter_devices.CLASS}"),
        *system.keys(f"{root}\\Tcpip\\Parameters\\Interfaces"),
        *system.keys(f"{root}\\Tcpip6\\Parameters\\Interfaces"),
        *(name.partition("_")[2] for name in system.keys(f"{root}\\NetBT\\Parameters\\Interfaces")),
        *(name.partition("_")[2] for name in system.keys(f"{root}\\Dhcp\\Configurations")),
        *system.keys(root),  # the settings of Windows 2000, of which later ones keep copies
    ]
    found: dict[str, str] = {}
    for name in filter(adapter_devices.GUID.fullmatch, names):
        found.setdefault(name.upper(), name)
    return list(found.values())


def _settings(system: Draft, facts: WindowsFacts, adapter: Adapter, kept: nsi.Kept, kept6: nsi.Kept) -> Adapter:
    key = f"{services(facts)}\\Tcpip\\Parameters\\Interfaces\\{adapter.guid}"
    v4, unused, unread = _ipv4(system, key, kept)
    v6, unused6, unread6 = _ipv6(system, facts, adapter.guid, kept6)
    copy, more = _pairs(system, f"{services(facts)}\\{adapter.guid}\\Parameters\\Tcpip")
    known = {_bare(address) for address in (*v4.addresses, *(address for address, dummy in unused))}
    stale = [(address, "only an old copy of the settings has it") for address in copy if _bare(address) not in known]
    wins = system.texts(f"{services(facts)}\\NetBT\\Parameters\\Interfaces\\Tcpip_{adapter.guid}", "NameServerList")
    suffix = system.text(key, "Domain")
    wrong = [
        *unread,
        *unread6,
        *more,
        *(text for text in wins if text and not _valid(text)),
        *([suffix] if suffix and not _suffix(suffix) else []),
    ]
    return replace(
        adapter,
        v4=v4,
        v6=v6,
        suffix=_suffix(suffix),
        wins=tuple(filter(_valid, wins)),
        numbers=tuple(_numbers(system, facts, adapter.guid)),
        unused=(*unused, *unused6, *stale, *_alternate(system, facts, adapter.guid)),
        unread=tuple(dict.fromkeys(wrong)),
    )


def _ipv4(system: Draft, key: str, kept: nsi.Kept) -> tuple[Ip, list[tuple[str, str]], list[str]]:
    """The settings in force, static addresses that are not, and what is no address."""
    addresses, unread = _pairs(system, key)
    known = {_bare(address) for address in addresses}
    store = [address for address in kept.addresses if _bare(address) not in known]
    metrics = system.texts(key, "DefaultGatewayMetric")
    said = [text for text in system.texts(key, "DefaultGateway") if text not in _NO_ADDRESS]
    gateways = tuple(
        (gateway, (decimal(metrics[index]) or 0) if index < len(metrics) else 0) for index, gateway in enumerate(said) if _valid(gateway)
    )
    dns, wrong = _servers(system.text(key, "NameServer"), 4)
    unread += [*wrong, *(gateway for gateway in said if not _valid(gateway))]
    dynamic = bool(system.number(key, "EnableDHCP"))
    routes = tuple(Route(*route) for route in kept.routes if not (route[0] == "0.0.0.0/0" and route[1] in dict(gateways)))
    ip = Ip(
        (), (), dns, routes, _metric(system.number(key, "InterfaceMetric")) or kept.metric, _mtu(system.number(key, "MTU") or kept.mtu, 4)
    )
    if dynamic:
        return ip, [(address, "it is set to DHCP") for address in (*addresses, *store)], unread
    return replace(ip, addresses=(*addresses, *store), gateways=gateways if addresses or store else ()), [], unread


def _ipv6(system: Draft, facts: WindowsFacts, guid: str, kept: nsi.Kept) -> tuple[Ip, list[tuple[str, str]], list[str]]:
    """The same for IPv6, whose addresses Windows keeps in its network store."""
    root = f"{services(facts)}\\Tcpip6\\Parameters"
    key = f"{root}\\Interfaces\\{guid}"
    addresses, unread = list(kept.addresses), []
    for text in system.texts(key, "IPAddress"):
        address = _interface6(text)
        if not address:
            unread += [text] if text not in _NO_ADDRESS else []
        elif _bare(address) not in {*map(_bare, addresses), "::"}:
            addresses.append(address)
    dns, wrong = _servers(system.text(key, "NameServer"), 6)
    gateways = tuple((gateway, metric) for prefix, gateway, metric in kept.routes if prefix == "::/0" and gateway)
    routes = tuple(Route(*route) for route in kept.routes if not (route[0] == "::/0" and route[1]))
    off = (system.number(root, "DisabledComponents") or 0) & _NO_IPV6
    if off or facts.nt < (6, 0):
        why = "IPv6 is switched off" if off else "Windows before Vista is not given IPv6 addresses"
        return Ip(), [(address, why) for address in addresses], unread
    return Ip(tuple(addresses), gateways, dns, routes, kept.metric, _mtu(system.number(key, "MTU") or kept.mtu, 6)), [], [*unread, *wrong]


def _pairs(system: Draft, key: str) -> tuple[list[str], list[str]]:
    """Addresses with their masks as CIDR, and what is neither these nor a place without an address."""
    masks = system.texts(key, "SubnetMask")
    found, unread = [], []
    for index, address in enumerate(system.texts(key, "IPAddress")):
        interface = _interface(address, masks[index] if index < len(masks) else "")
        if interface:
            found.append(interface)
        elif address not in _NO_ADDRESS:
            unread.append(address)
    return found, unread


def _alternate(system: Draft, facts: WindowsFacts, guid: str) -> Iterator[tuple[str, str]]:
    """The address that a card with DHCP takes where nobody answers: options of DHCP with code, class, length, flag and time before their data."""
    value = system.value(f"{services(facts)}\\Dhcp\\Configurations\\Alternate_{guid}", "Options")
    data, at = (value.data if value is not None else b""), 0
    options = {}
    while at + 20 <= len(data):
        code, length = (int.from_bytes(data[at + place : at + place + 4], "little") for place in (0, 8))
        options[code] = data[at + 20 : at + 20 + length]
        at += 20 + -(-length // 4) * 4
    address, mask = options.get(_REQUESTED, b""), options.get(_MASK, b"")
    if len(address) == 4 and any(address):
        bare = str(ipaddress.IPv4Address(address))
        cidr = _interface(bare, str(ipaddress.IPv4Address(mask))) if len(mask) == 4 else ""
        yield cidr or bare, "it is an alternate configuration, for when no DHCP server answers"


def _numbers(system: Draft, facts: WindowsFacts, guid: str) -> Iterator[tuple[str, str, int]]:
    """Numbers that are not as Windows sets them: NetBIOS over TCP/IP on (1) or off (2), and whether the card registers its names."""
    for service, name, key, usual in (
        ("NetBT", "NetbiosOptions", f"NetBT\\Parameters\\Interfaces\\Tcpip_{guid}", 0),
        ("Tcpip", "RegistrationEnabled", f"Tcpip\\Parameters\\Interfaces\\{guid}", 1),
        ("Tcpip", "RegisterAdapterName", f"Tcpip\\Parameters\\Interfaces\\{guid}", 0),
    ):
        number = system.number(f"{services(facts)}\\{key}", name)
        if number in (0, 1, 2) and number != usual:
            yield service, name, number


def _without_repeats(found: Sequence[Adapter]) -> list[Adapter]:
    """An old copy of an address says nothing where another adapter has it in force."""
    used = {_bare(address) for adapter in found for address in adapter.addresses}
    return [replace(adapter, unused=tuple(one for one in adapter.unused if _bare(one[0]) not in used)) for adapter in found]


def persistent_routes(system: Draft, facts: WindowsFacts) -> tuple[Route, ...]:
    """Those of `route -p add`: values without content whose names are network, mask, gateway and metric. They belong to no adapter."""
    found = []
    for value in system.values(f"{services(facts)}\\Tcpip\\Parameters\\PersistentRoutes"):
        parts = value.name.split(",")
        try:
            prefix = str(ipaddress.IPv4Network(f"{parts[0]}/{parts[1]}"))
            found.append(Route(prefix, str(ipaddress.IPv4Address(parts[2])), max(0, int(parts[3]))))
        except (ValueError, IndexError):
            continue
    return tuple(found)


def with_routes(here: Sequence[Adapter], routes: Sequence[Route]) -> list[Adapter]:
    """The adapters with the routes whose gateways they reach. The others stay in the registry, where Windows tries them at every start."""
    found = []
    for adapter in here:
        networks = [ipaddress.IPv4Interface(address).network for address in adapter.v4.addresses]
        gateways = dict(adapter.v4.gateways)
        known = {(route.prefix, route.gateway) for route in adapter.v4.routes}
        more = [
            route
            for route in routes
            if any(ipaddress.IPv4Address(route.gateway) in network for network in networks)
            and (route.prefix, route.gateway) not in known
            and not (route.prefix == "0.0.0.0/0" and route.gateway in gateways)
        ]
        found.append(replace(adapter, v4=replace(adapter.v4, routes=(*adapter.v4.routes, *more))))
    return found


def _servers(text: str, version: int) -> tuple[tuple[str, ...], list[str]]:
    """Name servers of one version of IP, separated by commas or blanks; and what is none."""
    found, wrong = [], []
    for server in filter(None, re.split(r"[ ,]+", text)):
        try:
            found.append(str(_PARSERS[version](server)) if "%" not in server else "")
        except ValueError:
            found.append("")
        if not found[-1]:
            wrong.append(server)
    return tuple(server for server in found if server not in _NO_ADDRESS), wrong


def _metric(number: Optional[int]) -> int:
    return number if number is not None and 0 < number <= nsi.MOST else 0


def _mtu(number: Optional[int], version: int) -> int:
    return number if number is not None and _MTU_LEAST[version] <= number <= 0xFFFF else 0


def _valid(address: str) -> bool:
    try:
        return not ipaddress.IPv4Address(address).is_unspecified
    except ValueError:
        return False


def _interface(address: str, mask: str) -> str:
    """CIDR; empty for what is no address. A hostile text must never reach a script."""
    try:
        return str(ipaddress.IPv4Interface(f"{address}/{mask}")) if _valid(address) and mask else ""
    except ValueError:
        return ""


def _interface6(text: str) -> str:
    """The same of IPv6. What stands behind a percent sign may be anything and is refused."""
    try:
        return str(ipaddress.IPv6Interface(text if "/" in text else f"{text}/64")) if "%" not in text else ""
    except ValueError:
        return ""


def _suffix(text: str) -> str:
    return text if SUFFIX.fullmatch(text) else ""


def _bare(address: str) -> str:
    return address.partition("/")[0]
