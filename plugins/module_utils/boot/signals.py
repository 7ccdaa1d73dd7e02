# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest says on its serial console, and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Optional, Sequence


@dataclass(frozen=True)
class Pattern:
    """A signal: `fatal` ends the test at once, `broken` fails it even though the guest goes on; `cause` names the fault."""

    name: str
    regex: re.Pattern[str]
    cause: str = ""
    fatal: bool = False
    broken: bool = False


def _pattern(name: str, regex: str, cause: str = "", fatal: bool = False, broken: bool = False) -> Pattern:
    return Pattern(name, re.compile(regex, re.MULTILINE), cause, fatal, broken)


_PROMPT = re.compile(r"(unlock disk|[Pp]assphrase for|enter passphrase)[^\n]*: ?\Z", re.MULTILINE)
PATTERNS = (
    _pattern("boot_loader", r"GNU GRUB|Welcome to GRUB|Loading Linux|Booting `|systemd-boot|ISOLINUX|SYSLINUX|EXTLINUX"),
    _pattern("kernel", r"Linux version \S+"),
    _pattern("systemd", r"systemd\[1\]: systemd \d+|^Welcome to (?!GRUB)[^\n]+!"),
    _pattern("passphrase", _PROMPT.pattern),
    # No fault by itself: after its timeout dracut starts a degraded array, too.
    _pattern("initqueue_wait", r"dracut-initqueue.*still waiting for following initqueue hooks"),
    _pattern("login", r"^\S+ login: ?$"),
    _pattern(
        "no_boot_device",
        r"No bootable device|Boot failed: not a bootable disk|BdsDxe: (failed to load|No bootable option)|>>Start PXE",
        "the firmware found no boot loader on the disks",
        fatal=True,
    ),
    _pattern(
        "grub_rescue",
        r"grub rescue>|error: (no such device|unknown filesystem|file `.*' not found)",
        "GRUB did not find its files",
        fatal=True,
    ),
    _pattern(
        "initramfs_shell",
        r"\(initramfs\)|dracut:/#|Entering emergency mode\. Exit the shell",
        "the initramfs did not find the root file system (a driver or root= is wrong)",
        fatal=True,
    ),
    _pattern("panic", r"Kernel panic - not syncing", "the kernel panicked", fatal=True),
    _pattern(
        "emergency",
        r"You are in emergency mode|Give root password for maintenance|emergency\.target",
        "systemd stopped in emergency mode, mostly because a file system of fstab is missing",
        fatal=True,
    ),
    _pattern(
        "device_wait",
        r"\.device/start running \((?:[2-9]|\d{2,})min .*no limit",  # a slow machine may need a minute
        "a unit waits without limit for a device that does not exist",
        fatal=True,
    ),
    _pattern(
        "halted",
        r"dracut[^\n]*: (?:FATAL: |Refusing to continue)|reboot: System halted",
        "the guest stopped by itself: its initramfs refused to go on, or it was halted",
        fatal=True,
    ),
    _pattern(
        "resume_wait",
        r"Gave up waiting for suspend/resume device",
        "the initramfs waited for a resume device that does not exist",
        broken=True,
    ),
    _pattern(
        "device_timeout",
        r"Timed out waiting for device|Dependency failed for (/|Local File|Swap)",
        "a device of fstab does not exist",
        broken=True,
    ),
    _pattern(
        "mount_failed", r"Failed to mount |Failed to activate swap", "a file system or swap area of fstab could not be used", broken=True
    ),
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|[\x00\x08\r]")


@dataclass
class Console:
    """Collects what the console says and recognises the signals in it."""

    expect: tuple[str, ...] = ()
    seen: dict[str, float] = field(default_factory=dict)
    _text: str = ""
    _answered: int = 0
    _asked_at: int = -1
    _fed: int = 0

    def feed(self, data: bytes, now: float) -> None:
        """Take more output that came `now` seconds after power-on."""
        self._fed += len(data)
        self._text = (self._text + _ESCAPES.sub("", data.decode("utf-8", "replace")))[-262144:]
        for pattern in PATTERNS:
            if pattern.name not in self.seen and pattern.regex.search(self._text):
                self.seen[pattern.name] = round(now, 1)
        for regex in self.missing():
            if re.search(regex, self._text, re.MULTILINE):
                self.seen[f"expect {regex}"] = round(now, 1)

    def answer(self, passphrases: Sequence[str]) -> Optional[str]:
        """The next passphrase, when the console's last line asks for one and nothing has answered it; each is tried three times at most."""
        asked = _PROMPT.search(self._text[-300:])
        if asked is None or self._fed == self._asked_at or self._answered >= 3 * len(passphrases):
            return None
        self._asked_at = self._fed
        self._answered += 1
        return passphrases[(self._answered - 1) % len(passphrases)]

    def missing(self) -> list[str]:
        """Expected lines that have not come yet."""
        return [regex for regex in self.expect if f"expect {regex}" not in self.seen]

    def fault(self) -> Optional[Pattern]:
        """The worst thing seen: a fatal signal before one that the guest survived."""
        faults = [pattern for pattern in PATTERNS if pattern.name in self.seen and (pattern.fatal or pattern.broken)]
        return min(faults, key=lambda pattern: not pattern.fatal, default=None)

    def lines(self, count: int = 25) -> tuple[str, ...]:
        """The last lines that are not empty."""
        return tuple(line.rstrip() for line in self._text.splitlines() if line.strip())[-count:]
