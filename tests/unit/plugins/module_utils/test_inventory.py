# SPDX-License-Identifier: GPL-3.0-or-later
"""What vSphere says of a VM, as a record and as concerns; names and places. No server is needed: the properties are plain data."""

from __future__ import annotations

import csv
import io
import ssl
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import BLOCKER
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import each_from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Blocked, InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Disk, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.tls import Trust
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources import source, vsphere_files, vsphere_transport
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import fleet, inventory, readiness, snapshots
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.describe import described, family
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.hardware import record, with_disks_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.inventory import Place
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.model import Snapshot, Vm, VmDevice, VmDisk, VmNic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.placement import surrounded

FLAT = {
    "_type": "VirtualDiskFlatVer2BackingInfo",
    "fileName": "[ds 1] web01/web01-000001.vmdk",
    "diskMode": "persistent",
    "thinProvisioned": True,
    "uuid": "6000C29a-1",
    "changeId": "52 aa/3",
    "parent": {"_type": "VirtualDiskFlatVer2BackingInfo", "fileName": "[ds 1] web01/web01.vmdk"},
}
DEVICES = [
    {"_type": "VirtualIDEController", "key": 200, "busNumber": 0},
    {"_type": "ParaVirtualSCSIController", "key": 1000, "busNumber": 0, "sharedBus": "noSharing"},
    {"_type": "VirtualNVMEController", "key": 31000, "busNumber": 1},
    {"_type": "VirtualVideoCard", "key": 500},
    {"_type": "VirtualTPM", "key": 11000},
    {"_type": "VirtualUSBXHCIController", "key": 14000},
    {
        "_type": "VirtualDisk",
        "key": 2000,
        "controllerKey": 1000,
        "unitNumber": 0,
        "capacityInKB": 1024,
        "deviceInfo": {"label": "Hard disk 1"},
        "backing": FLAT,
    },
    {
        "_type": "VirtualDisk",
        "key": 2001,
        "controllerKey": 31000,
        "unitNumber": 2,
        "capacityInBytes": 4096,
        "backing": {
            "_type": "VirtualDiskRawDiskMappingVer1BackingInfo",
            "fileName": "[ds 1] web01/rdm.vmdk",
            "compatibilityMode": "physicalMode",
        },
    },
    {"_type": "VirtualE1000e", "key": 4001, "macAddress": "00:50:56:AA:BB:02", "connectable": {"connected": False}},
    {
        "_type": "VirtualVmxnet3",
        "key": 4000,
        "macAddress": "00:50:56:AA:BB:01",
        "backing": {"deviceName": "VM Network"},
        "slotInfo": {"pciSlotNumber": 192},
    },
    {"_type": "VirtualCdrom", "key": 3000, "connectable": {"connected": True}, "backing": {"fileName": "[iso] debian.iso"}},
]
PROPERTIES = {
    "name": "web%2f01",
    "config.hardware.device": DEVICES,
    "config.hardware.numCPU": 4,
    "config.hardware.numCoresPerSocket": 2,
    "config.hardware.memoryMB": 8192,
    "config.firmware": "efi",
    "config.bootOptions": {"efiSecureBootEnabled": True},
    "config.version": "vmx-19",
    "config.guestId": "debian12_64Guest",
    "config.extraConfig": [
        {"key": "ethernet1.pciSlotNumber", "value": "224"},
        {"key": "disk.EnableUUID", "value": "TRUE"},
        {"key": "numa.nodeAffinity", "value": "0"},
    ],
    "runtime.powerState": "poweredOn",
    "guest.toolsRunningStatus": "guestToolsRunning",
    "guest.net": [{"ipAddress": ["10.0.0.5", "fe80::1"]}],
    "guest.disk": [{"diskPath": "/", "freeSpace": 1000}, {"diskPath": "/srv"}],
    "summary.storage": {"committed": 123},
    "snapshot": {
        "currentSnapshot": "snapshot-2",
        "rootSnapshotList": [
            {"snapshot": "snapshot-1", "name": "a", "childSnapshotList": [{"snapshot": "snapshot-2", "name": "hyper2kvm-20260101-000000"}]}
        ],
    },
}
QUIET = Vm("vm-1", "web01", "DC/vm/web01", power="off", nics=(VmNic(4000, "", Nic("00:50:56:00:00:01", model="vmxnet3")),), disks=(
    VmDisk(2000, "Hard disk 1", Disk("scsi", 0, 0), 1 << 30, "FlatVer2", ("[ds] web01/web01.vmdk",)),))  # fmt: skip


