# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage caches that remember the old hardware's device names: LVM's devices file and cache, blkid's table.

Source: lvmdevices(8): without a devices file every device is considered; lvm.conf(5); libblkid's cache.
"""

from __future__ import annotations

from ..guest.changes import Change, remove
from ..guest.protocol import Guest, text
from .cmdline import unstable

_CACHES = ("/etc/blkid/blkid.tab", "/etc/blkid.tab", "/etc/lvm/cache/.cache")
_LVM_DEVICES = "/etc/lvm/devices/system.devices"


def plan(guest: Guest) -> list[Change]:
    """Removals of caches whose entries name devices that will not be there; the tools make new ones."""
    changes: list[Change] = []
    for path in (*_CACHES, _LVM_DEVICES):
        content = text(guest, path)
        if content is not None and (path != _LVM_DEVICES or _names_old_devices(content)):
            changes += remove(path, guest.stat(path), "a list of the old hardware's devices")
    return changes


def _names_old_devices(content: str) -> bool:
    """Whether an entry would keep LVM from the volume group: identified by the disk's serial or by a device name."""
    fields = (dict(part.partition("=")[::2] for part in line.split()) for line in content.splitlines() if line.startswith("IDTYPE="))
    return any(entry.get("IDTYPE") in ("sys_wwid", "sys_serial", "devname") or unstable(entry.get("IDNAME", "")) for entry in fields)
