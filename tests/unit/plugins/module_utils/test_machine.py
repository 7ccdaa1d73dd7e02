# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM, a place of a disk and a NIC are one type each, and what is saved of them is what earlier versions saved."""

from __future__ import annotations

import ast
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils import core
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import from_data, to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Disk, Machine, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import digest_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import fingerprint
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import SourceVm, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.model import Vm, VmDisk, VmNic

HOME = Path(core.__path__[0]).parent
NICS = (Nic("00:50:56:00:00:01", "lan", "vmxnet3", 192), Nic(None))
SOURCE = SourceVm(name="a", kind="vmx", nics=NICS, cpus=2, memory=2048, firmware="uefi", uuid="u")
NUMBERS = st.one_of(st.none(), st.integers(0, 40))
DISKS = st.builds(Disk, st.one_of(st.none(), st.sampled_from(["scsi", "nvme", "sata", "ide", "virtio"])), NUMBERS, NUMBERS)


def test_a_vm_has_the_digest_that_it_had_in_earlier_versions():
    """By it a source is known as the same one again: another would make every VM be migrated anew."""
    said = fingerprint.configuration(SOURCE, [(1 << 30, *Disk("scsi", 0, 1).at)])
    assert digest_of(said) == "f43560b77d2597236c3675a63b854e4eab403ea0073b550356d3b731d49492e1"


def test_what_is_recorded_of_a_vm_is_what_earlier_versions_recorded():
    assert to_data(SOURCE.said()) == {
        "name": "a", "kind": "vmx", "cpus": 2, "cores_per_socket": None, "memory": 2048, "firmware": "uefi", "secure_boot": False,
        "guest_os": None, "disks": [],
        "nics": [
            {"mac": "00:50:56:00:00:01", "network": "lan", "model": "vmxnet3", "slot": 192},
            {"mac": None, "network": "", "model": "", "slot": None},
        ],
    }  # fmt: skip
    assert from_data(VmSaid, to_data(SOURCE.said()), "vm").machine == Machine("a", "vmx", NICS, 2, memory=2048, firmware="uefi")


def test_what_vsphere_says_stands_beside_what_a_nic_and_a_disk_are():
    vm = Vm("vm-1", "a", "DC/vm/a", nics=(VmNic(4000, "n", NICS[0]), VmNic(4001, "m", NICS[1], False)), disks=(
        VmDisk(2000, "d", Disk("scsi", 0, 1), 1 << 30, "FlatVer2", ("[ds] a/a.vmdk",)),))  # fmt: skip
    said = vm.as_result()
    assert said["nics"] == [
        {
            "key": 4000,
            "label": "n",
            "connected": True,
            "starts": True,
            "mac": "00:50:56:00:00:01",
            "network": "lan",
            "model": "vmxnet3",
            "slot": 192,
        },
        {"key": 4001, "label": "m", "connected": False, "starts": True, "mac": "", "network": "", "model": "", "slot": None},
    ]
    (disk,) = said["disks"]
    assert (disk["bus"], disk["controller"], disk["unit"], disk["capacity"]) == ("scsi", 0, 1, 1 << 30) and "place" not in disk


@given(st.lists(DISKS))
def test_disks_have_one_order(disks):
    found = sorted(disks, key=lambda disk: disk.order)
    assert found == sorted(found, key=lambda disk: disk.order) and sorted(map(asdict, found), key=str) == sorted(
        map(asdict, disks), key=str
    )
    assert all(one.order <= other.order for one, other in zip(found, found[1:]))


@pytest.mark.parametrize(
    "wrong", [{"cpus": 0}, {"cpus": limits.VM_CPUS + 1}, {"cores_per_socket": -1}, {"memory": 0}, {"memory": 1 << 60}], ids=str
)
def test_what_no_vm_has_is_refused(wrong):
    with pytest.raises(InvalidInput, match="The description of the VM a"):
        Machine("a", "vmx", **wrong)


def test_there_is_one_type_of_each():
    """Another type with a MAC of its own is one that says how a NIC comes up, in the guest or in a boot test."""
    has = {
        f"{path.relative_to(HOME)}: {node.name}"
        for path in HOME.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.target.id == "mac"
    }
    assert has == {
        "core/machine.py: Nic", "core/machine.py: NicFacts", "boot/model.py: BootNic",
        "linux/netconf/model.py: Profile", "linux/netconf/rules.py: Naming", "windows/network.py: Adapter",
    }  # fmt: skip
