# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot test as data: what to boot, what was seen, and what it means."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Optional, Protocol, Sequence

from ..core import modes
from ..core.errors import InvalidInput
from ..core.macs import Mac

SSH = 22


@dataclass(frozen=True)
class BootNic:
    """A NIC: its MAC, and the IPv4 address (CIDR) and gateway that the guest gives itself, where it does."""

    mac: Mac
    address: str = ""
    gateway: str = ""


@dataclass(frozen=True)
class Check:
    """What a guest that works must do: take a connection on a TCP `port`, answer GET `http` there with `status`, or run `command` with status `rc`.

    `expect` is a regular expression that the body or the command's output must match; `host` is the name that the request asks for, and
    the one of the certificate, if it is asked over `tls`. `verify`: whether that must be one which this system believes.
    """

    port: int = 0
    http: str = ""
    host: str = ""
    status: int = 200
    command: tuple[str, ...] = ()
    rc: int = 0
    expect: str = ""
    tls: bool = False
    verify: bool = True

    def __post_init__(self) -> None:
        """Raises InvalidInput for a check that asks nothing, or two things."""
        if bool(self.port) == bool(self.command):
            raise InvalidInput("A check has neither a port nor a command, or both.", "Give each check one of them.")
        if self.tls and not self.http:
            raise InvalidInput("A check over TLS has nothing to ask.", "Give it a path (http: /).")

    @property
    def name(self) -> str:
        """What it is called in results."""
        return " ".join(self.command) if self.command else f"port {self.port}{': GET ' + self.http if self.http else ''}"


class Machine(Protocol):
    """A VM that has been started for a test and is gone when the test ends."""

    def receive(self) -> Optional[bytes]:
        """What the serial console says; nothing for silence, None when the VM has ended."""

    def send(self, data: bytes) -> None:
        """Type on the serial console."""

    def ports(self, number: int) -> Sequence[int]:
        """Loopback ports of this host behind which TCP port `number` of the guest is, one for each NIC."""

    def connected(self, port: int) -> bool:
        """Whether the guest has taken a connection to a loopback port: the port itself takes any."""

    def agent(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the guest agent, and give its answer. Raises OSError while there is none, ValueError for a refusal."""

    def screenshot(self) -> Optional[bytes]:
        """What its screen shows, as a picture (PNG, or PPM from older libvirt); None where it shows nothing."""


@dataclass(frozen=True)
class BootRequest:
    """`disks` are (path, format) in order, and the firmware starts with number `boot_disk`; `memory` in MiB; `timeout` and `grace` in seconds.

    `network` is auto (SSH banner or guest agent), ssh, agent, or none. `grace` is how long the network, and
    the console lines that the regular expressions in `expect` ask for, may take after login. `passphrases` answer what the guest
    asks on its console to unlock a disk, in their order. `description` is a domain of libvirt that is started in place of a VM of qemu,
    by the libvirt behind `uri`; `scratch` is a directory that its VMs can read. `encrypted` are the paths of disks that `passphrase` opens.
    `mode` is that of the log and the picture.
    """

    disks: tuple[tuple[str, str], ...]
    firmware: str = "bios"
    nics: tuple[BootNic, ...] = ()
    boot_disk: int = 0
    disk_bus: str = "virtio"
    nic_model: str = "virtio"
    passphrases: tuple[str, ...] = field(default=(), repr=False)
    memory: int = 1024
    cpus: int = 2
    timeout: float = 300.0
    network: str = "auto"
    grace: float = 60.0
    expect: tuple[str, ...] = ()
    screenshot: Optional[str] = None
    console_log: Optional[str] = None
    checks: tuple[Check, ...] = ()
    description: str = ""
    uri: str = ""
    scratch: str = ""
    encrypted: frozenset[str] = frozenset()
    passphrase: str = field(default="", repr=False)
    mode: int = modes.FILE

    @property
    def reached(self) -> tuple[int, ...]:
        """The TCP ports of the guest that the test connects to."""
        return tuple(dict.fromkeys((SSH, *(check.port for check in self.checks if check.port))))


@dataclass(frozen=True)
class CheckOutcome:
    """What came of a check; `detail` says why it has not passed."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class BootOutcome:
    """verdict is passed or failed; `signals` maps each signal to the second it came; `console` are its last lines, `checks` what came of each."""

    verdict: str
    cause: str
    signals: Mapping[str, float] = field(default_factory=dict)
    console: tuple[str, ...] = ()
    screenshot: Optional[str] = None
    accelerator: str = ""
    seconds: float = 0.0
    checks: tuple[CheckOutcome, ...] = ()

    def as_result(self) -> dict[str, Any]:
        return asdict(self)
