# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Windows is in the middle of, or bound to: its own setup, updates, renames that wait for a start, its licence.

Sources: Microsoft, "Windows Setup States" (ImageState), "PendingFileRenameOperations" and MoveFileEx; practice, of the Setup key and of what an
upgrade starts.
"""

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from ..core.concern import BLOCKER, INFO, WARNING, Findings, listed
from ..core.errors import MigrationError
from ..guest.model import WindowsFacts
from ..guest.protocol import Guest
from . import bcd, drivers, hives, identity, paths, regf
from .storage import FOLDER

_MANAGER = "Control\\Session Manager"
_UPDATES = (
    "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\RebootPending",
    "Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update\\RebootRequired",
)
_IMAGE = "Microsoft\\Windows\\CurrentVersion\\Setup\\State"
_COMPLETE = "IMAGE_STATE_COMPLETE"
_SETUP = ("SetupType", "SystemSetupInProgress", "OOBEInProgress")
_UPGRADE = "$windows.~bt"
_LICENCES = "Microsoft\\Windows NT\\CurrentVersion\\SoftwareProtectionPlatform"


def concerns(
    guest: Guest, facts: WindowsFacts, system: hives.Draft, software: Optional[hives.Draft], firmware: str, findings: Findings
) -> None:
    """What a person should know of the state that this Windows was left in."""
    _updates(guest, facts, system, software, findings)
    _renames(facts, system, findings)
    _setup(system, software, findings)
    _upgrade(guest, bcd.looked_at(facts.stores, firmware), findings)
    if software is not None:
        _activation(software, findings)


def _updates(guest: Guest, facts: WindowsFacts, system: hives.Draft, software: Optional[hives.Draft], findings: Findings) -> None:
    """Also by what carries them out: the list of the component store, and the program that goes through it before anything else starts."""
    waits = software is not None and any(software.has(path) for path in _UPDATES)
    listed_ = paths.find(guest, f"{facts.system_root}/WinSxS/pending.xml") is not None
    runs = any(system.texts(f"{facts.control_set}\\{_MANAGER}", "SetupExecute"))
    if waits or listed_ or runs:
        findings.add(
            "windows.pending-updates",
            WARNING,
            "Updates wait for a restart: the first start on the target carries them out and may restart once more.",
            "Restart the source and let the updates finish before the migration.",
        )


def _renames(facts: WindowsFacts, system: hives.Draft, findings: Findings) -> None:
    found = list(_waiting(system, f"{facts.control_set}\\{_MANAGER}"))
    ours = {f"\\drivers\\{name}.sys" for name in drivers.STORAGE}
    hit = [name for pair in found for name in pair if name.lower().endswith(tuple(ours))]
    if hit:
        findings.add(
            "windows.pending-renames",
            WARNING,
            f"At its next start Windows replaces or deletes {listed(hit)}: a driver that the new VM starts with.",
            "Restart the source once, so that it is done there, shut it down and copy again.",
        )
    elif found:
        findings.add(
            "windows.pending-renames",
            INFO,
            f"{len(found)} files wait for the next start to be renamed or deleted: {listed([source for source, dummy in found])}.",
            "Nothing: the first start on the target does it. A restart of the source before the migration shows whether it works.",
        )


def _waiting(system: hives.Draft, key: str) -> Iterator[tuple[str, str]]:
    """Files and what they are renamed to, empty where they are deleted. An empty text is half of a pair here, and ends nothing."""
    for name in ("PendingFileRenameOperations", "PendingFileRenameOperations2"):
        value = system.value(key, name)
        if value is not None and value.kind == regf.MULTI_SZ:
            texts = value.data.decode("utf-16-le", "replace").split("\0")
            yield from ((source, target) for source, target in zip(texts[::2], texts[1::2]) if source)


def _setup(system: hives.Draft, software: Optional[hives.Draft], findings: Findings) -> None:
    """Setup has a command line of its own then; ours is never put in its place (windows.setup-pending)."""
    image = software.text(_IMAGE, "ImageState") if software is not None else ""
    command = system.text("Setup", "CmdLine")
    ours = FOLDER in command
    under_way = not ours and any(system.number("Setup", name) for name in _SETUP)
    if not under_way and image in ("", _COMPLETE):
        return
    if "GENERALIZE" in image:
        what = "the image was generalised (sysprep): its first start makes another computer of it, with a new SID, and with a new name and network"
    elif "AUDIT" in image:
        what = "it starts in audit mode"
    else:
        what = "it is on its way through setup, an upgrade or its first run"
    findings.add(
        "windows.setup-unfinished",
        WARNING,
        f"Setup of Windows has not finished ({image or 'nothing is said of the image'}): {what}."
        f"{f' At its next start it runs {command}.' if command and under_way else ''}",
        "Start the source and let setup finish, unless that is to be done on the target.",
    )


def _upgrade(guest: Guest, stores: Sequence[str], findings: Findings) -> None:
    """An upgrade restarts into a small Windows of its own, which has none of our drivers and moves the directories of this one."""
    for path in stores:
        try:
            starts = bcd.leads_to(hives.Draft.of(guest, path), _UPGRADE)
        except MigrationError:  # the plan says what is wrong with it
            continue
        if starts:
            findings.add(
                "windows.upgrade-unfinished",
                BLOCKER,
                f"An upgrade of Windows is half done: {path} starts its setup next (from $WINDOWS.~BT), which has no virtio drivers.",
                "Let the upgrade finish at the source, or take it back there; shut it down and copy again.",
            )
            return


def _activation(software: hives.Draft, findings: Findings) -> None:
    """What is known of the licence. Nobody outside Microsoft knows which changes of hardware it takes."""
    product, edition = (software.text(identity.VERSION, name) for name in ("ProductId", "EditionID"))
    if not product and not edition:
        return
    server = software.text(_LICENCES, "KeyManagementServiceName")
    if "OEM" in product:
        what = (
            "The licence came with a computer (OEM): activation by tables of its firmware (SLIC, MSDM) ends here, for the VM has none,"
            " and such a licence may not be allowed to move"
        )
    elif "Eval" in edition:
        what = "It is an evaluation, whose time goes on"
    elif server:
        what = f"It is activated by a server ({server}), and is again as soon as it reaches that"
    else:
        what = "Windows may take the VM for another computer and ask for activation"
    findings.add(
        "windows.activation",
        INFO,
        f"{what}. Edition {edition or '(unknown)'}, product {product or '(unknown)'}.",
        "Keep the licence at hand. MACs stay as they are; the UUID that Windows reads of its system is a new one unless migrate_uuid names the old.",
    )
