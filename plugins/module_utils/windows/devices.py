# SPDX-License-Identifier: GPL-3.0-or-later
"""The PCI devices that a guest meets on KVM, and the names under which Windows looks for their drivers.

Sources: Microsoft, "Identifiers for PCI devices"; QEMU, docs/specs/pci-ids and hw/virtio/virtio-pci.c (modern behind a PCI Express
port, transitional on a conventional bus); Virtio 1.2, 4.1.2 "PCI Device Discovery".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PciDevice:
    """A device by its configuration space; `code` is base class, subclass and programming interface."""

    name: str
    vendor: int
    device: int
    subsystem_vendor: int
    subsystem: int
    revision: int
    code: int

    def identifiers(self) -> tuple[str, ...]:
        """Hardware ids, then compatible ids, in the order in which Windows tries them."""
        device = f"VEN_{self.vendor:04X}&DEV_{self.device:04X}"
        subsystem = f"{device}&SUBSYS_{self.subsystem:04X}{self.subsystem_vendor:04X}"
        revision = f"REV_{self.revision:02X}"
        full, short = f"CC_{self.code:06X}", f"CC_{self.code >> 8:04X}"
        vendor = f"VEN_{self.vendor:04X}"
        return (
            f"{subsystem}&{revision}",
            subsystem,
            f"{device}&{full}",
            f"{device}&{short}",
            f"{device}&{revision}",
            device,
            f"{vendor}&{full}",
            f"{vendor}&{short}",
            vendor,
            full,
            short,
        )


BLK_MODERN = PciDevice("virtio-blk", 0x1AF4, 0x1042, 0x1AF4, 0x1100, 1, 0x010000)
BLK_TRANSITIONAL = PciDevice("virtio-blk (transitional)", 0x1AF4, 0x1001, 0x1AF4, 0x0002, 0, 0x010000)
AHCI = PciDevice("AHCI controller", 0x8086, 0x2922, 0x1AF4, 0x1100, 2, 0x010601)
IDE = PciDevice("IDE controller", 0x8086, 0x7010, 0x1AF4, 0x1100, 0, 0x010180)


def machine(nt: tuple[int, int]) -> str:
    """Windows before Vista has no driver for AHCI and runs on the older machine."""
    return "q35" if nt >= (6, 0) else "pc"


def fallback_bus(nt: tuple[int, int]) -> str:
    """What Windows can start from without any driver of ours."""
    return "sata" if nt >= (6, 0) else "ide"


def storage(bus: str, machine_type: str) -> tuple[PciDevice, ...]:
    """The controllers that the system disk may lie on in the domain that is described: on q35 behind a port or on the root bus."""
    if bus == "virtio":
        return (BLK_MODERN, BLK_TRANSITIONAL) if machine_type == "q35" else (BLK_TRANSITIONAL,)
    return (IDE,) if bus == "ide" else (AHCI,)