def test_the_disk_that_the_firmware_of_a_vm_tries_first():
    """Source: vSphere Web Services API, VirtualMachineBootOptions.bootOrder."""
    order = [
        {"_type": "BootableEthernetDevice", "deviceKey": 4000},
        {"_type": "BootableCdromDevice"},
        {"deviceKey": 2001},
        {"deviceKey": 2000},
    ]
    two = (*QUIET.disks, replace(QUIET.disks[0], key=2001, place=Disk("scsi", 0, 1)))
    vm = record("vm-57", {**PROPERTIES, "config.bootOptions": {"bootOrder": order}})
    assert vsphere_transport.described(replace(vm, disks=two)).starts == ("scsi", 0, 1) and vsphere_transport.described(
        replace(vm, disks=two[:1])
    ).starts == ("scsi", 0, 0)
    assert vsphere_transport.described(QUIET).starts is None


def test_the_cores_of_a_socket_arrive_in_what_is_described():
    vm = vsphere_transport.described(record("vm-57", PROPERTIES)).said().machine
    assert (vm.cpus, vm.cores_per_socket) == (4, 2)


def test_the_record_of_a_vm():
    vm = record("vm-57", PROPERTIES, "DC/vm/web%2f01", "DC", "esx1", "c1")
    assert (vm.name, vm.folder, vm.power, vm.hardware_version, vm.firmware, vm.secure_boot, vm.vtpm) == (
        "web/01",
        "DC/vm",
        "on",
        19,
        "uefi",
        True,
        True,
    )
    first, second = vm.disks
    assert (*first.place.at, first.capacity, first.thin, first.change_id) == (
        "scsi",
        0,
        0,
        1 << 20,
        True,
        "52 aa/3",
    )
    assert first.files == ("[ds 1] web01/web01-000001.vmdk", "[ds 1] web01/web01.vmdk") and first.backing == "FlatVer2"
    assert (*second.place.at, second.capacity, second.rdm) == ("nvme", 1, 2, 4096, "physical")
    assert [(nic.nic.model, nic.nic.mac, nic.nic.network, nic.nic.slot, nic.connected) for nic in vm.nics] == [
        ("vmxnet3", "00:50:56:aa:bb:01", "VM Network", 192, True),
        ("e1000e", "00:50:56:aa:bb:02", "", 224, False),
    ]
    assert [(snapshot.path, snapshot.current) for snapshot in vm.snapshots] == [("a", False), ("a/hyper2kvm-20260101-000000", True)]
    assert (vm.others, vm.media, vm.addresses, vm.disk_uuid_enabled) == (
        ("VirtualUSBXHCIController",),
        ("[iso] debian.iso",),
        ("10.0.0.5", "fe80::1"),
        True,
    )
    assert vm.guest_free == {"/": 1000} and vm.numa_affinity and not vm.host_clock
    assert (
        snapshots.leftovers(vm) == {"snapshot-2": "hyper2kvm-20260101-000000"}
        and snapshots.find(vm, "a") == "snapshot-1"
        and snapshots.find(vm, "b") is None
    )
    assert with_disks_of(vm, DEVICES[:7]).disks == vm.disks[:1]


def test_a_vm_of_which_nothing_is_known_is_a_record_too():
    vm = record("vm-1", {})
    assert (vm.name, vm.power, vm.disks, vm.memory) == ("", "unknown", (), None)
    assert "vsphere.no-disks" in {concern.code for concern in readiness.concerns(vm)}


def test_a_snapshot_name_that_occurs_twice_must_be_named_by_its_path():
    vm = replace(QUIET, snapshots=(Snapshot("s-1", "x", "x"), Snapshot("s-2", "x", "a/x")))
    assert snapshots.find(vm, "a/x") == "s-2"
    with pytest.raises(InvalidInput, match="2 snapshots"):
        snapshots.find(vm, "x")


