# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs and volumes of AWS: what they are, snapshots of them at one moment, and the blocks of these that hold data.

The login is found as every program of AWS finds it (environment, profile, role of the machine).
Sources: EC2 API Reference, DescribeInstances and CreateSnapshots; EBS direct APIs, ListSnapshotBlocks and GetSnapshotBlock.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import functools
import hashlib
import re
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, TypeVar

from ..core.errors import AccessDenied, InvalidInput, MigrationError, MissingTool, ToolFailed
from ..guest.model import BLOCKER, Concern
from .cloud import PREFIX, TAG, Disk, Snapshot, Vm, new_name, usable
from .download import Job, joined
from .files import MIB, Areas, Files, Interrupted, RemoteFile, patiently

BOTO3_ERROR: Optional[str] = None
try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, PartialCredentialsError
except ImportError:
    BOTO3_ERROR = traceback.format_exc()

_INSTANCE = re.compile(r"^i-[0-9a-f]{8,17}$")
_STOPPED = re.compile(r"\((\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)")
_AT_ONCE = 8  # blocks of one stream on their way: an answer has 512 KiB and takes tens of milliseconds
_COMPLETE = 2 * 24 * 3600.0  # seconds; the first snapshot of a volume copies all of it
_POLL = 10.0
_PASSING = (
    "RequestThrottled",
    "Throttling",
    "InternalServer",
    "ServiceUnavailable",
    "InternalError",
    "RequestLimitExceeded",
    "RequestTimeout",
)
_LOGIN = ("ExpiredToken", "InvalidClientTokenId", "AuthFailure", "UnrecognizedClient", "SignatureDoesNotMatch", "InvalidAccessKeyId")
_DENIED = ("AccessDenied", "UnauthorizedOperation")

T = TypeVar("T")


