# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator wants changed in Windows beside the repair: computer name, time zone, remote access, the password of the local administrator.

All but the password is set in the registry while the machine is off. Windows keeps passwords as encrypted digests, so that one is set by Windows itself at
the first start, from a file that is deleted then. Whatever cannot be had is a concern.
Sources: Microsoft, "TIME_ZONE_INFORMATION" and "Time Zones" key (TZI); winternl.h, TIME_FIELDS (how the control set writes the same dates); Microsoft,
"Installation and configuration for WinRM" (what quickconfig does); Microsoft, "Description of User Account Control and remote restrictions"
(LocalAccountTokenFilterPolicy); Microsoft, "Naming conventions in Active Directory" (15 characters, no digits alone); Microsoft, "net user";
[MS-SAMR] 3.1.1.4 (500 is the administrator). That a rule of the firewall is on by Active=TRUE, that Netlogon starts by itself in a domain, and the
form of a listener are what hives of 7 and 10 show.
"""

from __future__ import annotations

import re
import struct
from typing import Optional

from ..core.concern import WARNING
from ..core.errors import InvalidInput
from ..guest.change import Change
from . import editions, paths, pnp, regf
from .hives import Draft
from .identity import VERSION
from .work import Work

_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9-]{0,14}")
# What a script and net.exe take as it is: no quotes, percent signs and backslashes, and neither a switch nor the * that asks for one.
_PASSWORD = re.compile(r"(?![*/])[ !#$&-\[\]-~]{1,127}")
_ACCOUNT = re.compile(r"[A-Za-z0-9 ._-]{1,64}")
_ADMINISTRATOR = 500
_USERS = "SAM\\Domains\\Account\\Users\\Names"
_RULES = "Services\\SharedAccess\\Parameters\\FirewallPolicy"
_LISTENER = "Microsoft\\Windows\\CurrentVersion\\WSMAN\\Listener\\*+HTTP"
_SYSTEMTIME = struct.Struct("<8H")  # year, month, day of week, day, hour, minute, second, milliseconds
_ZONE = struct.Struct("<3i16s16s")
_REASON = "the operator's choice"


def plan(work: Work) -> list[Change]:
    """The changes for what is wanted. Raises InvalidInput for what no Windows could use."""
    wanted = work.options.customize
    if wanted.elsewhere:
        _not_done(work, f"{', '.join(wanted.elsewhere)}: they are for Linux guests", "Leave them out for this VM.")
    if wanted.hostname:
        _hostname(work, wanted.hostname)
    if wanted.timezone:
        _timezone(work, wanted.timezone)
    if wanted.rdp:
        _rdp(work)
    if wanted.winrm:
        _winrm(work)
    if wanted.admin_password and work.options.fixes and "firstboot" not in work.options.fixes:
        _not_done(work, "the password of the local administrator, which the fix firstboot sets", "Name firstboot in the fixes too.")
    return []


def _not_done(work: Work, what: str, remedy: str) -> None:
    work.findings.add("windows.customize", WARNING, f"Not changed in Windows: {what}.", remedy)


def _hostname(work: Work, name: str) -> None:
    short = name.partition(".")[0]
    if not _NAME.fullmatch(short):
        _not_done(
            work,
            f"the computer name, for {short!r} is none",
            "Use 15 letters, digits and hyphens at most, not digits alone (migrate_customize_hostname).",
        )
        return
    current, system = work.windows.control_set, work.system
    parameters = f"{pnp.services(work.windows)}\\Tcpip\\Parameters"
    if {"domain controller", "cluster node"} & set(work.windows.roles) or system.number(
        f"{pnp.services(work.windows)}\\Netlogon", "Start"
    ) == pnp.AUTO_START:
        _not_done(
            work,
            "the computer name, for the computer belongs to a domain or a cluster, which knows it by its name",
            "Rename it in Windows after the move, with an account of the domain.",
        )
        return
    system.set(f"{current}\\Control\\ComputerName\\ComputerName", "ComputerName", regf.SZ, short.upper(), _REASON)
    for value in ("Hostname", "NV Hostname"):
        system.set(parameters, value, regf.SZ, short, _REASON)


def _timezone(work: Work, name: str) -> None:
    zones = f"{VERSION}\\Time Zones"
    if work.software is None:
        _not_done(work, "the time zone, for the registry's SOFTWARE hive is missing", "Set it in Windows.")
        return
    known = next((zone for zone in work.software.keys(zones) if zone.lower() == name.lower()), None)
    value = work.software.value(f"{zones}\\{known}", "TZI") if known is not None else None
    if known is None or value is None or len(value.data) != _ZONE.size:
        raise InvalidInput(
            f"This Windows knows no time zone {name!r}.",
            'Give a name as tzutil /l lists it, such as "W. Europe Standard Time" (migrate_windows_timezone).',
        )
    bias, standard, daylight, winter, summer = _ZONE.unpack(value.data)
    modern = work.windows.nt >= (6, 0)
    key = f"{work.windows.control_set}\\Control\\TimeZoneInformation"
    for part, number in (("Bias", bias), ("StandardBias", standard), ("DaylightBias", daylight)):
        work.system.set(key, part, regf.DWORD, number & 0xFFFFFFFF, _REASON)
    for part, date in (("StandardStart", winter), ("DaylightStart", summer)):
        work.system.set(key, part, regf.BINARY, _fields(date), _REASON)
    for part, label in (("StandardName", "Std"), ("DaylightName", "Dlt")):
        shown = work.software.text(f"{zones}\\{known}", f"MUI_{label}" if modern else label) or work.software.text(
            f"{zones}\\{known}", label
        )
        work.system.set(key, part, regf.SZ, shown, _REASON)
    if work.system.number(key, "DisableAutoDaylightTimeSet"):
        work.system.set(key, "DisableAutoDaylightTimeSet", regf.DWORD, 0, _REASON)
    if modern:
        work.system.set(key, "TimeZoneKeyName", regf.SZ, known, _REASON)
        work.system.set(key, "DynamicDaylightTimeDisabled", regf.DWORD, 0, _REASON)


def _fields(date: bytes) -> bytes:
    """A SYSTEMTIME as TIME_FIELDS, where the day of the week comes last."""
    year, month, weekday, *rest = _SYSTEMTIME.unpack(date)
    return _SYSTEMTIME.pack(year, month, *rest, weekday)


def _rdp(work: Work) -> None:
    edition = work.software.text(VERSION, "EditionID") if work.software is not None else ""
    if editions.is_home(work.system, work.windows.control_set, edition):
        _not_done(work, f"Remote Desktop, for the edition {edition or 'Home'} has none", "Use the console, or another edition.")
        return
    work.system.set(f"{work.windows.control_set}\\Control\\Terminal Server", "fDenyTSConnections", regf.DWORD, 0, _REASON)
    service = f"{pnp.services(work.windows)}\\TermService"
    if work.system.number(service, "Start") == pnp.DISABLED:
        work.system.set(service, "Start", regf.DWORD, pnp.AUTO_START, _REASON)
    _policy(work, "Policies\\Microsoft\\Windows NT\\Terminal Services", "fDenyTSConnections", 1, "Remote Desktop")
    port = work.system.number(f"{work.windows.control_set}\\Control\\Terminal Server\\WinStations\\RDP-Tcp", "PortNumber")
    if port not in (None, 3389):
        _not_done(work, f"the firewall for Remote Desktop, which listens on port {port} here", f"Let port {port} through in Windows.")
    elif work.windows.nt < (6, 0):
        for profile in ("DomainProfile", "StandardProfile"):
            ports = f"{work.windows.control_set}\\{_RULES}\\{profile}\\GloballyOpenPorts\\List"
            work.system.set(ports, "3389:TCP", regf.SZ, "3389:TCP:*:Enabled:@xpsp2res.dll,-22009", _REASON)
    else:
        _opened(work, ("RemoteDesktop-In-TCP", "RemoteDesktop-UserMode-In-"), "3389", "Remote Desktop")


def _winrm(work: Work) -> None:
    if work.windows.nt < (6, 1) or work.software is None:
        _not_done(work, "remote management (WinRM), which this release has only in part", "Set it up in Windows: winrm quickconfig.")
        return
    if work.system.number(f"{pnp.services(work.windows)}\\WinRM", "Start") is None:
        _not_done(work, "remote management (WinRM), whose service is not there", "Install it in Windows.")
        return
    work.system.set(f"{pnp.services(work.windows)}\\WinRM", "Start", regf.DWORD, pnp.AUTO_START, _REASON)
    if not work.software.has(_LISTENER):
        work.software.set(_LISTENER, "Port", regf.DWORD, 5985, _REASON)
        work.software.set(_LISTENER, "uriprefix", regf.SZ, "wsman", _REASON)
    if work.software.number(_LISTENER, "enabled") == 0:
        work.software.set(_LISTENER, "enabled", regf.DWORD, 1, _REASON)
    port = work.software.number(_LISTENER, "Port")
    if port != 5985:
        _not_done(work, f"the listener of WinRM, which is on port {port} here", "Use that port, and let it through in Windows' firewall.")
    work.software.set("Microsoft\\Windows\\CurrentVersion\\Policies\\System", "LocalAccountTokenFilterPolicy", regf.DWORD, 1, _REASON)
    _policy(work, "Policies\\Microsoft\\Windows\\WinRM\\Service", "AllowAutoConfig", 0, "WinRM")
    _opened(work, ("WINRM-HTTP-In-TCP",), "5985", "WinRM")


def _policy(work: Work, key: str, name: str, forbids: int, what: str) -> None:
    if work.software is not None and work.software.number(key, name) == forbids:
        _not_done(work, f"{what} by the policy {name}, which forbids it", "Change the policy; that of a domain comes back by itself.")


def _opened(work: Work, starts: tuple[str, ...], port: str, what: str) -> None:
    """Turn on Windows' own rules of the firewall that allow it, by their names and port; one that blocks it goes before them."""
    key = f"{work.windows.control_set}\\{_RULES}\\FirewallRules"
    rules = [rule for rule in work.system.values(key) if f"|LPort={port}|" in rule.text]
    policies = work.software.values("Policies\\Microsoft\\WindowsFirewall\\FirewallRules") if work.software is not None else []
    blocks = [
        rule.name
        for rule in (*rules, *policies)
        if all(f"|{word}|" in rule.text for word in ("Action=Block", "Active=TRUE", f"LPort={port}"))
    ]
    if blocks:
        _not_done(work, f"the firewall for {what}, where {', '.join(blocks)} blocks port {port}", f"Let port {port} through in Windows.")
    found = False
    for rule in rules:
        if rule.name.startswith(starts) and "|Action=Allow|" in rule.text:
            found = True
            work.system.set(key, rule.name, regf.SZ, rule.text.replace("|Active=FALSE|", "|Active=TRUE|"), _REASON)
    if not found:
        _not_done(work, f"the firewall for {what}: Windows' own rule for port {port} is not there", f"Let port {port} through in Windows.")


