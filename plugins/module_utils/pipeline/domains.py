# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the stages found out to the VM on the target, for each set of devices that it is to start on."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..boot.domain import Domain
from ..boot.model import Nic

BOOTSTRAP, FINAL = "bootstrap", "final"


def describe(
    name: str, vm: Mapping[str, Any], facts: Mapping[str, Any], disks: Sequence[Mapping[str, Any]], phase: str, network: str, side_disk: str
) -> Domain:
    """The domain for one phase. In the first the system disk lies where no driver of ours is needed, with `side_disk` on virtio beside it."""
    windows = facts.get("windows") or {}
    fallback = "ide" if facts.get("machine") == "pc" else "sata"
    first = phase == BOOTSTRAP
    cards = facts.get("cards") or [nic for nic in vm.get("nics") or [] if nic.get("mac")]
    return Domain(
        name,
        tuple((disk["path"], disk["format"]) for disk in disks),
        tuple(Nic(card["mac"]) for card in cards),
        vm.get("memory") or 2048,
        vm.get("cpus") or 2,
        facts.get("firmware") or vm.get("firmware") or "bios",
        facts.get("machine") or "q35",
        facts.get("boot_disk") or 0,
        fallback if first else facts.get("disk_bus") or "virtio",
        facts.get("nic_model") or "virtio",
        network,
        bool(windows),
        windows.get("clock") or "utc",
        side_disk if first else "",
    )
