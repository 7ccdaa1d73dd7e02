# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as its target is to have it: what was proved is what is described, on the same buses, machine and firmware. How it is written is a format's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..core.machine import Nic
from ..core.vm import VmId

BRIDGE = "bridge:"
# What Windows looks for in a hypervisor, by libvirt's names.
ENLIGHTENMENTS = ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "reset", "frequencies")


@dataclass(frozen=True)
class Domain:
    """A VM: `memory` in MiB, `disks` as (path, format) in order, of which number `boot_disk` is started from.

    `side_disk` is a small disk on virtio that lets Windows install its driver while the system disk is elsewhere. `uuid` is what the guest reads
    as its system's (SMBIOS); libvirt makes one where it is empty. `tpm` is an empty TPM 2.0. `devices`: which of the paths are block devices,
    `encrypted`: which are images that only a passphrase opens, which libvirt has as its `secret` of this UUID.
    `most_sockets`: how many its guest uses, 0 for any number. `vm` is the VM that it was at its source. The network of a NIC is one of libvirt, or
    a bridge of the host ("bridge:br0"); where it has no MAC libvirt makes one.
    """

    name: str
    disks: tuple[tuple[str, str], ...]
    nics: tuple[Nic, ...] = ()
    memory: int = 2048
    cpus: int = 2
    cores_per_socket: int = 1
    most_sockets: int = 0
    firmware: str = "bios"
    machine: str = "q35"
    boot_disk: int = 0
    disk_bus: str = "virtio"
    nic_model: str = "virtio"
    windows: bool = False
    clock: str = "utc"
    side_disk: str = ""
    secure_boot: bool = False
    tpm: bool = False
    uuid: str = ""
    devices: frozenset[str] = frozenset()
    encrypted: frozenset[str] = frozenset()
    secret: str = ""
    vm: Optional[VmId] = None

    @property
    def topology(self) -> tuple[int, int]:
        """Sockets, and cores of each; a processor is a socket where the source does not say otherwise. Windows licences and NUMA count sockets.

        Where a guest uses no more than some sockets, the same processors are as many cores more in each as it takes.
        """
        cores = self.cores_per_socket if self.cpus % self.cores_per_socket == 0 else 1
        if self.most_sockets:
            cores = next(n for n in range(cores, self.cpus + 1) if self.cpus % n == 0 and self.cpus // n <= self.most_sockets)
        return self.cpus // cores, cores

    def boot_order(self, index: int) -> int:
        """The place of disk number `index`, from 1."""
        return 1 if index == self.boot_disk else index + 2


def bridge(nic: Nic) -> str:
    """The name of the bridge that a NIC is on; empty for a network of libvirt."""
    return nic.network[len(BRIDGE) :] if nic.network.startswith(BRIDGE) else ""
