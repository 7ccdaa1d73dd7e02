# SPDX-License-Identifier: GPL-3.0-or-later
"""UEFI: boot entries live in the old hypervisor's NVRAM and do not come along; the fallback path must lead to the boot loader.

Source: UEFI Specification 2.10, 3.5.1.1 (removable media boot behaviour); shim loads grub*.efi from its own directory.
"""

from __future__ import annotations

from typing import Optional

from ..core.concern import BLOCKER, Findings
from ..guest.change import Change
from ..guest.changes.copies import CopyFile
from ..guest.protocol import Guest
from .inspect import esp, find_ci

SUFFIXES = {"x86_64": "X64", "i686": "IA32", "aarch64": "AA64", "riscv64": "RISCV64"}
_SHIM_COMPANIONS = ("grub{0}.efi", "mm{0}.efi", "grub.efi", "MokManager.efi")


def fallback(guest: Guest, architecture: str) -> Optional[str]:
    """The path of EFI/BOOT/BOOT<arch>.EFI in the guest, if it is there."""
    base = esp(guest)
    return find_ci(guest, base, "EFI", "BOOT", f"BOOT{SUFFIXES.get(architecture, 'X64')}.EFI") if base else None


def plan(guest: Guest, architecture: str, findings: Findings) -> list[Change]:
    """Copies that create a missing fallback loader from the one the guest uses."""
    base = esp(guest)
    if base is None:
        findings.add(
            "efi.no-system-partition",
            BLOCKER,
            "The guest boots by UEFI, but its EFI system partition was not found or could not be mounted.",
            "Give all disks of the VM; or set migrate_firmware to bios if it boots so; or accept efi.no-system-partition.",
        )
        return []
    if fallback(guest, architecture) is not None:
        return []
    short = SUFFIXES.get(architecture, "X64").lower()
    target = f"{base}/EFI/BOOT"
    for vendor in guest.listdir(f"{base}/EFI"):
        directory = f"{base}/EFI/{vendor}"
        for loader in (
            f"shim{short}.efi",
            "shim.efi",
            f"grub{short}.efi",
            "grub.efi",
            f"systemd-boot{short}.efi",
        ):  # SUSE's without the suffix
            source = find_ci(guest, directory, loader)
            if source is None:
                continue
            copies = [CopyFile(source, f"{target}/BOOT{short.upper()}.EFI", "firmware without boot entries starts this path")]
            if loader.startswith("shim"):
                for companion in (name.format(short) for name in _SHIM_COMPANIONS):
                    found = find_ci(guest, directory, companion)
                    if found is not None and find_ci(guest, base, "EFI", "BOOT", companion) is None:
                        copies.append(CopyFile(found, f"{target}/{companion}", "shim loads it from its own directory"))
            return list(copies)
    findings.add(
        "efi.no-loader",
        BLOCKER,
        "The EFI system partition holds no known boot loader.",
        "Install GRUB or systemd-boot in the guest, or accept efi.no-loader and create the boot entry by hand.",
    )
    return []
