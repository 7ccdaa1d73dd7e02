# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest tools of the old hypervisor, while the machine is off: out of filters and lists first, then disabled, by exact names.

What may hold a disk, a bus or a card together stays until the first start has shown that nothing uses it (leftovers), and what only sounds
like VMware (storflt, which is Microsoft's filter for Hyper-V) is not touched. The names, with the source of each, are toolsdata's.
Sources: Microsoft, "Device filter driver ordering" (UpperFilters and LowerFilters of a class and of a device; a device does not start without
the service of its filter), "ServiceGroupOrder and DependOnService"; practice, for StartOverride, which goes before Start.
"""

from __future__ import annotations

import re
from typing import Iterator, Mapping, Optional, Sequence

from ..core.concern import INFO, WARNING, Findings, listed
from ..guest.model import WindowsFacts
from . import pnp, regf, toolsdata
from .hives import Draft
from .toolsdata import HYPERVISORS, Hypervisor

UNINSTALL = ("Microsoft\\Windows\\CurrentVersion\\Uninstall", "Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\Uninstall")
_PRODUCT_CODE = re.compile(r"^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$", re.IGNORECASE)
_FILTERS = ("UpperFilters", "LowerFilters")
_PROVIDERS = ("Order", "HwOrder")
_WOW = "Wow6432Node\\"


def present(system: Draft, facts: WindowsFacts) -> tuple[str, ...]:
    """The hypervisors whose tools are installed and not disabled."""
    return tuple(name for name, one in HYPERVISORS.items() if _installed(system, facts, one))


def _installed(system: Draft, facts: WindowsFacts, one: Hypervisor) -> bool:
    if one.device and not system.keys(f"{facts.control_set}\\Enum\\{one.device}"):
        return False
    return any(system.number(f"{pnp.services(facts)}\\{mark}", "Start") not in (None, pnp.DISABLED) for mark in one.marks)


def plan(system: Draft, facts: WindowsFacts, chosen: Sequence[str], findings: Findings, software: Optional[Draft] = None) -> None:
    """Take the tools' names out of every list of filters and network providers, then disable their services and what starts at a logon."""
    filters = list(_filters(system, facts))
    for name in present(system, facts):
        if name not in chosen:
            _stays(system, name, filters, findings)
    for name in chosen:
        if name not in HYPERVISORS:
            findings.add(
                "windows.tools-left", INFO, f"What tools {name} has in Windows is not known: they stay.", "Uninstall them in Windows."
            )
            continue
        one, reason = HYPERVISORS[name], f"guest tools of {name} that do not belong to the new hypervisor"
        needed = _needed(system, facts, one)
        if needed:
            findings.add(
                "windows.tools-left",
                INFO,
                f"These services of {name} stay, for others need them: {listed([f'{mine} ({other})' for mine, other in needed.items()])}.",
                "Uninstall what needs them, then the tools.",
            )
        low = {service.name.lower() for service in one.services if not service.kept} - {mine.lower() for mine in needed}
        _unlisted(system, facts, filters, low, reason)
        _disabled(system, facts, one, low, reason)
        if software is not None:
            _not_run(software, one, reason)


def _stays(system: Draft, name: str, filters: Sequence[tuple[str, str]], findings: Findings) -> None:
    own = {service.name.lower() for service in HYPERVISORS[name].services if service.kind == toolsdata.FILTER}
    left = [one for key, value in filters for one in system.texts(key, value) if one.lower() in own]
    if left:
        findings.add(
            "windows.tools-filter",
            WARNING,
            f"The filters {listed(list(dict.fromkeys(left)))} of {name} stay: without {name} they may not load, and the disk then not start (0x7B).",
            f"Name {name} in migrate_remove_tools.",
        )
    findings.add(
        "windows.tools-left",
        INFO,
        f"The guest tools of {name} stay installed.",
        f"Name {name} in migrate_remove_tools" + (", or uninstall them in Windows." if not HYPERVISORS[name].device else "."),
    )


def _filters(system: Draft, facts: WindowsFacts) -> Iterator[tuple[str, str]]:
    """Where classes and devices have lists of filters: key and value."""
    classes, enum = f"{facts.control_set}\\Control\\Class", f"{facts.control_set}\\Enum"
    keys = [f"{classes}\\{name}" for name in system.keys(classes)]
    for bus in system.keys(enum):
        for device in system.keys(f"{enum}\\{bus}"):
            keys += [f"{enum}\\{bus}\\{device}\\{instance}" for instance in system.keys(f"{enum}\\{bus}\\{device}")]
    for key in keys:
        for name in _FILTERS:
            if system.value(key, name) is not None:
                yield key, name


def _needed(system: Draft, facts: WindowsFacts, one: Hypervisor) -> Mapping[str, str]:
    """Services of the tools that a service which is none of theirs, and is not disabled, depends on; and which."""
    low = {service.name.lower(): service.name for service in one.services if not service.kept}
    found: dict[str, str] = {}
    for name in system.keys(pnp.services(facts)):
        key = f"{pnp.services(facts)}\\{name}"
        if name.lower() in low or system.number(key, "Start") in (None, pnp.DISABLED):
            continue
        for other in system.texts(key, "DependOnService"):
            if other.lower() in low:
                found.setdefault(low[other.lower()], name)
    return found


def _unlisted(system: Draft, facts: WindowsFacts, filters: Sequence[tuple[str, str]], low: set[str], reason: str) -> None:
    for key, name in filters:
        before = system.texts(key, name)
        after = tuple(one for one in before if one.lower() not in low)
        if after and after != before:
            system.set(key, name, regf.MULTI_SZ, after, reason)
        elif before and not after:
            system.remove_value(key, name, reason)
    for order in _PROVIDERS:
        key = f"{facts.control_set}\\Control\\NetworkProvider\\{order}"
        providers = system.text(key, "ProviderOrder")
        left = ",".join(one for one in providers.split(",") if one.strip().lower() not in low)
        if left != providers:
            system.set(key, "ProviderOrder", regf.SZ, left, reason)


def _disabled(system: Draft, facts: WindowsFacts, one: Hypervisor, low: set[str], reason: str) -> None:
    for service in one.services:
        key = f"{pnp.services(facts)}\\{service.name}"
        if service.name.lower() in low and system.number(key, "Start") is not None:
            system.set(key, "Start", regf.DWORD, pnp.DISABLED, reason)
            system.remove_key(f"{key}\\StartOverride", reason)
    clock = f"{pnp.services(facts)}\\W32Time\\TimeProviders\\{one.clock}"
    if one.clock and system.number(clock, "Enabled"):
        system.set(clock, "Enabled", regf.DWORD, 0, reason)


def _not_run(software: Draft, one: Hypervisor, reason: str) -> None:
    """What starts at every logon: by its name, or because its program is one of the tools'."""
    folder = software.text(*one.install).rstrip("\\").lower()
    if folder.rpartition("\\")[2] not in {place.path.rpartition("\\")[2].lower() for place in one.folders}:
        folder = ""  # not the tools' own, so that what lies there may be others'
    files = [f"\\system32\\{place.path}".lower() for place in one.files]
    for place in {place.path for place in one.run}:
        names = {run.value.lower() for run in one.run if run.path == place}
        for key in (place, f"{_WOW}{place}"):
            for value in software.values(key):
                program = value.text.strip().lstrip('"').lower() if value.kind in (regf.SZ, regf.EXPAND_SZ) else ""
                own = (folder and program.startswith(f"{folder}\\")) or any(path in program for path in files)
                if own or value.name.lower() in names:
                    software.remove_value(key, value.name, reason)


def free(system: Draft, facts: WindowsFacts, chosen: Sequence[str]) -> list[str]:
    """Those of the chosen whose services no other program needs: only their uninstaller is called."""
    return [name for name in chosen if name not in HYPERVISORS or not _needed(system, facts, HYPERVISORS[name])]


def products(software: Draft, chosen: Sequence[str]) -> list[str]:
    """The product codes of installed tools, for msiexec."""
    titles = {title for name in chosen if name in HYPERVISORS for title in HYPERVISORS[name].titles}
    found = [
        name
        for root in UNINSTALL
        for name in software.keys(root)
        if _PRODUCT_CODE.match(name) and software.text(f"{root}\\{name}", "DisplayName") in titles
    ]
    return sorted(dict.fromkeys(found))
