# SPDX-License-Identifier: GPL-3.0-or-later
"""From a VM's properties, as plain data, to our own record of it. Source: vSphere Web Services API reference, VirtualMachineConfigInfo."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core import macs
from ..core.machine import Disk, Nic
from ..core.numbers import decimal
from .model import Snapshot, Vm, VmDisk, VmNic
from .serialize import Plain

# What is asked for of each VM; nothing else crosses the wire.
PROPERTIES = (
    "name",
    "parent",
    "datastore",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "runtime.consolidationNeeded",
    "runtime.faultToleranceState",
    "config.template",
    "config.uuid",
    "config.files.vmPathName",
    "config.instanceUuid",
    "config.guestId",
    "config.guestFullName",
    "config.version",
    "config.firmware",
    "config.bootOptions",
    "config.hardware.numCPU",
    "config.hardware.numCoresPerSocket",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "config.changeTrackingEnabled",
    "config.extraConfig",
    "config.cpuAffinity",
    "config.memoryAffinity",
    "config.tools.syncTimeWithHost",
    "config.cpuHotAddEnabled",
    "config.memoryHotAddEnabled",
    "config.memoryReservationLockedToMax",
    "config.keyId",
    "capability.changeTrackingSupported",
    "guest.toolsRunningStatus",
    "guest.hostName",
    "guest.ipAddress",
    "guest.net",
    "guest.disk",
    "snapshot",
    "summary.storage",
)

_SCSI = ("ParaVirtualSCSIController", "VirtualLsiLogicController", "VirtualLsiLogicSASController", "VirtualBusLogicController")
_BUSES = {**dict.fromkeys(_SCSI, "scsi"), "VirtualNVMEController": "nvme", "VirtualAHCIController": "sata", "VirtualIDEController": "ide"}
_NIC = re.compile(r"^Virtual(E1000e|E1000|PCNet32|Vmxnet3|Vmxnet2|Vmxnet|SriovEthernetCard)(?:Card)?$")
_BACKING = re.compile(r"^VirtualDisk(.+?)BackingInfo$")
_RDM = {"physicalMode": "physical", "virtualMode": "virtual"}
_ORDINARY = re.compile(
    r"^Virtual(IDE|PS2|PCI|SIO|AHCI|NVME|VMCI|Keyboard|Pointing|VMIROM|Machine|VideoCard|LsiLogic|BusLogic)|^ParaVirtual"
)


def record(vm_id: str, properties: Mapping[str, Plain], path: str = "", datacenter: str = "", host: str = "", cluster: str = "") -> Vm:
    """The record of a VM from its PROPERTIES; `path` and names come from the inventory around it."""
    get = properties.get
    devices: Sequence[Mapping[str, Any]] = get("config.hardware.device") or ()
    extra = {str(item["key"]).lower(): str(item.get("value", "")) for item in get("config.extraConfig") or () if "key" in item}
    slots = {key: slot for key, value in extra.items() if key.endswith(".pcislotnumber") and (slot := decimal(value)) is not None}
    disks = tuple(_disks(devices))
    return Vm(
        id=vm_id,
        name=_unescaped(get("name") or ""),
        path=path,
        datacenter=datacenter,
        folder=path.rpartition("/")[0],
        host=host,
        cluster=cluster,
        power={"poweredOn": "on", "poweredOff": "off", "suspended": "suspended"}.get(get("runtime.powerState") or "", "unknown"),
        connection=get("runtime.connectionState") or "connected",
        template=bool(get("config.template")),
        uuid=get("config.uuid") or "",
        files=get("config.files.vmPathName") or "",
        instance_uuid=get("config.instanceUuid") or "",
        guest_id=get("config.guestId") or "",
        guest_name=get("config.guestFullName") or "",
        hardware_version=decimal((get("config.version") or "").rpartition("-")[2]) or 0,
        cpus=get("config.hardware.numCPU"),
        cores_per_socket=get("config.hardware.numCoresPerSocket"),
        memory=get("config.hardware.memoryMB"),
        firmware="uefi" if get("config.firmware") == "efi" else "bios",
        secure_boot=bool((get("config.bootOptions") or {}).get("efiSecureBootEnabled")),
        boot_order=tuple(
            device["deviceKey"] for device in (get("config.bootOptions") or {}).get("bootOrder") or () if "deviceKey" in device
        ),
        vtpm=any(device["_type"] == "VirtualTPM" for device in devices),
        encrypted=bool(get("config.keyId")),
        disks=disks,
        nics=tuple(_nics(devices, slots)),
        snapshots=tuple(_snapshots(get("snapshot") or {})),
        cbt=bool(get("config.changeTrackingEnabled")),
        cbt_supported=bool(get("capability.changeTrackingSupported")),
        consolidation_needed=bool(get("runtime.consolidationNeeded")),
        fault_tolerance=get("runtime.faultToleranceState") not in (None, "notConfigured"),
        tools={"guestToolsRunning": "running", "guestToolsNotRunning": "stopped"}.get(get("guest.toolsRunningStatus") or "", ""),
        guest_hostname=get("guest.hostName") or "",
        addresses=tuple(_addresses(get("guest.net") or (), get("guest.ipAddress"))),
        guest_free={
            str(disk["diskPath"]): int(disk["freeSpace"]) for disk in get("guest.disk") or () if "freeSpace" in disk and "diskPath" in disk
        },
        committed=int((get("summary.storage") or {}).get("committed", 0)),
        others=tuple(sorted({device["_type"] for device in devices if _other(device["_type"])})),
        media=tuple(_media(devices)),
        cpu_affinity=bool((get("config.cpuAffinity") or {}).get("affinitySet")),
        numa_affinity=bool((get("config.memoryAffinity") or {}).get("affinitySet") or extra.get("numa.nodeaffinity")),
        host_clock=bool(get("config.tools.syncTimeWithHost")),
        memory_reservation_locked=bool(get("config.memoryReservationLockedToMax")),
        cpu_hot_add=bool(get("config.cpuHotAddEnabled")),
        memory_hot_add=bool(get("config.memoryHotAddEnabled")),
        disk_uuid_enabled=extra.get("disk.enableuuid", "").lower() in ("true", "1"),
    )


def with_disks_of(vm: Vm, devices: Sequence[Mapping[str, Any]]) -> Vm:
    """The VM with the disks of a snapshot's configuration: what is frozen, in place of what is being written."""
    return replace(vm, disks=tuple(_disks(devices)))