def disk(**changes: object) -> Vm:
    return replace(QUIET, disks=(replace(QUIET.disks[0], **changes),))


@pytest.mark.parametrize(
    ("vm", "code", "blocks"),
    [
        (replace(QUIET, power="on", tools="running", addresses=("10.0.0.1",)), "vsphere.running", True),
        (replace(QUIET, power="suspended"), "vsphere.suspended", True),
        (replace(QUIET, connection="orphaned"), "vsphere.not-connected", True),
        (replace(QUIET, template=True), "vsphere.template", False),
        (replace(QUIET, consolidation_needed=True), "vsphere.consolidation", False),
        (replace(QUIET, snapshots=(Snapshot("s", "x", "x"),)), "vsphere.snapshots", False),
        (replace(QUIET, fault_tolerance=True), "vsphere.fault-tolerance", False),
        (replace(QUIET, disks=()), "vsphere.no-disks", True),
        (replace(QUIET, disks=QUIET.disks * 166), "vsphere.many-disks", False),
        (disk(rdm="physical"), "vsphere.rdm-physical", True),
        (disk(rdm="virtual"), "vsphere.rdm-virtual", False),
        (disk(backing="LocalPMem"), "vsphere.backing", False),
        (disk(files=()), "vsphere.disk-without-file", True),
        (disk(capacity=0), "vsphere.disk-empty", True),
        (disk(mode="independent_persistent"), "vsphere.independent-disk", False),
        (disk(sharing="sharingMultiWriter"), "vsphere.multi-writer", False),
        (disk(bus_sharing="physicalSharing"), "vsphere.bus-sharing", False),
        (disk(encrypted=True), "vsphere.encrypted", True),
        (replace(QUIET, encrypted=True), "vsphere.encrypted", True),
        (disk(files=("[ds] x",) * 33), "vsphere.deep-chain", False),
        (disk(files=("[ds] web01/web01.vmdk", "[ds] golden/golden.vmdk")), "vsphere.linked-clone", False),
        (replace(QUIET, numa_affinity=True), "vsphere.numa-affinity", False),
        (replace(QUIET, host_clock=True), "vsphere.clock", False),
        (replace(QUIET, host_maintenance=True), "vsphere.maintenance", False),
        (replace(QUIET, host_rules=("licences",)), "vsphere.host-rules", False),
        (replace(QUIET, vtpm=True), "vsphere.vtpm", False),
        (disk(mode="nonpersistent"), "vsphere.disk-mode", False),
        (disk(sectors="native_4k"), "vsphere.sectors", True),
        (replace(QUIET, devices=(VmDevice("VirtualPCIPassthrough"),)), "vsphere.passthrough", False),
        (replace(QUIET, devices=(VmDevice("VirtualUSB"),)), "vsphere.passthrough", False),
        (replace(QUIET, devices=(VmDevice("VirtualNVDIMM"),)), "vsphere.nvdimm", True),
        (replace(QUIET, devices=(VmDevice("VirtualUSBController"),)), "vsphere.usb", False),
        (replace(QUIET, devices=(VmDevice("VirtualPrecisionClock"),)), "vsphere.device", False),
        (replace(QUIET, devices=(VmDevice("VirtualCdrom"),)), "vsphere.media", False),
        (replace(QUIET, nics=(replace(QUIET.nics[0], starts=False),)), "vsphere.disconnected", False),
        (replace(QUIET, boots=("ethernet", "disk")), "vsphere.boot-order", False),
        (replace(QUIET, settings=("guestinfo.userdata",)), "vsphere.properties", False),
        (replace(QUIET, nics=(replace(QUIET.nics[0], nic=replace(QUIET.nics[0].nic, model="sriov")),)), "vsphere.sriov", False),
        (replace(QUIET, media=("x.iso",)), "vsphere.media", False),
        (replace(QUIET, cpu_affinity=True), "vsphere.affinity", False),
        (replace(QUIET, memory_hot_add=True), "vsphere.hot-add", False),
        (replace(QUIET, memory_reservation_locked=True), "vsphere.reserved", False),
        (replace(QUIET, nics=()), "vsphere.no-network", False),
        (replace(QUIET, guest_hostname="localhost.localdomain"), "vsphere.hostname", False),
        (replace(QUIET, guest_free={"/": 99 << 20}), "vsphere.guest-space", False),
        (replace(QUIET, name="a/b"), "vsphere.name", False),
    ],
)
def test_each_thing_that_speaks_against_a_vm_is_said_and_nothing_else(vm, code, blocks):
    found = readiness.concerns(vm)
    assert {concern.code for concern in found} == {code}
    assert (found[0].severity == BLOCKER) is blocks
    if blocks:
        with pytest.raises(Blocked, match=code):
            source.refuse(found, (), vm.path)
    source.refuse(found, (code,), vm.path)


