# SPDX-License-Identifier: GPL-3.0-or-later
"""INSPECT and PLAN for Windows: facts from the hives, then the fixes in their order on one draft of each hive."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Optional, Sequence

from ..core.concern import BLOCKER, INFO, WARNING, Findings
from ..core.errors import InvalidInput
from ..core.machine import Nic, NicFacts
from ..guest.change import Change
from ..guest.model import BOOTSTRAP, FINAL, GuestFacts, Mount
from ..guest.nics import mac_map
from ..guest.plan import Plan, merge
from ..guest.protocol import Guest
from ..guest.repairs import Repair, chosen, ordered
from . import bcd, bootsector, devices, drivers, firstboot, hives, identity, logs, network, paths, pnp, regf, storage, tools
from .edit_hive import EditHive
from .work import TWO_PHASE, Options, Work


def _virtio(work: Work) -> list[Change]:
    storage.enable_inbox(work)
    if work.windows.nt >= (6, 2):
        power = f"{work.windows.control_set}\\Control\\Session Manager\\Power"
        if work.system.number(power, "HiberbootEnabled"):
            work.system.set(power, "HiberbootEnabled", regf.DWORD, 0, "a shutdown is one: no session is left on the disk")
    return [*storage.inject(work, work.tree), *storage.stage(work, work.tree)] if work.tree is not None else []


def _boot_files(work: Work) -> list[Change]:
    root = work.guest.device(work.facts.root) if work.facts.root else None
    changes = bcd.plan(work.guest, work.windows.stores, work.facts.firmware, work.facts.architecture)
    if root is not None:
        size = sum(device.size for device in work.guest.devices() if device.disk == root.disk)
        changes += bootsector.plan(work.guest, root.name, size, work.windows.nt)
    return changes


def _vmware_tools(work: Work) -> list[Change]:
    tools.plan(work.system, work.windows, work.options.remove_tools, work.findings)
    return []


def _firstboot(work: Work) -> list[Change]:
    known = network.adapters(work.system, work.windows)
    here, dummy = network.matched(known, work.nics, mac_map(work.options.macs), work.findings)
    here = network.overridden(here, work.options.network)
    virtual = work.facts.nic_model == "virtio"
    # The settings of a NIC that nobody could assign stay where they are, for a person to look up.
    restored = {one.guid for one in here}
    old = [one for one in known if one.guid in restored or ("15AD" in one.instance.upper() and not one.static)]
    installers, left = firstboot.installers(work.options.agent_packages, work.facts.architecture)
    if left:
        work.findings.add(
            "windows.agent-package",
            WARNING,
            f"These packages are not for Windows and are left out: {', '.join(map(os.path.basename, left))}.",
            "Give the agent as an .msi file.",
        )
    todo = firstboot.Todo(
        work.packages,
        tuple(adapter for adapter in here if adapter.static or adapter.dns),
        tuple(old) if virtual else (),
        tuple(tools.products(work.software, work.options.remove_tools)) if work.software is not None else (),
        installers,
        _disks_online(work),
    )
    return firstboot.plan(work, todo)


def _disks_online(work: Work) -> Optional[int]:
    """Disks on a new controller are new disks for Windows: servers leave them offline unless the policy says otherwise."""
    numbers = {device.disk for device in work.guest.devices() if device.disk is not None}
    key = f"{pnp.services(work.windows)}\\partmgr\\Parameters"
    before = work.system.number(key, "SanPolicy")
    kept = work.system.number(key, firstboot.POLICY_BEFORE)
    if len(numbers) < 2 or work.windows.nt < (6, 0) or (before == 1 and kept is None) or "cluster node" in work.windows.roles:
        return None
    reason = "data disks come online on the new controller"
    if kept is None:
        kept = before if before is not None else firstboot.NO_POLICY
        work.system.set(key, firstboot.POLICY_BEFORE, regf.DWORD, kept, reason)
    work.system.set(key, "SanPolicy", regf.DWORD, 1, reason)
    if work.options.boot == TWO_PHASE:
        work.findings.add(
            "windows.san-policy",
            INFO,
            "Disks on new controllers come online by themselves, until the policy is set back.",
            "After the final start set it back with diskpart (san policy=OfflineShared) if disks are shared.",
        )
        return None
    return kept


REPAIRS: tuple[Repair[Work], ...] = (
    Repair("virtio", _virtio),
    Repair("boot_files", _boot_files),
    Repair("vmware_tools", _vmware_tools),
    Repair("firstboot", _firstboot),
)
FIXES = tuple(repair.name for repair in ordered(REPAIRS))


def open_hives(guest: Guest, root: str) -> tuple[hives.Draft, Optional[hives.Draft]]:
    """Drafts of SYSTEM and SOFTWARE. Raises InvalidInput where SYSTEM is missing or no hive."""
    found = {}
    for name in ("SYSTEM", "SOFTWARE"):
        path = paths.find(guest, f"{root}/System32/config/{name}")
        found[name] = hives.Draft.of(guest, path) if path is not None else None
    system = found["SYSTEM"]
    if system is None:
        raise InvalidInput(f"{root}/System32/config/SYSTEM is missing.", "Restore the registry at the source.")
    return system, found["SOFTWARE"]


def inspect(
    guest: Guest,
    root: str,
    mounts: Sequence[Mount],
    firmware: str,
    nics: Sequence[Nic],
    options: Options,
    findings: Findings,
) -> GuestFacts:
    """The facts of the Windows whose directory is `root`, with the concerns that its state is worth."""
    system, software = open_hives(guest, root)
    windows = identity.identify(guest, system, software, root)
    identity.concerns(guest, windows, system, software, findings)
    _dirty(system, software, findings)
    known = mac_map(options.macs)
    here, dummy = network.matched(network.adapters(system, windows), nics, known, Findings())
    here = network.overridden(here, options.network)
    others = [known.get(nic.mac, nic.mac) for nic in nics if nic.mac]
    others = [mac for mac in others if mac not in {adapter.mac for adapter in here}]
    name = software.text(identity.VERSION, "ProductName") if software is not None else ""
    tcpip = f"{pnp.services(windows)}\\Tcpip\\Parameters"
    facts = GuestFacts(
        os="windows",
        distribution="windows",
        version=f"{windows.nt[0]}.{windows.nt[1]}.{windows.build}",
        product=identity.product_name(windows, name),
        family=windows.release,
        architecture=identity.architecture(guest, root),
        hostname=system.text(tcpip, "Hostname") or system.text(tcpip, "NV Hostname"),
        firmware=firmware,
        root=next((mount.device for mount in mounts if mount.path == paths.VOLUME), ""),
        mounts=tuple(mounts),
        nics=(*(adapter.facts() for adapter in here), *(NicFacts(mac) for mac in others)),
        interfaces=tuple((adapter.name, adapter.mac) for adapter in here),
        tools=tools.present(system, windows),
        machine=devices.machine(windows.nt),
        windows=windows,
    )
    return _targets(guest, facts, system, options)


def _targets(guest: Guest, facts: GuestFacts, system: hives.Draft, options: Options) -> GuestFacts:
    """What the guest can run on: virtio where the drivers are given or installed already, else what Windows brings along."""
    windows = facts.windows
    tree = source(guest, options)
    if windows is None:
        return facts
    fallback = devices.fallback_bus(windows.nt)
    packages = drivers.select(tree, windows, facts.architecture, ("netkvm",), Findings()) if tree is not None else {}
    matches = [pnp.match(system, windows, device) for device in devices.storage("virtio", facts.machine)]
    ready = all(not match.fault and pnp.effective_start(system, windows, match.service) == pnp.BOOT_START for match in matches)
    bus = "virtio" if "viostor" in packages or ready else fallback
    staged = guest.stat(f"{windows.system_root}/{storage.FOLDER}/drivers/netkvm") is not None
    installed = staged or pnp.effective_start(system, windows, "netkvm") is not None
    nic = "virtio" if "netkvm" in packages or installed else "e1000e" if windows.nt >= (6, 1) else "rtl8139"
    phases = (BOOTSTRAP, FINAL) if options.boot == TWO_PHASE and bus == "virtio" else (FINAL,)
    return replace(facts, disk_bus=bus, nic_model=nic, phases=phases)


def _dirty(system: hives.Draft, software: Optional[hives.Draft], findings: Findings) -> None:
    for draft in filter(None, (system, software)):
        state, path = draft.file.replay.state, draft.file.path
        if state == logs.UNREPLAYABLE:
            findings.add(
                "windows.dirty-hive",
                BLOCKER,
                f"{path} was not written to its end, and its logs cannot be replayed: what they held would be lost.",
                "Start the source, shut it down cleanly and copy again; or accept windows.dirty-hive to take the hive as it is.",
            )
        elif state == logs.REPLAYED:
            findings.add(
                "windows.hive-replayed",
                INFO,
                f"{path} was not written to its end; {draft.file.replay.entries} entries of its logs are carried out first, as Windows would.",
                "Nothing. A clean shutdown of the source leaves no such logs.",
            )


def source(guest: Guest, options: Options) -> Optional[drivers.Tree]:
    """The driver tree; None where no source is given."""
    if not options.virtio_win:
        return None
    return drivers.IsoTree(guest) if options.iso else drivers.HostTree(options.virtio_win)


def make_plan(guest: Guest, facts: GuestFacts, options: Options, nics: Sequence[Nic]) -> Plan:
    """The changes that let this Windows start on KVM; nothing is written."""
    windows = facts.windows
    if windows is None:
        return Plan()
    findings = Findings()
    system, software = open_hives(guest, windows.system_root)
    tree = source(guest, options)
    packages = drivers.select(tree, windows, facts.architecture, options.drivers, findings) if tree is not None else {}
    work = Work(guest, facts, windows, system, software, options, nics, findings, tree, packages)
    _driver_concerns(work)
    changes = [change for repair in chosen(REPAIRS, options.fixes) for change in repair.changes(work)]
    edits: list[EditHive] = [*system.change(), *(software.change() if software is not None else ())]
    return Plan(merge([*changes, *edits]), tuple(findings.concerns))


def _driver_concerns(work: Work) -> None:
    facts, windows, options, packages, findings = work.facts, work.windows, work.options, work.packages, work.findings
    fallback = devices.fallback_bus(windows.nt).upper()
    if facts.disk_bus != "virtio":
        cause = (
            f"no viostor for {windows.release} ({facts.architecture}) in {options.virtio_win}"
            if options.virtio_win
            else "no driver source was given"
        )
        findings.add(
            "windows.no-drivers",
            WARNING,
            f"There are no virtio storage drivers ({cause}): the VM gets {fallback} disks.",
            "Name a virtio-win ISO or directory in migrate_virtio_win.",
        )
    if packages and "viostor" in packages and windows.nt <= (6, 1) and windows.nt >= (6, 0):
        findings.add(
            "windows.sha2",
            INFO,
            "Drivers that are signed with SHA-2 need the update KB3033929 (7, 2008 R2) or KB4474419 in this Windows.",
            "Install it at the source, or use a virtio-win whose drivers are signed with SHA-1 too (0.1.173 or older).",
        )
