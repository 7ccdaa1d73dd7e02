# SPDX-License-Identifier: GPL-3.0-or-later
"""The NICs of a Windows guest and what each is set to, read from the registry; and which NIC of the VM each one is.

The MAC stands in NetworkSetup2 (Windows 10 and later) or in the instance id of NICs with a serial number; else VMware's slot number,
which Windows keeps as UINumber, tells. The new NIC is another device with a new GUID, so settings are kept by MAC.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Sequence

from ..core.concern import WARNING, Findings
from ..core.errors import InvalidInput
from ..core.machine import Nic, NicFacts
from ..core.macs import Mac, canonical
from ..core.numbers import decimal
from ..guest.model import WindowsFacts
from ..guest.nic_names import Slot
from .hives import Draft
from .pnp import services

_CLASS = "{4D36E972-E325-11CE-BFC1-08002BE10318}"
_SERIAL = re.compile(r"\\([0-9A-F]{6})FFFF([0-9A-F]{6})[0-9A-F]*$", re.IGNORECASE)
_SUFFIX = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?$")


@dataclass(frozen=True)
class Adapter:
    """A NIC as Windows knows it. `addresses` are CIDR, `gateways` (address, metric), `instance` its device instance id.

    `mac` is empty where the registry has none.
    """

    guid: str
    name: str
    instance: str
    mac: Mac = Mac("")
    slot: Optional[int] = None
    static: bool = False
    addresses: tuple[str, ...] = ()
    gateways: tuple[tuple[str, int], ...] = ()
    dns: tuple[str, ...] = ()
    suffix: str = ""
    wins: tuple[str, ...] = ()

    def facts(self) -> NicFacts:
        gateway = self.gateways[0][0] if self.gateways else ""
        return NicFacts(self.mac, self.name, "static" if self.static else "dhcp", self.addresses, gateway, "registry", self.instance)


def adapters(system: Draft, facts: WindowsFacts) -> list[Adapter]:
    """Every PCI NIC that Windows has been configured for, ghosts included."""
    found = []
    root = f"{facts.control_set}\\Control\\Network\\{_CLASS}"
    for guid in system.keys(root):
        key = f"{root}\\{guid}\\Connection"
        instance = system.text(key, "PnpInstanceID")
        if guid.startswith("{") and instance.upper().startswith("PCI\\"):
            found.append(
                _settings(system, facts, Adapter(guid, system.text(key, "Name"), instance, *_place(system, facts, guid, instance)))
            )
    return found


def _place(system: Draft, facts: WindowsFacts, guid: str, instance: str) -> tuple[Mac, Optional[int]]:
    """MAC and slot, each where the registry has it."""
    value = system.value(f"{facts.control_set}\\Control\\NetworkSetup2\\Interfaces\\{guid}\\Kernel", "PermanentAddress")
    digits = value.data.hex() if value is not None and len(value.data) == 6 else ""
    serial = _SERIAL.search(instance)
    if not digits and serial is not None:
        digits = serial.group(1) + serial.group(2)
    slot = system.number(f"{facts.control_set}\\Enum\\{instance}", "UINumber")
    return canonical(digits) or Mac(""), slot


def _settings(system: Draft, facts: WindowsFacts, adapter: Adapter) -> Adapter:
    key = f"{services(facts)}\\Tcpip\\Parameters\\Interfaces\\{adapter.guid}"
    wins = system.texts(f"{services(facts)}\\NetBT\\Parameters\\Interfaces\\Tcpip_{adapter.guid}", "NameServerList")
    addresses = []
    for address, mask in zip(system.texts(key, "IPAddress"), system.texts(key, "SubnetMask")):
        interface = _interface(address, mask)
        if interface:
            addresses.append(interface)
    metrics = system.texts(key, "DefaultGatewayMetric")
    gateways = tuple(
        (gateway, (decimal(metrics[index]) or 0) if index < len(metrics) else 0)
        for index, gateway in enumerate(system.texts(key, "DefaultGateway"))
        if _valid(gateway)
    )
    static = system.number(key, "EnableDHCP") == 0 and bool(addresses)
    return replace(
        adapter,
        static=static,
        addresses=tuple(addresses) if static else (),
        gateways=gateways if static else (),
        dns=tuple(filter(_valid, re.split(r"[ ,]+", system.text(key, "NameServer")))),
        suffix=_suffix(system.text(key, "Domain")),
        wins=tuple(filter(_valid, wins)),
    )


def _valid(address: str) -> bool:
    try:
        return not ipaddress.IPv4Address(address).is_unspecified
    except ValueError:
        return False


def _interface(address: str, mask: str) -> str:
    """CIDR; empty for what is no address. A hostile text must never reach a script."""
    try:
        return str(ipaddress.IPv4Interface(f"{address}/{mask}")) if _valid(address) else ""
    except ValueError:
        return ""


def _suffix(text: str) -> str:
    return text if _SUFFIX.match(text) else ""


def matched(
    known: Sequence[Adapter], nics: Sequence[Nic], macs: Mapping[Mac, Mac], findings: Findings
) -> tuple[list[Adapter], list[Adapter]]:
    """The adapters that are NICs of this VM, with the MACs they will have, and those that are none of them (ghosts)."""
    given = [(nic.mac, nic.slot) for nic in nics if nic.mac]
    here: list[Adapter] = []
    rest: list[Adapter] = []
    by_mac = dict.fromkeys(mac for mac, dummy in given)
    for adapter in known:
        mac = adapter.mac or next(
            (mac for mac, slot in given if slot is not None and adapter.slot in (slot, Slot.of(slot).hotplug)), Mac("")
        )
        (here if mac in by_mac or (mac and not given) else rest).append(replace(adapter, mac=mac))
    left = [mac for mac in by_mac if mac not in {adapter.mac for adapter in here}]
    loose = [adapter for adapter in rest if not adapter.mac]
    if len(loose) == 1 and len(left) == 1:
        here.append(replace(loose[0], mac=left[0]))
        rest.remove(loose[0])
    elif any(adapter.static for adapter in loose):
        findings.add(
            "windows.card-unmatched",
            WARNING,
            "It is not known which card of the VM has the settings of "
            + ", ".join(f"{adapter.name} ({', '.join(adapter.addresses)})" for adapter in loose if adapter.static)
            + ".",
            "Name it in migrate_windows_network, by MAC; otherwise these cards start with DHCP.",
        )
    return [replace(adapter, mac=macs.get(adapter.mac, adapter.mac)) for adapter in here], rest


def overridden(here: Sequence[Adapter], wanted: Sequence[Mapping[str, Any]]) -> list[Adapter]:
    """The adapters with what the operator gave in migrate_windows_network, by MAC. Raises InvalidInput for what is no setting."""
    result = {adapter.mac: adapter for adapter in here}
    for entry in wanted:
        mac = canonical(str(entry.get("mac") or "")) or Mac("")
        try:
            addresses = tuple(str(ipaddress.IPv4Interface(address)) for address in entry.get("addresses") or ())
            if not mac or any("/" not in address for address in entry.get("addresses") or ()):
                raise ValueError(f"{entry.get('mac')!r} with {entry.get('addresses')!r}")
            gateways = tuple((str(ipaddress.IPv4Address(gateway)), 0) for gateway in filter(None, [entry.get("gateway")]))
            dns = tuple(str(ipaddress.IPv4Address(server)) for server in entry.get("dns") or ())
            suffix = entry.get("suffix") or ""
            if suffix and not _SUFFIX.match(suffix):
                raise ValueError(f"the suffix {suffix!r}")
        except ValueError as error:
            raise InvalidInput(
                f"migrate_windows_network holds what cannot be set: {error}.",
                "Each entry has a mac, addresses as address/prefix (none for DHCP), gateway, dns (a list) and suffix.",
            ) from error
        adapter = result.get(mac, Adapter("", "", "", mac))
        result[mac] = replace(adapter, static=bool(addresses), addresses=addresses, gateways=gateways, dns=dns, suffix=suffix, wins=())
    return list(result.values())