def test_nothing_speaks_against_a_quiet_vm():
    assert readiness.concerns(QUIET) == () and readiness.of_wave([QUIET]) == {}


def test_a_running_vm_without_tools_says_so():
    assert {concern.code for concern in readiness.concerns(replace(QUIET, power="on", hardware_version=4))} == {
        "vsphere.running", "vsphere.no-tools", "vsphere.old-hardware"}  # fmt: skip
    assert {concern.code for concern in readiness.concerns(replace(QUIET, power="on", tools="running"))} == {
        "vsphere.running",
        "vsphere.no-address",
    }


def test_what_two_vms_of_a_wave_share_is_said_of_both():
    other = replace(QUIET, id="vm-2", path="DC/vm/x/web01")
    found = readiness.of_wave([QUIET, other])
    codes = {"vsphere.duplicate-mac", "vsphere.duplicate-name", "vsphere.shared-file"}
    assert {vm: {concern.code for concern in concerns} for vm, concerns in found.items()} == {"vm-1": codes, "vm-2": codes}


NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=20).filter(
    lambda text: text.strip("/")
)


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from([443, 8443]))
def test_a_url_says_what_it_was_made_of(names, port):
    path = "/".join(names)
    host, found_port, found, dummy = inventory.parse_url(inventory.url_of("vc.example.com", port, path))
    assert (host, found_port, found) == ("vc.example.com", port, path)


@pytest.mark.parametrize("url", ["vsphere://", "vsphere://vc", "http://vc/x", "vsphere://user:secret@vc/DC/vm/x"])
def test_a_url_that_names_nothing_or_too_much_is_refused(url):
    with pytest.raises(InvalidInput) as error:
        inventory.parse_url(url)
    assert "secret" not in str(error.value)


def test_a_query_names_a_vm_too():
    assert inventory.parse_url("vsphere://vc?moref=vm-57")[2:] == ("", {"moref": "vm-57"})


CLUSTER = {
    "drsConfig": {"enabled": True, "defaultVmBehavior": "fullyAutomated"},
    "group": [
        {"_type": "ClusterVmGroup", "name": "oracle", "vm": ["vm-1"]},
        {"_type": "ClusterHostGroup", "name": "licensed", "host": ["host-1"]},
    ],
    "rule": [
        {"_type": "ClusterVmHostRuleInfo", "name": "licences", "enabled": True, "vmGroupName": "oracle", "affineHostGroupName": "licensed"},
        {"_type": "ClusterVmHostRuleInfo", "name": "off", "enabled": False, "vmGroupName": "oracle"},
        {"_type": "ClusterAntiAffinityRuleSpec", "name": "apart", "enabled": True, "vm": ["vm-1"]},
    ],
}


def test_what_is_around_a_vm():
    stores = [{"summary.freeSpace": 5 << 30}, {"summary.freeSpace": 1 << 30}, {"name": "away"}]
    vm = surrounded(
        replace(QUIET, power="on", tools="running", addresses=("10.0.0.5",)),
        {"runtime.inMaintenanceMode": True},
        {"configurationEx": CLUSTER},
        stores,
    )
    assert (vm.host_maintenance, vm.moved_by_drs, vm.host_rules, vm.datastore_free) == (True, True, ("licences",), 1 << 30)
    assert {concern.code for concern in readiness.concerns(vm)} == {
        "vsphere.running", "vsphere.maintenance", "vsphere.drs", "vsphere.host-rules", "vsphere.snapshot-space",
    }  # fmt: skip
    for own in ({"key": "vm-1", "behavior": "manual"}, {"key": "vm-1", "enabled": False}):
        assert not surrounded(vm, {}, {"configurationEx": {**CLUSTER, "drsVmConfig": [own]}}, ()).moved_by_drs
    bare = surrounded(QUIET, {}, {}, ())
    assert (bare.host_maintenance, bare.moved_by_drs, bare.host_rules, bare.datastore_free) == (False, False, (), None)


