# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux: what is written here gets its labels with it; only when asked, or when a package tool wrote without any, is everything labelled.

Source: selinux-autorelabel(8): /.autorelabel labels every file at the next boot, which then starts once more.
"""

from __future__ import annotations

from ..core.concern import INFO, Findings
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.model import GuestFacts
from ..guest.protocol import Guest, text

_MARK = "/.autorelabel"


def relabel(guest: Guest, facts: GuestFacts, why: str, findings: Findings) -> list[Change]:
    """The mark for the first boot, and a concern that says so; nothing for guests without SELinux."""
    if not facts.selinux:
        return []
    findings.add(
        "selinux.relabel",
        INFO,
        f"The first boot labels every file and starts again: {why}.",
        "Give the boot test time (migrate_boot_timeout).",
    )
    return list(edit(_MARK, text(guest, _MARK), "", why))
