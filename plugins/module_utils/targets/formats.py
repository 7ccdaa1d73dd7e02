# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM for those who do not take libvirt's description: a script for qemu itself, and data for KubeVirt, OpenStack and Proxmox VE.

Each says what was proved, on the same buses, machine and firmware. Source: qemu(1); KubeVirt's API, kubevirt.io/v1; OpenStack Glance,
"Useful image properties"; Proxmox VE, qm.conf(5).
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Callable, Mapping

from ..core import device
from ..core.errors import InvalidInput
from .domain import ENLIGHTENMENTS, Domain
from .qemu_arguments import WITH_KEY, card, disk, firmware_files, with_key

_POD = "default"
_KEY_FILE = '"$KEY_FILE"'


def qemu_script(domain: Domain) -> str:
    """A shell script that starts the VM, with the console in its window. ACCEL=tcg in the environment does without hardware virtualisation.

    It has neither Secure Boot nor a TPM. KEY_FILE names the file with the passphrase of encrypted disks.
    """
    sockets, cores = domain.topology
    argv = [
        "-name",
        f"guest={_value(domain.name)}",
        "-machine",
        domain.machine,
        "-smp",
        f"{domain.cpus},sockets={sockets},cores={cores},threads=1",
        "-m",
        str(domain.memory),
    ]
    argv += ["-rtc", f"base={domain.clock}", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"]
    cpu = "host,hv_relaxed,hv_vapic,hv_vpindex,hv_time,hv_spinlocks=0x1fff" if domain.windows else "host"
    before = [f'accel="${{ACCEL:-kvm}}" cpu={cpu}', '[ "$accel" = kvm ] || cpu=max']
    if domain.firmware == "uefi":
        code, template = firmware_files()
        before += [
            f'variables=$(dirname -- "$0")/{shlex.quote(domain.name + "-variables.fd")}',
            f'[ -e "$variables" ] || cp {shlex.quote(template)} "$variables"',
        ]
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
    for index, (path, fmt) in enumerate(domain.disks):
        more = f"discard=unmap{WITH_KEY if path in domain.encrypted else ''}"
        argv += disk(path, fmt, domain.disk_bus, index, domain.boot_order(index), more)
    for index, nic in enumerate(domain.nics):
        argv += ["-netdev", f"bridge,id=net{index},br={_value(nic.bridge)}" if nic.bridge else f"user,id=net{index}"]
        argv += ["-device", f"{card(domain.nic_model)},netdev=net{index}" + (f",mac={_value(nic.mac)}" if nic.mac else "")]
    line = " \\\n  ".join(" ".join(map(shlex.quote, argv[at : at + 2])) for at in range(0, len(argv), 2))
    variables = ' \\\n  -drive if=pflash,format=raw,file="$variables"' if domain.firmware == "uefi" else ""
    if domain.encrypted:
        before.append(': "${KEY_FILE:?names no file with the passphrase of the disks}"')
        variables = f" \\\n  {' '.join(with_key(_KEY_FILE))}{variables}"
    head = ["#!/bin/sh", "set -eu", *before]
    return "\n".join(head) + f'\nexec qemu-system-x86_64 -accel "$accel" -cpu "$cpu" \\\n  {line}{variables} "$@"\n'


def kubevirt(domain: Domain) -> str:
    """A VirtualMachine, which is stopped; its disks are claims named after it ("web01-disk0"), to be filled by whoever has the cluster.

    The first card that goes to libvirt's network "default" goes to the pod network, every other one to a Multus network of its network's name.
    Raises InvalidInput for a VM that KubeVirt cannot have.
    """
    if domain.disk_bus == "ide" or domain.machine != "q35":
        raise InvalidInput(
            f"{domain.name} needs IDE or an i440FX machine, which KubeVirt does not have.", "Leave kubevirt out of the formats."
        )
    _readable(domain, "KubeVirt")
    name = _label(domain.name)
    disks = [
        {"name": f"disk{index}", "bootOrder": domain.boot_order(index), "disk": {"bus": domain.disk_bus}}
        for index in range(len(domain.disks))
    ]
    volumes = [
        {"name": f"disk{index}", "persistentVolumeClaim": {"claimName": f"{name}-disk{index}"}} for index in range(len(domain.disks))
    ]
    interfaces, networks, pod = [], [], False
    for index, nic in enumerate(domain.nics):
        here = nic.network == _POD and not pod
        pod = pod or here
        interfaces.append(
            {
                "name": f"net{index}",
                "model": domain.nic_model,
                **({"macAddress": nic.mac} if nic.mac else {}),
                "masquerade" if here else "bridge": {},
            }
        )
        networks.append(
            {"name": f"net{index}", **({"pod": {}} if here else {"multus": {"networkName": _label(nic.bridge or nic.network)}})}
        )
    sockets, cores = domain.topology
    machine: dict[str, Any] = {
        "cpu": {"sockets": sockets, "cores": cores, "threads": 1},
        "memory": {"guest": f"{domain.memory}Mi"},
        "machine": {"type": domain.machine},
        "firmware": {"bootloader": {"efi": {"secureBoot": domain.secure_boot}} if domain.firmware == "uefi" else {"bios": {}}},
        "clock": {"utc": {}, "timer": {"hpet": {"present": False}, "pit": {"tickPolicy": "delay"}, "rtc": {"tickPolicy": "catchup"}}},
        "devices": {"disks": disks, "interfaces": interfaces, "rng": {}},
    }
    if domain.windows:
        flags = [{"stimer": "synictimer"}.get(flag, flag) for flag in ENLIGHTENMENTS]
        machine["features"] = {"acpi": {}, "apic": {}, "hyperv": {**{flag: {} for flag in flags}, "spinlocks": {"spinlocks": 8191}}}
        machine["clock"]["timer"]["hyperv"] = {}
    if domain.secure_boot and domain.firmware == "uefi":
        machine.setdefault("features", {})["smm"] = {"enabled": True}
    if domain.tpm:
        machine["devices"]["tpm"] = {}
    if not interfaces:
        machine["devices"]["autoattachPodInterface"] = False
    template = {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": {"domain": machine, "networks": networks, "volumes": volumes}}
    whole = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"runStrategy": "Halted", "template": template},
    }
    return _json(whole)


