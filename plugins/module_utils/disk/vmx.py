# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware .vmx configuration files: disks in bus order, NICs with their MACs, size and firmware."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Iterator, Mapping, Optional

from ..core import files, limits, macs
from ..core.errors import InvalidInput
from ..core.machine import Disk, Nic
from ..core.numbers import decimal, said
from ..core.vm import uuid_of
from . import around, chain, encoded, vmdk, vmx_concerns
from .machine import Place, SourceDisk, SourceVm

_ESCAPES = re.compile(r"(?:\|[0-9A-Fa-f]{2})+")
_DEVICE = re.compile(r"^((?:scsi|nvme|sata|ide)[0-9]{1,4}:[0-9]{1,4})\.(?:filename|present|devicetype|redo)$")
_PLACE = re.compile(r"([a-z]+)([0-9]+):([0-9]+)")
_NIC = re.compile(r"^(ethernet([0-9]{1,4}))\.present$")
_PASSED = re.compile(r"^(pcipassthru([0-9]{1,4}))\.present$")
_DISK_TYPES = re.compile(r"|disk|plaindisk|rawdisk|\w+-harddisk")
_REMOVABLE = re.compile(r"cd-?rom|dvd|floppy")
_NO_MEDIUM = ("auto detect", "emptybackingstring")
# Drives of the host. Below genscsi lie robots and tapes too; in a vml name the second byte is the device's type by SPC, and 05 is a CD.
_DRIVE = re.compile(r"/vmfs/devices/(cdrom/[^/]+|genscsi/vml\.[0-9a-f]{2}05[0-9a-f]*)|/dev/(cdrom|cdrw|dvd|dvdrw|sr|scd|fd)[0-9]*")
_HERE = re.compile(r"^(\.[/\\]+)+")
# Of standard switches, distributed ones, NSX, and of Workstation.
_NETWORKS = ("networkname", "dvs.portgroupid", "opaquenetwork.id", "vnet")
_FIRMWARES = {"": "bios", "bios": "bios", "efi": "uefi"}


def parse(data: bytes, path: str) -> dict[str, str]:
    """Keys in lower case (they are case-insensitive), |HH escapes resolved. Quotes may be missing, and a comment follow; what has no = says nothing.

    Raises InvalidInput for a line that cannot be read, and for a key with two values, which VMware does not start either.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", encoded.text(data, path, "utf-8", "replace")), 1):
        key, equals, rest = line.partition("=")
        key, value = key.strip().lower(), _value(rest.strip())
        if not equals or key.startswith("#"):
            continue
        if not key or value is None:
            raise InvalidInput(
                f"{path} line {number} cannot be read: {line.strip()[:80]!r}.",
                'Correct it in a copy of the VM: KEY = "VALUE", or a # before it.',
                path=path,
                line=number,
            )
        value = _ESCAPES.sub(_unescaped, value)
        if values.setdefault(key, value) != value:
            raise InvalidInput(
                f"{path} gives {key[:80]} twice, as {values[key][:80]!r} and as {value[:80]!r}.",
                "Leave the right one in a copy of the VM, or save its settings again in VMware.",
                path=path,
                line=number,
            )
    return values


def _unescaped(found: re.Match[str]) -> str:
    """Escapes are bytes, of which several may be one letter."""
    data = bytes.fromhex(found[0].replace("|", ""))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _value(text: str) -> Optional[str]:
    """What stands after the =, without its quotes and a comment; None for a quote that does not end."""
    if not text.startswith('"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    inner, quote, rest = text[1:].partition('"')
    if quote and (not rest.strip() or rest.lstrip().startswith("#")):
        return inner
    return text[1:-1] if quote and text.endswith('"') else None


def read(path: str) -> SourceVm:
    """The VM of a .vmx file; its disks must lie beside it.

    Raises InvalidInput when it names no disks or something that cannot be read.
    """
    values = parse(files.read(path, limits.VMX, "The configuration"), path)
    directory = os.path.dirname(os.path.abspath(path))
    disks = tuple(SourceDisk(chain.resolve(os.path.join(directory, name)), place) for name, place in places(values, path))
    vm = described(values, path)
    told = around.boot_entries(vm, directory, nvram_of(values, path))
    return replace(vm, disks=disks, concerns=(*vm.concerns, *told))


def nvram_of(values: Mapping[str, str], path: str) -> str:
    """The name of the file of the firmware's variables."""
    return values.get("nvram", "").strip() or f"{os.path.splitext(os.path.basename(path))[0]}.nvram"


