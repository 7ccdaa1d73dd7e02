# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot test as data: what to boot, what was seen, and what it means."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Optional


@dataclass(frozen=True)
class Nic:
    """A network card: its MAC, and the IPv4 address (CIDR) and gateway that the guest gives itself, where it does."""

    mac: str
    address: str = ""
    gateway: str = ""


@dataclass(frozen=True)
class BootRequest:
    """`disks` are (path, format) in order, and the firmware starts with number `boot_disk`; `memory` in MiB; `timeout` and `grace` in seconds.

    `network` is auto (SSH banner or guest agent), ssh, agent, or none. `grace` is how long the network, and
    the console lines that the regular expressions in `expect` ask for, may take after login. `passphrases` answer what the guest
    asks on its console to unlock a disk, in their order.
    """

    disks: tuple[tuple[str, str], ...]
    firmware: str = "bios"
    nics: tuple[Nic, ...] = ()
    boot_disk: int = 0
    disk_bus: str = "virtio"
    nic_model: str = "virtio"
    passphrases: tuple[str, ...] = ()
    memory: int = 1024
    cpus: int = 2
    timeout: float = 300.0
    network: str = "auto"
    grace: float = 60.0
    expect: tuple[str, ...] = ()
    screenshot: Optional[str] = None
    console_log: Optional[str] = None


@dataclass(frozen=True)
class BootOutcome:
    """verdict is passed or failed; `signals` maps each signal to the second it came; `console` are its last lines."""

    verdict: str
    cause: str
    signals: Mapping[str, float] = field(default_factory=dict)
    console: tuple[str, ...] = ()
    screenshot: Optional[str] = None
    accelerator: str = ""
    seconds: float = 0.0

    def as_result(self) -> dict[str, Any]:
        return asdict(self)
