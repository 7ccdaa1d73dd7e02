# SPDX-License-Identifier: GPL-3.0-or-later
"""PLAN: the fixes in their order, each seeing what the earlier ones intend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Sequence

from ..core.errors import InvalidInput
from ..guest.changes import Change, Plan, merge
from ..guest.model import WARNING, Findings, GuestFacts
from ..guest.protocol import Guest
from ..guest.view import PendingView
from . import bootloader, efi, initramfs, mounts, network, storage, tools


@dataclass(frozen=True)
class Options:
    """What the operator chose."""

    fixes: tuple[str, ...] = ()
    fstab_mode: str = "stabilize-all"
    initramfs_mode: str = "overlay"


Fix = Callable[[Guest, GuestFacts, Options, Findings], Sequence[Change]]

# Tools go before the initramfs is looked at: their modules and rules must not be built in again.
FIXES: dict[str, Fix] = {
    "fstab": lambda guest, facts, options, findings: mounts.plan(guest, findings, options.fstab_mode),
    "storage": lambda guest, facts, options, findings: storage.plan(guest),
    "bootloader": lambda guest, facts, options, findings: [
        *bootloader.plan(guest, findings),
        *(efi.plan(guest, facts.architecture, findings) if facts.firmware == "uefi" else ()),
    ],
    "network": lambda guest, facts, options, findings: network.plan(guest, facts.interfaces, findings),
    "vmware_tools": lambda guest, facts, options, findings: tools.plan(guest, findings),
    "initramfs": lambda guest, facts, options, findings: initramfs.plan(
        guest, facts.kernels, facts.initramfs_tool, options.initramfs_mode, findings
    ),
}


def make_plan(guest: Guest, facts: GuestFacts, options: Options) -> Plan:
    """The changes that make the guest boot, find its disks and keep its network on KVM; nothing is written.

    Raises InvalidInput for a fix that does not exist.
    """
    unknown = sorted(set(options.fixes) - set(FIXES))
    if unknown:
        raise InvalidInput(f"There is no fix called {', '.join(unknown)}.", f"Choose from {', '.join(FIXES)}.")
    findings = Findings()
    pending: list[Change] = []
    for name, fix in FIXES.items():
        if not options.fixes or name in options.fixes:
            pending += fix(PendingView(guest, merge(pending)), facts, options, findings)
    if facts.encrypted:
        findings.add(
            "luks.locked",
            WARNING,
            f"Encrypted devices stayed locked: {', '.join(facts.encrypted)}.",
            "Give their keys in migrate_luks_keys, or accept luks.locked for data disks.",
        )
    return Plan(merge(pending), tuple(findings.concerns))


def with_interfaces(facts: GuestFacts, guest: Guest, cards: Sequence[network.Card]) -> tuple[GuestFacts, Findings]:
    """The facts completed by the VM's network cards."""
    findings = Findings()
    return replace(facts, interfaces=network.interfaces(guest, cards, facts.machine_id, findings)), findings
