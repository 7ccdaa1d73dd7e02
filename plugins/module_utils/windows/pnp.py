# SPDX-License-Identifier: GPL-3.0-or-later
"""How Windows finds the driver of a device at boot, from the registry alone.

Up to Windows 7 and 2008 R2 the critical device database names the service; from Windows 8 and 2012 on the driver database does, through
INF, package, descriptor and configuration. Layouts read from hives of Windows 7, 8.1 and 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..guest.model import WindowsFacts
from . import regf
from .devices import PciDevice
from .hives import Draft

DATABASE = "DriverDatabase"
ENABLED = bytes.fromhex("01ff0000")  # a hardware id that matches any
BOOT_START, AUTO_START, DEMAND_START, DISABLED = 0, 2, 3, 4


@dataclass(frozen=True)
class Match:
    """What a device's identifiers lead to: the service, or why they lead to none. `inf` is empty with a critical device database."""

    service: str = ""
    identifier: str = ""
    inf: str = ""
    fault: str = ""


def uses_database(facts: WindowsFacts) -> bool:
    """Whether this Windows reads the driver database."""
    return facts.nt >= (6, 2)


def critical(facts: WindowsFacts) -> str:
    return f"{facts.control_set}\\Control\\CriticalDeviceDatabase"


def services(facts: WindowsFacts) -> str:
    return f"{facts.control_set}\\Services"


def add_service(system: Draft, key: str, start: int, error_control: int, *, command: str, reason: str) -> None:
    """A service with a process of its own (SERVICE_WIN32_OWN_PROCESS), as the system itself (winnt.h; CreateService)."""
    system.set(key, "Type", regf.DWORD, 0x10, reason)
    system.set(key, "Start", regf.DWORD, start, reason)
    system.set(key, "ErrorControl", regf.DWORD, error_control, reason)
    system.set(key, "ImagePath", regf.EXPAND_SZ, command, reason)
    system.set(key, "ObjectName", regf.SZ, "LocalSystem", reason)


def match(system: Draft, facts: WindowsFacts, device: PciDevice) -> Match:
    """Follow the identifiers of a device; the first that is registered decides, as it does for Windows."""
    for identifier in device.identifiers():
        found = (_database if uses_database(facts) else _critical)(system, facts, identifier)
        if found is not None:
            return found
    return Match(fault=f"no identifier of the {device.name} is registered ({device.identifiers()[0]} is its first)")


def _critical(system: Draft, facts: WindowsFacts, identifier: str) -> Optional[Match]:
    key = f"{critical(facts)}\\PCI#{identifier}"
    if not system.has(key):
        return None
    service = system.text(key, "Service")
    if not service:
        return Match(identifier=identifier, fault=f"{key} names no service")
    if not system.text(key, "ClassGUID"):
        return Match(service, identifier, fault=f"{key} names no class")
    return Match(service, identifier)


def _database(system: Draft, facts: WindowsFacts, identifier: str) -> Optional[Match]:
    infs = [value.name for value in system.values(f"{DATABASE}\\DeviceIds\\PCI\\{identifier}") if value.name]
    faults = []
    for inf in infs:
        found = registered(system, f"PCI\\{identifier}", inf)
        if not found.fault:
            return Match(found.service, identifier, inf)
        faults.append(found.fault)
    return Match(identifier=identifier, fault="; ".join(faults)) if faults else None


def registered(system: Draft, identifier: str, inf: str) -> Match:
    """From an INF to the service of one identifier (with its bus)."""
    package = system.text(f"{DATABASE}\\DriverInfFiles\\{inf}", "Active")
    if not package:
        return Match(fault=f"DriverInfFiles\\{inf} has no active package")
    key = f"{DATABASE}\\DriverPackages\\{package}"
    version = system.value(key, "Version")
    if version is None or len(version.data) != 48:
        return Match(fault=f"DriverPackages\\{package} has no version of 48 bytes")
    name = system.text(f"{key}\\Descriptors\\{identifier}", "Configuration")
    if not name:
        return Match(fault=f"DriverPackages\\{package} has no descriptor for {identifier}")
    service = system.text(f"{key}\\Configurations\\{name}", "Service")
    return Match(service, inf=inf) if service else Match(fault=f"the configuration {name} of {package} names no service")


def effective_start(system: Draft, facts: WindowsFacts, service: str) -> Optional[int]:
    """The start type as Windows 8 and later see it: StartOverride goes before Start. None where there is no such service."""
    key = f"{services(facts)}\\{service}"
    override = system.number(f"{key}\\StartOverride", "0") if facts.nt >= (6, 2) else None
    return override if override is not None else system.number(key, "Start")
