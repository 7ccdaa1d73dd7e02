# SPDX-License-Identifier: GPL-3.0-or-later
"""What a description says and a migration does not take with it, as concerns: the readers of descriptions name it here, each of them alike."""

from __future__ import annotations

import os
from typing import Sequence

from ..core.concern import BLOCKER, INFO, WARNING, Concern, listed


def _one(there: object, concern: Concern) -> tuple[Concern, ...]:
    return (concern,) if there else ()


def devices(vm: str, names: Sequence[str], severity: str = INFO) -> tuple[Concern, ...]:
    """Devices of other kinds than a migration knows. Those that may hold data or be a way to a network are worth a warning."""
    said = f"{vm} has devices that are not migrated: {listed(names)}.", "Attach what is needed on the target."
    return _one(names, Concern("source.device", WARNING, *said) if severity == WARNING else Concern("source.device", INFO, *said))


def media(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = f"{vm} has drives for CDs or floppies: {listed(names)}.", "Neither they nor media in them are migrated."
    return _one(names, Concern("source.media", INFO, *said))


def passthrough(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = f"{vm} has passed-through devices of its host: {listed(names)}.", "They are not migrated; attach others on the target."
    return _one(names, Concern("source.passthrough", WARNING, *said))


def sriov(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = f"{vm} has SR-IOV cards: {listed(names)}.", "They become virtio cards; look at drivers and VLANs in the guest."
    return _one(names, Concern("source.sriov", WARNING, *said))


def vtpm(vm: str, there: bool) -> tuple[Concern, ...]:
    said = (
        f"{vm} has a virtual TPM, whose content is not migrated.",
        "Have the recovery keys of BitLocker or LUKS at hand, or unbind them from the TPM first.",
    )
    return _one(there, Concern("source.vtpm", WARNING, *said))


def disconnected(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = (
        f"Cards of {vm} are not connected when it starts at its source, and are at the target: {listed(names)}.",
        "Look whether their addresses are free, or leave them out (migrate_nics).",
    )
    return _one(names, Concern("source.disconnected", WARNING, *said))


def shared(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = (
        f"Several VMs may write to disks of {vm}: {listed(names)}.",
        "The result is a copy of its own. Shut all of them down before, and share it anew on the target if they need that.",
    )
    return _one(names, Concern("source.shared-disk", WARNING, *said))


def inner_snapshots(path: str, count: int) -> tuple[Concern, ...]:
    """Of an image that keeps earlier states of its disk, and perhaps the memory of its VM then, within it."""
    said = f"{os.path.basename(path)} holds {count} snapshots of its disk.", "The present state is migrated, and no snapshot."
    return _one(count, Concern("source.snapshots", INFO, *said))


def snapshots(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = (
        f"Disks of {vm} are chains of several images, as of snapshots or a linked clone: {listed(names)}.",
        "The present state is migrated, and no earlier one.",
    )
    return _one(names, Concern("source.snapshots", INFO, *said))


def unclean(path: str, there: bool) -> tuple[Concern, ...]:
    said = (
        f"{os.path.basename(path)} was not closed: it was copied while its VM ran, or its hypervisor broke off.",
        "It is as after a power failure. If its VM ran, shut it down and copy the disk again.",
    )
    return _one(there, Concern("source.unclean", WARNING, *said))


def newer(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = (
        f"What {vm} wrote last is in images that go on from its disks, and are not among them: {listed(names)}.",
        "Name these in place of the disks (migrate_source), or the description of the VM; accept to migrate the state before them.",
    )
    return _one(names, Concern("source.newer-image", BLOCKER, *said))


def unread(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = (
        f"So many images beside the disks of {vm} could go on from them that not all were looked into: {listed(names)}.",
        "Make sure that none of them is newer than these disks, or put these into a directory of their own.",
    )
    return _one(names, Concern("source.images-unread", WARNING, *said))


def descriptions(vm: str, readable: Sequence[str], others: Sequence[str]) -> tuple[Concern, ...]:
    """Descriptions of VMs beside disks that were named alone."""
    how = (
        "Name it in migrate_source in place of the disks, if it is this VM's."
        if readable
        else "It is of a kind that is not read: say what the VM is to have (migrate_cpus, migrate_memory, migrate_firmware, migrate_nics)."
    )
    said = f"Beside the disks of {vm} lies a description that is not read: {listed([*readable, *others])}.", how
    return _one([*readable, *others], Concern("source.description", INFO, *said))


def states(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    said = (
        f"Beside the disks of {vm} lies the memory of a VM that was saved or suspended: {listed(names)}.",
        "If it is this VM's, start it, shut its guest down, and copy the disks then: they are as after a power failure.",
    )
    return _one(names, Concern("source.saved-state", WARNING, *said))


def from_network(vm: str, there: bool) -> tuple[Concern, ...]:
    said = (
        f"The firmware of {vm} tries the network before its disks; at the target it starts from a disk.",
        "Change the order on the target if the VM is to start from the network.",
    )
    return _one(there, Concern("source.boot-order", INFO, *said))


def settings(vm: str, names: Sequence[str]) -> tuple[Concern, ...]:
    """What hypervisors hand to a guest, and its cloud-init, ignition or own programs read."""
    said = (
        f"{vm} reads settings of its own from its hypervisor, and finds them at the target no more: {listed(names)}.",
        "Set in the guest what it needs (an address, a password), or give it by cloud-init.",
    )
    return _one(names, Concern("source.properties", WARNING, *said))


def forgetful(vm: str, names: Sequence[str], how: str) -> tuple[Concern, ...]:
    said = (
        f"Disks of {vm} forget at their source what was written to them, or keep it apart ({how}): {listed(names)}.",
        "At the target they keep it. Make a snapshot there to go back to, if the VM is to begin anew each time.",
    )
    return _one(names, Concern("source.disk-mode", WARNING, *said))
