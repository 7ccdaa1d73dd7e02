# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows' network store (NSI), from Vista on the place where static addresses of IPv6 and routes of an adapter are kept.

A value is a row of a table: its name the key of the row in hexadecimal digits, its content the rest, all bits set where nothing is said.
Sources: Wine, include/wine/nsi.h (struct nsi_ipv4_unicast_key, nsi_ipv6_forward_key and the like; tables 10 and 16); Microsoft,
"NET_LUID_LH union" (24 bits reserved, 24 bits index, 16 bits type). Names and content as in a hive of Windows 7 with two static cards; there
and in one of 10 the places of metric and MTU in the row of an interface, NL_INTERFACE_RW, are empty but for 1280 of a Teredo interface.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, replace
from typing import Optional

from ..guest.model import WindowsFacts
from .hives import Draft

_MODULES = {4: "{eb004a00-9b1a-11d4-9123-0050047759bc}", 6: "{eb004a01-9b1a-11d4-9123-0050047759bc}"}
_INTERFACES, _ADDRESSES, _ROUTES = "7", "10", "16"
_METRIC, _MTU = 28, 120  # of an interface
MOST = 9999  # the greatest metric that netsh takes
_SIZE = {4: 4, 6: 16}
_LUID = {4: 24, 6: 40}  # where a route has that of its interface
_UNSAID = 0xFFFFFFFF
_USUAL = {4: 24, 6: 64}  # the length of a prefix that is not said


@dataclass(frozen=True)
class Kept:
    """What the store has of one interface for one version of IP: addresses as CIDR, routes as prefix, gateway (empty: on the link) and metric.

    `metric` and `mtu` are 0 where nothing is set.
    """

    addresses: tuple[str, ...] = ()
    routes: tuple[tuple[str, str, int], ...] = ()
    metric: int = 0
    mtu: int = 0


def luid(index: int, kind: int) -> int:
    """The number by which the store knows an interface."""
    return kind << 48 | index << 24


def kept(system: Draft, facts: WindowsFacts) -> dict[tuple[int, int], Kept]:
    """What the store has, by interface and version of IP."""
    found: dict[tuple[int, int], Kept] = {}
    for version, module in _MODULES.items():
        root = f"{facts.control_set}\\Control\\Nsi\\{module}"
        for value in system.values(f"{root}\\{_INTERFACES}"):
            key = _digits(value.name)
            if len(key) == 8:
                found[int.from_bytes(key, "little"), version] = Kept(
                    (), (), _number(value.data, _METRIC, MOST), _number(value.data, _MTU, 0xFFFF)
                )
        for value in system.values(f"{root}\\{_ADDRESSES}"):
            row = _address(_digits(value.name), value.data, version)
            if row is not None:
                before = found.get((row[0], version), Kept())
                found[row[0], version] = replace(before, addresses=(*before.addresses, row[1]))
        for value in system.values(f"{root}\\{_ROUTES}"):
            way = _route(_digits(value.name), value.data, version)
            if way is not None:
                before = found.get((way[0], version), Kept())
                found[way[0], version] = replace(before, routes=(*before.routes, way[1]))
    return found


def _number(data: bytes, at: int, most: int) -> int:
    """A number of a row; 0 where it is not there, not said, or more than can be."""
    number = int(struct.unpack_from("<I", data, at)[0]) if len(data) >= at + 4 else 0
    return number if number <= most else 0


def _digits(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""


def _address(key: bytes, data: bytes, version: int) -> Optional[tuple[int, str]]:
    size = _SIZE[version]
    if len(key) < 8 + size:
        return None
    said = struct.unpack_from("<I", data, 16)[0] if len(data) >= 20 else _UNSAID
    length = said if said <= 8 * size else _USUAL[version]
    address = ipaddress.ip_address(key[8 : 8 + size])
    return None if address.is_unspecified else (int.from_bytes(key[:8], "little"), f"{address}/{length}")


def _route(key: bytes, data: bytes, version: int) -> Optional[tuple[int, tuple[str, str, int]]]:
    size, at = _SIZE[version], _LUID[version]
    if len(key) < at + 16 + size:
        return None
    length = key[4 + size]
    if length > 8 * size:
        return None
    network = ipaddress.ip_network((key[4 : 4 + size], length), strict=False)
    gateway = ipaddress.ip_address(key[at + 16 : at + 16 + size])
    return int.from_bytes(key[at : at + 8], "little"), (
        str(network),
        "" if gateway.is_unspecified else str(gateway),
        _number(data, 12, MOST),
    )
