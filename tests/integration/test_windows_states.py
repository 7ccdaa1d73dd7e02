# SPDX-License-Identifier: GPL-3.0-or-later
"""A Windows whose programs CompactOS has compressed, on a real NTFS with the reparse points that it makes, through the appliance."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "lab"), str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]
import windows_disks
import winlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.family import GuestRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.offline import Attached, open_disks
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import Timer, opened

SYSTEM32 = "/c/Windows/System32"
PROGRAMS = ("ntoskrnl.exe", "winload.efi", "cmd.exe")
# MS-FSCC 2.1.2.1 and WOF_EXTERNAL_INFO: the tag, the length of what follows, version 1, provider 2 (a file), version 1, algorithm 0.
COMPACT = struct.pack("<IHH4I", 0x80000017, 16, 0, 1, 2, 1, 0)


@pytest.mark.rotates("windows", 90)
def test_a_compact_windows_is_known_by_its_registry_and_proved_by_the_names(tmp_path):
    environment = {f"{winlab.CS}\\Control\\Session Manager\\Environment": {"PROCESSOR_ARCHITECTURE": "AMD64"}}
    release = replace(winlab.RELEASES["w10"], name="compact", extra=environment)
    windows_disks.build([release], tmp_path, {"compact": {"/c/System Volume Information/Dedup/ChunkStore/x": b"chunks"}})
    overlay = tmp_path / "compact.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "compact.vmdk", "-F", "vmdk", overlay], check=True)
    disks = (Attached(str(overlay), "qcow2"),)
    with open_disks(disks, True) as guest:
        guest.handle.mkmountpoint("/c")
        guest.handle.mount("/dev/sda2", "/c")
        for name in PROGRAMS:
            guest.handle.debug("sh", [f"setfattr -h -n system.ntfs_reparse_data -v 0x{COMPACT.hex()} /sysroot{SYSTEM32}/{name}"])
    with opened(GuestRequest(disks, firmware="uefi"), False, Timer()) as (guest, facts, concerns):
        assert facts.architecture == "x86_64"
        assert {guest.stat(f"{SYSTEM32}/{name}").target for name in PROGRAMS} == {"unsupported reparse tag 0x80000017"}
        told = {concern.code: concern for concern in concerns}
        assert "windows.deduplicated" in told
        assert all(name in told["windows.unreadable-programs"].cause for name in PROGRAMS)
        shown = families.of(facts).prove(guest, facts, guest.tables)
        loader = next(check for check in shown.checks if check.name == "bcd.loader")
        assert loader.passed and "CompactOS" in loader.detail
