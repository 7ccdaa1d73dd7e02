# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS as moto simulates it, with what it leaves out: volumes have contents (tag "file"), which snapshots keep and EBS hands out in blocks of 512 KiB; and
an image has snapshots of all volumes of its instance, from which it wants larger ones.

Prints its port. Faults are files in the directory AWS_FAULTS: `throttle` and `damage` each spoil one block and are gone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import time
from pathlib import Path

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.ebs import ebs_backends
from moto.ebs.models import Block, EBSBackend, EBSSnapshot
from moto.ebs.responses import EBSResponse
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.server import ThreadedMotoServer

BLOCK, PAGE = 512 << 10, 3
FAULTS = Path(os.environ["AWS_FAULTS"])


def fault(name: str) -> bool:
    try:
        (FAULTS / name).unlink()
    except FileNotFoundError:
        return False
    return True


def filled(snapshot: EBSSnapshot, path: str) -> EBSSnapshot:
    snapshot.block_size, snapshot.status = BLOCK, "completed"
    with open(path, "rb") as file:
        for index in range(-(-os.path.getsize(path) // BLOCK)):
            try:
                if os.lseek(file.fileno(), index * BLOCK, os.SEEK_DATA) >= (index + 1) * BLOCK:
                    continue
            except OSError:  # only a hole is left
                break
            data = os.pread(file.fileno(), BLOCK, index * BLOCK)
            if data.strip(b"\0"):
                data = data.ljust(BLOCK, b"\0")
                digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
                snapshot.put_block(index, data, digest, "SHA256", BLOCK)
    return snapshot


real_snapshot, real_block = EC2Backend.create_snapshot, EBSBackend.get_snapshot_block
real_list = EBSResponse.list_snapshot_blocks
real_image, real_mapped = EC2Backend.create_image, Ami.block_device_mappings


def create_snapshot(self: EC2Backend, volume_id: str, *given: object, **named: object) -> object:
    made = real_snapshot(self, volume_id, *given, **named)
    path = next((tag["value"] for tag in self.get_volume(volume_id).get_tags() if tag["key"] == "file"), None)
    if path:
        ebs_backends[self.account_id][self.region_name].snapshots[made.id] = filled(EBSSnapshot(self.account_id, made), path)
    return made


def get_snapshot_block(self: EBSBackend, snapshot_id: str, block_index: int) -> Block:
    block = real_block(self, snapshot_id, block_index)
    if fault("throttle"):
        raise JsonRESTError("RequestThrottledException", "Rate exceeded")
    if fault("damage"):
        return Block(bytes(BLOCK), block.checksum, block.checksum_algorithm, block.data_length)
    return block


def create_image(self: EC2Backend, instance_id: str, *given: object, **named: object) -> Ami:
    made = real_image(self, instance_id, *given, **named)
    made.boot_mode = "legacy-bios"  # moto says uefi of every image
    volumes = {device: self.get_volume(block.volume_id) for device, block in self.get_instance(instance_id).block_device_mapping.items()}
    made.mapped = [
        {"DeviceName": device, "Ebs": {"SnapshotId": self.create_snapshot(volume.id, "of an image").id, "VolumeSize": volume.size + 1}}
        for device, volume in volumes.items()
    ]
    return made


def block_device_mappings(self: Ami) -> list[dict[str, object]]:
    return getattr(self, "mapped", None) or real_mapped.fget(self)


def list_snapshot_blocks(self: EBSResponse) -> ActionResult:
    """In pages of a few blocks, where AWS has up to 10000."""
    answer = dict(real_list(self).result)
    first = int(self._get_param("NextToken") or self._get_param("StartingBlockIndex") or 0)
    there = sorted((block for block in answer["Blocks"] if block["BlockIndex"] >= first), key=lambda block: block["BlockIndex"])
    if len(there) > PAGE:
        answer["NextToken"] = str(there[PAGE]["BlockIndex"])
    return ActionResult({**answer, "Blocks": there[:PAGE]})


EBSResponse.list_snapshot_blocks = list_snapshot_blocks
EC2Backend.create_image = create_image
Ami.block_device_mappings = property(block_device_mappings)
EC2Backend.create_snapshot = create_snapshot
EBSBackend.get_snapshot_block = get_snapshot_block

if __name__ == "__main__":
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    while os.getppid() == int(sys.argv[1]):
        time.sleep(1)
