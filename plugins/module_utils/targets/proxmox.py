# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as Proxmox VE takes it. Source: qm.conf(5)."""

from __future__ import annotations

import re
from typing import Any, Mapping

from ..core import device
from ..core.errors import InvalidInput
from ..core.macs import upper
from .domain import BRIDGE, Domain, bridge
from .format import AsJson, Format, Said, label, place_of, require_open

_USUAL_BRIDGE = "vmbr0"


def options_of_qm(domain: Domain) -> dict[str, Any]:
    """Options of `qm create`, and the files that its disks are imported from (import-from of the storage's choice).

    Raises InvalidInput for encrypted disks, and for the name of a bridge that would be several options.
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
    apart = next((bridge(nic) for nic in domain.nics if "," in bridge(nic)), "")
    if apart:
        raise InvalidInput(
            f"A card of {domain.name} is on {apart}, and Proxmox VE has no bridges with commas in their names.",
            "Give it another network (migrate_network_map), or leave proxmox out of the formats.",
        )
    for index, nic in enumerate(domain.nics):
        options[f"net{index}"] = f"{domain.nic_model}{'=' + upper(nic.mac) if nic.mac else ''},bridge={bridge(nic) or _USUAL_BRIDGE}"
    return {
        "options": options,
        "import": {f"{domain.disk_bus}{index}": device.absolute(path) for index, (path, dummy) in enumerate(domain.disks)},
        "efidisk": {"pre-enrolled-keys": int(domain.secure_boot)} if domain.firmware == "uefi" else None,
    }


def _said(data: Mapping[str, Any], domain: Domain) -> Said:
    options, bus = data["options"], domain.disk_bus
    disks = sorted(data["import"], key=lambda name: int(name[len(bus) :]))
    nics = [dict(part.partition("=")[::2] for part in options[name].split(",")) for name in _numbered(options, "net")]
    bridges = [nic["bridge"] for nic in nics]
    return Said(
        tuple(place_of(path) for path in (data["import"][name] for name in disks)),
        disks.index(options["boot"].partition("=")[2]),
        tuple(nic[domain.nic_model].lower() for nic in nics),
        tuple("" if one == _USUAL_BRIDGE else f"{BRIDGE}{one}" for one in bridges),
    )


def _numbered(options: Mapping[str, Any], kind: str) -> list[str]:
    found = [name for name in options if re.fullmatch(f"{kind}[0-9]+", name)]
    return sorted(found, key=lambda name: int(name[len(kind) :]))


FORMAT: Format = AsJson("proxmox", options_of_qm, _said)
