# SPDX-License-Identifier: GPL-3.0-or-later
"""What a description says and a migration does not take with it, as concerns: the readers of descriptions name it here, each of them alike."""

from __future__ import annotations

from typing import Iterator, Sequence

from ..core.concern import INFO, WARNING, Concern

_NAMED = 20  # of one kind; what comes after them is counted


def listed(names: Sequence[str]) -> str:
    """The first of some names, for people."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name[:80] for name in names[:_NAMED]) + more


def devices(vm: str, names: Sequence[str], severity: str = INFO) -> Iterator[Concern]:
    """Devices of other kinds than a migration knows. Those that may hold data or be a way to a network are worth a warning."""
    if names:
        said = f"{vm} has devices that are not migrated: {listed(names)}.", "Attach what is needed on the target."
        yield Concern("source.device", WARNING, *said) if severity == WARNING else Concern("source.device", INFO, *said)


def media(vm: str, names: Sequence[str]) -> Iterator[Concern]:
    if names:
        yield Concern(
            "source.media", INFO, f"{vm} has drives for CDs or floppies: {listed(names)}.", "Neither they nor media in them are migrated."
        )


def passthrough(vm: str, names: Sequence[str]) -> Iterator[Concern]:
    if names:
        yield Concern(
            "source.passthrough",
            WARNING,
            f"{vm} has passed-through devices of its host: {listed(names)}.",
            "They are not migrated; attach others on the target.",
        )


def sriov(vm: str, names: Sequence[str]) -> Iterator[Concern]:
    if names:
        yield Concern(
            "source.sriov",
            WARNING,
            f"{vm} has SR-IOV cards: {listed(names)}.",
            "They become virtio cards; look at drivers and VLANs in the guest.",
        )


def vtpm(vm: str, there: bool) -> Iterator[Concern]:
    if there:
        yield Concern(
            "source.vtpm",
            WARNING,
            f"{vm} has a virtual TPM, whose content is not migrated.",
            "Have the recovery keys of BitLocker or LUKS at hand, or unbind them from the TPM first.",
        )


def disconnected(vm: str, names: Sequence[str]) -> Iterator[Concern]:
    if names:
        yield Concern(
            "source.disconnected",
            WARNING,
            f"Cards of {vm} are not connected when it starts at its source, and are at the target: {listed(names)}.",
            "Look whether their addresses are free, or leave them out (migrate_nics).",
        )


def shared(vm: str, names: Sequence[str]) -> Iterator[Concern]:
    if names:
        yield Concern(
            "source.shared-disk",
            WARNING,
            f"Several VMs may write to disks of {vm}: {listed(names)}.",
            "The result is a copy of its own. Shut all of them down before, and share it anew on the target if they need that.",
        )