def described(values: Mapping[str, str], path: str) -> SourceVm:
    """The VM of a configuration without its disks."""
    firmware = values.get("firmware", "").strip().lower()
    if firmware not in _FIRMWARES:
        raise InvalidInput(f"{path} says {firmware[:40]!r} for firmware.", "Write bios or efi in a copy of the VM.", path=path)
    name = values.get("displayname") or os.path.splitext(os.path.basename(path))[0]
    return SourceVm(
        name=name,
        kind="vmx",
        disks=(),
        nics=tuple(_nics(values, path)),
        cpus=said(values.get("numvcpus", "1"), "numvcpus", path),
        cores_per_socket=said(values.get("cpuid.corespersocket"), "cpuid.coresPerSocket", path),
        memory=said(values.get("memsize", "32"), "memSize", path),
        firmware=_FIRMWARES[firmware],
        secure_boot=_flag(values, "uefi.secureboot.enabled", path),
        guest_os=values.get("guestos"),
        uuid=uuid_of(values.get("vc.uuid")) or uuid_of(values.get("uuid.bios")),
        suspended=values.get("checkpoint.vmstate", "").strip() != "",
        starts=_starts(values),
        concerns=tuple(vmx_concerns.of(values, name)),
    )


def _starts(values: Mapping[str, str]) -> Optional[Place]:
    """The disk that the BIOS tries first, where its set-up was asked to; UEFI keeps its entries in the .nvram, see nvram."""
    first = values.get("bios.hddorder", "").split(",")[0].strip().lower()
    found = _PLACE.fullmatch(first)
    return (found[1], int(found[2]), int(found[3])) if found is not None else None


def places(values: Mapping[str, str], path: str) -> tuple[tuple[str, Disk], ...]:
    """The file names of a VM's disks, all beside its configuration `path`, and where each is attached, in the order of the buses.

    Raises InvalidInput when there are none, and for a device that is neither a disk that can be read nor a drive for CDs or floppies.
    """
    found = tuple(sorted(_named(values, path), key=lambda item: item[1].order))
    if not found and any(key.startswith("encryption.") for key in values):
        raise InvalidInput(
            f"{path} is encrypted, and its disks with it.", "Decrypt the VM in VMware (remove its encryption), then copy it.", path=path
        )
    if not found:
        raise InvalidInput(f"{path} names no virtual disks.", "Name the .vmdk files as a list in migrate_source.", path=path)
    return found


def _named(values: Mapping[str, str], path: str) -> Iterator[tuple[str, Disk]]:
    devices = dict.fromkeys(match[1] for match in map(_DEVICE.match, values) if match)
    for device in devices:
        name, kind = values.get(f"{device}.filename", ""), values.get(f"{device}.devicetype", "").strip().lower()
        present = _flag(values, f"{device}.present", path, "true" if name else "false")
        if not present or _is_removable(values, device, kind, name.lower(), path):
            continue
        _require_controller(values, device, name, path)
        if not _DISK_TYPES.fullmatch(kind) or not name.lower().endswith(".vmdk"):
            raise _no_disk(device, name, kind, path)
        if values.get(f"{device}.redo"):
            raise InvalidInput(
                f"What was last written to the disk {device} of {path} is in a log of its own ({values[f'{device}.redo'][:80]}).",
                "Commit it in VMware: power the VM on, shut it down, and copy it then.",
                path=path,
            )
        place = _PLACE.fullmatch(device)
        if place is not None:
            yield vmdk.plain_name(_HERE.sub("", name), f"the disk {device}", path), Disk(place[1], int(place[2]), int(place[3]))
    for key, name in values.items():  # USB, NVDIMM, and whatever is yet to come
        device, dummy, what = key.rpartition(".")
        if (
            what == "filename"
            and device not in devices
            and name.lower().endswith(".vmdk")
            and _flag(values, f"{device}.present", path, "true")
        ):
            raise _no_disk(device, name, values.get(f"{device}.devicetype", "").lower(), path)


