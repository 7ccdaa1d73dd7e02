# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loader configuration: only kernel command lines are edited, where they stand; `set root`, `search` and quotes are never touched.

Source: GRUB manual 2.06 (grub.cfg, grubenv), GRUB legacy manual, Boot Loader Specification, syslinux wiki (extlinux).
"""

from __future__ import annotations

import re
from typing import Collection

from ..core.concern import BLOCKER, INFO, WARNING, Findings
from ..guest.change import Change
from ..guest.changes.entries import remove
from ..guest.changes.write import edit
from ..guest.model import GuestFacts
from ..guest.plan import merge
from ..guest.protocol import Guest, glob, text
from ..guest.view import PendingView
from . import cmdline, cmdline_files, initramfs
from .default import GRUBENV_SIZE, default_entry, grubenvs, set_default
from .entries import boot_entries, kernel_of
from .inspect import ESP_MOUNTS, GRUB_CONFIGS

_ALL = re.compile(r"^[\s\S]+$")
_KERNELOPTS = re.compile(r"^(kernelopts=)([^\n]*)", re.MULTILINE)
_ROOT_VARIABLE = re.compile(r"^([ \t]*set\s+rootpartition=)(\S+)", re.MULTILINE)  # Photon's menu
_DEBCONF = "/var/cache/debconf/config.dat"
_GRUBS = ("grub-pc", "grub-efi")
_MOST_SAID = 10
_SUSE_INSTALL = "/etc/default/grub_installdevice"


def plan(guest: Guest, facts: GuestFacts, findings: Findings) -> list[Change]:
    """Changes that give root= and resume= stable names in every boot loader's configuration, drop stale device maps, and let a
    kernel start by default that can run."""
    changes: list[Change] = []
    done: set[str] = set()
    for path, patterns in cmdline_files.files(guest):
        stat, before = guest.stat(path), text(guest, path)
        if before is None or path in done or (stat is not None and stat.kind == "link"):
            continue
        done.add(path)
        after = before
        for pattern in patterns:
            after = _edit(pattern, after, guest, path, findings)
        if path in GRUB_CONFIGS:
            after = _ROOT_VARIABLE.sub(lambda match: match[1] + cmdline.rewrite(f"root={match[2]}", guest)[len("root=") :], after)
        changes += edit(path, before, after, "kernel command line by stable names")
        if path.startswith(("/etc/default/", "/etc/sysconfig/")):
            _swept(path, after, findings)
    changes += _grubenv(guest, findings)
    for path in ("/boot/grub/device.map", "/boot/grub2/device.map"):
        content = text(guest, path)
        if content is not None and any(cmdline.unstable(word) for word in content.split()):
            changes += remove(path, guest.stat(path), "a device map of the old hardware; GRUB finds the disks itself")
    changes += _install_devices(guest)
    view = PendingView(guest, merge(changes))
    changes += _default(view, facts, findings)
    _others(view, facts, findings)
    _unified_kernels(guest, findings)
    return changes


def _default(guest: Guest, facts: GuestFacts, findings: Findings) -> list[Change]:
    """Another default, where the guest's own kernel has no virtio drivers at all and another installed one has."""
    entries = boot_entries(guest)
    chosen = default_entry(guest, entries)
    kernel = kernel_of(guest, chosen, facts.kernels, facts.root_subvolume) if chosen is not None else None
    if facts.disk_bus != "virtio" or kernel is None or initramfs.runs_on(guest, kernel, "virtio"):
        return []
    for entry in entries:
        other = kernel_of(guest, entry, facts.kernels, facts.root_subvolume)
        if other is not None and initramfs.runs_on(guest, other, "virtio"):
            findings.add(
                "bootloader.default-changed",
                WARNING,
                f"The default kernel {kernel.version} has no virtio drivers; {other.version} becomes the default.",
                "Nothing, if that is fine; or install another kernel in the guest before the migration.",
            )
            return set_default(guest, entry)
    return []


def _others(guest: Guest, facts: GuestFacts, findings: Findings) -> None:
    """Entries that do not start by themselves, and would not start: of a kernel that is gone, or of another system."""
    entries = boot_entries(guest)
    chosen = default_entry(guest, entries)
    for entry in [one for one in entries if one is not chosen][:_MOST_SAID]:
        if kernel_of(guest, entry, facts.kernels, facts.root_subvolume) is None and facts.kernels:
            findings.add(
                "bootloader.other-entry",
                INFO,
                f"The boot entry {(entry.names[-1][-1] if entry.names else '') or entry.kernel} of {entry.config} starts {entry.kernel}, "
                "which is not an installed kernel of this system.",
                "Nothing, if it is not used. It is left as it is.",
            )