def late(work: Work) -> None:
    """Say that the first start, which would set the password, has been."""
    if work.options.customize.admin_password:
        _not_done(work, "the password of the local administrator, for the first start has been", "Set it in Windows.")


def password(work: Work) -> str:
    """The command by which the first start sets the password; empty where none was given or none can be set."""
    password = work.options.customize.admin_password
    if not password:
        return ""
    if not _PASSWORD.fullmatch(password):
        raise InvalidInput(
            "The password of the administrator has characters that a script cannot pass on, or more than 127.",
            'Use letters, digits and signs of ASCII without ", % and \\, and neither / nor * at the start; change it in Windows afterwards.',
        )
    name = _administrator(work)
    if "domain controller" in work.windows.roles or name is None:
        _not_done(
            work,
            "the password of the local administrator: " + ("a domain controller has none" if name else "no such account was found"),
            "Set it in Windows.",
        )
        return ""
    if not _ACCOUNT.fullmatch(name):
        _not_done(work, "the password of the local administrator, whose name cannot stand in a script", "Set it in Windows.")
        return ""
    return f'@%SystemRoot%\\System32\\net.exe user "{name}" "{password}" /active:yes /y\r\n'


def _administrator(work: Work) -> Optional[str]:
    """The name of the account 500, which may be another than Administrator: the kind of the value below each name is the account's number."""
    path = paths.find(work.guest, f"{work.windows.system_root}/System32/config/SAM")
    if path is None:
        return None
    sam = Draft.of(work.guest, path)
    kinds = ((name, sam.value(f"{_USERS}\\{name}", "")) for name in sam.keys(_USERS))
    return next((name for name, value in kinds if value is not None and value.kind == _ADMINISTRATOR), None)
