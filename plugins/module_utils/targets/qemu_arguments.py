# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a VM as arguments of qemu: disks, NICs, firmware, the passphrase of encrypted disks."""

from __future__ import annotations

import os

from ..core import device, secret
from ..core.errors import MissingTool

# (code, variables) as distributions install them: Debian and Ubuntu, Fedora and RHEL, SUSE, Arch.
_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
)
WITH_KEY = f",encrypt.key-secret={secret.KEY}"


def firmware_files() -> tuple[str, str]:
    """UEFI code and variable template. Raises MissingTool when no OVMF is installed."""
    for code, variables in _OVMF:
        if os.path.exists(code) and os.path.exists(variables):
            return code, variables
    raise MissingTool(
        "No UEFI firmware for virtual machines is installed on the conversion host.",
        "Install ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora, RHEL).",
    )


def with_key(file: str) -> list[str]:
    """The passphrase in a file, for drives that have WITH_KEY among their options."""
    return ["-object", secret.for_qemu(file)]


def disk(path: str, fmt: str, bus: str, index: int, order: int, more: str) -> list[str]:
    """A disk on virtio, SATA or IDE that the firmware tries as number `order`; `more` are options of the drive."""
    drive = ["-drive", f"if=none,id=disk{index},file={device.absolute(path).replace(',', ',,')},format={fmt},{more}"]
    if bus == "virtio":
        return [*drive, "-device", f"virtio-blk-pci,drive=disk{index},bootindex={order}"]
    if bus == "ide":
        return [*drive, "-device", f"ide-hd,drive=disk{index},bus=ide.{index // 2},unit={index % 2},bootindex={order}"]
    controller = ["-device", f"ich9-ahci,id=ahci{index}"] if index % 6 == 0 else []
    return [*drive, *controller, "-device", f"ide-hd,drive=disk{index},bus=ahci{index // 6 * 6}.{index % 6},bootindex={order}"]


def nic_device(model: str) -> str:
    """qemu's name of a NIC of a model."""
    return "virtio-net-pci" if model == "virtio" else model