@dataclass(frozen=True)
class Aws:
    """See Cloud. An instance by its id, or by its Name tag."""

    region: str
    name: str
    consistent: bool = True

    def find(self) -> Vm:
        ec2 = _client(self.region, "ec2")
        wanted = {"InstanceIds": [self.name]} if _INSTANCE.match(self.name) else {"Filters": [{"Name": "tag:Name", "Values": [self.name]}]}
        answer = _asked(lambda: ec2.describe_instances(**wanted))
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
        name = next((tag["Value"] for tag in data.get("Tags", ()) if tag["Key"] == "Name"), data["InstanceId"])
        attached = [(one["DeviceName"], one["Ebs"]["VolumeId"]) for one in data.get("BlockDeviceMappings", ()) if "Ebs" in one]
        system = data.get("RootDeviceName")
        if system not in dict(attached):
            raise InvalidInput(
                f"{name} starts from the host's own storage, of which there are no snapshots.", "Make an image of it on EBS first.", vm=name
            )
        volumes = {
            one["VolumeId"]: one for one in _asked(lambda: ec2.describe_volumes(VolumeIds=[id_ for dummy, id_ in attached]))["Volumes"]
        }
        types = _asked(lambda: ec2.describe_instance_types(InstanceTypes=[data["InstanceType"]]))["InstanceTypes"]
        size = types[0] if types else {}
        match = _STOPPED.search(data.get("StateTransitionReason", ""))
        since = f"{match[1]}T{match[2]}" if match is not None else ""
        order = sorted(attached, key=lambda one: (one[0] != system, one[0]))
        cards = sorted(data.get("NetworkInterfaces", ()), key=lambda one: one.get("Attachment", {}).get("DeviceIndex", 0))
        architecture = data.get("Architecture", "x86_64")
        return Vm(
            data["InstanceId"],
            re.sub(r"[^A-Za-z0-9._-]", "-", name),
            "off" if data["State"]["Name"] == "stopped" else "on",
            tuple(_disk(volumes[id_], None if device == system else number, since) for number, (device, id_) in enumerate(order)),
            tuple(card["MacAddress"].lower() for card in cards),
            size.get("VCpuInfo", {}).get("DefaultVCpus"),
            size.get("MemoryInfo", {}).get("SizeInMiB"),
            "uefi" if (data.get("CurrentInstanceBootMode") or data.get("BootMode") or "").startswith("uefi") else None,
            windows=data.get("Platform", "").lower() == "windows",
            told=() if architecture.startswith(("x86_64", "i386")) else (_foreign(name, architecture),),
        )

    def stop(self, vm: Vm, timeout: float) -> None:
        ec2, deadline = _client(self.region, "ec2"), time.monotonic() + timeout
        _asked(lambda: ec2.stop_instances(InstanceIds=[vm.id]))
        while self.find().power != "off":
            if time.monotonic() > deadline:
                raise ToolFailed(f"{vm.name} did not stop in {timeout:.0f} seconds.", "Stop it by hand, then run again.", vm=vm.name)
            time.sleep(_POLL)

    def start(self, vm: Vm) -> None:
        _asked(lambda: _client(self.region, "ec2").start_instances(InstanceIds=[vm.id]))

    def snapshots(self, vm: Vm) -> tuple[Snapshot, ...]:
        ec2 = _client(self.region, "ec2")
        pages = ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=[{"Name": f"tag:{TAG}", "Values": [vm.id]}])
        found = _asked(lambda: [one for page in pages for one in page["Snapshots"]])
        return tuple(
            Snapshot(one["SnapshotId"], one["Description"], one["VolumeId"], one["StartTime"].strftime("%Y-%m-%dT%H:%M:%S"))
            for one in found
            if one["Description"].startswith(PREFIX)
        )

    def remove(self, vm: Vm, snapshot: Snapshot) -> None:
        _asked(lambda: _client(self.region, "ec2").delete_snapshot(SnapshotId=snapshot.id))

    @contextlib.contextmanager
    def exported(self, vm: Vm, left: Sequence[Snapshot]) -> Iterator[Sequence[tuple[Files, Job]]]:
        taken = [one for one in (usable(vm, disk, left) for disk in vm.disks) if one is not None]
        if len(taken) < len(vm.disks):
            taken = self._frozen(vm)
        try:
            self._await(taken)
            with contextlib.ExitStack() as stack:
                snapshots = {one.disk: one for one in taken}
                yield [self._readable(disk, snapshots[disk.id], stack) for disk in vm.disks]
        except BaseException:
            for snapshot in taken if vm.power != "off" else ():
                with contextlib.suppress(MigrationError):
                    self.remove(vm, snapshot)
            raise
        for snapshot in taken:
            self.remove(vm, snapshot)

    def _frozen(self, vm: Vm) -> list[Snapshot]:
        """Snapshots of all disks, of one moment."""
        ec2, name = _client(self.region, "ec2"), new_name(vm, vm.disks[0])
        tags = [{"ResourceType": "snapshot", "Tags": [{"Key": TAG, "Value": vm.id}, {"Key": "Name", "Value": name}]}]
        made = _asked(lambda: ec2.create_snapshots(InstanceSpecification={"InstanceId": vm.id}, Description=name, TagSpecifications=tags))[
            "Snapshots"
        ]
        return [Snapshot(one["SnapshotId"], name, one["VolumeId"], "") for one in made]

    def _await(self, taken: Sequence[Snapshot]) -> None:
        ec2, deadline = _client(self.region, "ec2"), time.monotonic() + _COMPLETE
        while True:
            states = _asked(lambda: ec2.describe_snapshots(SnapshotIds=[one.id for one in taken]))["Snapshots"]
            failed = [one["SnapshotId"] for one in states if one["State"] == "error"]
            if failed or time.monotonic() > deadline:
                raise ToolFailed(
                    f"The snapshots {', '.join(failed or [one.id for one in taken])} do not come about.",
                    "Look at them in AWS, then run again.",
                )
            if all(one["State"] == "completed" for one in states):
                return
            time.sleep(_POLL)

    def _readable(self, disk: Disk, snapshot: Snapshot, stack: contextlib.ExitStack) -> tuple[Files, Job]:
        """A disk as a file, and the blocks of it that are wanted."""
        files = stack.enter_context(contextlib.closing(EbsFiles(_client(self.region, "ebs"), snapshot.id)))
        name = f"{disk.name}.raw"
        seen = patiently(lambda: files.stat(name), name)
        areas = [(index * files.block, min(files.block, seen.size - index * files.block)) for index in sorted(files.tokens)]
        return files, Job(name, name, seen.size, seen.stamp, joined(areas, files.gap))


