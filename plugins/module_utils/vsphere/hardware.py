# SPDX-License-Identifier: GPL-3.0-or-later
"""From a VM's properties, as plain data, to our own record of it. Source: vSphere Web Services API reference, VirtualMachineConfigInfo."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core import macs, vmware
from ..core.machine import Disk, Nic
from ..core.numbers import decimal
from .model import DRIVES, Snapshot, Vm, VmDevice, VmDisk, VmNic
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
    "config.vAppConfig",
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
_NIC = re.compile(r"^Virtual(E1000e|E1000|PCNet32|Vmxnet3|Vmxnet2|Vmxnet|Sriov)(?:EthernetCard|Vrdma)?$")
_BACKING = re.compile(r"^VirtualDisk(.+?)BackingInfo$")
_RDM = {"physicalMode": "physical", "virtualMode": "virtual"}
# What every machine has anew: buses, and what the firmware and a console need. A name is whole: VirtualPCIPassthrough is no bus.
_ORDINARY = frozenset((
    "VirtualIDEController", "VirtualPS2Controller", "VirtualPCIController", "VirtualSIOController", "VirtualAHCIController", "VirtualNVMEController",
    "VirtualNVDIMMController", "VirtualMachineVMCIDevice", "VirtualVMCIDevice", "VirtualKeyboard", "VirtualPointingDevice", "VirtualVMIROM",
    "VirtualMachineVideoCard", "VirtualVideoCard", *_SCSI,
))  # fmt: skip
_BACKED_BY = ("vgpu", "fileName", "deviceName", "serviceURI", "proxyURI", "pipeName", "hostname", "id", "groupId")
_POWER = {"poweredOn": "on", "poweredOff": "off", "suspended": "suspended"}
_TOOLS = {"guestToolsRunning": "running", "guestToolsNotRunning": "stopped"}


def record(vm_id: str, properties: Mapping[str, Plain], path: str = "", datacenter: str = "", host: str = "", cluster: str = "") -> Vm:
    """The record of a VM from its PROPERTIES; `path` and names come from the inventory around it."""
    get = properties.get
    devices: Sequence[Mapping[str, Any]] = get("config.hardware.device") or ()
    extra = {str(item["key"]).lower(): str(item.get("value", "")) for item in get("config.extraConfig") or () if "key" in item}
    slots = {key: slot for key, value in extra.items() if key.endswith(".pcislotnumber") and (slot := decimal(value)) is not None}
    boots = get("config.bootOptions") or {}
    return Vm(
        id=vm_id,
        name=_unescaped(get("name") or ""),
        path=path,
        datacenter=datacenter,
        folder=path.rpartition("/")[0],
        host=host,
        cluster=cluster,
        power=_POWER.get(get("runtime.powerState") or "", "unknown"),
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
        secure_boot=bool(boots.get("efiSecureBootEnabled")),
        boot_order=tuple(device["deviceKey"] for device in boots.get("bootOrder") or () if "deviceKey" in device),
        boots=tuple(_boots(boots)),
        vtpm=any(device["_type"] == "VirtualTPM" for device in devices),
        encrypted=bool(get("config.keyId")),
        disks=tuple(_disks(devices)),
        nics=tuple(_nics(devices, slots)),
        snapshots=tuple(_snapshots(get("snapshot") or {})),
        cbt=bool(get("config.changeTrackingEnabled")),
        cbt_supported=bool(get("capability.changeTrackingSupported")),
        consolidation_needed=bool(get("runtime.consolidationNeeded")),
        fault_tolerance=get("runtime.faultToleranceState") not in (None, "notConfigured"),
        tools=_TOOLS.get(get("guest.toolsRunningStatus") or "", ""),
        guest_hostname=get("guest.hostName") or "",
        addresses=tuple(_addresses(get("guest.net") or (), get("guest.ipAddress"))),
        guest_free={
            str(disk["diskPath"]): int(disk["freeSpace"]) for disk in get("guest.disk") or () if "freeSpace" in disk and "diskPath" in disk
        },
        committed=int((get("summary.storage") or {}).get("committed", 0)),
        devices=tuple(map(_device, filter(_other, devices))),
        media=tuple(_media(devices)),
        settings=tuple(_settings(extra, get("config.vAppConfig") or {})),
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
            label=_label(device),
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
            sectors=device.get("virtualDiskFormat", ""),
        )


def _chain(backing: Optional[Mapping[str, Any]]) -> Iterator[str]:
    while backing:
        if backing.get("fileName"):
            yield backing["fileName"]
        backing = backing.get("parent")


def _is_nic(device: Mapping[str, Any]) -> bool:
    """Whether it is a card, of whatever type: only cards have a MAC."""
    return _NIC.match(device["_type"]) is not None or "macAddress" in device


def _nics(devices: Sequence[Mapping[str, Any]], slots: Mapping[str, int]) -> Iterator[VmNic]:
    # ethernetN counts NICs by their key, 4000 for the first.
    for device in sorted(filter(_is_nic, devices), key=lambda device: device["key"]):
        backing, connection = device.get("backing") or {}, device.get("connectable") or {}
        match = _NIC.match(device["_type"])
        yield VmNic(
            key=device["key"],
            label=_label(device),
            nic=Nic(
                mac=macs.of_nic(str(device.get("macAddress", ""))),
                network=backing.get("deviceName") or (backing.get("port") or {}).get("portgroupKey") or backing.get("opaqueNetworkId", ""),
                model=(match[1] if match else device["_type"].removeprefix("Virtual")).lower(),
                slot=(device.get("slotInfo") or {}).get("pciSlotNumber") or slots.get(f"ethernet{device['key'] - 4000}.pcislotnumber"),
            ),
            connected=bool(connection.get("connected", True)),
            starts=bool(connection.get("startConnected", True)),
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
    """What is in drives. Of a VM that is off none is connected, so that counts which one would be."""
    for device in devices:
        connection = device.get("connectable") or {}
        if device["_type"] in DRIVES and (connection.get("connected") or connection.get("startConnected")):
            yield (device.get("backing") or {}).get("fileName") or _label(device) or device["_type"]


def _device(device: Mapping[str, Any]) -> VmDevice:
    backing = device.get("backing") or {}
    behind = next((str(backing[key]) for key in _BACKED_BY if backing.get(key)), "")
    return VmDevice(device["_type"], _label(device), behind)


def _label(device: Mapping[str, Any]) -> str:
    return str((device.get("deviceInfo") or {}).get("label", ""))


def _boots(options: Mapping[str, Any]) -> Iterator[str]:
    """disk, ethernet, cdrom, floppy. Source: VirtualMachineBootOptionsBootableDevice and its kinds."""
    for device in options.get("bootOrder") or ():
        kind = re.search(r"Bootable([A-Za-z]+)Device$", device.get("_type", ""))
        if kind is not None:
            yield kind[1].lower()


def _settings(extra: Mapping[str, str], vapp: Mapping[str, Any]) -> Iterator[str]:
    """Where a guest finds settings that vSphere gives it: keys of its configuration, and the environment of an OVF (VmConfigInfo)."""
    yield from (key for key, value in extra.items() if vmware.is_setting(key, value))
    if vapp.get("property") and vapp.get("ovfEnvironmentTransport"):
        yield f"OVF environment ({', '.join(map(str, vapp['ovfEnvironmentTransport']))})"


def _other(device: Mapping[str, Any]) -> bool:
    """A device that does not come along by itself."""
    return device["_type"] not in ("VirtualDisk", "VirtualTPM") and not _is_nic(device) and device["_type"] not in _ORDINARY


def _unescaped(name: str) -> str:
    """Names of the inventory escape "/", "\\" and "%" as %2f, %5c and %25 (API reference, ManagedEntity.name)."""
    return re.sub("%(2f|5c|25)", lambda match: chr(int(match[1], 16)), name, flags=re.IGNORECASE)
