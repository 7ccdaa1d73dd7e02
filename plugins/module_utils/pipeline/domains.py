# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the stages found out to the VM on the target, for each set of devices that it is to start on."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Iterator, Mapping, Sequence

from ..core.concern import INFO, WARNING, Concern
from ..core.errors import InvalidInput
from ..core.machine import Nic
from ..disk.machine import BARE, Converted, VmSaid
from ..guest.model import BOOTSTRAP
from ..guest.nic_names import as_met
from ..guest.nics import made
from ..targets.domain import Domain
from .record import Facts


def describe(
    name: str,
    vm: VmSaid,
    facts: Facts,
    disks: Sequence[Converted],
    phase: str,
    network: str,
    side_disk: str,
    networks: Mapping[str, str] = MappingProxyType({}),
) -> Domain:
    """The domain for one phase. In the first the system disk lies where no driver of ours is needed, with `side_disk` on virtio beside it.

    `networks`: the network, or "bridge:" and a bridge, for each one at the source; `network` for those that are not in it.
    """
    fallback = "ide" if facts.machine == "pc" else "sata"
    first = phase == BOOTSTRAP
    return Domain(
        name,
        tuple((disk.path, disk.format) for disk in disks),
        tuple(_nics(vm, facts, network, networks)),
        memory=vm.machine.memory or 2048,
        cpus=vm.machine.cpus or 2,
        cores_per_socket=vm.machine.cores_per_socket or 1,
        most_sockets=facts.windows.sockets if facts.windows is not None else 0,
        firmware=facts.firmware or vm.machine.firmware or "bios",
        machine=facts.machine or "q35",
        boot_disk=facts.boot_disk,
        disk_bus=fallback if first else facts.disk_bus or "virtio",
        nic_model=facts.nic_model or "virtio",
        windows=facts.windows is not None,
        clock=(facts.windows.clock if facts.windows is not None else None) or "utc",
        side_disk=side_disk if first else "",
        secure_boot=vm.machine.secure_boot,
        tpm=vm.tpm,
        uuid=vm.uuid,
        devices=frozenset(disk.path for disk in disks if disk.device),
        encrypted=frozenset(disk.path for disk in disks if disk.encrypted),
        secret=next((disk.luks for disk in disks if disk.luks), ""),
        vm=vm.identity,
    )


def unmapped(vm: VmSaid, network: str, networks: Mapping[str, str]) -> tuple[Concern, ...]:
    """Networks of the VM's NICs that a map of others leaves out; without any map all go to `network`, as they shall."""
    left = sorted({nic.network for nic in vm.machine.nics if networks} - {"", *networks})
    return tuple(
        Concern(
            "network.unmapped",
            WARNING,
            f"A card of the VM is on {name}, which migrate_network_map does not mention: it goes to {network}.",
            "Add it to migrate_network_map, or change the network in the description of the VM.",
        )
        for name in left
    )


def assumed(vm: VmSaid, facts: Facts) -> tuple[Concern, ...]:
    """Where NICs without a MAC at the source are on several networks, and the guest knows MACs, only their order says which is which."""
    unknown = [nic for nic in vm.machine.nics if nic.mac is None]
    there = dict.fromkeys(nic.network for nic in unknown)
    if len(there) < 2 or not [nic for nic in facts.nics if nic.name or nic.backend]:
        return ()
    return (
        Concern(
            "network.assumed-order",
            WARNING,
            f"The source says no MACs of the cards on {', '.join(map(str, there))}: those of the guest were given to them in their order.",
            "Check the addresses after the first boot, or name the cards with their MACs (migrate_nics).",
        ),
    )


def left_out(vm: VmSaid, domain: Domain) -> tuple[Concern, ...]:
    """The NICs of the source that a description has no like of, as where the operator has named others (migrate_nics)."""
    if len(vm.machine.nics) <= len(domain.nics):
        return ()
    known = {nic.mac for nic in domain.nics}
    gone = [f"{nic.mac or 'one without a MAC'} on {nic.network or 'no network'}" for nic in vm.machine.nics if nic.mac not in known]
    return (
        Concern(
            "network.left-out",
            WARNING,
            f"The VM has {len(vm.machine.nics)} cards at its source and {len(domain.nics)} in its description; those at the source that it does not have:"
            f" {', '.join(gone)}.",
            "Name all of them in migrate_nics, or none.",
        ),
    )


def other_topology(domain: Domain) -> tuple[Concern, ...]:
    """Where the processors of the description lie in other sockets than the source says."""
    found = []
    if domain.cpus % domain.cores_per_socket:
        found.append(
            Concern(
                "source.topology",
                INFO,
                f"The VM has {domain.cpus} processors with {domain.cores_per_socket} cores in a socket, which does not come out even:"
                " there a processor is a socket.",
                "Change the topology in the description, if the guest or a licence counts sockets.",
            )
        )
    sockets, cores = domain.topology
    before = replace(domain, most_sockets=0).topology[0]
    if sockets != before:
        found.append(
            Concern(
                "windows.sockets",
                INFO,
                f"This edition of Windows uses {domain.most_sockets} sockets at most, and the VM has {before}: its {domain.cpus} processors become"
                f" {sockets} with {cores} cores each, so that Windows uses all of them.",
                "Nothing; look at licences of programs that count sockets or cores.",
            )
        )
    return tuple(found)


def require_each_disk(vm: VmSaid, facts: Facts, disks: Sequence[Converted]) -> None:
    """Raise InvalidInput where the results are more or fewer than the disks of the VM, or have not the one that it starts from.

    Of a VM without any disk nothing is known.
    """
    if disks and facts.boot_disk >= len(disks):
        raise InvalidInput(
            f"The VM starts from disk {facts.boot_disk}, and there are {len(disks)} results, counted from 0.",
            "Give all that qemu_convert returned as disks, in their order, and the facts of the same VM.",
            option="facts.boot_disk",
        )
    if vm.disks and disks and len(disks) != len(vm.disks):
        raise InvalidInput(
            f"{vm.machine.name} has {len(vm.disks)} disks, and {len(disks)} results are to be described.",
            "Give all that qemu_convert returned as disks, in their order; or leave vm out for another VM.",
            option="disks",
        )


def _nics(vm: VmSaid, facts: Facts, network: str, networks: Mapping[str, str]) -> Iterator[Nic]:
    """Each NIC on the network that its own becomes, in the order in which a kernel met them. A disk alone has no NICs, but hardly a VM has none."""
    at_source = vm.machine.nics
    macs = [nic.mac for nic in facts.nics] or [nic.mac or made(vm.seed, number) for number, nic in enumerate(at_source)]
    was_on = {nic.mac: nic.network for nic in at_source if nic.mac}
    found = []
    for number, mac in enumerate(macs):
        there = was_on.get(mac) or (at_source[number].network if len(at_source) == len(macs) else "")
        found.append(Nic(mac, networks.get(there, network)))
    yield from as_met(at_source, macs, found)
    if not macs and vm.machine.kind == BARE:
        yield Nic(None, network)
