# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device a command line mounts as the root.

Source: kernel-parameters.rst (root=), block/early-lookup.c (PARTNROFF), genkernel(8) (real_root=), systemd-gpt-auto-generator(8) with the
Discoverable Partitions Specification for a root that is not named.
"""

from __future__ import annotations

import re
from typing import Optional

from ..guest.model import BlockDevice, GuestFacts
from ..guest.parttable import ESP
from ..guest.protocol import Guest
from . import cmdline
from .entries import BootEntry

_OFFSET = re.compile(r"^(PARTUUID=[^/]+)/PARTNROFF=(-?[0-9]{1,3})$")
_ROOT_TYPES = {
    "x86_64": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "i686": "44479540-f297-41b2-9af7-d131d5f0458a",
    "aarch64": "b921b045-1df0-41c3-af44-4c6f280d3fae",
    "riscv64": "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
}


def root_of(guest: Guest, facts: GuestFacts, entry: BootEntry) -> tuple[str, Optional[BlockDevice]]:
    """How a boot entry calls its root, and the device; None for one that is not there. Without a name it may be found by its type."""
    named = cmdline.roots(entry.cmdline)
    spec = named[-1] if named else ""
    if spec in ("", "gpt-auto"):
        return spec, _discovered(guest, facts) if _by_type(entry) else None
    match = _OFFSET.match(spec)
    if match is None:
        return spec, guest.device(spec)
    first = guest.device(match[1])
    wanted = None if first is None else (first.disk, (first.part or 0) + int(match[2]))
    return spec, next((device for device in guest.devices() if wanted is not None and (device.disk, device.part or 0) == wanted), None)


def _by_type(entry: BootEntry) -> bool:
    """Whether a loader starts it that says from which disk, and nothing on its line forbids to look there."""
    words = [value for name in ("systemd.gpt_auto", "rd.systemd.gpt_auto") for value in cmdline.values(entry.cmdline, name)[-1:]]
    return "/loader/entries/" in entry.config and not {"0", "no", "off", "false", "n", "f"} & set(words)


def _discovered(guest: Guest, facts: GuestFacts) -> Optional[BlockDevice]:
    """The one partition with the type of a root on the disk that systemd-boot was started from."""
    if "systemd-boot" not in facts.boot_loaders:
        return None
    disks = {device.disk for device in guest.devices() if device.parttype.lower() == ESP}
    wanted = _ROOT_TYPES.get(facts.architecture)
    found = [device for device in guest.devices() if device.disk in disks and device.parttype.lower() == wanted]
    return found[0] if len(found) == 1 else None
