# SPDX-License-Identifier: GPL-3.0-or-later
"""The qemu that a boot test runs: virtio disks and NICs, a private copy of the firmware's variables, nothing ever written back."""

from __future__ import annotations

import ipaddress
import os
import shutil
from typing import Iterator, Mapping, Sequence

from ..core.macs import made_of
from ..targets.qemu_arguments import WITH_KEY, disk, firmware_files, nic_device, with_key
from .model import BootNic, BootRequest


def command(request: BootRequest, accelerator: str, scratch: str, ports: Mapping[int, Sequence[int]], key: str = "") -> list[str]:
    """The command line. Sockets `serial`, `qmp` and `agent` appear in `scratch`; `ports`: where on loopback each port of the guest is, by NIC.

    `key`: the file with the passphrase of the encrypted disks.
    """
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
    argv += with_key(key) if key else []
    for index, (path, fmt) in enumerate(request.disks):
        more = f"snapshot=on,cache=unsafe{WITH_KEY if path in request.encrypted else ''}"
        argv += disk(path, fmt, request.disk_bus, index, 1 if index == request.boot_disk else index + 2, more)
    return [*argv, *networks(request, ports)]


def networks(request: BootRequest, ports: Mapping[int, Sequence[int]], slot: int = 0) -> Iterator[str]:
    """The NICs, each on a network of its own that leads nowhere but to `ports` on loopback; from PCI `slot` on where qemu shall not choose."""
    model = nic_device(request.nic_model)
    for index, nic in enumerate(nics_of(request)):
        forwards = {inside: outside[index] for inside, outside in ports.items()}
        yield from ("-netdev", f"user,id=net{index},restrict=on{_network(nic, forwards)}")
        place = f",addr={slot + index:#x}" if slot else ""
        yield from ("-device", f"{model},netdev=net{index},mac={nic.mac},romfile={place}")


def nics_of(request: BootRequest) -> tuple[BootNic, ...]:
    """The NICs of the test; a VM that is known to have none gets one, to be asked over."""
    return request.nics or (BootNic(made_of("000001")),)


def _network(nic: BootNic, forwards: Mapping[int, int]) -> str:
    """The forwarded ports; around a static address, the network that the guest believes to be in, with the host as its gateway."""

    def forwarded(address: str) -> str:
        return "".join(f",hostfwd=tcp:127.0.0.1:{outside}-{address}:{inside}" for inside, outside in forwards.items())

    try:
        own = ipaddress.IPv4Interface(nic.address)
    except ValueError:
        return forwarded("")
    if not 8 <= own.network.prefixlen <= 29:
        return forwarded("")
    hosts = (str(host) for host in own.network.hosts() if host != own.ip and str(host) != nic.gateway)
    inside = nic.gateway != str(own.ip) and nic.gateway in map(str, own.network.hosts())
    gateway = nic.gateway if inside else next(hosts)
    return f",net={own.network},host={gateway},dns={next(hosts)},dhcpstart={own.ip}{forwarded(str(own.ip))}"
