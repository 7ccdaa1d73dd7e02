# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest tools of the old hypervisor: their drivers out of class filters first, then disabled, by exact names; uninstalled at the first start.

What may hold the disk or a bus together (pvscsi, vmci, vsock) is left to the uninstaller, and what only sounds like VMware
(storflt, which is Microsoft's filter for Hyper-V) is not touched. The names come from VMware Tools as found in hives.
"""

from __future__ import annotations

import re
from typing import Mapping, Sequence

from ..core.concern import INFO, Findings
from ..guest.model import WindowsFacts
from . import pnp, regf
from .hives import Draft

# Services and drivers that can be disabled while the machine is off.
DISABLED: Mapping[str, tuple[str, ...]] = {
    "vmware": (
        "VMTools",
        "VGAuthService",
        "vm3dservice",
        "VMUpgradeHelper",
        "vmvss",
        "VMMemCtl",
        "vmrawdsk",
        "vmhgfs",
        "vmmouse",
        "vmusbmouse",
    ),
    "virtualbox": ("VBoxService", "VBoxGuest", "VBoxMouse", "VBoxSF", "VBoxVideo", "VBoxWddm"),
}
# By which service another hypervisor's tools are known, where nothing is disabled offline.
_MARKS = {"vmware": "VMTools", "virtualbox": "VBoxService", "xen": "xenbus", "parallels": "prl_strg"}
_PRODUCTS = {"vmware": "VMware Tools", "virtualbox": "Oracle VM VirtualBox Guest Additions"}
_UNINSTALL = ("Microsoft\\Windows\\CurrentVersion\\Uninstall", "Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\Uninstall")
_PRODUCT_CODE = re.compile(r"^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$", re.IGNORECASE)
_FILTERS = ("UpperFilters", "LowerFilters")


def present(system: Draft, facts: WindowsFacts) -> tuple[str, ...]:
    """The hypervisors whose tools are installed and not disabled."""
    key = pnp.services(facts)
    return tuple(name for name, service in _MARKS.items() if system.number(f"{key}\\{service}", "Start") not in (None, pnp.DISABLED))


def plan(system: Draft, facts: WindowsFacts, chosen: Sequence[str], findings: Findings) -> None:
    """Take the tools' names out of every class filter and the list of network providers, then disable their services."""
    for hypervisor in present(system, facts):
        if hypervisor not in chosen or hypervisor not in DISABLED:
            findings.add(
                "windows.tools-left",
                INFO,
                f"The guest tools of {hypervisor} stay installed.",
                "Uninstall them in Windows"
                + (f", or name {hypervisor} in migrate_remove_tools." if hypervisor in DISABLED else " after the first start."),
            )
    for hypervisor in chosen:
        names = DISABLED.get(hypervisor, ())
        reason = f"guest tools of {hypervisor} that do not belong to the new hypervisor"
        low = {name.lower() for name in names}
        classes = f"{facts.control_set}\\Control\\Class"
        for key in (f"{classes}\\{name}" for name in system.keys(classes)):
            for name in _FILTERS:
                before = system.texts(key, name)
                after = tuple(one for one in before if one.lower() not in low)
                if after and after != before:
                    system.set(key, name, regf.MULTI_SZ, after, reason)
                elif before and not after:
                    system.remove_value(key, name, reason)
        order = f"{facts.control_set}\\Control\\NetworkProvider\\Order"
        providers = system.text(order, "ProviderOrder")
        left = ",".join(one for one in providers.split(",") if one.strip().lower() not in low)
        if left != providers:
            system.set(order, "ProviderOrder", regf.SZ, left, reason)
        for name in names:
            key = f"{pnp.services(facts)}\\{name}"
            if system.number(key, "Start") is not None:
                system.set(key, "Start", regf.DWORD, pnp.DISABLED, reason)


def products(software: Draft, chosen: Sequence[str]) -> list[str]:
    """The product codes of installed tools, for msiexec."""
    titles = {_PRODUCTS[name] for name in chosen if name in _PRODUCTS}
    found = [
        name
        for root in _UNINSTALL
        for name in software.keys(root)
        if _PRODUCT_CODE.match(name) and software.text(f"{root}\\{name}", "DisplayName") in titles
    ]
    return sorted(dict.fromkeys(found))