def _is_removable(values: Mapping[str, str], device: str, kind: str, name: str, path: str) -> bool:
    """Whether it is a drive for CDs or floppies: by its type; by its medium, where it has none; or since the host, or a client of VMware, has the drive."""
    if _REMOVABLE.search(kind) or (not kind and (name.endswith((".iso", ".flp")) or name in _NO_MEDIUM)):
        return True
    if kind in ("", "scsi-passthru") and _DRIVE.fullmatch(name):
        return True
    return not kind and not name.endswith(".vmdk") and _flag(values, f"{device}.clientdevice", path)


def _require_controller(values: Mapping[str, str], device: str, name: str, path: str) -> None:
    """Raise InvalidInput for a device on a controller that is said to be absent: VMware attaches none of its devices then, and so does libvirt (vmx.c),
    while virt-v2v takes them. One that is not mentioned is there.
    """
    controller = device.partition(":")[0]
    if not _flag(values, f"{controller}.present", path, "true"):
        raise InvalidInput(
            f"{path} has a device {device} with the file {name[:80]!r}, but says that its controller {controller} is not present: VMware starts the VM "
            "without it.",
            f'In a copy of the VM, leave it out by {device}.present = "FALSE", or correct {controller}.present = "TRUE".',
            path=path,
            device=device,
        )


def _no_disk(device: str, name: str, kind: str, path: str) -> InvalidInput:
    what = (f"of the type {kind[:40]} " if kind else "") + (f"with the file {name[:80]!r}" if name else "without a file")
    raw = "rdm" in kind or "raw" in kind
    return InvalidInput(
        f"{path} has a device {device[:40]} {what}, which is not a virtual disk that can be read.",
        (
            "Convert it to a virtual disk at the source (clone it), then migrate; or"
            if raw
            else "Attach its data as a .vmdk at the source, or"
        )
        + f' leave it out by {device[:40]}.present = "FALSE" in a copy of the VM.',
        path=path,
        device=device,
    )


def _nics(values: Mapping[str, str], path: str) -> Iterator[Nic]:
    for key in _numbered(_NIC, values):
        if not _flag(values, f"{key}.present", path):
            continue
        static = values.get(f"{key}.addresstype", "").lower() == "static"
        yield Nic(
            macs.of_nic(values.get(f"{key}.address" if static else f"{key}.generatedaddress")) or macs.of_nic(values.get(f"{key}.address")),
            next((values[f"{key}.{name}"] for name in _NETWORKS if values.get(f"{key}.{name}", "").strip()), ""),
            values.get(f"{key}.virtualdev", ""),
            decimal(values.get(f"{key}.pcislotnumber")),
        )
    for key in _numbered(_PASSED, values):
        if vmx_concerns.is_card(values, key) and _flag(values, f"{key}.present", path):
            yield Nic(
                macs.of_nic(values.get(f"{key}.generatedmacaddress")) or macs.of_nic(values.get(f"{key}.macaddress")),
                values.get(f"{key}.networkname", ""),
                "sriov",
                decimal(values.get(f"{key}.pcislotnumber")),
            )


def _numbered(kind: re.Pattern[str], values: Mapping[str, str]) -> list[str]:
    """The devices of a kind in the order of their numbers."""
    found = [match for match in map(kind.match, values) if match is not None]
    return [match[1] for match in sorted(found, key=lambda match: int(match[2]))]


def _flag(values: Mapping[str, str], key: str, path: str, usual: str = "false") -> bool:
    """Raises InvalidInput for what is neither yes nor no."""
    value = values.get(key, usual).strip().lower()
    if value not in vmx_concerns.TRUE + vmx_concerns.FALSE:
        raise InvalidInput(f"{path} says {value[:40]!r} for {key[:80]}.", "Write TRUE or FALSE in a copy of the VM.", path=path)
    return value in vmx_concerns.TRUE
