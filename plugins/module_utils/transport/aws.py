# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs, images and volumes of AWS: what they are, and snapshots of them at one moment.

Source: EC2 API Reference, DescribeInstances, DescribeImages, DescribeSnapshots and CreateSnapshots.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core import macs, names
from ..core.concern import BLOCKER, WARNING, Concern
from ..core.errors import InvalidInput, MigrationError, ToolFailed
from ..core.machine import Nic
from ..disk import unused
from .aws_api import asked, client
from .cloud import PREFIX, TAG, Disk, Snapshot, Vm, new_name, usable
from .download import Job
from .ebs import readable
from .files import Files

_INSTANCE = re.compile(r"^i-[0-9a-f]{8,17}$")
_IMAGE = re.compile(r"^ami-[0-9a-f]{8,17}$")
_SNAPSHOT = re.compile(r"^snap-[0-9a-f]{8,17}$")
_STOPPED = re.compile(r"\((\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)")
_LETTERED = re.compile(r"^/dev/(?:sd|xvd)([a-z]{1,2})\d*$")
_COMPLETE = 2 * 24 * 3600.0  # seconds; the first snapshot of a volume copies all of it
_POLL = 10.0


@dataclass(frozen=True)
class Aws:
    """See Cloud. An instance by its id, or by its Name tag; or an image or a snapshot by its id, which are read as they are, and stay."""

    region: str
    name: str
    consistent: bool = True

    def find(self) -> Vm:
        ec2 = client(self.region, "ec2")
        if _IMAGE.match(self.name):
            return _of_image(ec2, asked(lambda: ec2.describe_images(ImageIds=[self.name]))["Images"][0])
        if _SNAPSHOT.match(self.name):
            snapshot = _snapshots(ec2, [self.name])[self.name]
            return Vm(self.name, _name(snapshot, self.name), "off", (Disk(self.name, self.name, snapshot["VolumeSize"] << 30),))
        wanted = {"InstanceIds": [self.name]} if _INSTANCE.match(self.name) else {"Filters": [{"Name": "tag:Name", "Values": [self.name]}]}
        answer = asked(partial(ec2.describe_instances, **wanted))
        found = [
            one
            for group in answer["Reservations"]
            for one in group["Instances"]
            if one["State"]["Name"] not in ("terminated", "shutting-down")
        ]
        if len(found) != 1:
            listed = ", ".join(one["InstanceId"] for one in found)
            raise InvalidInput(
                f"{self.region} has {len(found) or 'no'} instances {self.name}.", f"Name one by its id; there is {listed or 'none'}."
            )
        return self._described(ec2, found[0])

    def _described(self, ec2: Any, data: Mapping[str, Any]) -> Vm:
        name = _name(data, data["InstanceId"])
        order = _mapped(name, data, "VolumeId")
        volumes = {one["VolumeId"]: one for one in asked(lambda: ec2.describe_volumes(VolumeIds=[id_ for dummy, id_ in order]))["Volumes"]}
        types = asked(lambda: ec2.describe_instance_types(InstanceTypes=[data["InstanceType"]]))["InstanceTypes"]
        size = types[0] if types else {}
        match = _STOPPED.search(data.get("StateTransitionReason", ""))
        since = f"{match[1]}T{match[2]}" if match is not None else ""
        nics = sorted(data.get("NetworkInterfaces", ()), key=lambda one: one.get("Attachment", {}).get("DeviceIndex", 0))
        return Vm(
            data["InstanceId"],
            name,
            "off" if data["State"]["Name"] == "stopped" else "on",
            tuple(_disk(volumes[id_], device, number or None, since) for number, (device, id_) in enumerate(order)),
            tuple(Nic(macs.of_nic(nic.get("MacAddress", ""))) for nic in nics),
            size.get("VCpuInfo", {}).get("DefaultVCpus"),
            size.get("MemoryInfo", {}).get("SizeInMiB"),
            "uefi" if (data.get("CurrentInstanceBootMode") or data.get("BootMode") or "").startswith("uefi") else None,
            windows=data.get("Platform", "").lower() == "windows",
            told=(*_told(name, data), *_of_hardware(name, size, list(volumes.values()))),
        )

    def stop(self, vm: Vm, timeout: float) -> None:
        ec2, deadline = client(self.region, "ec2"), time.monotonic() + timeout
        asked(lambda: ec2.stop_instances(InstanceIds=[vm.id]))
        while self.find().power != "off":
            if time.monotonic() > deadline:
                raise ToolFailed(f"{vm.name} did not stop in {timeout:.0f} seconds.", "Stop it by hand, then run again.", vm=vm.name)
            time.sleep(_POLL)

    def start(self, vm: Vm) -> None:
        asked(lambda: client(self.region, "ec2").start_instances(InstanceIds=[vm.id]))

    def snapshots(self, vm: Vm) -> tuple[Snapshot, ...]:
        ec2 = client(self.region, "ec2")
        pages = ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=[{"Name": f"tag:{TAG}", "Values": [vm.id]}])
        found = asked(lambda: [one for page in pages for one in page["Snapshots"]])
        return tuple(
            Snapshot(one["SnapshotId"], one["Description"], one["VolumeId"], one["StartTime"].strftime("%Y-%m-%dT%H:%M:%S"))
            for one in found
            if one["Description"].startswith(PREFIX)
        )

    def remove(self, vm: Vm, snapshot: Snapshot) -> None:
        asked(lambda: client(self.region, "ec2").delete_snapshot(SnapshotId=snapshot.id))

    @contextlib.contextmanager
    def exported(self, vm: Vm, left: Sequence[Snapshot]) -> Iterator[Sequence[tuple[Files, Job]]]:
        if all(_SNAPSHOT.match(disk.id) for disk in vm.disks):
            with self._opened(vm, {disk.id: disk.id for disk in vm.disks}) as disks:
                yield disks
            return
        taken = [one for one in (usable(vm, disk, left) for disk in vm.disks) if one is not None]
        if len(taken) < len(vm.disks):
            taken = self._frozen(vm)
        try:
            with self._opened(vm, {one.disk: one.id for one in taken}) as disks:
                yield disks
        except BaseException:
            for snapshot in taken if vm.power != "off" else ():
                with contextlib.suppress(MigrationError):
                    self.remove(vm, snapshot)
            raise
        for snapshot in taken:
            self.remove(vm, snapshot)

    @contextlib.contextmanager
    def _opened(self, vm: Vm, snapshots: Mapping[str, str]) -> Iterator[Sequence[tuple[Files, Job]]]:
        """The snapshots, by disk, once they are complete."""
        self._await(list(snapshots.values()))
        with contextlib.ExitStack() as stack:
            yield [readable(self.region, snapshots[disk.id], f"{names.safe(disk.name)}.raw", stack) for disk in vm.disks]

    def _frozen(self, vm: Vm) -> list[Snapshot]:
        """Snapshots of all disks, of one moment."""
        ec2, name = client(self.region, "ec2"), new_name(vm, vm.disks[0])
        tags = [{"ResourceType": "snapshot", "Tags": [{"Key": TAG, "Value": vm.id}, {"Key": "Name", "Value": name}]}]
        made = asked(lambda: ec2.create_snapshots(InstanceSpecification={"InstanceId": vm.id}, Description=name, TagSpecifications=tags))[
            "Snapshots"
        ]
        return [Snapshot(one["SnapshotId"], name, one["VolumeId"], "") for one in made]

    def _await(self, snapshots: Sequence[str]) -> None:
        ec2, deadline = client(self.region, "ec2"), time.monotonic() + _COMPLETE
        while True:
            states = {id_: one["State"] for id_, one in _snapshots(ec2, snapshots).items()}
            failed = [id_ for id_, state in states.items() if state == "error"]
            if failed or time.monotonic() > deadline:
                raise ToolFailed(
                    f"The snapshots {', '.join(failed or snapshots)} were not created.",
                    "Check them in AWS, then run again.",
                )
            if all(state == "completed" for state in states.values()):
                return
            time.sleep(_POLL)