def _install_devices(guest: Guest) -> list[Change]:
    """Debian's and SUSE's packages remember disks to install GRUB on, which are gone; an update would stop and ask, or fail."""
    changes: list[Change] = []
    reason = "GRUB is not installed again on disks that are gone"
    before = text(guest, _DEBCONF)
    if before is not None:
        stanzas = before.split("\n\n")
        gone = {name for name in _GRUBS for stanza in stanzas if any(map(cmdline.unstable, _devices_of(stanza, name)))}
        changes += edit(_DEBCONF, before, "\n\n".join(_without_devices(stanza, gone) for stanza in stanzas), reason)
    before = text(guest, _SUSE_INSTALL)
    if before is not None:
        after = "".join(line for line in before.splitlines(keepends=True) if not cmdline.unstable(line.strip()))
        changes += edit(_SUSE_INSTALL, before, after, reason)
    return changes


def _devices_of(stanza: str, package: str) -> list[str]:
    """The disks in a stanza of debconf, if it is that of a package's installation."""
    lines = stanza.strip("\n").split("\n")
    value = next((line[len("Value: ") :] for line in lines if line.startswith("Value: ")), "")
    return value.split(", ") if lines[0] == f"Name: {package}/install_devices" else []


def _without_devices(stanza: str, packages: Collection[str]) -> str:
    """A stanza of debconf that names no disks to install GRUB on, and says that none is meant."""
    name = stanza.strip("\n").split("\n", 1)[0]
    for package in packages:
        for part, value in (("install_devices", ""), ("install_devices_empty", "true")):
            if name == f"Name: {package}/{part}":
                return re.sub(r"^Value: [^\n]*$", f"Value: {value}", stanza, count=1, flags=re.MULTILINE)
    return stanza


def _edit(pattern: re.Pattern[str], content: str, guest: Guest, path: str, findings: Findings) -> str:
    """`content` with the second group of every match rewritten, of a shell's word each of its pieces."""
    pieces = cmdline_files.PIECE if "value" in pattern.groupindex else _ALL

    def rewritten(match: re.Match[str]) -> str:
        return match[1] + pieces.sub(lambda piece: _rewrite(piece[0], guest, path, findings), match[2])

    return pattern.sub(rewritten, content)


def _rewrite(value: str, guest: Guest, path: str, findings: Findings) -> str:
    quote = value[0] if value[:1] in ("'", '"') and value[-1:] == value[0] and len(value) > 1 else ""
    inner = value[1:-1] if quote else value
    missing: list[str] = []

    def refuse(name: str, spec: str) -> None:
        missing.append(spec)
        _missing(name, spec, path, findings)

    after = cmdline.rewrite(inner, guest, refuse)
    for left in cmdline.leftovers(after):
        if left not in missing:
            _unknown(left, path, findings)
    return quote + after + quote


def _swept(path: str, content: str, findings: Findings) -> None:
    """What the settings of a menu's maker name beside command lines."""
    for left in cmdline.unsaid(content, ("#",), findings):
        _unknown(left, path, findings)


def _unknown(name: str, path: str, findings: Findings) -> None:
    findings.add(
        "bootloader.unstable-name",
        WARNING,
        f"{path} names {name}, of which it is not known how to write it for any hardware.",
        "Write it by UUID in the guest if its reader takes that. The name may be another device after the migration.",
    )


def _missing(name: str, spec: str, path: str, findings: Findings) -> None:
    findings.add(
        "bootloader.unresolved-root",
        BLOCKER,
        f"{path} boots {name}={spec}, which is none of the VM's disks.",
        "Give all disks of the VM in their order; or correct the boot loader in the guest; or accept bootloader.unresolved-root.",
    )


def _grubenv(guest: Guest, findings: Findings) -> list[Change]:
    """grubenv is a block of exactly 1024 bytes, padded with '#'."""
    changes: list[Change] = []
    for path in grubenvs(guest):
        before = text(guest, path) or ""
        body = _edit(_KERNELOPTS, before, guest, path, findings)
        if body == before:
            continue
        body = body.rstrip("#")
        if len(body) > GRUBENV_SIZE:
            findings.add(
                "bootloader.grubenv-full",
                BLOCKER,
                f"The new kernelopts do not fit {path}.",
                "Shorten the kernel command line in the guest.",
            )
            continue
        changes += edit(path, before, body + "#" * (GRUBENV_SIZE - len(body)), "kernel command line by stable names")
    return changes


def _unified_kernels(guest: Guest, findings: Findings) -> None:
    for base in ESP_MOUNTS:
        for path in glob(guest, f"{base}/EFI/Linux", ".efi"):
            findings.add(
                "bootloader.unified-kernel",
                WARNING,
                f"{path} is a unified kernel image; its command line and initramfs are sealed inside it.",
                "Rebuild it in the guest with the virtio drivers and root= by UUID before the migration.",
            )
