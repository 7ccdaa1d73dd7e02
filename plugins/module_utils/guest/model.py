# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known of a guest: files, block devices, and the facts that inspection gathers. Pure data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

from ..core.machine import NicFacts
from ..core.macs import Mac

BOOTSTRAP, FINAL = "bootstrap", "final"  # the device sets that a guest starts on


@dataclass(frozen=True)
class Stat:
    """An entry of a directory: kind is file, dir, link or other; `target` is what a link says."""

    kind: str
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""


SWAP = ("swap", "swsuspend")  # the second while it holds a hibernated system


@dataclass(frozen=True)
class BlockDevice:
    """A partition, logical volume, array or whole disk, with the names that survive a change of hypervisor. Sizes in bytes.

    `kind` is disk, part, lvm, crypt or a RAID level (raid1, ...); `parents` are the names of the devices it lies on.
    """

    name: str
    fstype: str = ""
    uuid: str = ""
    label: str = ""
    partuuid: str = ""
    partlabel: str = ""
    parttype: str = ""
    size: int = 0
    disk: Optional[int] = None
    part: Optional[int] = None
    aliases: tuple[str, ...] = ()
    kind: str = "part"
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """An installed kernel: version, image, initramfs (None if missing) and module directory (None if it has no modules)."""

    version: str
    image: str
    initramfs: Optional[str]
    modules: Optional[str]


@dataclass(frozen=True)
class Mount:
    """A file system of the guest that is mounted for the repair: device, where, options."""

    device: str
    path: str
    options: str = ""


@dataclass(frozen=True)
class WindowsFacts:
    """What only Windows has. `system_root` and the hives are paths in the guest, `control_set` the key of the one in use.

    `release` is the name that driver folders go by (w10, 2k22, ...), `kind` Client, Server or Server Core, `nt` major and minor version.
    `roles` are what deserves a look, `stores` the boot configuration data, `drive` the letter of the system volume. `secure_boot`: whether it starts
    with Secure Boot; `test_signing`: whether its boot configuration lets drivers with test signatures in; `any_driver`: whether the operator says so.
    `sockets`: the most that this edition uses, 0 where nobody knows.
    """

    release: str
    nt: tuple[int, int]
    build: int
    kind: str
    system_root: str
    control_set: str
    system_hive: str
    software_hive: str = ""
    drive: str = "C"
    roles: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    hives: str = "clean"
    clock: str = "localtime"
    secure_boot: bool = False
    test_signing: bool = False
    any_driver: bool = False
    sockets: int = 0


@dataclass(frozen=True)
class GuestFacts:
    """What inspection found out. `disk_bus` and `nic_model` are what the guest can run on: virtio, or sata (ide) and e1000e (rtl8139).

    `phases` are the device sets that the guest is to start on, one after the other: `final`, or `bootstrap` and `final`. `console`: whether its serial console
    tells that it has started. `first_steps`: what a person does at its first start, and knows of it; {vm} stands for the VM's name.
    """

    os: str = "linux"
    distribution: str = ""
    version: str = ""
    product: str = ""
    family: str = ""
    architecture: str = ""
    hostname: str = ""
    machine_id: str = ""
    firmware: str = "bios"
    root: str = ""
    root_subvolume: str = ""
    root_stack: tuple[str, ...] = ()
    boot_containers: tuple[str, ...] = ()
    boot_disk: int = 0
    disk_bus: str = "virtio"
    nic_model: str = "virtio"
    mounts: tuple[Mount, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    boot_loaders: tuple[str, ...] = ()
    initramfs_tool: str = ""
    network: tuple[str, ...] = ()
    interfaces: tuple[tuple[str, Mac], ...] = ()
    nics: tuple[NicFacts, ...] = ()
    tools: tuple[str, ...] = ()
    selinux: bool = False
    encrypted: tuple[str, ...] = ()
    live: bool = False
    machine: str = "q35"
    phases: tuple[str, ...] = (FINAL,)
    console: bool = False
    first_steps: tuple[str, ...] = ()
    windows: Optional[WindowsFacts] = None

    def as_result(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class StartStep:
    """A step of the first start: waiting, running, done or failed; how often it was tried, its last exit code, and what that means."""

    name: str
    state: str
    tries: int = 0
    code: Optional[int] = None
    meaning: str = ""


@dataclass(frozen=True)
class FirstStart:
    """How far the first start has come: armed, running, done, failed, or none; the number of tries and the end of the log.

    `ready`: what the final devices need is done, whatever else is still tried.
    """

    state: str
    tries: int
    log: tuple[str, ...]
    ready: bool = False
    steps: tuple[StartStep, ...] = ()
