# SPDX-License-Identifier: GPL-3.0-or-later
"""What a description says and a migration does not take with it, as concerns: the readers of descriptions name it here, each of them alike."""

from __future__ import annotations

from typing import Sequence

from ..core.concern import INFO, WARNING, Concern

_NAMED = 20  # of one kind; what comes after them is counted


def listed(names: Sequence[str]) -> str:
    """The first of some names, for people."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name[:80] for name in names[:_NAMED]) + more


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
