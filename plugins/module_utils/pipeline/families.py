# SPDX-License-Identifier: GPL-3.0-or-later
"""The families of guests: Linux, Windows, and systems that are copied as they are. They do not know each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ..core.concern import BLOCKER, WARNING, Concern, Findings
from ..core.errors import UnsupportedGuest
from ..disk import staging
from ..guest import assemble
from ..guest.cards import Card
from ..guest.model import BlockDevice, CardFacts, GuestFacts
from ..guest.offline import Attached, OfflineGuest
from ..guest.parttable import Table
from ..guest.plan import Plan
from ..guest.proof import Proof
from ..guest.protocol import Guest
from ..guest.resolver import Disk, Use
from ..linux import cmdline
from ..linux import plan as linux
from ..linux import proof as linux_proof
from ..linux.default import default_entry
from ..linux.entries import boot_entries
from ..linux.inspect import inspect
from ..windows import drivers, volumes
from ..windows import plan as windows
from ..windows import proof as windows_proof
from ..windows.storage import FOLDER


@dataclass(frozen=True)
class GuestRequest:
    """The disk set of a VM, in order, with what its source says of it and what the operator chose.

    `grow` are the numbers of disks that are larger than at the source, whose space the guest is to get.
    """

    disks: tuple[Attached, ...]
    cards: tuple[Card, ...] = ()
    firmware: str = "auto"
    luks_keys: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    options: linux.Options = linux.Options()
    windows: windows.Options = windows.Options()
    accept: tuple[str, ...] = ()
    grow: tuple[int, ...] = ()


def guest_request(
    description: Mapping[str, Any],
    disks: Sequence[staging.StagedDisk],
    firmware: str = "auto",
    luks_keys: Optional[Mapping[str, str]] = None,
    root: str = "",
    options: linux.Options = linux.Options(),
    for_windows: windows.Options = windows.Options(),
    accept: Sequence[str] = (),
) -> GuestRequest:
    """What is to be repaired: the overlays of a fetched VM, with the places and cards that its source gives them.

    `options` and `for_windows` are what the operator chose; `firmware` auto takes what the source says.
    """
    places = [
        Disk(entry.get("bus"), entry.get("controller"), entry.get("unit"), entry.get("wwn"), tuple(entry.get("names") or ()))
        for entry in description["disks"]
    ]
    attached = tuple(Attached(disk.overlay, "qcow2", place) for disk, place in zip(disks, places))
    cards = tuple(Card(nic.get("mac"), nic.get("slot")) for nic in description.get("nics") or ())
    starts = firmware if firmware != "auto" else description.get("firmware") or "auto"
    return GuestRequest(attached, cards, starts, luks_keys or {}, root, options, for_windows, tuple(accept))


def find(guest: OfflineGuest, request: GuestRequest, starts: str, locked: tuple[str, ...]) -> tuple[GuestFacts, list[Concern]]:
    """Mount the guest's file systems and say what it is; `locked` are encrypted devices that no key opened."""
    ntfs = guest.device(request.root) if request.root else None
    root = None if ntfs is not None and ntfs.fstype == "ntfs" else assemble.find_root(guest, request.root)
    if root is not None:
        return _linux(guest, request, root, starts, locked)
    findings = Findings()
    system = volumes.find(guest, request.root, findings)
    if system is not None:
        return _windows(guest, request, system, starts, findings)
    facts, concern = _unknown(guest, request, starts, locked)
    return facts, [*findings.concerns, concern]


def _linux(
    guest: OfflineGuest, request: GuestRequest, root: BlockDevice, starts: str, locked: tuple[str, ...]
) -> tuple[GuestFacts, list[Concern]]:
    assemble.mount_all(guest, root)
    # What the default entry calls the root says more about the guest's names.
    entry = default_entry(guest, boot_entries(guest))
    named = cmdline.values(entry.cmdline, "root")[-1:] if entry is not None else []
    if named:
        assemble.learn(guest, root, [Use(named[0], "/")])
    facts = inspect(guest, root, guest.subvolume, guest.mounts, starts, locked)
    facts, findings = linux.complete(facts, guest, request.cards, request.options.macs)
    return facts, findings.concerns