def _disk(volume: Mapping[str, Any], device: str, unit: Optional[int], since: str) -> Disk:
    attached = [one["AttachTime"].strftime("%Y-%m-%dT%H:%M:%S") for one in volume.get("Attachments", ())]
    id_, taken = volume["VolumeId"], max([since, *attached]) if since else ""
    serial = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{id_.replace('-', '')}"
    return Disk(id_, id_, volume["Size"] << 30, unit, taken, (serial, *_letters(device)))


def _letters(device: str) -> tuple[str, ...]:
    """What a guest calls a disk that AWS calls /dev/sdf: so with Amazon's own udev rules, or as Xen's drivers do."""
    match = _LETTERED.match(device)
    return () if match is None else (f"/dev/sd{match[1]}", f"/dev/xvd{match[1]}")


def _of_image(ec2: Any, data: Mapping[str, Any]) -> Vm:
    """What would start from an image: disks, of which the snapshots are there already, and no NICs. It may want larger volumes than these are."""
    name = _name(data, data.get("Name") or data["ImageId"])
    order = _mapped(name, data, "SnapshotId")
    snapshots = _snapshots(ec2, [id_ for dummy, id_ in order])
    return Vm(
        data["ImageId"],
        name,
        "off",
        tuple(
            Disk(id_, id_, snapshots[id_]["VolumeSize"] << 30, number or None, names=_letters(device))
            for number, (device, id_) in enumerate(order)
        ),
        firmware="uefi" if data.get("BootMode") == "uefi" else None,
        windows=data.get("Platform", "").lower() == "windows",
        told=_told(name, data),
    )