def openstack(domain: Domain) -> str:
    """What `openstack image create` and Cinder are told of the system disk: its properties, and the memory (MiB) that it needs.

    Raises InvalidInput for encrypted disks, as `proxmox` does.
    """
    _readable(domain, "OpenStack")
    properties = {
        "hw_disk_bus": domain.disk_bus,
        "hw_vif_model": domain.nic_model,
        "hw_firmware_type": domain.firmware,
        "hw_machine_type": domain.machine,
        "hw_cpu_cores": str(domain.topology[1]),
        "hw_qemu_guest_agent": "yes",
        "hw_rng_model": "virtio",
        "hw_video_model": "vga",
        "os_type": "windows" if domain.windows else "linux",
        **({"os_secure_boot": "required"} if domain.secure_boot else {}),
        **({"hw_tpm_model": "tpm-crb", "hw_tpm_version": "2.0"} if domain.tpm else {}),
    }
    path, fmt = domain.disks[domain.boot_disk]
    return _json(
        {"name": domain.name, "file": device.absolute(path), "disk_format": fmt, "min_ram": domain.memory, "properties": properties}
    )


def proxmox(domain: Domain) -> str:
    """Options of `qm create`, and the files that its disks are imported from (import-from of the storage's choice)."""
    _readable(domain, "Proxmox VE")
    sockets, cores = domain.topology
    options: dict[str, Any] = {
        "name": _label(domain.name),
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
        options[f"net{index}"] = f"{domain.nic_model}{'=' + nic.mac.upper() if nic.mac else ''},bridge={nic.bridge or 'vmbr0'}"
    disks = {f"{domain.disk_bus}{index}": device.absolute(path) for index, (path, dummy) in enumerate(domain.disks)}
    return _json(
        {
            "options": options,
            "import": disks,
            "efidisk": {"pre-enrolled-keys": int(domain.secure_boot)} if domain.firmware == "uefi" else None,
        }
    )


def _readable(domain: Domain, where: str) -> None:
    if domain.encrypted:
        raise InvalidInput(
            f"{where} cannot import the disks of {domain.name}, which are encrypted.",
            "Leave it out of the formats, or convert without a passphrase and encrypt its storage.",
        )


def _value(text: str) -> str:
    """A value among others in an argument of qemu."""
    return text.replace(",", ",,")


def _label(name: str) -> str:
    """A name as Kubernetes and DNS take it (RFC 1123)."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "vm"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


# For each format the end of the file's name, what writes it, and whether it is a program.
FORMATS: Mapping[str, tuple[str, Callable[[Domain], str], bool]] = {
    "qemu": (".sh", qemu_script, True),
    "kubevirt": ("-kubevirt.json", kubevirt, False),
    "openstack": ("-openstack.json", openstack, False),
    "proxmox": ("-proxmox.json", proxmox, False),
}
