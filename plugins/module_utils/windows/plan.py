# SPDX-License-Identifier: GPL-3.0-or-later
"""PLAN for Windows: the fixes in their order, on one draft of each hive."""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

from ..core.concern import INFO, WARNING, Findings, listed
from ..core.machine import Nic
from ..guest.change import Change
from ..guest.model import BOOTSTRAP, GuestFacts
from ..guest.nics import mac_map
from ..guest.plan import Plan, merge
from ..guest.protocol import Guest
from ..guest.repairs import Repair, chosen, ordered
from . import (
    additions,
    bcd,
    bootsector,
    customize,
    devices,
    drivers,
    firstboot,
    hives,
    leftovers,
    matching,
    network,
    publishers,
    regf,
    storage,
    temporary,
    tools,
)
from .edit_hive import EditHive
from .wanted import overridden
from .work import Options, Work

_NETWORKS = "Microsoft\\Windows NT\\CurrentVersion\\NetworkList\\Profiles"


def _virtio(work: Work) -> list[Change]:
    storage.enable_inbox(work)
    if work.windows.nt >= (6, 2):
        power = f"{work.windows.control_set}\\Control\\Session Manager\\Power"
        if work.system.number(power, "HiberbootEnabled"):
            work.system.set(power, "HiberbootEnabled", regf.DWORD, 0, "a shutdown is one: no session is left on the disk")
    if work.software is not None:
        publishers.trust(work.software, work.packages, work.findings)
    return [*storage.inject(work, work.tree), *storage.stage(work, work.tree), *additions.balloon(work)] if work.tree is not None else []


def _boot_files(work: Work) -> list[Change]:
    root = work.guest.device(work.facts.root) if work.facts.root else None
    changes = bcd.plan(work.guest, work.windows.stores, work.facts.firmware, work.facts.architecture)
    if root is not None:
        size = sum(device.size for device in work.guest.devices() if device.disk == root.disk)
        changes += bootsector.plan(work.guest, root.name, size, work.windows.nt)
    return changes


def _vmware_tools(work: Work) -> list[Change]:
    tools.plan(work.system, work.windows, work.options.remove_tools, work.findings, work.software)
    return []


def _firstboot(work: Work) -> list[Change]:
    if firstboot.done(work.guest, work.windows):
        customize.late(work)
        return []
    known = network.adapters(work.system, work.windows)
    found = matching.matched(known, work.nics, mac_map(work.options.macs))
    here = overridden(found.here, work.options.network)
    matching.say(found, here, work.findings)
    _categories(work)
    here = network.with_routes(here, network.persistent_routes(work.system, work.windows))
    virtual = work.facts.nic_model == "virtio"
    # The settings of a NIC that nobody could assign stay where they are, for a person to look up.
    restored = {one.guid for one in here if not one.unused and not one.unread}
    old = [one for one in known if one.guid in restored or (one.device.of_another_hypervisor and not one.configured and not one.unused)]
    todo = firstboot.Todo(
        work.packages,
        tuple(adapter for adapter in here if adapter.configured),
        tuple(old) if virtual else (),
        tuple(tools.products(work.software, tools.free(work.system, work.windows, work.options.remove_tools)))
        if work.software is not None
        else (),
        additions.installers(work),
        leftovers.find(work),
        temporary.disks_online(work),
        account=customize.password(work),
        two_phase=BOOTSTRAP in work.facts.phases,
    )
    if todo.empty:
        return []
    return firstboot.plan(work, replace(todo, stop_code=temporary.stop_code_stays(work)))


def _categories(work: Work) -> None:
    """Windows knows a network by the MAC of its gateway, not by the card (NetworkList; Category 1 is private, 2 is that of a domain)."""
    names = []
    for name in work.software.keys(_NETWORKS) if work.software is not None else ():
        key = f"{_NETWORKS}\\{name}"
        if work.software is not None and work.software.number(key, "Category") == 1:
            names.append(work.software.text(key, "ProfileName") or name)
    if names:
        work.findings.add(
            "windows.network-category",
            INFO,
            f"These networks are private for the firewall: {listed(names)}. Windows takes one that has another gateway on the target for public.",
            "If services cannot be reached after the move, make the network private in Windows' settings.",
        )


REPAIRS: tuple[Repair[Work], ...] = (
    Repair("virtio", _virtio),
    Repair("boot_files", _boot_files),
    Repair("vmware_tools", _vmware_tools),
    Repair("customize", customize.plan),
    Repair("firstboot", _firstboot, ("vmware_tools",)),  # it deletes what that has disabled
)
FIXES = tuple(repair.name for repair in ordered(REPAIRS))


def make_plan(guest: Guest, facts: GuestFacts, options: Options, nics: Sequence[Nic]) -> Plan:
    """The changes that let this Windows start on KVM; nothing is written."""
    windows = facts.windows
    if windows is None:
        return Plan()
    findings = Findings()
    system, software = hives.open_hives(guest, windows.system_root)
    tree = options.tree(guest)
    packages = drivers.select(tree, windows, facts.architecture, options.drivers, findings) if tree is not None else {}
    work = Work(guest, facts, windows, system, software, options, nics, findings, tree, packages)
    _driver_concerns(work)
    changes = [change for repair in chosen(REPAIRS, options.fixes) for change in repair.changes(work)]
    edits: list[EditHive] = [*system.change(), *(software.change() if software is not None else ())]
    return Plan(merge([*changes, *edits]), tuple(findings.concerns))


def _driver_concerns(work: Work) -> None:
    facts, windows, options, findings = work.facts, work.windows, work.options, work.findings
    fallback = devices.fallback_bus(windows.nt).upper()
    if facts.disk_bus != "virtio":
        cause = (
            f"no viostor for {windows.release} ({facts.architecture}) that it loads in {options.virtio_win}"
            if options.virtio_win
            else "no driver source was given"
        )
        findings.add(
            "windows.no-drivers",
            WARNING,
            f"There are no virtio storage drivers ({cause}): the VM gets {fallback} disks.",
            "Name a virtio-win ISO or directory in migrate_virtio_win.",
        )
