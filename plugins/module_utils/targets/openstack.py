# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as OpenStack takes it. Source: OpenStack Glance, "Useful image properties"."""

from __future__ import annotations

from typing import Any, Mapping

from ..core import device
from .domain import Domain
from .format import AsJson, Format, Said, require_open


def image(domain: Domain) -> dict[str, Any]:
    """What `openstack image create` and Cinder are told of the system disk: its properties, and the memory (MiB) that it needs.

    Raises InvalidInput for encrypted disks.
    """
    require_open(domain, "OpenStack")
    properties = {
        "hw_disk_bus": domain.disk_bus,
        "hw_vif_model": domain.nic_model,
        "hw_firmware_type": domain.firmware,
        "hw_machine_type": domain.machine,
        "hw_cpu_cores": str(domain.topology[1]),
        # A flavour may have more processors. A limit above the flavour's own is refused there, so it is named only where it binds.
        **({"hw_cpu_max_sockets": str(domain.most_sockets)} if 0 < domain.most_sockets < domain.cpus else {}),
        "hw_qemu_guest_agent": "yes",
        "hw_rng_model": "virtio",
        "hw_video_model": "vga",
        "os_type": "windows" if domain.windows else "linux",
        **({"os_secure_boot": "required"} if domain.secure_boot else {}),
        **({"hw_tpm_model": "tpm-crb", "hw_tpm_version": "2.0"} if domain.tpm else {}),
    }
    path, fmt = domain.disks[domain.boot_disk]
    return {"name": domain.name, "file": device.absolute(path), "disk_format": fmt, "min_ram": domain.memory, "properties": properties}


def _said(data: Mapping[str, Any], domain: Domain) -> Said:
    """An image has one disk and no NICs: the one that the VM starts from."""
    starts = [device.absolute(path) for path, dummy in domain.disks].index(data["file"])
    return Said(starts=starts)


FORMAT: Format = AsJson("openstack", image, _said)
