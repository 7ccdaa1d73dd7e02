# SPDX-License-Identifier: GPL-3.0-or-later
"""What the boot loader will start: kernel, initramfs and command line of every entry, with the files found in the guest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Optional

from ..guest.protocol import Guest, exists, text
from .inspect import EXTLINUX_CONFIGS, GRUB_CONFIGS, GRUB_LEGACY_CONFIGS, bls_entries, vendor_configs

_KERNEL = re.compile(r"^\s*(?:linux|linux16|linuxefi|kernel)\s+(\S+)[ \t]*(.*)$")
_INITRD = re.compile(r"^\s*(?:initrd|initrd16|initrdefi)\s+(.*)$")
_MEMTEST = re.compile(r"memtest|xen.*\.gz$")


@dataclass(frozen=True)
class BootEntry:
    """One way to boot: where it is written, the kernel and initramfs paths as written, the command line."""

    config: str
    kernel: str
    initrds: tuple[str, ...]
    cmdline: str


def boot_entries(guest: Guest) -> list[BootEntry]:
    """Every entry that starts a Linux kernel, in the order of the configuration files."""
    found: list[BootEntry] = []
    for path in (*GRUB_CONFIGS, *GRUB_LEGACY_CONFIGS, *vendor_configs(guest)):
        content = text(guest, path)
        if content is not None:
            found += _grub(path, content)
    for path in EXTLINUX_CONFIGS:
        content = text(guest, path)
        if content is not None:
            found += _extlinux(path, content)
    options = kernelopts(guest)
    for path in bls_entries(guest):
        found += _bls(path, text(guest, path) or "", options)
    return [entry for entry in found if not _MEMTEST.search(entry.kernel)]


def locate(guest: Guest, entry: BootEntry, path: str, subvolume: str) -> Optional[str]:
    """The guest's path of a file that the boot loader names relative to its own file system."""
    path = re.sub(r"^\([^)]*\)", "", path)
    candidates = [path, f"/boot{path}"]
    if subvolume and path.startswith(f"/{subvolume}/"):
        candidates.insert(0, path[len(subvolume) + 1 :])
    if "/loader/entries/" in entry.config:
        candidates.insert(0, entry.config.split("/loader/entries/", 1)[0] + path)
    if not path.startswith("/"):
        candidates.append(f"{entry.config.rsplit('/', 1)[0]}/{path}")
    return next((candidate for candidate in candidates if exists(guest, candidate)), None)


def kernelopts(guest: Guest) -> str:
    """What $kernelopts stands for in BLS entries of GRUB: grubenv's value, else the menu's default."""
    for path, pattern in (
        ("/boot/grub2/grubenv", r"^kernelopts=(.*)$"),
        ("/boot/grub/grubenv", r"^kernelopts=(.*)$"),
        ("/boot/grub2/grub.cfg", r'^\s*set kernelopts="(.*)"'),
        ("/boot/grub/grub.cfg", r'^\s*set kernelopts="(.*)"'),
    ):
        match = re.search(pattern, text(guest, path) or "", re.MULTILINE)
        if match is not None:
            return match[1].rstrip("#")
    return ""


def _grub(path: str, content: str) -> Iterator[BootEntry]:
    current: Optional[BootEntry] = None
    for line in content.splitlines():
        kernel, initrd = _KERNEL.match(line), _INITRD.match(line)
        if kernel is not None:
            if current is not None:
                yield current
            current = BootEntry(path, kernel[1], (), kernel[2].strip())
        elif initrd is not None and current is not None:
            current = BootEntry(path, current.kernel, (*current.initrds, *initrd[1].split()), current.cmdline)
    if current is not None:
        yield current


def _extlinux(path: str, content: str) -> Iterator[BootEntry]:
    for label in re.split(r"^\s*label\s", content, flags=re.MULTILINE | re.IGNORECASE)[1:]:
        values = {
            match[1].lower(): match[2].strip()
            for match in re.finditer(r"^\s*(kernel|linux|initrd|append)\s+(.*)$", label, re.MULTILINE | re.IGNORECASE)
        }
        kernel = values.get("linux") or values.get("kernel")
        if kernel:
            yield BootEntry(path, kernel, tuple(values.get("initrd", "").replace(",", " ").split()), values.get("append", ""))


def _bls(path: str, content: str, options: str) -> Iterator[BootEntry]:
    values: dict[str, list[str]] = {}
    for line in content.splitlines():
        key, dummy, value = line.strip().partition(" ")
        values.setdefault(key, []).append(value.strip())
    if "linux" in values:
        initrds = " ".join(values.get("initrd", [])).replace("$tuned_initrd", "").split()
        yield BootEntry(
            path, values["linux"][0], tuple(initrds), " ".join(values.get("options", [])).replace("$kernelopts", options).strip()
        )
