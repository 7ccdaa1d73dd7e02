# SPDX-License-Identifier: GPL-3.0-or-later
"""What a .vmx says of its VM and a migration does not take with it: every device that is said to be present and is no disk, card or controller of them.

Source: VMware's vSphere documentation of raw devices, SR-IOV, virtual TPMs, disk modes and multi-writer disks; keys as VMware's products write them.
"""

from __future__ import annotations

import re
from typing import Iterator, Mapping

from ..core import vmware
from ..core.concern import WARNING, Concern
from . import unused

TRUE, FALSE = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0", "")
# Disks, cards and the controllers of disks are the reader's; bridges, timers and the channel to the host are what every machine has in its own way.
_USED = re.compile(
    r"(scsi|sata|nvme|ide)[0-9]+|ethernet[0-9]{1,4}|pcibridge[0-9]+|vmci[0-9]*|hpet[0-9]*|svga|vsock|monitor|gui|tools|precisionclock[0-9]*"
)
_UNITS = re.compile(r"(scsi|sata|nvme|ide)[0-9]+:[0-9]+")
_DRIVE = re.compile(r"cd-?rom|dvd|floppy")
_FLOPPY = re.compile(r"floppy[0-9]+")
_PASSED = re.compile(r"pcipassthru[0-9]{1,4}")
_USB = re.compile(r"usb(_xhci)?\.autoconnect\.device[0-9]+")
_CONTROLLER = re.compile(r"(scsi|nvme)[0-9]+")
_TRIED = re.compile(r"hdd|ethernet")


def is_card(values: Mapping[str, str], device: str) -> bool:
    """Whether a passed-through device is a function of a network card (SR-IOV), which VMware gives a MAC and a network."""
    return values.get(f"{device}.virtualdev", "").strip().lower() == "sriov" or any(
        values.get(f"{device}.{key}", "").strip() for key in ("networkname", "macaddress", "generatedmacaddress")
    )


def of(values: Mapping[str, str], name: str) -> Iterator[Concern]:
    """All that is neither used nor refused."""
    present = _present(values)
    passed = [device for device in present if _PASSED.fullmatch(device)]
    drives = [device for device in present if _FLOPPY.fullmatch(device) or (_UNITS.fullmatch(device) and _is_drive(values, device))]
    known, cards = {*passed, *drives, "vtpm"}, {device for device in passed if is_card(values, device)}
    yield from unused.media(name, drives)
    usb = [f"USB {value}" for key, value in values.items() if _USB.fullmatch(key) and value.strip()]
    yield from unused.passthrough(name, [*(device for device in passed if device not in cards), *usb])
    yield from unused.sriov(name, [device for device in passed if device in cards])
    yield from unused.vtpm(name, "vtpm" in present)
    others = [device for device in present if device not in known and not _USED.fullmatch(device) and not _UNITS.fullmatch(device)]
    yield from unused.devices(name, others)
    yield from unused.disconnected(
        name, [device for device in present if device.startswith("ethernet") and _says_no(values, f"{device}.startconnected")]
    )
    yield from unused.settings(name, [key for key, value in values.items() if vmware.is_setting(key, value)])
    tried = _TRIED.search(values.get("bios.bootorder", "").lower())
    yield from unused.from_network(name, tried is not None and tried[0] == "ethernet")
    yield from _disks(values, name, [device for device in present if _UNITS.fullmatch(device) and device not in known])
    if any(key.startswith("encryption.") for key in values):
        yield Concern(
            "source.encrypted-settings",
            WARNING,
            f"A part of the description of {name} is encrypted, and is not read; its disks are not.",
            "Look in VMware whether the VM has hardware beside what is found. The virtual TPM, which such a VM often has, is not migrated.",
        )


def _present(values: Mapping[str, str]) -> list[str]:
    """What is said to be there, and what has a file and is not said to be absent."""
    told = {key.rpartition(".")[0]: value for key, value in values.items() if key.endswith((".present", ".filename")) and value.strip()}
    return [device for device in told if values.get(f"{device}.present", "true").strip().lower() in TRUE]


def _is_drive(values: Mapping[str, str], device: str) -> bool:
    kind, file = values.get(f"{device}.devicetype", "").lower(), values.get(f"{device}.filename", "").lower()
    return _DRIVE.search(kind) is not None or not file.endswith(".vmdk")


def _disks(values: Mapping[str, str], name: str, disks: list[str]) -> Iterator[Concern]:
    reverts = values.get("snapshot.action", "").strip().lower() == "autorevert"
    modes = {disk: values.get(f"{disk}.mode", "").strip().lower() for disk in disks}
    yield from unused.forgetful(
        name,
        [disk for disk, mode in modes.items() if vmware.forgets(mode) or (reverts and not mode.startswith("independent"))],
        "nonpersistent, undoable, append or autoRevert",
    )
    shared = [disk for disk in disks if values.get(f"{disk}.sharing", "").strip().lower() == "multi-writer"]
    buses = [
        key[: -len(".sharedbus")]
        for key, value in values.items()
        if key.endswith(".sharedbus") and value.strip().lower() not in ("none", "") and _CONTROLLER.fullmatch(key[: -len(".sharedbus")])
    ]
    yield from unused.shared(name, [*shared, *(f"all of {bus}" for bus in buses)])


def _says_no(values: Mapping[str, str], key: str) -> bool:
    return key in values and values[key].strip().lower() in FALSE
