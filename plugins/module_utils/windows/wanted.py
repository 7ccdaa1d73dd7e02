# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator gives: settings of NICs in migrate_windows_network, in place of what the registry says, and what is changed beside the repair."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Iterable, Sequence, Union

from ..core.errors import InvalidInput
from ..core.macs import Mac
from .network import SUFFIX, Adapter, Ip

_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


@dataclass(frozen=True)
class Wanted:
    """The settings of the NIC with a MAC: addresses as address/prefix of both versions of IP, none for DHCP. Raises InvalidInput for what is no setting."""

    nic: Mac
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    gateway6: str = ""
    dns: tuple[str, ...] = ()
    suffix: str = ""

    def __post_init__(self) -> None:
        try:
            self._checked()
        except ValueError as error:
            raise InvalidInput(
                f"migrate_windows_network holds what cannot be set: {error}.",
                "Each entry has a mac, addresses as address/prefix (none for DHCP), gateway, gateway6, dns (a list) and suffix.",
            ) from error

    def _checked(self) -> None:
        if any("/" not in address for address in self.addresses):
            raise ValueError(f"{self.nic} with {list(self.addresses)!r}")
        for text in (*self.addresses, *self.dns, self.gateway6):
            if "%" in text:
                raise ValueError(f"the zone in {text!r}")
        for address in self.addresses:
            ipaddress.ip_interface(address)
        for server in self.dns:
            ipaddress.ip_address(server)
        ipaddress.IPv4Address(self.gateway or 0)
        ipaddress.IPv6Address(self.gateway6 or 0)
        if self.suffix and SUFFIX.fullmatch(self.suffix) is None:
            raise ValueError(f"the suffix {self.suffix!r}")

    def ip(self, version: int) -> Ip:
        """What there is of one version of IP."""
        gateway = self.gateway if version == 4 else self.gateway6
        return Ip(
            _of(version, (ipaddress.ip_interface(address) for address in self.addresses)),
            ((str(ipaddress.ip_address(gateway)), 0),) if gateway else (),
            _of(version, (ipaddress.ip_address(server) for server in self.dns)),
        )


@dataclass(frozen=True)
class Customization:
    """Everything optional; what is empty changes nothing. `timezone` is a name of Windows, such as "W. Europe Standard Time"."""

    hostname: str = ""
    timezone: str = ""
    rdp: bool = False
    winrm: bool = False
    admin_password: str = field(default="", repr=False)
    elsewhere: tuple[str, ...] = ()  # what was asked for and is for Linux alone


def _of(version: int, things: Iterable[_Address]) -> tuple[str, ...]:
    return tuple(str(thing) for thing in things if thing.version == version)


def overridden(here: Sequence[Adapter], wanted: Sequence[Wanted]) -> list[Adapter]:
    """The adapters with what the operator gave, by MAC. MTU and metric of the adapter stay, and its routes go with its addresses."""
    result = {adapter.mac: adapter for adapter in here}
    for entry in wanted:
        adapter = result.get(entry.nic, Adapter("", mac=entry.nic))
        result[entry.nic] = replace(
            adapter,
            v4=replace(entry.ip(4), metric=adapter.v4.metric, mtu=adapter.v4.mtu),
            v6=replace(entry.ip(6), metric=adapter.v6.metric, mtu=adapter.v6.mtu),
            suffix=entry.suffix,
            wins=(),
        )
    return list(result.values())
