# SPDX-License-Identifier: GPL-3.0-or-later
"""PLAN: the fixes in their order, each seeing what the earlier ones intend."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Mapping, Optional, Sequence

from ..core.concern import WARNING, Findings
from ..core.errors import InvalidInput
from ..core.machine import Nic
from ..core.macs import Mac
from ..guest.change import Change
from ..guest.model import GuestFacts
from ..guest.nics import mac_map
from ..guest.plan import Plan, merge
from ..guest.protocol import Guest
from ..guest.repairs import Repair, chosen, ordered
from ..guest.view import PendingView
from . import (
    agent,
    boot_cards,
    bootloader,
    crypttab,
    customize,
    efi,
    initramfs,
    modules,
    mounts,
    network,
    pinning,
    storage,
    tools,
    unmatched,
)
from .netconf import matches, names


@dataclass(frozen=True)
class Options:
    """What the operator chose. `remove_tools` names hypervisors, `agent_packages` files or directories, `macs` maps old MACs to new,
    `pin` is one of pinning.MODES, and recorded on its own.
    """

    fixes: tuple[str, ...] = ()
    fstab_mode: str = "stabilize-all"
    initramfs_mode: str = "overlay"
    remove_tools: tuple[str, ...] = ("vmware",)
    agent_packages: tuple[str, ...] = ()
    macs: Mapping[str, str] = field(default_factory=dict)
    pin: str = field(default=pinning.AUTO, repr=False)
    customize: customize.Customization = customize.Customization()


@dataclass(frozen=True)
class Work:
    """What a repair works on. The guest shows it what earlier repairs intend."""

    guest: Guest
    facts: GuestFacts
    options: Options
    findings: Findings


def _fstab(work: Work) -> list[Change]:
    mode = work.options.fstab_mode
    return [*mounts.plan(work.guest, work.findings, mode), *crypttab.plan(work.guest, work.facts, mode, work.findings)]


def _bootloader(work: Work) -> list[Change]:
    changes = list(bootloader.plan(work.guest, work.facts, work.findings))
    return [*changes, *(efi.plan(work.guest, work.facts.architecture, work.findings) if work.facts.firmware == "uefi" else ())]


def _network(work: Work) -> list[Change]:
    macs, driver = mac_map(work.options.macs), matches.driver_of(work.facts.nic_model)
    cards = pinning.by_position(work.guest, work.facts, work.options.pin, work.findings)
    changes = network.plan(work.guest, work.facts.interfaces, macs, work.findings, driver, cards)
    unmatched.say(PendingView(work.guest, merge(changes)), work.facts, work.findings)
    return [*changes, *modules.plan(work.guest)]


def _initramfs(work: Work) -> Sequence[Change]:
    return initramfs.plan(work.guest, work.facts, work.options.initramfs_mode, work.findings)


REPAIRS: tuple[Repair[Work], ...] = (
    Repair("fstab", _fstab),
    Repair("storage", lambda work: storage.plan(work.guest, work.findings)),
    Repair("bootloader", _bootloader),
    Repair("network", _network),
    Repair("vmware_tools", lambda work: tools.plan(work.guest, work.findings, work.options.remove_tools)),
    Repair("agent", lambda work: agent.plan(work.guest, work.options.agent_packages, work.facts, work.findings)),
    Repair("customize", lambda work: customize.plan(work.guest, work.facts, work.options.customize, work.findings)),
    # The guest's own tool builds in what the others write, and must not find the old tools' modules and rules any more.
    Repair("initramfs", _initramfs, after=("fstab", "storage", "bootloader", "network", "vmware_tools", "agent", "customize")),
)
FIXES = tuple(repair.name for repair in ordered(REPAIRS))


def make_plan(guest: Guest, facts: GuestFacts, options: Options) -> Plan:
    """The changes that make the guest boot, find its disks and keep its network on KVM; nothing is written.

    Raises InvalidInput for a fix that does not exist.
    """
    unknown = sorted(set(options.fixes) - set(FIXES))
    if unknown:
        raise InvalidInput(f"There is no fix named {', '.join(unknown)}.", f"Choose from {', '.join(FIXES)}.")
    findings = Findings()
    pending: list[Change] = []
    for repair in chosen(REPAIRS, options.fixes):
        pending += repair.changes(Work(PendingView(guest, merge(pending)), facts, options, findings))
    _limits(facts, findings)
    return Plan(merge(pending), tuple(findings.concerns))


def _limits(facts: GuestFacts, findings: Findings) -> None:
    if facts.encrypted:
        findings.add(
            "luks.locked",
            WARNING,
            f"Encrypted devices stayed locked: {', '.join(facts.encrypted)}.",
            "Give their keys in migrate_luks_keys, or accept luks.locked for data disks.",
        )
    if facts.family == "unknown":
        findings.add(
            "guest.unknown-family",
            WARNING,
            f"{facts.product or facts.distribution or 'This system'} belongs to no known family of distributions.",
            "The repairs go by the files that are there; look at the report and at the boot test.",
        )
    if facts.disk_bus != "virtio":
        findings.add(
            "guest.no-virtio",
            WARNING,
            "No installed kernel can run on virtio disks: the VM gets SATA disks.",
            "Install a current kernel in the guest for virtio; nothing else has to be done.",
        )
    if facts.nic_model != "virtio":
        findings.add(
            "guest.no-virtio-net",
            WARNING,
            "No installed kernel has virtio_net: the VM gets an e1000e card.",
            "Install a current kernel in the guest for virtio.",
        )


def complete(
    facts: GuestFacts,
    guest: Guest,
    nics: Sequence[Nic],
    macs: Mapping[str, str],
    interfaces: Optional[Sequence[tuple[str, Mac]]] = None,
) -> tuple[GuestFacts, Findings]:
    """The facts with the VM's NICs, the old hypervisor's tools, and what the guest's kernels can run on.

    `interfaces` are the names and MACs where they are known, as on a running system.
    """
    findings = Findings()
    known = mac_map(macs)
    if interfaces is None:
        interfaces = network.interfaces(guest, nics, facts.machine_id, findings)
    pairs = tuple((name, known.get(mac, mac)) for name, mac in interfaces)
    others = [mac for mac in (known.get(nic.mac, nic.mac) for nic in nics if nic.mac) if mac not in {mac for dummy, mac in pairs}]
    capable = [kernel for kernel in facts.kernels if kernel.modules is not None] or list(facts.kernels)
    bus = "virtio" if any(initramfs.runs_on(guest, kernel, "virtio") for kernel in capable) else "sata"
    model = "virtio" if any(kernel.modules is None or initramfs.provided(guest, kernel, "virtio_net") for kernel in capable) else "e1000e"
    profiles = [
        replace(profile, mac=known.get(profile.mac, profile.mac) if profile.mac else None) for profile in boot_cards.profiles(guest)
    ]
    told = names.nics(profiles, [*pairs, *(("", mac) for mac in others)], matches.driver_of(model), boot_cards.fresh(guest))
    return (
        replace(
            facts,
            interfaces=pairs,
            nics=told,
            tools=tools.present(guest),
            disk_bus=bus,
            nic_model=model,
        ),
        findings,
    )
