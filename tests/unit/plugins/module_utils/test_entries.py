# SPDX-License-Identifier: GPL-3.0-or-later
"""What a boot loader's configuration says that it starts."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.entries import boot_entries, locate

# the file, what is in it: kernel, initrds, command line of its one entry
ENTRIES = {
    "Arch's syslinux, by way of the directory above": (
        "/boot/syslinux/syslinux.cfg",
        "LABEL arch\n  LINUX ../vmlinuz\n  APPEND root=UUID=07 rw\n  INITRD ../initrd.img\n",
        ("../vmlinuz", ("../initrd.img",), "root=UUID=07 rw"),
    ),
    "a label that is called as a keyword": (
        "/boot/extlinux/extlinux.conf",
        "LABEL linux\n  KERNEL /boot/vmlinuz\n  APPEND root=UUID=07\n",
        ("/boot/vmlinuz", (), "root=UUID=07"),
    ),
    "extlinux at the root of the file system": (
        "/extlinux.conf",
        "LABEL a\n  KERNEL /boot/vmlinuz\n  APPEND root=UUID=07\n",
        ("/boot/vmlinuz", (), "root=UUID=07"),
    ),
    "GRUB legacy, a line that goes on": (
        "/boot/grub/menu.lst",
        "title a\nroot (hd0,0)\nkernel /boot/vmlinuz ro \\\nroot=UUID=07\n",
        ("/boot/vmlinuz", (), "ro  root=UUID=07"),
    ),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_an_entry(case):
    path, content, expected = ENTRIES[case]
    guest = MemoryGuest({path: content, "/boot/vmlinuz": b"k", "/boot/initrd.img": b"i"})
    (entry,) = boot_entries(guest)
    assert (entry.kernel, entry.initrds, entry.cmdline) == expected
    assert locate(guest, entry, entry.kernel, "") == "/boot/vmlinuz"
    assert [locate(guest, entry, name, "") for name in entry.initrds] == ["/boot/initrd.img"] * len(entry.initrds)
