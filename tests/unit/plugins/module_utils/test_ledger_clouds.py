# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of clouds: what an instance, an image or a VM has beside its disks and cards is named, or refused. What they answer is plain data."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import BLOCKER
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.aws import SOURCE as AWS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.azure import SOURCE as AZURE
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import aws, azure

INSTANCE = {
    "InstanceId": "i-0123456789abcdef0",
    "InstanceType": "m5.large",
    "State": {"Name": "stopped"},
    "RootDeviceName": "/dev/xvda",
    "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}}],
    "NetworkInterfaces": [{"MacAddress": "0a:00:00:00:00:01"}],
}


class Ec2:
    """Answers of EC2, each changed by what a test says of the instance, of its type, and of its volume."""

    def __init__(self, instance: dict, size: dict, volume: dict) -> None:
        self.instance, self.size, self.volume = {**INSTANCE, **instance}, size, {"VolumeId": "vol-1", "Size": 8, **volume}

    def describe_instances(self, **dummy: object) -> dict:
        return {"Reservations": [{"Instances": [self.instance]}]}

    def describe_instance_types(self, **dummy: object) -> dict:
        return {"InstanceTypes": [self.size]}

    def describe_volumes(self, **dummy: object) -> dict:
        return {"Volumes": [self.volume]}

    def describe_images(self, **dummy: object) -> dict:
        mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-1"}}, {"DeviceName": "/dev/xvdb", "VirtualName": "ephemeral0"}]
        return {"Images": [{"ImageId": "ami-01234567", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": mapping}]}

    def describe_snapshots(self, **dummy: object) -> dict:
        return {"Snapshots": [{"SnapshotId": "snap-1", "VolumeSize": 8}]}


@pytest.mark.parametrize(
    ("instance", "size", "volume", "code", "words"),
    [
        ({}, {}, {}, "", ""),
        ({"TpmSupport": "v2.0"}, {}, {}, "source.vtpm", "TPM"),
        ({}, {"InstanceStorageInfo": {"TotalSizeInGB": 75}}, {}, "source.device", "75 GB"),
        ({}, {"GpuInfo": {"Gpus": [{"Manufacturer": "NVIDIA", "Name": "T4"}]}}, {}, "source.passthrough", "NVIDIA T4"),
        ({}, {"FpgaInfo": {"Fpgas": [{"Name": "VU9P"}]}}, {}, "source.passthrough", "VU9P"),
        ({}, {}, {"MultiAttachEnabled": True}, "source.shared-disk", "vol-1"),
        ({"Architecture": "arm64"}, {}, {}, "aws.architecture", "arm64"),
    ],
)
def test_whatever_an_instance_has_is_told(monkeypatch, instance, size, volume, code, words):
    monkeypatch.setattr(aws, "client", lambda *dummy: Ec2(instance, size, volume))
    told = aws.Aws("r", INSTANCE["InstanceId"]).find().told
    assert [concern.code for concern in told] == ([code] if code else []) and all(words in concern.cause for concern in told)


def test_an_image_and_a_card_without_a_mac(monkeypatch):
    monkeypatch.setattr(aws, "client", lambda *dummy: Ec2({"NetworkInterfaces": [{}]}, {}, {}))
    assert [concern.code for concern in aws.Aws("r", "ami-01234567").find().told] == ["source.device"]
    assert [nic.mac for nic in aws.Aws("r", INSTANCE["InstanceId"]).find().nics] == [None]


VM = {
    "id": "/x/web", "name": "web", "location": "l", "powerState": "VM deallocated", "macAddresses": "00-0D-3A-00-00-01",
    "networkProfile": {"networkInterfaces": [{"id": "a"}, {"id": "b"}]}, "hardwareProfile": {"vmSize": "s"},
    "storageProfile": {"osDisk": {"osType": "Linux", "managedDisk": {"id": "/x/d"}}, "dataDisks": []}, "securityProfile": {},
}  # fmt: skip
DISK = {"id": "/x/d", "name": "d", "diskSizeBytes": 1 << 30, "creationData": {}}


@pytest.mark.parametrize(
    ("security", "disk", "temporary", "code"),
    [
        ({}, {}, 0, ""),
        ({"uefiSettings": {"vTpmEnabled": True}}, {}, 0, "source.vtpm"),
        ({"securityType": "ConfidentialVM"}, {}, 0, "azure.confidential"),
        ({}, {"creationData": {"logicalSectorSize": 4096}}, 0, "azure.sectors"),
        ({}, {"creationData": {"logicalSectorSize": 512}}, 0, ""),
        ({}, {"maxShares": 2}, 0, "source.shared-disk"),
        ({}, {"encryptionSettingsCollection": {"enabled": True}}, 0, "azure.encrypted"),
        ({}, {}, 16384, "source.device"),
    ],
)
def test_whatever_a_vm_of_azure_has_is_told(monkeypatch, security, disk, temporary, code):
    def answer(*argv: str, **dummy: object) -> object:
        vm = {**copy.deepcopy(VM), "securityProfile": security}
        size = {"name": "s", "numberOfCores": 2, "memoryInMb": 4096, "resourceDiskSizeInMb": temporary}
        return {"show": vm if argv[0] == "vm" else {**DISK, **disk}, "list-sizes": [size]}[argv[1]]

    monkeypatch.setattr(azure, "_az", answer)
    vm = azure.Azure("s", "g", "web").find()
    assert [concern.code for concern in vm.told] == ([code] if code else [])
    assert [nic.mac for nic in vm.nics] == ["00:0d:3a:00:00:01", None]
    if any(concern.severity == BLOCKER for concern in vm.told):
        with pytest.raises(Exception, match=code), AZURE.opened("azure://s/g/web", Access(), True):
            pass
    else:
        with AZURE.opened("azure://s/g/web", Access(), True) as opened:
            assert opened.said().concerns == vm.told == opened.concerns


def test_what_is_told_of_an_instance_is_recorded(monkeypatch):
    monkeypatch.setattr(aws, "client", lambda *dummy: Ec2({"TpmSupport": "v2.0"}, {}, {}))
    with AWS.opened("aws://r/i-0123456789abcdef0", Access(), True) as opened:
        assert [concern.code for concern in opened.said().concerns] == ["source.vtpm"]
