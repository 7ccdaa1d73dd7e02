# SPDX-License-Identifier: GPL-3.0-or-later
"""The qemu that a boot test runs: virtio disks and cards, a private copy of the firmware's variables, nothing ever written back."""

from __future__ import annotations

import os
import shutil

from ..core.errors import MissingTool
from .model import BootRequest

# (code, variables) as distributions install them: Debian and Ubuntu, Fedora and RHEL, SUSE, Arch.
_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
)


def firmware_files() -> tuple[str, str]:
    """UEFI code and variable template. Raises MissingTool when no OVMF is installed."""
    for code, variables in _OVMF:
        if os.path.exists(code) and os.path.exists(variables):
            return code, variables
    raise MissingTool(
        "No UEFI firmware for virtual machines is installed on the conversion host.",
        "Install ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora, RHEL).",
    )


def command(request: BootRequest, accelerator: str, scratch: str, ssh_port: int) -> list[str]:
    """The command line. Sockets `serial`, `qmp` and `agent` appear in `scratch`; guest port 22 answers at `ssh_port` on loopback."""
    argv = [
        "qemu-system-x86_64",
        "-accel",
        "kvm" if accelerator == "kvm" else "tcg,thread=multi",
        "-machine",
        # SeaBIOS then says on the serial console too what it and GRUB find.
        "q35" if request.firmware == "uefi" else "q35,graphics=off",
        "-cpu",
        "host" if accelerator == "kvm" else "max",
        "-smp",
        str(request.cpus),
        "-m",
        str(request.memory),
        "-nodefaults",
        "-display",
        "none",
        "-vga",
        "std",
        "-no-reboot",
        "-chardev",
        f"socket,id=serial,path={scratch}/serial,server=on,wait=on",
        "-serial",
        "chardev:serial",
        "-qmp",
        f"unix:{scratch}/qmp,server=on,wait=off",
        "-device",
        "virtio-serial-pci",
        "-chardev",
        f"socket,id=agent,path={scratch}/agent,server=on,wait=off",
        "-device",
        "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        "-device",
        "virtio-rng-pci",
    ]
    if request.firmware == "uefi":
        code, variables = firmware_files()
        private = os.path.join(scratch, "vars.fd")
        shutil.copyfile(variables, private)
        argv += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}", "-drive", f"if=pflash,unit=1,format=raw,file={private}"]
    for index, (path, fmt) in enumerate(request.disks):
        name = os.path.abspath(path).replace(",", ",,")
        argv += [
            "-drive",
            f"if=none,id=disk{index},file={name},format={fmt},snapshot=on,cache=unsafe",
            "-device",
            f"virtio-blk-pci,drive=disk{index},bootindex={index + 1}",
        ]
    for index, mac in enumerate(request.macs or ("52:54:00:00:00:01",)):
        forward = f",hostfwd=tcp:127.0.0.1:{ssh_port}-:22" if index == 0 else ""
        argv += ["-netdev", f"user,id=net{index},restrict=on{forward}", "-device", f"virtio-net-pci,netdev=net{index},mac={mac},romfile="]
    return argv
