# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage configuration that names the old hardware: LVM's devices file, filters and caches, md's DEVICE lines, smartd.

Source: smartd.conf(5), udev(7), libblkid's cache; lvm and mdadm say what theirs is.
"""

from __future__ import annotations

import functools
import re
from typing import Callable

from ..core.concern import WARNING, Findings
from ..guest.change import Change
from ..guest.changes.entries import remove
from ..guest.changes.write import edit
from ..guest.protocol import Guest, glob, text
from . import cmdline, lvm, mdadm

_LONGEST = 2000  # characters of a rule
_CACHES = ("/etc/blkid/blkid.tab", "/etc/blkid.tab", "/etc/lvm/cache/.cache")
_SMARTD = ("/etc/smartd.conf", "/etc/smartmontools/smartd.conf")


# Rules that give names or owners to disks by what their hardware was, as for Oracle's ASM.
_GIVES = re.compile(r"\b(?:SYMLINK|NAME|OWNER|GROUP|RUN(?:\{\w+\})?)\s*[+:]?=(?!=)")
_OF_DISKS = re.compile(r"""\b(?:KERNEL=="[^"]*\b(?:sd|hd|nvme)|ENV\{ID_(?:SERIAL|WWN|PATH)\w*\}==|RESULT=="3?6)""")


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
        *((path, mdadm.rewritten, "arrays are looked for on every device") for path in mdadm.files(guest)),
        *((path, _smartd, "these disks stay behind") for path in _SMARTD),
    ]
    for path, rule, reason in rules:
        before = text(guest, path)
        if before is not None:
            after = rule(before)
            changes += edit(path, before, after, reason)
            _left(path, after if rule is mdadm.rewritten else "", findings)
    _unrepairable(guest, findings)
    return changes


def _smartd(content: str) -> str:
    return re.sub(
        r"^[ \t]*(/dev/\S+)", lambda match: f"# {match[0]}" if cmdline.unstable(match[1]) else match[0], content, flags=re.MULTILINE
    )


def _left(path: str, content: str, findings: Findings) -> None:
    for name in (name for line in content.splitlines() if not line.lstrip().startswith("#") for name in cmdline.leftovers(line)):
        findings.add(
            "storage.unstable-name",
            WARNING,
            f"{path} knows an array only by its disks, such as {name}.",
            "Write the array by UUID in the guest (mdadm --detail --scan). The name may be another disk after the migration.",
        )


def _unrepairable(guest: Guest, findings: Findings) -> None:
    if any(device.fstype == "zfs_member" for device in guest.devices()):
        findings.add(
            "storage.zfs",
            WARNING,
            "The VM has a ZFS pool, which is copied as it is.",
            "Set the pool's cachefile to none, or import it once by hand after the move (zpool import -d /dev).",
        )
    for path in glob(guest, "/etc/udev/rules.d", ".rules"):
        lines = (text(guest, path) or "").replace("\\\n", " ").splitlines()
        if any(
            _GIVES.search(line) and _OF_DISKS.search(line) for line in lines if len(line) <= _LONGEST and not line.lstrip().startswith("#")
        ):
            findings.add(
                "storage.udev-rule",
                WARNING,
                f"{path} gives names or owners to disks by the names or serial numbers of the old hardware.",
                "Match by ID_FS_UUID, by ID_PART_ENTRY_UUID or by the target's serial numbers in the guest; virtio disks are called vda, vdb and so on.",
            )
    if "/dev/mapper/mpath" in (text(guest, "/etc/fstab") or ""):
        findings.add(
            "storage.multipath",
            WARNING,
            "The guest mounts multipath devices; virtio disks have one path.",
            "Entries that could be assigned to a disk are written by UUID. Disable multipathd after the move if nothing else needs it.",
        )
