# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot loader's words are not the system's: the report says when each came."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.signals import Console

SAID = {
    "GRUB": (b"\x1b[0m\x1b[37mWelcome to GRUB!\r\n\r\n", {"boot_loader"}),
    "GRUB's menu": (b"GNU GRUB  version 2.06\r\n", {"boot_loader"}),
    "a banner of a service": (b"Welcome to the BIOS setup utility\r\n", set()),
    "openSUSE's issue, that OpenRC's systems have too": (b"Welcome to openSUSE Leap 15.6 - Kernel 6.4 (ttyS0).\r\n", set()),
    "a line about it": (b"note: Welcome to Debian is what systemd says!\r\n", set()),
    "Debian": (b"\nWelcome to \x1b[0;1;31mDebian GNU/Linux 12 (bookworm)\x1b[0m!\r\n", {"systemd"}),
    "Debian, with the kernel in the line": (b"\r\nWelcome to Debian GNU/Linux 12 (bookworm)![    1.91] scsi host0: ahci\r\n", {"systemd"}),
    "dracut": (b"Welcome to \x1b[0;32mdracut-057-13.el9\x1b[0m!\r\n", {"systemd"}),
    "the kernel's log": (b"[    2.1] systemd[1]: systemd 252.39 running in system mode\r\n", {"systemd"}),
}


@pytest.mark.parametrize("name", SAID)
def test_who_says_it(name):
    said, signals = SAID[name]
    console = Console()
    for start in range(0, len(said), 7):  # as it comes
        console.feed(said[start : start + 7], 0.2)
    assert set(console.seen) == signals
