# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as a shell script that starts qemu itself. Source: qemu(1)."""

from __future__ import annotations

import shlex

from .domain import BRIDGE, Domain, bridge
from .format import Format, Said, place_of
from .qemu_arguments import WITH_KEY, disk, firmware_files, nic_device, with_key

_HEAD = "#!/bin/sh\nset -eu\n"
_EXEC = "\nexec qemu-system-x86_64 "
_KEY_FILE = '"$KEY_FILE"'
_FOR_WINDOWS = ",hv_relaxed,hv_vapic,hv_vpindex,hv_time,hv_spinlocks=0x1fff"


class QemuScript:
    """See Format. The VM has its console in a window; ACCEL=tcg in the environment does without hardware virtualisation.

    It has neither Secure Boot nor a TPM. KEY_FILE names the file with the passphrase of encrypted disks. Raises MissingTool where the VM starts
    with UEFI and no OVMF is installed.
    """

    name, ending, program = "qemu", ".sh", True

    def text(self, domain: Domain) -> str:
        before = [f'accel="${{ACCEL:-kvm}}" cpu=host{_FOR_WINDOWS if domain.windows else ""}', '[ "$accel" = kvm ] || cpu=max']
        argv, unquoted = _machine(domain), []
        if domain.encrypted:
            unquoted.append(" ".join(with_key(_KEY_FILE)))
        if domain.firmware == "uefi":
            code, template = firmware_files()
            before += [
                f'variables=$(dirname -- "$0")/{shlex.quote(domain.name + "-variables.fd")}',
                f'[ -e "$variables" ] || cp {shlex.quote(template)} "$variables"',
            ]
            argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
            unquoted.append('-drive if=pflash,format=raw,file="$variables"')
        if domain.encrypted:
            before.append(': "${KEY_FILE:?names no file with the passphrase of the disks}"')
        argv += _devices(domain)
        pairs = [" ".join(map(shlex.quote, argv[at : at + 2])) for at in range(0, len(argv), 2)]
        line = " \\\n  ".join(['-accel "$accel" -cpu "$cpu"', *pairs, *unquoted])
        return _HEAD + "\n".join(before) + f'{_EXEC}{line} "$@"\n'

    def said(self, text: str, domain: Domain) -> Said:
        argv = [word for word in shlex.split(text.partition(_EXEC)[2]) if word.strip()]
        pairs = [(kind, _options(value)) for kind, value in zip(argv, argv[1:])]
        drives = {value["id"]: value["file"] for kind, value in pairs if kind == "-drive" and "id" in value}
        bridges = {value["id"]: value.get("br", "") for kind, value in pairs if kind == "-netdev"}
        devices = [value for kind, value in pairs if kind == "-device"]
        disks, nics = ([value for value in devices if key in value] for key in ("drive", "netdev"))
        orders = [int(disk["bootindex"]) for disk in disks]
        return Said(
            tuple(place_of(drives[disk["drive"]]) for disk in disks),
            orders.index(min(orders)) if orders else None,
            tuple(nic.get("mac", "") for nic in nics),
            tuple(f"{BRIDGE}{found}" if found else "" for found in (bridges[nic["netdev"]] for nic in nics)),
        )

    def whose(self, found: str, domain: Domain) -> str:
        return domain.name if found.startswith(_HEAD) and _EXEC in found else ""


FORMAT: Format = QemuScript()


def _machine(domain: Domain) -> list[str]:
    sockets, cores = domain.topology
    argv = ["-name", f"guest={_value(domain.name)}", "-machine", domain.machine]
    argv += ["-smp", f"{domain.cpus},sockets={sockets},cores={cores},threads=1", "-m", str(domain.memory)]
    return [*argv, "-rtc", f"base={domain.clock}", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"]


def _devices(domain: Domain) -> list[str]:
    argv = []
    for index, (path, fmt) in enumerate(domain.disks):
        more = f"discard=unmap{WITH_KEY if path in domain.encrypted else ''}"
        argv += disk(path, fmt, domain.disk_bus, index, domain.boot_order(index), more)
    for index, nic in enumerate(domain.nics):
        argv += ["-netdev", f"bridge,id=net{index},br={_value(bridge(nic))}" if bridge(nic) else f"user,id=net{index}"]
        argv += ["-device", f"{nic_device(domain.nic_model)},netdev=net{index}" + (f",mac={_value(nic.mac)}" if nic.mac else "")]
    return argv


def _options(text: str) -> dict[str, str]:
    """The options in an argument of qemu, which doubles commas that are in a value."""
    parts = [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
    return dict(part.partition("=")[::2] for part in parts)


def _value(text: str) -> str:
    """A value among others in an argument of qemu."""
    return text.replace(",", ",,")