def test_the_path_of_a_vm_and_its_datacenter():
    around = {
        "group-d1": Place("", "Folder", None),
        "group-2": Place("Europe", "Folder", "group-d1"),
        "dc-3": Place("DC 1", "Datacenter", "group-2"),
        "group-v4": Place("vm", "Folder", "dc-3"),
        "group-5": Place("web", "Folder", "group-v4"),
    }
    assert inventory.path_of("group-5", around) == ("Europe/DC 1/vm/web", "Europe/DC 1")
    assert inventory.path_of(None, around) == ("", "")


@pytest.mark.parametrize(
    ("name", "path"),
    [("[ds 1] web01/web01.vmdk", "/vmfs/volumes/ds 1/web01/web01.vmdk"), ("[x] web01.vmdk", "/vmfs/volumes/x/web01.vmdk")],
)
def test_a_datastore_path_on_a_host(name, path):
    assert vsphere_files.volume_path(name) == path


@pytest.mark.parametrize("name", ["", "web01.vmdk", "[a/../b] x", "vsan://1234"])
def test_what_is_no_datastore_path_is_refused(name):
    with pytest.raises(InvalidInput):
        vsphere_files.volume_path(name)


@pytest.mark.parametrize(
    ("guest", "kind"),
    [("windows2019srv_64Guest", "windows"), ("winXPProGuest", "windows"), ("debian12_64Guest", "linux"), ("other6xLinux64Guest", "linux"),
     ("rhel9_64Guest", "linux"), ("freebsd14_64Guest", "other"), ("darwin20_64Guest", "other"), ("", "other")],
)  # fmt: skip
def test_the_family_of_a_guest(guest, kind):
    assert family(guest) == kind


@pytest.mark.parametrize("thumbprint", ["abc", "zz" * 20, "a" * 41])
def test_a_thumbprint_that_is_none_is_refused(thumbprint):
    with pytest.raises(InvalidInput, match="thumbprint"):
        Trust(thumbprint=thumbprint).context("localhost", 1)


def test_certificates_are_verified_unless_somebody_says_otherwise(tmp_path):
    assert Trust().context("localhost", 1).verify_mode == ssl.CERT_REQUIRED
    assert Trust(verify=False).context("localhost", 1).verify_mode == ssl.CERT_NONE
    with pytest.raises(InvalidInput, match="CA file"):
        Trust(ca_file=str(tmp_path / "none")).context("localhost", 1)


@pytest.mark.parametrize(
    ("source", "far"),
    [(["vsphere://vc/x"], True), (["ssh://h/x.vmx"], True), (["/a/b.vmdk"], False), (["a.ova"], False), (["x", "ssh://y/z"], False)],
)
def test_what_is_elsewhere(source, far):
    assert sources.is_remote(source) is far


def test_the_fleet_report_says_who_is_ready_and_names_break_nothing():
    running = replace(QUIET, id="vm-2", name="=cmd|'/c calc'!A1", path="DC/vm/a|b\n<script>", power="on", committed=1 << 29)
    vms = each_from_data(fleet.Assessed, [described(vm, readiness.concerns(vm)) for vm in (QUIET, running)], "vms")
    table = fleet.rows(vms, 64)
    assert [(row.verdict, row.size_gib, row.used_gib, row.minutes) for row in table] == [
        ("blocked", 1.0, 0.5, 0.1),
        ("ready", 1.0, 1.0, 0.3),
    ]
    text = fleet.as_markdown(vms, table, 64)
    assert (
        "2 VMs: 1 ready, 0 to look at, 1 blocked. 2.0 GiB of disks, 1.5 GiB to move" in text
        and "### vsphere.running (blocker, 1 VMs)" in text
    )
    assert "DC/vm/a\\|b &lt;script>" in text
    assert next(csv.DictReader(io.StringIO(fleet.as_csv(table))))["vm"] == "'=cmd|'/c calc'!A1"
