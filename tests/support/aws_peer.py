# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS on the loopback: moto's simulator with volumes that have contents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"


class Aws:
    """A region with one account. `env` is what a process needs to use it."""

    def __init__(self, folder: Path) -> None:
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.log = open(folder / "moto.log", "w", encoding="utf-8")  # noqa: SIM115
        secrets = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "pass-Word-4711"}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "peers" / "aws.py", str(os.getpid())], stdout=subprocess.PIPE, stderr=self.log, text=True,
            env={**os.environ, **secrets, "AWS_FAULTS": str(self.faults)},
        )  # fmt: skip
        endpoint = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.env = {**secrets, "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(folder / "none")}
        self.ec2 = boto3.client(
            "ec2",
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key=secrets["AWS_SECRET_ACCESS_KEY"],
        )

    def place(self, name: str, disks: list[Path], running: bool = False) -> str:
        """An instance with these disks (raw, whole GiB). Gives its URL."""
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
        (made,) = self.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.medium", TagSpecifications=tags)[
            "Instances"
        ]
        id_ = made["InstanceId"]
        (seen,) = self.ec2.describe_instances(InstanceIds=[id_])["Reservations"][0]["Instances"]
        system = next(one["Ebs"]["VolumeId"] for one in seen["BlockDeviceMappings"] if one["DeviceName"] == seen["RootDeviceName"])
        self.ec2.modify_volume(VolumeId=system, Size=disks[0].stat().st_size >> 30)
        volumes = [system]
        for number, disk in enumerate(disks[1:]):
            volume = self.ec2.create_volume(Size=disk.stat().st_size >> 30, AvailabilityZone=seen["Placement"]["AvailabilityZone"])[
                "VolumeId"
            ]
            self.ec2.attach_volume(VolumeId=volume, InstanceId=id_, Device=f"/dev/sd{'fgh'[number]}")
            volumes.append(volume)
        for volume, disk in zip(volumes, disks):
            self.ec2.create_tags(Resources=[volume], Tags=[{"Key": "file", "Value": str(disk)}])
        if not running:
            self.ec2.stop_instances(InstanceIds=[id_])
        return f"aws://{REGION}/{name}"

    def image(self, name: str, disks: list[Path], running: bool = False) -> str:
        """An image of an instance with these disks. Gives its URL."""
        self.place(name, disks, running)
        image = self.ec2.create_image(InstanceId=self.instance(name)["InstanceId"], Name=f"image of {name}")["ImageId"]
        return f"aws://{REGION}/{image}"

    def instance(self, name: str) -> dict[str, Any]:
        found = self.ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": [name]}])
        return found["Reservations"][0]["Instances"][0]

    def snapshots(self) -> list[str]:
        """Ours and others', without those that the simulator begins with."""
        return sorted(
            one["Description"] for one in self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] if "ami" not in one["Description"]
        )

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