def _windows(
    guest: OfflineGuest, request: GuestRequest, system: BlockDevice, starts: str, findings: Findings
) -> tuple[GuestFacts, list[Concern]]:
    if volumes.dirty(guest, system.name):
        findings.add(
            "windows.dirty-volume",
            WARNING,
            f"The file system of {system.name} wants to be checked.",
            "Windows checks it at its next start; run chkdsk at the source if you can.",
        )
    volumes.mount(guest, system)
    if volumes.hibernated(guest):
        findings.add(
            "windows.hibernated",
            BLOCKER,
            "Windows is hibernated or was shut down with Fast Startup: its disk holds a saved session and cannot be written.",
            "Start the source and shut it down with shutdown /s /t 0; or accept windows.hibernated, which throws the session away.",
        )
    if request.windows.virtio_win and request.windows.iso:
        guest.mount_medium(drivers.ISO)
    root = volumes.system_root(guest)
    if root is None:
        raise UnsupportedGuest(f"{system.name} no longer shows a Windows directory.", "Check the file system at the source (chkdsk /f).")
    facts = windows.inspect(guest, root, guest.mounts, starts, request.cards, request.options.macs, request.windows, findings)
    return facts, findings.concerns


def _unknown(guest: OfflineGuest, request: GuestRequest, starts: str, locked: tuple[str, ...]) -> tuple[GuestFacts, Concern]:
    """A system that is copied as it is: no repair, disks and cards that every system has drivers for."""
    cards = tuple(CardFacts("", card.mac) for card in request.cards if card.mac)
    kinds = sorted({device.fstype for device in guest.devices() if device.fstype}) or ["nothing that is known"]
    if locked:
        concern = Concern(
            "luks.locked",
            BLOCKER,
            f"No Linux root file system was found, and encrypted devices stayed locked: {', '.join(locked)}.",
            "Give their keys in migrate_luks_keys, or accept luks.locked to copy the disks as they are.",
        )
    else:
        concern = Concern(
            "guest.unknown",
            WARNING,
            f"Neither Linux nor Windows was found; the disks hold {', '.join(kinds)}. They are copied without a repair.",
            "Give all disks of the VM if some are missing. Define the VM with SATA disks and e1000e cards, and look at its first boot.",
        )
    return GuestFacts(os="unknown", firmware=starts, cards=cards, disk_bus="sata", nic_model="e1000e", encrypted=locked), concern


def prepare(guest: OfflineGuest, facts: GuestFacts, request: GuestRequest) -> None:
    """Make the guest ready to be written, after everything that may refuse."""
    if facts.os == "windows":
        volumes.mount_writable(guest, "windows.hibernated" in request.accept)


def make_plan(guest: Guest, facts: GuestFacts, request: GuestRequest) -> Plan:
    """The plan of the guest's family; empty for a system that is only copied."""
    options = request.options
    if facts.os == "windows":
        plan = windows.make_plan(
            guest, facts, request.windows, options.fixes, options.remove_tools, options.agent_packages, request.cards, options.macs
        )
    else:
        plan = linux.make_plan(guest, facts, options)
    return plan.guarded(guest)


def prove(guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Optional[Proof]:
    """The proof of the guest's family; None for a system that nothing is known of."""
    provers = {"linux": linux_proof.prove, "windows": windows_proof.prove}
    return provers[facts.os](guest, facts, tables) if facts.os in provers else None


def backups(facts: GuestFacts) -> str:
    """Where a repair keeps what it replaces."""
    return f"{facts.windows.system_root}/{FOLDER}/{windows.BACKUPS}" if facts.windows is not None else "/var/lib/hyper2kvm"


def fixes() -> Sequence[str]:
    """The names of all fixes, each once."""
    return tuple(dict.fromkeys((*linux.FIXES, *windows.FIXES)))
