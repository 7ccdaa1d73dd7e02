# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the stages found out to the VM on the target, for each set of devices that it is to start on."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Iterator, Mapping, Sequence

from ..core.concern import WARNING, Concern
from ..core.machine import Nic, nics_of
from ..core.macs import canonical
from ..disk.machine import BARE
from ..guest.model import BOOTSTRAP
from ..targets.domain import Domain
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
        tuple(_nics(vm, facts, network, networks)),
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
    """Networks of the VM's NICs that a map of others leaves out; without any map all go to `network`, as they shall."""
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


def _nics(vm: Mapping[str, Any], facts: Mapping[str, Any], network: str, networks: Mapping[str, str]) -> Iterator[Nic]:
    """Each NIC on the network that its own becomes. A disk alone has no NICs, but hardly a VM has none."""
    at_source = nics_of(vm.get("nics") or ())
    macs = [mac for one in facts.get("nics") or () if (mac := canonical(one["mac"]))] or [nic.mac for nic in at_source if nic.mac]
    was_on = {nic.mac: nic.network for nic in at_source if nic.mac}
    for number, mac in enumerate(macs):
        there = was_on.get(mac) or (at_source[number].network if len(at_source) == len(macs) else "")
        yield Nic(mac, networks.get(there, network))
    if not macs and not at_source and vm.get("kind") == BARE:
        yield Nic(None, network)
