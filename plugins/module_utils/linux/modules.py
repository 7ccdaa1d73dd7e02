# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules that the guest loads by name for VMware's hardware: aliases, options and load lists that would fail or mislead.

Source: modprobe.d(5), modules-load.d(5), initramfs-tools(7); mkinitrd of RHEL 5 and 6 reads scsi_hostadapter.
"""

from __future__ import annotations

import re

from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.protocol import Guest, glob, text

_NETWORK = "vmxnet3?|vmxnet2|vlance|pcnet32"
_STORAGE = "vmw_pvscsi|pvscsi|mptspi|mptsas|mptscsih|mptbase|BusLogic"
_ALIAS = re.compile(rf"^[ \t]*alias[ \t]+(?:eth\d+[ \t]+(?:{_NETWORK})|scsi_hostadapter\d*[ \t]+(?:{_STORAGE}))[ \t]*$\n?", re.MULTILINE)
_OPTIONS = re.compile(rf"^[ \t]*options[ \t]+(?:{_NETWORK}|vmw_\w+|vmci|vmhgfs|vsock)[ \t][^\n]*$\n?", re.MULTILINE)
# vmw_balloon and vmhgfs refuse to load elsewhere, and systemd-modules-load then counts as failed.
_LOADED = re.compile(
    r"^[ \t]*(?:vmw_balloon|vmw_vmci|vmci|vmhgfs|vmxnet3?|vmblock|vmmemctl|vsock|vmw_vsock_vmci_transport)[ \t]*$\n?", re.MULTILINE
)
# What an administrator of VMware's guests may have forbidden, since nothing there needs it. Source: modprobe.d(5), blacklist and install.
_FORBIDDEN = re.compile(r"^(?=[ \t]*(?:blacklist[ \t]+|install[ \t]+)virtio(?:[-_](?:pci|blk|scsi|net|ring))?(?:[ \t]|$))", re.MULTILINE)
_REASON = "modules for VMware's hardware only"


def plan(guest: Guest) -> list[Change]:
    """Changes that take these lines away; storage drivers stay in load lists, they do no harm where their hardware is missing."""
    changes: list[Change] = []
    for path in ("/etc/modprobe.conf", "/etc/modprobe.conf.local", *glob(guest, "/etc/modprobe.d", ".conf")):
        before = text(guest, path)
        if before is not None:
            after = _OPTIONS.sub("", _ALIAS.sub("", before))
            changes += edit(path, before, _FORBIDDEN.sub("# ", after), _REASON if after != before else "drivers that the target needs")
    for path in ("/etc/modules", *glob(guest, "/etc/modules-load.d", ".conf")):
        before, stat = text(guest, path), guest.stat(path)
        if before is not None and stat is not None and stat.kind == "file":
            changes += edit(path, before, _LOADED.sub("", before), _REASON)
    return changes