@dataclass
class EbsFiles:
    """A snapshot as a file, see Files. Only blocks with data are there; `tokens` are what opens each of them, by its number."""

    client: Any
    snapshot: str
    run: int = 64 * MIB
    gap: int = 0
    block: int = 512 << 10
    tokens: dict[int, str] = field(default_factory=dict, repr=False)
    size: int = 0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(4 * _AT_ONCE)

    def stat(self, path: str) -> RemoteFile:
        """The list of blocks is asked for once: a snapshot does not change."""
        if not self.size:
            size = 0
            for page in self._pages():
                self.block, size = page["BlockSize"], page["VolumeSize"] << 30
                self.tokens.update((one["BlockIndex"], one["BlockToken"]) for one in page["Blocks"])
            if any(not 0 <= index * self.block < size for index in self.tokens):
                raise InvalidInput(
                    f"AWS lists blocks of {self.snapshot} that are not in it.", "Run again; if it stays, take another snapshot."
                )
            self.size = size
        return RemoteFile(self.size, self.snapshot)

    def _pages(self) -> Iterator[Mapping[str, Any]]:
        page = _ask(functools.partial(self.client.list_snapshot_blocks, SnapshotId=self.snapshot))
        yield page
        while page.get("NextToken"):
            page = _ask(functools.partial(self.client.list_snapshot_blocks, SnapshotId=self.snapshot, NextToken=page["NextToken"]))
            yield page

    def stream(self, path: str, areas: Areas, stamp: str = "") -> Iterator[memoryview]:
        """Several blocks are on their way at once, and come in their order."""
        parts = (
            (at, min(start + length, (at // self.block + 1) * self.block)) for start, length in areas for at in self._edges(start, length)
        )
        waiting: collections.deque[tuple[int, int, Future[bytes]]] = collections.deque()
        try:
            for begin, end in parts:
                waiting.append((begin, end, self._pool.submit(self._fetched, begin // self.block)))
                if len(waiting) >= _AT_ONCE:
                    yield self._part(*waiting.popleft())
            while waiting:
                yield self._part(*waiting.popleft())
        finally:
            for dummy, dummy, future in waiting:
                future.cancel()

    def _edges(self, start: int, length: int) -> Iterator[int]:
        """Where an area begins, and where each block within it does."""
        yield start
        yield from range((start // self.block + 1) * self.block, start + length, self.block)

    def _part(self, begin: int, end: int, future: Future[bytes]) -> memoryview:
        inside = begin % self.block
        return memoryview(future.result())[inside : inside + end - begin]

    def _fetched(self, index: int) -> bytes:
        token = self.tokens.get(index)
        if token is None:
            return bytes(self.block)
        answer = _ask(lambda: self.client.get_snapshot_block(SnapshotId=self.snapshot, BlockIndex=index, BlockToken=token))
        try:
            data: bytes = answer["BlockData"].read()
        except (HTTPClientError, OSError) as error:
            raise Interrupted(f"block {index} of {self.snapshot}: {error or type(error).__name__}") from error
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        if len(data) != self.block or answer.get("Checksum", digest) != digest:
            raise Interrupted(f"block {index} of {self.snapshot} did not arrive as it was sent")
        return data

    def close(self) -> None:
        self._pool.shutdown(wait=True)


@functools.cache
def _client(region: str, service: str) -> Any:
    """What speaks with a service; threads may share it."""
    if BOTO3_ERROR is not None:
        raise MissingTool(
            "boto3, which asks AWS, is not installed for this Python.",
            "Install python3-boto3 (Debian, Ubuntu, Fedora, RHEL) or boto3 from PyPI.",
        )
    retries = {"max_attempts": 8, "mode": "standard"}
    try:
        return boto3.client(service, region_name=region, config=Config(retries=retries, max_pool_connections=64))
    except (BotoCoreError, ValueError) as error:
        raise InvalidInput(
            f"AWS cannot be asked in {region}: {error}.", "Write aws://REGION/INSTANCE, for example aws://eu-central-1/web01."
        ) from error


def _disk(volume: Mapping[str, Any], unit: Optional[int], since: str) -> Disk:
    attached = [one["AttachTime"].strftime("%Y-%m-%dT%H:%M:%S") for one in volume.get("Attachments", ())]
    return Disk(volume["VolumeId"], volume["VolumeId"], volume["Size"] << 30, unit, max([since, *attached]) if since else "")


def _foreign(name: str, architecture: str) -> Concern:
    return Concern(
        "aws.architecture",
        BLOCKER,
        f"{name} is built for {architecture}, and does not run on x86-64.",
        "Install the system anew for the target.",
    )


def _ask(call: Callable[[], T]) -> T:
    """An answer of AWS. Raises Interrupted for what may pass, AccessDenied, InvalidInput for what is not there or not so, ToolFailed."""
    try:
        return call()
    except ClientError as error:
        code, said = str(error.response["Error"].get("Code", "")), str(error)
        if code.startswith(_PASSING):
            raise Interrupted(said) from error
        if code.startswith(_LOGIN):
            raise AccessDenied(
                said, "Log in on the conversion host (aws configure, AWS_PROFILE, or a role of the machine), then run again."
            ) from error
        if code.startswith(_DENIED):
            raise AccessDenied(
                said,
                "The login needs ec2:Describe*, ec2:CreateSnapshots, ec2:CreateTags, ec2:DeleteSnapshot, ebs:ListSnapshotBlocks and ebs:GetSnapshotBlock;"
                " kms:Decrypt for encrypted volumes.",
            ) from error
        raise InvalidInput(said, "Write aws://REGION/INSTANCE as `aws ec2 describe-instances` has them.") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessDenied(
            f"AWS: {error}.", "Log in on the conversion host (aws configure, AWS_PROFILE, or a role of the machine), then run again."
        ) from error
    except HTTPClientError as error:
        raise Interrupted(str(error)) from error
    except BotoCoreError as error:
        raise ToolFailed(f"AWS cannot be asked: {error}.", "Correct the cause, then run again.") from error


def _asked(call: Callable[[], T]) -> T:
    """The same, patiently."""
    return patiently(lambda: _ask(call), "AWS")
