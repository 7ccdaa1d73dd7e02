# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as Proxmox VE takes it. Source: qm.conf(5)."""

from __future__ import annotations

from typing import Any

from ..core import device
from ..core.macs import upper
from .domain import Domain, bridge
from .format import AsJson, Format, label, require_open


def options_of_qm(domain: Domain) -> dict[str, Any]:
    """Options of `qm create`, and the files that its disks are imported from (import-from of the storage's choice).

    Raises InvalidInput for encrypted disks.
    """
    require_open(domain, "Proxmox VE")
    sockets, cores = domain.topology
    options: dict[str, Any] = {
        "name": label(domain.name),
        "memory": domain.memory,
        "sockets": sockets,
        "cores": cores,
        "cpu": "host",
        "bios": "ovmf" if domain.firmware == "uefi" else "seabios",
        "machine": domain.machine,
        "ostype": "win10" if domain.windows else "l26",
        "localtime": int(domain.clock == "localtime"),
        "agent": 1,
        "vga": "std",
        "rng0": "source=/dev/urandom",
        "boot": f"order={domain.disk_bus}{domain.boot_disk}",
    }
    for index, nic in enumerate(domain.nics):
        options[f"net{index}"] = f"{domain.nic_model}{'=' + upper(nic.mac) if nic.mac else ''},bridge={bridge(nic) or 'vmbr0'}"
    return {
        "options": options,
        "import": {f"{domain.disk_bus}{index}": device.absolute(path) for index, (path, dummy) in enumerate(domain.disks)},
        "efidisk": {"pre-enrolled-keys": int(domain.secure_boot)} if domain.firmware == "uefi" else None,
    }


FORMAT: Format = AsJson("proxmox", options_of_qm)
