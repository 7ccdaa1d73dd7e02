# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage configuration that names the old hardware: LVM's devices file, filters and caches, md's DEVICE lines, smartd.

Source: mdadm.conf(5) (DEVICE partitions is the default), smartd.conf(5), libblkid's cache; lvm says what LVM's is.
"""

from __future__ import annotations

import functools
import re
from typing import Callable

from ..core.concern import WARNING, Findings
from ..guest.change import Change
from ..guest.changes.entries import remove
from ..guest.changes.write import edit
from ..guest.protocol import Guest, text
from . import lvm

MDADM = ("/etc/mdadm/mdadm.conf", "/etc/mdadm.conf")
_CACHES = ("/etc/blkid/blkid.tab", "/etc/blkid.tab", "/etc/lvm/cache/.cache")
_SMARTD = ("/etc/smartd.conf", "/etc/smartmontools/smartd.conf")
_DEVICE = re.compile(r"^([ \t]*DEVICE[ \t]+)([^\n#]*)", re.MULTILINE)


def plan(guest: Guest, findings: Findings) -> list[Change]:
    """Changes after which volume groups and arrays are found wherever their disks appear."""
    changes: list[Change] = []
    lists = lvm.devices_files([text(guest, path) or "" for path in lvm.CONFIGS])
    for path in (*_CACHES, *lists):
        content = text(guest, path)
        if content is not None and (path not in lists or lvm.names_old_devices(content)):
            changes += remove(path, guest.stat(path), "a list of the old hardware's devices")
    names = lvm.new_names(guest)
    rules: list[tuple[str, Callable[[str], str], str]] = [
        *((path, functools.partial(lvm.conf, names=names), "no filter on the old hardware's device names") for path in lvm.CONFIGS),
        *((path, mdadm_conf, "arrays are looked for on every device") for path in MDADM),
        *((path, _smartd, "these disks stay behind") for path in _SMARTD),
    ]
    for path, rule, reason in rules:
        before = text(guest, path)
        if before is not None:
            changes += edit(path, before, rule(before), reason)
    _unrepairable(guest, findings)
    return changes


def mdadm_conf(content: str) -> str:
    """mdadm.conf whose DEVICE lines name no disks; `partitions` stands for all that the kernel knows."""

    def anywhere(match: re.Match[str]) -> str:
        old = any(re.match(r"/dev/(?:sd|hd|xvd|vd|nvme|disk/by-)", word) for word in match[2].split())
        return match[1] + "partitions" + match[2][len(match[2].rstrip()) :] if old else match[0]

    return "".join(_known_by_uuid(line) for line in _DEVICE.sub(anywhere, content).splitlines(keepends=True))


def _known_by_uuid(line: str) -> str:
    """An array that is known by its own UUID needs no list of the disks that it was on."""
    words = line.split()
    if words[:1] not in (["ARRAY"], ["array"]) or not any(word.lower().startswith("uuid=") for word in words):
        return line
    return re.sub(r"[ \t]devices=[^\s#]*", "", line, count=1, flags=re.IGNORECASE)


def _smartd(content: str) -> str:
    return re.sub(r"^([ \t]*/dev/(?:sd|hd)[a-z]\b)", r"# \1", content, flags=re.MULTILINE)


def _unrepairable(guest: Guest, findings: Findings) -> None:
    if any(device.fstype == "zfs_member" for device in guest.devices()):
        findings.add(
            "storage.zfs",
            WARNING,
            "The VM has a ZFS pool, which is copied as it is.",
            "Set the pool's cachefile to none, or import it once by hand after the move (zpool import -d /dev).",
        )
    if "/dev/mapper/mpath" in (text(guest, "/etc/fstab") or ""):
        findings.add(
            "storage.multipath",
            WARNING,
            "The guest mounts multipath devices; virtio disks have one path.",
            "Entries that could be assigned to a disk are written by UUID. Disable multipathd after the move if nothing else needs it.",
        )
