# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a NIC its settings at the first start: netsh with the index of the interface, and values below its GUID where netsh has no word.

The index is found by the MAC in the interface list of `route print`, which needs no WMI and is the same in every language: a name, which may hold
commas, quotes, percent signs and letters outside the code page, is never spoken of. Before Vista netsh takes names alone; that of the new card, which
Windows itself has made, is looked up by GUID. No FOR reads the output of a command, and no value is expanded twice: files lie in between.
Sources: Microsoft, "Netsh commands for Interface (IPv4 and IPv6)" of Windows Server 2008 (the parameter `name` or `interface` is a name or an
index; verbs may be cut short, so that dnsserver is both Vista's and the dnsservers of 7), "Netsh commands for Interface IP" of 2003, "route",
"getmac", "reg add", "findstr". The words of the interface list as Windows XP to 11 write them: index, three dots, six pairs of digits.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Iterator, Sequence

from ..core.macs import dashed, spaced
from .adapter_devices import CLASS, GUID
from .network import Adapter, Ip

Command = tuple[str, ...]
_CARD = 'name="%CARD%"'
_INTERFACE = 'interface="%CARD%"'
_CONNECTIONS = f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\Network\\{CLASS}"
_SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services"
_KEYS = {
    "Tcpip": f"{_SERVICES}\\Tcpip\\Parameters\\Interfaces\\%GUID%",
    "NetBT": f"{_SERVICES}\\NetBT\\Parameters\\Interfaces\\Tcpip_%GUID%",
}
_INSTANCE = re.compile(r"(?:PCI|VMBUS|XENVIF|XENBUS|XEN)\\[A-Z0-9_&{}.-]+(?:\\[A-Z0-9_&{}.-]+)+", re.IGNORECASE)
_LOG = ' >>"%LOG%" 2>&1'
_SEEN, _FOUND = "%HOME%\\card.txt", "%HOME%\\found.txt"


def commands(nt: tuple[int, int], adapter: Adapter) -> list[Command]:
    """The argument lists, in their order. Only what was parsed as an address, a number, a name of a domain or a MAC gets here."""
    if nt < (6, 0):
        return [*_before_vista(adapter), *_values(adapter, nt)]
    return [
        *_addresses(adapter.v4),
        *_addresses6(adapter.v6),
        *_names(adapter, ("validate=no",) if nt >= (6, 1) else ()),
        *_interface("ipv4", adapter.v4),
        *_interface("ipv6", adapter.v6),
        *_values(adapter, nt),
    ]


def _addresses(ip: Ip) -> Iterator[Command]:
    for index, one in enumerate(ip.addresses):
        interface = ipaddress.IPv4Interface(one)
        place = (f"address={interface.ip}", f"mask={interface.network.netmask}")
        if index:
            yield ("netsh", "interface", "ipv4", "add", "address", _CARD, *place)
        else:
            first = _gateway(*ip.gateways[0]) if ip.gateways else ()
            yield ("netsh", "interface", "ipv4", "set", "address", _CARD, "source=static", *place, *first)
    for gateway, metric in ip.gateways[1:] if ip.addresses else ():
        yield ("netsh", "interface", "ipv4", "add", "address", _CARD, *_gateway(gateway, metric))


def _gateway(gateway: str, metric: int) -> Command:
    return (f"gateway={gateway}", *((f"gwmetric={metric}",) if metric else ()))


def _addresses6(ip: Ip) -> Iterator[Command]:
    for one in ip.addresses:
        yield ("netsh", "interface", "ipv6", "add", "address", _INTERFACE, f"address={one}", "store=persistent")
    for gateway, metric in ip.gateways:
        yield _route("ipv6", "::/0", gateway, metric)


def _route(context: str, prefix: str, gateway: str, metric: int) -> Command:
    to = (f"nexthop={gateway}",) if gateway else ()
    cost = (f"metric={metric}",) if metric else ()
    return ("netsh", "interface", context, "add", "route", f"prefix={prefix}", _INTERFACE, *to, *cost, "store=persistent")


def _names(adapter: Adapter, more: Sequence[str]) -> Iterator[Command]:
    for context, servers in (("ipv4", adapter.v4.dns), ("ipv6", adapter.v6.dns)):
        yield from _servers(context, "dnsserver", servers, more)
    yield from _servers("ipv4", "winsserver", adapter.wins, ())


def _servers(context: str, kind: str, servers: Sequence[str], more: Sequence[str]) -> Iterator[Command]:
    for index, server in enumerate(servers):
        if index:
            yield ("netsh", "interface", context, "add", kind, _CARD, f"address={server}", f"index={index + 1}", *more)
        else:
            yield ("netsh", "interface", context, "set", kind, _CARD, "source=static", f"address={server}", *more)


def _interface(context: str, ip: Ip) -> Iterator[Command]:
    if ip.metric:
        yield ("netsh", "interface", context, "set", "interface", _INTERFACE, f"metric={ip.metric}")
    if ip.mtu:
        yield ("netsh", "interface", context, "set", "subinterface", _INTERFACE, f"mtu={ip.mtu}", "store=persistent")
    for route in ip.routes:
        yield _route(context, route.prefix, route.gateway, route.metric)


def _before_vista(adapter: Adapter) -> Iterator[Command]:
    """Gateways have a metric of their own, name servers are dns. Routes of `route -p` stay in the registry, which is all they need."""
    ip = adapter.v4
    for index, one in enumerate(ip.addresses):
        interface = ipaddress.IPv4Interface(one)
        place = (f"addr={interface.ip}", f"mask={interface.network.netmask}")
        verb = ("add", "address", _CARD) if index else ("set", "address", _CARD, "source=static")
        yield ("netsh", "interface", "ip", *verb, *place)
    for gateway, metric in ip.gateways if ip.addresses else ():
        yield ("netsh", "interface", "ip", "add", "address", _CARD, f"gateway={gateway}", f"gwmetric={metric or 1}")
    for kind, servers in (("dns", ip.dns), ("wins", adapter.wins)):
        for index, server in enumerate(servers):
            verb = ("add", kind, _CARD) if index else ("set", kind, _CARD, "source=static")
            yield ("netsh", "interface", "ip", *verb, f"addr={server}", *((f"index={index + 1}",) if index else ()))


def _values(adapter: Adapter, nt: tuple[int, int]) -> Iterator[Command]:
    """What netsh has no word for, or had none before Vista; Windows reads it when the card comes up again."""
    old = (("InterfaceMetric", adapter.v4.metric), ("MTU", adapter.v4.mtu)) if nt < (6, 0) else ()
    if adapter.suffix:
        yield ("reg", "add", f'"{_KEYS["Tcpip"]}"', "/v", "Domain", "/t", "REG_SZ", "/d", adapter.suffix, "/f")
    for service, name, number in (*adapter.numbers, *(("Tcpip", name, number) for name, number in old if number)):
        yield ("reg", "add", f'"{_KEYS[service]}"', "/v", name, "/t", "REG_DWORD", "/d", str(number), "/f")


def lines(nt: tuple[int, int], adapter: Adapter) -> list[str]:
    """The commands as lines of a script, and whether each address is there afterwards: netsh says no too where it has been there before."""
    spellings = (dashed(adapter.mac),) if nt < (6, 0) else spaced(adapter.mac)
    found = ["call :find " + " ".join(f'"{one}"' for one in spellings), "if not defined CARD goto :eof", f'call :say "card {adapter.mac}"']
    every = commands(nt, adapter)
    values = [command for command in every if command[0] == "reg"]
    found += [" ".join(command) + _LOG for command in every if command[0] != "reg"]
    for address in adapter.addresses:
        found += _there(nt, str(ipaddress.ip_interface(address).ip))
    if values:
        found += [f'call :guid "{dashed(adapter.mac)}"', "if not defined GUID goto :eof"]
        found += [" ".join(command) + _LOG for command in values]
    return found


def _there(nt: tuple[int, int], address: str) -> list[str]:
    six = ":" in address
    context = "ip" if nt < (6, 0) else "ipv6" if six else "ipv4"
    more, text = ("[^0-9a-f:]", address) if six else ("[^0-9.]", "[^0-9.]" + address.replace(".", "\\."))
    return [
        f'netsh interface {context} show address {_INTERFACE if six else _CARD} >"{_SEEN}" 2>&1',
        f'findstr /i /r /c:"{text}{more}" /c:"{text}$" "{_SEEN}" >nul',
        f"if errorlevel 1 call :lost {address}",
    ]


def subroutines(nt: tuple[int, int]) -> list[str]:
    """`:find`, which waits for the card with a MAC and leaves in CARD what netsh calls it, and `:guid`, which leaves its GUID."""
    by_index = [
        f'route print >"{_SEEN}" 2>nul',
        f'find "...%~1 " <"{_SEEN}" >"{_FOUND}"',
        f'find "...%~2 " <"{_SEEN}" >>"{_FOUND}"',
        f'for /f "usebackq delims=." %%a in ("{_FOUND}") do if not defined CARD set /a CARD=%%a',
    ]
    by_name = [
        "call :guid %1",
        "if not defined GUID goto :find_wait",
        f'reg query "{_CONNECTIONS}\\%GUID%\\Connection" /v Name >"{_SEEN}" 2>nul',
        f'find "REG_SZ" <"{_SEEN}" >"{_FOUND}"',
        f'for /f "usebackq tokens=2*" %%a in ("{_FOUND}") do if not defined CARD set "CARD=%%b"',
    ]
    return [
        ":find",
        "set CARD=",
        "set /a WAIT=0",
        ":find_again",
        *(by_name if nt < (6, 0) else by_index),
        ":find_wait",
        "if defined CARD goto :eof",
        "set /a WAIT+=1",
        "if %WAIT% GTR 60 goto :find_none",
        "ping -n 3 127.0.0.1 >nul",
        "goto :find_again",
        ":find_none",
        'call :say "no card has %~1"',
        "set WORST=1",
        "goto :eof",
        ":lost",
        'call :say "the address %1 is not set"',
        "set WORST=1",
        "goto :eof",
        ":guid",
        "set GUID=",
        "set LINE=",
        f'getmac /fo csv /nh >"{_SEEN}" 2>nul',
        f'find "%~1" <"{_SEEN}" >"{_FOUND}"',
        f'find "Tcpip_{{" <"{_FOUND}" >"{_SEEN}"',
        f'set /p LINE=<"{_SEEN}"',
        # "00-50-56-11-22-33","\\Device\\Tcpip_{GUID}": what FOR makes of quoted fields is not the same everywhere, and every place is known.
        'if defined LINE set "GUID=%LINE:~35,38%"',
        'if not defined GUID call :say "no GUID is known of %~1"',
        "goto :eof",
    ]


def removed(ghosts: Sequence[Adapter], removes: bool) -> list[str]:
    """The old NICs are devices that are no more: they would hold their addresses and names. `removes`: pnputil can take one away."""
    found = []
    for adapter in ghosts:
        if _INSTANCE.fullmatch(adapter.device.instance) and GUID.fullmatch(adapter.guid):
            key = _KEYS["Tcpip"].replace("%GUID%", adapter.guid)
            found += [f'"%PNPUTIL%" /remove-device "{adapter.device.instance}"{_LOG}'] if removes else []
            found.append(f'reg delete "{key}" /f{_LOG}')
    return found
