# SPDX-License-Identifier: GPL-3.0-or-later
"""A real appliance that is stopped, that waits for a pipe in the guest, or whose work directory is full: an error with the reason, never a hang."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MigrationError, NotEnoughSpace, TimedOut
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.appliance import Patience
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.offline import Attached, open_disks

pytestmark = pytest.mark.appliance


def disk(folder) -> list[Attached]:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "disk.qcow2"), "1G"], check=True)
    return [Attached(str(folder / "disk.qcow2"), "qcow2")]


def formatted(guest) -> None:
    guest.handle.part_disk("/dev/sda", "mbr")
    guest.handle.mkfs("ext4", "/dev/sda1")
    guest.handle.mount("/dev/sda1", "/")


def test_a_pipe_in_the_guest_and_a_stopped_appliance(tmp_path):
    begin = 0.0
    disks = disk(tmp_path)
    with (
        pytest.raises(TimedOut, match=r"was stopped by a signal, and \w+ /") as caught,
        open_disks(disks, True, patience=Patience(stopped=3.0)) as guest,
    ):
        formatted(guest)
        handle = guest.handle
        handle.mkdir("/etc")
        handle.mkfifo(0o644, "/etc/fstab")
        handle.mkfifo(0o644, "/etc/crypttab.hyper2kvm")
        handle.ln_s("/dev/sda", "/etc/hosts")
        assert guest.read("/etc/fstab") is None and guest.read("/etc/hosts") is None
        with pytest.raises(MigrationError, match="not a regular file"):
            guest.write("/etc/fstab", b"x", None)
        guest.write("/etc/crypttab", b"whole\n" * 1_000_000, None)
        assert guest.read("/etc/crypttab") == b"whole\n" * 1_000_000 and guest.listdir("/etc") == ("crypttab", "fstab", "hosts")
        pid = handle.get_pid()
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        guest.forget()
        guest.listdir("/etc")
    assert caught.value.hint and time.monotonic() - begin < 60 and not os.path.exists(f"/proc/{pid}/exe")


def test_a_full_work_directory_is_an_error_at_once(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "none", str(small)], check=True)
    try:
        with pytest.raises(NotEnoughSpace, match=r"no space left in .*small") as caught, open_disks(disk(small), True) as guest:
            formatted(guest)
            for number in range(20):
                guest.handle.write(f"/file{number}", os.urandom(2 << 20))
                guest.handle.sync()
        assert caught.value.hint  # and it is not the deadline that has ended it
    finally:
        subprocess.run(["umount", str(small)], check=True)
