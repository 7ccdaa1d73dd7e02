# SPDX-License-Identifier: GPL-3.0-or-later
"""PLAN: the fixes in their order, each seeing what the earlier ones intend."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Callable, Mapping, Optional, Sequence

from ..core.concern import WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.cards import Card, mac_map
from ..guest.change import Change
from ..guest.model import CardFacts, GuestFacts
from ..guest.plan import Plan, merge
from ..guest.protocol import Guest
from ..guest.view import PendingView
from . import agent, bootloader, crypttab, customize, efi, initramfs, modules, mounts, network, storage, tools
from .netconf import names


@dataclass(frozen=True)
class Options:
    """What the operator chose. `remove_tools` names hypervisors, `agent_packages` files or directories, `macs` maps old MACs to new."""

    fixes: tuple[str, ...] = ()
    fstab_mode: str = "stabilize-all"
    initramfs_mode: str = "overlay"
    remove_tools: tuple[str, ...] = ("vmware",)
    agent_packages: tuple[str, ...] = ()
    macs: Mapping[str, str] = field(default_factory=dict)
    customize: customize.Customization = customize.Customization()


Fix = Callable[[Guest, GuestFacts, Options, Findings], Sequence[Change]]

# Tools go before the initramfs is looked at: their modules and rules must not be built in again.
FIXES: dict[str, Fix] = {
    "fstab": lambda guest, facts, options, findings: [
        *mounts.plan(guest, findings, options.fstab_mode),
        *crypttab.plan(guest, facts, options.fstab_mode, findings),
    ],
    "storage": lambda guest, facts, options, findings: storage.plan(guest, findings),
    "bootloader": lambda guest, facts, options, findings: [
        *bootloader.plan(guest, facts, findings),
        *(efi.plan(guest, facts.architecture, findings) if facts.firmware == "uefi" else ()),
    ],
    "network": lambda guest, facts, options, findings: [
        *network.plan(guest, facts.interfaces, mac_map(options.macs), findings),
        *modules.plan(guest),
    ],
    "vmware_tools": lambda guest, facts, options, findings: tools.plan(guest, findings, options.remove_tools),
    "agent": lambda guest, facts, options, findings: agent.plan(guest, options.agent_packages, facts, findings),
    "customize": lambda guest, facts, options, findings: customize.plan(guest, facts, options.customize, findings),
    "initramfs": lambda guest, facts, options, findings: initramfs.plan(guest, facts, options.initramfs_mode, findings),
}


def make_plan(guest: Guest, facts: GuestFacts, options: Options) -> Plan:
    """The changes that make the guest boot, find its disks and keep its network on KVM; nothing is written.

    Raises InvalidInput for a fix that does not exist.
    """
    unknown = sorted(set(options.fixes) - set(FIXES))
    if unknown:
        raise InvalidInput(f"There is no fix called {', '.join(unknown)}.", f"Choose from {', '.join(FIXES)}.")
    findings = Findings()
    if facts.os != "linux":
        return Plan()
    pending: list[Change] = []
    for name, fix in FIXES.items():
        if not options.fixes or name in options.fixes:
            pending += fix(PendingView(guest, merge(pending)), facts, options, findings)
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
            f"{facts.product or facts.distribution or 'This system'} belongs to no family whose conventions are known.",
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
    cards: Sequence[Card],
    macs: Mapping[str, str],
    interfaces: Optional[Sequence[tuple[str, str]]] = None,
) -> tuple[GuestFacts, Findings]:
    """The facts with the VM's network cards, the old hypervisor's tools, and what the guest's kernels can run on.

    `interfaces` are the names and MACs where they are known, as on a running system.
    """
    findings = Findings()
    known = mac_map(macs)
    if interfaces is None:
        interfaces = network.interfaces(guest, cards, facts.machine_id, findings)
    pairs = tuple((name, known.get(mac, mac)) for name, mac in interfaces)
    told = names.cards([replace(profile, mac=known.get(profile.mac or "", profile.mac)) for profile in names.profiles(guest)], pairs)
    others = [
        known.get(card.mac, card.mac) for card in cards if card.mac and known.get(card.mac, card.mac) not in {mac for dummy, mac in pairs}
    ]
    capable = [kernel for kernel in facts.kernels if kernel.modules is not None] or list(facts.kernels)
    bus = "virtio" if any(initramfs.runs_on(guest, kernel, "virtio") for kernel in capable) else "sata"
    card = "virtio" if any(kernel.modules is None or initramfs.provided(guest, kernel, "virtio_net") for kernel in capable) else "e1000e"
    return (
        replace(
            facts,
            interfaces=pairs,
            cards=(*told, *(CardFacts("", mac) for mac in others)),
            tools=tools.present(guest),
            disk_bus=bus,
            nic_model=card,
        ),
        findings,
    )