def _mapped(name: str, data: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """(device, id) of the volumes or snapshots on EBS, the system's first. Raises InvalidInput when that is not on EBS."""
    system = data.get("RootDeviceName")
    found = [(one["DeviceName"], one["Ebs"][kind]) for one in data.get("BlockDeviceMappings", ()) if one.get("Ebs", {}).get(kind)]
    if system not in dict(found):
        raise InvalidInput(
            f"{name} starts from the host's own storage, which cannot be snapshotted.", "Make an image of it on EBS first.", vm=name
        )
    return sorted(found, key=lambda one: (one[0] != system, one[0]))


def _snapshots(ec2: Any, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    return {one["SnapshotId"]: one for one in asked(lambda: ec2.describe_snapshots(SnapshotIds=list(ids)))["Snapshots"]}


def _name(data: Mapping[str, Any], otherwise: str) -> str:
    name = next((tag["Value"] for tag in data.get("Tags", ()) if tag["Key"] == "Name"), otherwise)
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)


def _told(name: str, data: Mapping[str, Any]) -> tuple[Concern, ...]:
    """What an instance or an image says of itself. Source: EC2 API Reference, Instance and Image; BlockDeviceMapping.VirtualName."""
    local = [one["VirtualName"] for one in data.get("BlockDeviceMappings", ()) if one.get("VirtualName", "").startswith("ephemeral")]
    found = (*unused.vtpm(name, bool(data.get("TpmSupport"))), *unused.devices(name, [f"instance store {one}" for one in local], WARNING))
    architecture = data.get("Architecture") or "x86_64"
    if architecture.startswith(("x86_64", "i386")):
        return found
    cause = f"{name} is built for {architecture}, and does not run on x86-64."
    return (Concern("aws.architecture", BLOCKER, cause, "Install the system anew for the target."), *found)


def _of_hardware(name: str, size: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]) -> Iterator[Concern]:
    """What comes with the type of an instance, and volumes of several instances. Source: EC2 API Reference, InstanceTypeInfo and Volume."""
    gigabytes = size.get("InstanceStorageInfo", {}).get("TotalSizeInGB")
    yield from unused.devices(name, [f"instance store of {gigabytes} GB"] if gigabytes else (), WARNING)
    yield from unused.passthrough(name, [f"{one.get('Manufacturer', '')} {one.get('Name', '')}".strip() for one in _accelerators(size)])
    yield from unused.shared(name, [str(volume["VolumeId"]) for volume in volumes if volume.get("MultiAttachEnabled")])


def _accelerators(size: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind, several in (
        ("GpuInfo", "Gpus"),
        ("FpgaInfo", "Fpgas"),
        ("InferenceAcceleratorInfo", "Accelerators"),
        ("NeuronInfo", "NeuronDevices"),
    ):
        yield from size.get(kind, {}).get(several, ())
