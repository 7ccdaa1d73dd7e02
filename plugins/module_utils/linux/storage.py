# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage configuration that names the old hardware: LVM's devices file, filters and caches, md's DEVICE lines, smartd.

Source: lvmdevices(8) (without a devices file every device is considered), lvm.conf(5), mdadm.conf(5) (DEVICE partitions is the
default), smartd.conf(5), libblkid's cache.
"""

from __future__ import annotations

import re

from ..core.concern import WARNING, Findings
from ..guest.change import Change
from ..guest.changes.entries import remove
from ..guest.changes.write import edit
from ..guest.protocol import Guest, text
from .cmdline import unstable

LVM_DEVICES = "/etc/lvm/devices/system.devices"
LVM_CONF = "/etc/lvm/lvm.conf"
MDADM = ("/etc/mdadm/mdadm.conf", "/etc/mdadm.conf")
_CACHES = ("/etc/blkid/blkid.tab", "/etc/blkid.tab", "/etc/lvm/cache/.cache")
_SMARTD = ("/etc/smartd.conf", "/etc/smartmontools/smartd.conf")
_FILTER = re.compile(r"^([ \t]*)((?:global_)?filter[ \t]*=[ \t]*(?:\[[^\]]*\]|\"[^\"\n]*\"))", re.MULTILINE)
_NAMES_DISKS = re.compile(r"\b(?:sd|hd|xvd|vd)(?:[a-z]|\[|\.|\*)|nvme|by-path|by-id")
_DEVICE = re.compile(r"^([ \t]*DEVICE[ \t]+)([^\n#]*)", re.MULTILINE)


def plan(guest: Guest, findings: Findings) -> list[Change]:
    """Changes after which volume groups and arrays are found wherever their disks appear."""
    changes: list[Change] = []
    for path in (*_CACHES, LVM_DEVICES):
        content = text(guest, path)
        if content is not None and (path != LVM_DEVICES or _names_old_devices(content)):
            changes += remove(path, guest.stat(path), "a list of the old hardware's devices")
    for path, rule, reason in (
        (LVM_CONF, lvm_conf, "no filter on the old hardware's device names"),
        *((path, mdadm_conf, "arrays are looked for on every device") for path in MDADM),
        *((path, _smartd, "these disks stay behind") for path in _SMARTD),
    ):
        before = text(guest, path)
        if before is not None:
            changes += edit(path, before, rule(before), reason)
    _unrepairable(guest, findings)
    return changes


def lvm_conf(content: str) -> str:
    """lvm.conf with those filters commented out that name disks; LVM then looks at every device, which is its default."""

    def comment(match: re.Match[str]) -> str:
        return match[1] + "# " + match[2].replace("\n", "\n# ") if _NAMES_DISKS.search(match[2]) else match[0]

    return _FILTER.sub(comment, content)


def mdadm_conf(content: str) -> str:
    """mdadm.conf whose DEVICE lines name no disks; `partitions` stands for all that the kernel knows."""

    def anywhere(match: re.Match[str]) -> str:
        old = any(re.match(r"/dev/(?:sd|hd|xvd|vd|nvme|disk/by-)", word) for word in match[2].split())
        return match[1] + "partitions" + match[2][len(match[2].rstrip()) :] if old else match[0]

    return _DEVICE.sub(anywhere, content)


def devices_file(content: str) -> str:
    """LVM's devices file for an initramfs: entries bound to a disk's serial become entries by name, for which LVM searches the PVID."""

    def by_name(line: str) -> str:
        entry = dict(part.partition("=")[::2] for part in line.split())
        if entry.get("IDTYPE") not in ("sys_wwid", "sys_serial") or entry.get("PVID", "none") == "none":
            return line
        name = entry.get("DEVNAME", "/dev/sda")
        return " ".join(
            [f"IDTYPE=devname IDNAME={name} DEVNAME={name} PVID={entry['PVID']}", *([f"PART={entry['PART']}"] if "PART" in entry else [])]
        )

    return "".join(by_name(line.rstrip("\n")) + line[len(line.rstrip("\n")) :] for line in content.splitlines(keepends=True))


def _smartd(content: str) -> str:
    return re.sub(r"^([ \t]*/dev/(?:sd|hd)[a-z]\b)", r"# \1", content, flags=re.MULTILINE)


def _names_old_devices(content: str) -> bool:
    """Whether an entry would keep LVM from the volume group: identified by the disk's serial or by a device name."""
    fields = (dict(part.partition("=")[::2] for part in line.split()) for line in content.splitlines() if line.startswith("IDTYPE="))
    return any(entry.get("IDTYPE") in ("sys_wwid", "sys_serial", "devname") or unstable(entry.get("IDNAME", "")) for entry in fields)


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