def _disks(devices: Sequence[Mapping[str, Any]]) -> Iterator[VmDisk]:
    by_key = {device["key"]: device for device in devices if "key" in device}
    for device in devices:
        if device["_type"] != "VirtualDisk":
            continue
        controller = by_key.get(device.get("controllerKey", -1), {})
        backing = device.get("backing") or {}
        kind = _BACKING.match(backing.get("_type", ""))
        capacity = device.get("capacityInBytes") or device.get("capacityInKB", 0) * 1024
        yield VmDisk(
            key=device["key"],
            label=(device.get("deviceInfo") or {}).get("label", ""),
            place=Disk(_BUSES.get(controller.get("_type", "")), controller.get("busNumber"), device.get("unitNumber")),
            capacity=int(capacity),
            backing=kind[1] if kind else backing.get("_type", ""),
            files=tuple(_chain(backing)),
            mode=backing.get("diskMode", "persistent"),
            sharing=backing.get("sharing", ""),
            rdm=_RDM.get(backing.get("compatibilityMode", ""), ""),
            thin=bool(backing.get("thinProvisioned")),
            encrypted="keyId" in backing,
            uuid=backing.get("uuid", ""),
            change_id=backing.get("changeId", ""),
            bus_sharing=controller.get("sharedBus", "noSharing"),
        )


def _chain(backing: Optional[Mapping[str, Any]]) -> Iterator[str]:
    while backing:
        if backing.get("fileName"):
            yield backing["fileName"]
        backing = backing.get("parent")


def _nics(devices: Sequence[Mapping[str, Any]], slots: Mapping[str, int]) -> Iterator[VmNic]:
    nics = [device for device in devices if _NIC.match(device["_type"])]
    # ethernetN counts NICs by their key, 4000 for the first.
    for device in sorted(nics, key=lambda device: device["key"]):
        backing = device.get("backing") or {}
        match = _NIC.match(device["_type"])
        yield VmNic(
            key=device["key"],
            label=(device.get("deviceInfo") or {}).get("label", ""),
            nic=Nic(
                mac=macs.of_nic(str(device.get("macAddress", ""))),
                network=backing.get("deviceName") or (backing.get("port") or {}).get("portgroupKey", ""),
                model=match[1].lower().replace("ethernetcard", "") if match else "",
                slot=(device.get("slotInfo") or {}).get("pciSlotNumber") or slots.get(f"ethernet{device['key'] - 4000}.pcislotnumber"),
            ),
            connected=bool((device.get("connectable") or {}).get("connected", True)),
        )


def _snapshots(info: Mapping[str, Any]) -> Iterator[Snapshot]:
    def walk(trees: Sequence[Mapping[str, Any]], above: str) -> Iterator[Snapshot]:
        for tree in trees:
            path = f"{above}{tree['name']}"
            current = tree["snapshot"] == info.get("currentSnapshot")
            yield Snapshot(tree["snapshot"], tree["name"], path, tree.get("createTime", ""), bool(tree.get("quiesced")), current)
            yield from walk(tree.get("childSnapshotList") or (), f"{path}/")

    yield from walk(info.get("rootSnapshotList") or (), "")


def _addresses(nics: Sequence[Mapping[str, Any]], first: Optional[str]) -> list[str]:
    found = [first] if first else []
    for nic in nics:
        found += nic.get("ipAddress") or ()
    return list(dict.fromkeys(found))


def _media(devices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for device in devices:
        if device["_type"] in ("VirtualCdrom", "VirtualFloppy") and (device.get("connectable") or {}).get("connected"):
            yield (device.get("backing") or {}).get("fileName") or (device.get("deviceInfo") or {}).get("label", device["_type"])


def _other(kind: str) -> bool:
    """Devices that do not come along by themselves."""
    return kind not in ("VirtualDisk", "VirtualCdrom", "VirtualFloppy", "VirtualTPM") and not _NIC.match(kind) and not _ORDINARY.match(kind)


def _unescaped(name: str) -> str:
    """Names of the inventory escape "/", "\\" and "%" as %2f, %5c and %25 (API reference, ManagedEntity.name)."""
    return re.sub("%(2f|5c|25)", lambda match: chr(int(match[1], 16)), name, flags=re.IGNORECASE)
