# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the stages found out to the VM on the target, for each set of devices that it is to start on."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Iterator, Mapping, Sequence

from ..core import macs
from ..core.concern import WARNING, Concern
from ..disk.machine import BARE
from ..guest.model import BOOTSTRAP
from ..targets.domain import Card, Domain
from .places import recorded


def describe(
    name: str,
    vm: Mapping[str, Any],
    facts: Mapping[str, Any],
    disks: Sequence[Mapping[str, Any]],
    phase: str,
    network: str,
    side_disk: str,
    networks: Mapping[str, str] = MappingProxyType({}),
) -> Domain:
    """The domain for one phase. In the first the system disk lies where no driver of ours is needed, with `side_disk` on virtio beside it.

    `networks`: the network, or "bridge:" and a bridge, for each one at the source; `network` for those that are not in it.
    """
    windows = facts.get("windows") or {}
    fallback = "ide" if facts.get("machine") == "pc" else "sata"
    first = phase == BOOTSTRAP
    return Domain(
        name,
        tuple((disk["path"], disk["format"]) for disk in disks),
        tuple(_cards(vm, facts, network, networks)),
        int(vm.get("memory") or 2048),  # some versions of Ansible make texts of numbers
        int(vm.get("cpus") or 2),
        int(vm.get("cores_per_socket") or 1) or 1,
        facts.get("firmware") or vm.get("firmware") or "bios",
        facts.get("machine") or "q35",
        int(facts.get("boot_disk") or 0),
        fallback if first else facts.get("disk_bus") or "virtio",
        facts.get("nic_model") or "virtio",
        bool(windows),
        windows.get("clock") or "utc",
        side_disk if first else "",
        bool(vm.get("secure_boot")),
        bool(vm.get("tpm")),
        vm.get("uuid") or "",
        frozenset(disk["path"] for disk in disks if disk.get("device")),
        frozenset(disk["path"] for disk in disks if disk.get("encrypted")),
        next((disk["luks"] for disk in disks if disk.get("luks")), ""),
        recorded(vm),
    )


def unmapped(vm: Mapping[str, Any], network: str, networks: Mapping[str, str]) -> tuple[Concern, ...]:
    """Networks of the VM's cards that a map of others leaves out; without any map all cards go to `network`, as they shall."""
    left = sorted({nic.get("network") or "" for nic in vm.get("nics") or () if networks} - {"", *networks})
    return tuple(
        Concern(
            "network.unmapped",
            WARNING,
            f"A card of the VM is on {name}, of which migrate_network_map says nothing: it goes to {network}.",
            "Add it to migrate_network_map, or change the network in the description of the VM.",
        )
        for name in left
    )


def _cards(vm: Mapping[str, Any], facts: Mapping[str, Any], network: str, networks: Mapping[str, str]) -> Iterator[Card]:
    """Each card on the network that its own becomes. A disk alone has no cards, but hardly a VM has none."""
    nics = vm.get("nics") or []
    cards = facts.get("cards") or [nic for nic in nics if nic.get("mac")]
    was_on = {macs.canonical(nic["mac"]): nic.get("network") for nic in nics if nic.get("mac")}
    for number, card in enumerate(cards):
        mac = macs.canonical(card["mac"]) or ""
        there = was_on.get(mac) or (nics[number].get("network") if len(nics) == len(cards) else None)
        yield Card(mac, networks.get(there or "", network))
    if not cards and not nics and vm.get("kind") == BARE:
        yield Card("", network)
