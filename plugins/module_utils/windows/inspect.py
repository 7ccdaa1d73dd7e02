# SPDX-License-Identifier: GPL-3.0-or-later
"""INSPECT for Windows: facts from the hives."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional, Sequence

from ..core.concern import BLOCKER, INFO, Findings
from ..core.machine import Nic, NicFacts
from ..guest.family import GuestRequest
from ..guest.model import BOOTSTRAP, FINAL, GuestFacts, Mount
from ..guest.nics import mac_map
from ..guest.protocol import Guest
from . import bcd, devices, drivers, hives, identity, logs, matching, network, paths, pnp, reparse, signing_policy, states, storage, tools
from .wanted import overridden
from .work import TWO_PHASE, Options


def inspect(
    guest: Guest,
    root: str,
    mounts: Sequence[Mount],
    firmware: str,
    nics: Sequence[Nic],
    options: Options,
    findings: Findings,
    request: GuestRequest = GuestRequest(()),
) -> GuestFacts:
    """The facts of the Windows whose directory is `root`, with the concerns that its state is worth."""
    system, software = hives.open_hives(guest, root)
    windows = replace(
        identity.identify(guest, system, software, root),
        secure_boot=request.secure_boot and firmware == "uefi",
        any_driver=signing_policy.CODE in request.accept,
    )
    windows = replace(windows, test_signing=bcd.test_signing(guest, windows.stores, firmware))
    identity.concerns(guest, windows, system, software, findings)
    states.concerns(guest, windows, system, software, firmware, findings)
    reparse.concerns(guest, root, windows.nt, findings)
    _dirty(system, software, findings)
    known = mac_map(options.macs)
    here = overridden(matching.matched(network.adapters(system, windows), nics, known).here, options.network)
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
        architecture=identity.architecture(guest, root, system, windows.control_set),
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
    tree = options.tree(guest)
    if windows is None:
        return facts
    fallback = devices.fallback_bus(windows.nt)
    packages = drivers.select(tree, windows, facts.architecture, ("netkvm",), Findings()) if tree is not None else {}
    matches = [pnp.match(system, windows, device) for device in devices.storage("virtio", facts.machine)]
    ready = all(
        not match.fault
        and pnp.effective_start(system, windows, match.service) == pnp.BOOT_START
        and _loads(guest, facts, system, match.service)
        for match in matches
    )
    bus = "virtio" if "viostor" in packages or ready else fallback
    staged = guest.stat(f"{windows.system_root}/{storage.FOLDER}/drivers/netkvm") is not None
    installed = staged or pnp.effective_start(system, windows, "netkvm") is not None
    nic = "virtio" if "netkvm" in packages or installed else "e1000e" if windows.nt >= (6, 1) else "rtl8139"
    phases = (BOOTSTRAP, FINAL) if options.boot == TWO_PHASE and bus == "virtio" else (FINAL,)
    return replace(facts, disk_bus=bus, nic_model=nic, phases=phases, first_steps=_first_steps(phases))


def _loads(guest: Guest, facts: GuestFacts, system: hives.Draft, service: str) -> bool:
    """Whether the kernel takes a driver that is installed already, or nobody can say."""
    windows = facts.windows
    if windows is None:
        return False
    value = system.text(f"{pnp.services(windows)}\\{service}", "ImagePath")
    path = paths.image(windows.system_root, value, service, windows.drive)
    found = paths.find(guest, path) if path is not None else None
    data = guest.read(found) if found is not None else None
    return data is None or signing_policy.judge(windows, facts.architecture, data).state != signing_policy.NO


def _first_steps(phases: Sequence[str]) -> tuple[str, ...]:
    """What a person does at the first start, and knows of it."""
    bootstrap = (
        "Start it first as {vm}-bootstrap.xml says, let Windows come up, shut it down with shutdown /s /t 0,"
        " and run the playbook windows_finish.yml, which describes the final VM.",
    )
    return (
        *(bootstrap if BOOTSTRAP in phases else ()),
        "Windows finishes by itself at its first start: drivers, addresses, old tools; hyper2kvm\\firstboot.log in its directory tells.",
        "If it stops with INACCESSIBLE_BOOT_DEVICE (0x7B), attach the disk on SATA (IDE before Vista), where it starts without our drivers."
        " If the firmware finds no loader: bcdboot C:\\Windows from a recovery medium. The boot configuration from before is BCD.hyper2kvm beside BCD.",
    )


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
