# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of descriptions: whatever a .vmx, an OVF, a .vbox or vSphere says of a VM is in the machine, refused, or named by a concern.

Each entry is made with a mark of its own, by which it is looked for in what comes of the description.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest
from descriptions_ovf import BUS, CPU, MEMORY, SPACES, item
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_vmdk_chain import sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import BLOCKER
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concerns import CONCERNS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources import vsphere_transport
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import hardware, readiness

MOST = 6
KINDS = (".vmx", ".ovf", ".vbox")
# What may be refused is said by these words, and nothing else refuses what is made here.
REFUSALS = {
    "encrypted": "is encrypted",
    "second": "vApp of 2 VMs|describes 2 machines",
    "raw": "is not a virtual disk|would be left out|does not list",
}


@dataclass(frozen=True)
class Ledger:
    """What a description says: disks (of which `forgetful` keep nothing), cards (with a MAC, without one, not connected), and others by what they are.

    `settings`: for the guest, from outside. `by_network`: the firmware tries the network first.
    """

    disks: int = 1
    cards: tuple[str, ...] = ()
    drives: int = 0
    unknown: tuple[str, ...] = ()
    passed: int = 0
    suspended: bool = False
    tpm: bool = False
    forgetful: int = 0
    settings: bool = False
    by_network: bool = False
    extra: str = ""
    order: int = field(default=0, compare=False)


LEDGERS = st.builds(
    Ledger,
    disks=st.integers(1, MOST),
    cards=st.lists(st.sampled_from(["mac", "none", "cut"]), max_size=MOST).map(tuple),
    drives=st.integers(0, 3),
    unknown=st.lists(st.from_regex(r"zz[a-z]{3,8}", fullmatch=True), unique=True, max_size=4).map(tuple),
    passed=st.integers(0, 3),
    suspended=st.booleans(),
    tpm=st.booleans(),
    forgetful=st.integers(0, MOST),
    settings=st.booleans(),
    by_network=st.booleans(),
    extra=st.sampled_from(["", "", "", *REFUSALS]),
    order=st.integers(0, 2**32),
)


def mac(number: int) -> str:
    return f"00:50:56:00:00:{number:02x}"


def shuffled(lines: list[str], order: int) -> list[str]:
    """Another order of the entries, the same for the same number."""
    return [line for dummy, line in sorted(((hash((order, number)), line) for number, line in enumerate(lines)), key=lambda pair: pair[0])]


def vmx(said: Ledger) -> str:
    entries = [f'scsi0:{number}.present = "TRUE"\nscsi0:{number}.fileName = "d{number}.vmdk"' for number in range(said.disks)]
    for number, kind in enumerate(said.cards):
        lines = [f'ethernet{number}.present = "TRUE"', f'ethernet{number}.networkName = "n{number}"']
        lines += [f'ethernet{number}.generatedAddress = "{mac(number)}"'] if kind != "none" else []
        lines += [f'ethernet{number}.startConnected = "FALSE"'] if kind == "cut" else []
        entries.append("\n".join(lines))
    entries += [
        f'ide{number // 2}:{number % 2}.present = "TRUE"\nide{number // 2}:{number % 2}.fileName = "cd.iso"'
        for number in range(said.drives)
    ]
    entries += [f'{name}0.present = "TRUE"' for name in said.unknown]
    entries += [f'pciPassthru{number}.present = "TRUE"\npciPassthru{number}.id = "x"' for number in range(said.passed)]
    entries += ['checkpoint.vmState = "x.vmss"'] if said.suspended else []
    entries += ['vtpm.present = "TRUE"'] if said.tpm else []
    entries += [f'scsi0:{number}.mode = "independent-nonpersistent"' for number in range(min(said.forgetful, said.disks))]
    entries += ['guestinfo.userdata = "x"'] if said.settings else []
    entries += ['bios.bootOrder = "ethernet0,hdd"'] if said.by_network else []
    if said.extra == "encrypted":
        entries = ['encryption.keySafe = "x"', 'encryption.data = "y"']
    if said.extra == "raw":
        entries.append('scsi1:0.present = "TRUE"\nscsi1:0.fileName = "/dev/sdx"\nscsi1:0.deviceType = "rawDisk"')
    return "\n".join(shuffled(entries, said.order)) + "\n"


def ovf(said: Ledger) -> str:
    items = [
        item(100 + number, "17", f"Parent=3;AddressOnParent={number};HostResource=ovf:/disk/d{number}") for number in range(said.disks)
    ]
    for number, kind in enumerate(said.cards):
        address = f";Address={mac(number)}" if kind != "none" else ""
        cut = ";AutomaticAllocation=false" if kind == "cut" else ""
        items.append(item(200 + number, "10", f"Connection=n{number};ElementName=card{number}{address}{cut}"))
    items += [item(300 + number, "15", f"ElementName=drive{number}") for number in range(said.drives)]
    items += [item(400 + number, "99", f"ElementName={name}") for number, name in enumerate(said.unknown)]
    items += [item(500 + number, "1", f"ElementName=passed{number};ResourceSubType=vmware.pcipassthrough") for number in range(said.passed)]
    items += [item(600, "1", "ResourceSubType=vmware.vtpm")] if said.tpm else []
    count = said.disks + (said.extra == "raw")
    files = "".join(f'<File ovf:id="f{number}" ovf:href="d{number}.vmdk"/>' for number in range(count))
    disks = "".join(f'<Disk ovf:diskId="d{number}" ovf:fileRef="f{number}" ovf:capacity="1"/>' for number in range(count))
    box = '<vbox:Machine ovf:required="false" stateFile="x.sav"/>' if said.suspended else ""
    box += '<vmw:BootOrderSection vmw:instanceId="1" vmw:type="net"/>' if said.by_network else ""
    told = '<vmw:ExtraConfig vmw:key="guestinfo.userdata" vmw:value="x"/>' if said.settings else ""
    system = f'<VirtualSystem ovf:id="a"><VirtualHardwareSection>{CPU}{MEMORY}{BUS}{"".join(shuffled(items, said.order))}{told}</VirtualHardwareSection>{box}'
    other = '</VirtualSystem><VirtualSystem ovf:id="b">' if said.extra == "second" else ""
    locked = "<EncryptionSection/>" if said.extra == "encrypted" else ""
    return f"<Envelope {SPACES}><References>{files}</References><DiskSection>{disks}</DiskSection>{locked}{system}{other}</VirtualSystem></Envelope>"


def vbox(said: Ledger) -> str:
    kinds = ["Immutable" if number < said.forgetful else "Normal" for number in range(said.disks)]
    media = "".join(f'<HardDisk uuid="{{{number}}}" location="d{number}.vmdk" type="{kind}"/>' for number, kind in enumerate(kinds))
    count = said.disks + (said.extra == "raw")
    devices = [f'<AttachedDevice type="HardDisk" port="{number}"><Image uuid="{{{number}}}"/></AttachedDevice>' for number in range(count)]
    devices += [f'<AttachedDevice type="DVD" port="{10 + number}"/>' for number in range(said.drives)]
    cards = []
    for number, kind in enumerate(said.cards):
        address = f' MACAddress="{mac(number).replace(":", "")}"' if kind != "none" else ""
        cut = ' cable="false"' if kind == "cut" else ""
        cards.append(f'<Adapter slot="{number}" enabled="true"{address}{cut}><InternalNetwork name="n{number}"/></Adapter>')
    passed = "".join(f'<Device host="passed{number}"/>' for number in range(said.passed))
    tpm = '<TrustedPlatformModule type="v2_0"/>' if said.tpm else ""
    others = "".join(f"<{name}/>" for name in said.unknown)
    others += '<Boot><Order position="2" device="HardDisk"/><Order position="1" device="Network"/></Boot>' if said.by_network else ""
    if said.extra == "encrypted":
        return "<VirtualBox><MachineEncrypted/></VirtualBox>"
    buses = f'<StorageController name="S" type="AHCI">{"".join(shuffled(devices, said.order))}</StorageController>'
    return (
        f'<VirtualBox><Machine uuid="{{m}}" name="a"{" stateFile=" + chr(34) + "x" + chr(34) if said.suspended else ""}><MediaRegistry><HardDisks>{media}'
        f"</HardDisks></MediaRegistry><Hardware>{tpm}{others}<Network>{''.join(shuffled(cards, said.order))}</Network>"
        f"<HostPci><Devices>{passed}</Devices></HostPci>"
        f"<StorageControllers>{buses}</StorageControllers></Hardware>"
        f"</Machine>{'<Machine/>' if said.extra == 'second' else ''}</VirtualBox>"
    )


# What a description has no words for.
CANNOT = {
    (".ovf", "forgetful"): "DSP0243 has no modes of disks; a package is a new VM's beginning",
    (".vbox", "settings"): "VirtualBox hands nothing to a guest that cloud-init or ignition would read; its guest properties go both ways",
}
WRITERS = {".vmx": vmx, ".ovf": ovf, ".vbox": vbox}


def vsphere(said: Ledger) -> dict[str, object]:
    """The properties of a VM as vSphere's API has them (VirtualMachineConfigInfo, VirtualDevice and its kinds), lists in any order."""
    devices = [
        {
            "_type": "VirtualDisk",
            "key": 2000 + number,
            "controllerKey": 1000,
            "unitNumber": number,
            "capacityInBytes": 1 << 20,
            "deviceInfo": {"label": f"d{number}"},
            "backing": {
                "_type": "VirtualDiskFlatVer2BackingInfo",
                "fileName": f"[ds] a/d{number}.vmdk",
                "diskMode": "independent_nonpersistent" if number < said.forgetful else "persistent",
            },
        }
        for number in range(said.disks)
    ]
    for number, kind in enumerate(said.cards):
        address = {} if kind == "none" else {"macAddress": mac(number)}
        connection = {"startConnected": kind != "cut", "connected": False}  # of a VM that is off
        backing = {"deviceName": f"n{number}"}
        devices.append({"_type": "VirtualVmxnet3", "key": 4000 + number, "backing": backing, "connectable": connection, **address})
    for kind, first, count in (("VirtualCdrom", 3000, said.drives), ("VirtualPCIPassthrough", 13000, said.passed)):
        devices += [{"_type": kind, "key": first + number, "deviceInfo": {"label": f"{kind} {number}"}} for number in range(count)]
    devices += [{"_type": "VirtualDevice", "key": 9000 + number, "deviceInfo": {"label": name}} for number, name in enumerate(said.unknown)]
    devices += [{"_type": "VirtualTPM", "key": 11000}] if said.tpm else []
    if said.extra == "raw":
        rdm = {"_type": "VirtualDiskRawDiskMappingVer1BackingInfo", "fileName": "[ds] a/r.vmdk", "compatibilityMode": "physicalMode"}
        devices.append(
            {"_type": "VirtualDisk", "key": 2999, "controllerKey": 1000, "unitNumber": 60, "capacityInBytes": 512, "backing": rdm}
        )
    order = sorted(range(len(devices)), key=lambda number: hash((said.order, number)))
    controller = {"_type": "ParaVirtualSCSIController", "key": 1000, "busNumber": 0}
    return {
        "name": "a",
        "config.hardware.device": [*(devices[number] for number in order), controller],
        "runtime.powerState": "suspended" if said.suspended else "poweredOff",
        "config.extraConfig": [{"key": "guestinfo.userdata", "value": "x"}] if said.settings else [],
        "config.bootOptions": {"bootOrder": [{"_type": "VirtualMachineBootOptionsBootableEthernetDevice"}] if said.by_network else []},
        **({"config.keyId": {"_type": "CryptoKeyId", "keyId": "x"}} if said.extra == "encrypted" else {}),
    }


BLOCKED = {"encrypted": {"vsphere.encrypted"}, "raw": {"vsphere.rdm-physical"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("vm")
    for number in range(MOST + 1):
        (made / f"d{number}.vmdk").write_bytes(sparse())
    return made


def opened(folder, kind, text):
    (folder / f"vm{kind}").write_text(text)
    return open_source([str(folder / f"vm{kind}")])


def named(vm, code):
    """What the concerns of a code name, which stands at the end of their causes."""
    causes = [concern.cause for concern in vm.concerns if concern.code == code]
    return [name for cause in causes for name in cause.rpartition(": ")[2].rstrip(".").split(", ")]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=LEDGERS)
def test_whatever_is_said_arrives_is_refused_or_told(folder, kind, said):
    expected = REFUSALS.get(said.extra) if not (kind == ".vmx" and said.extra == "second") else None
    if expected is not None:
        with pytest.raises(InvalidInput, match=expected):
            opened(folder, kind, WRITERS[kind](said))
        return
    vm = opened(folder, kind, WRITERS[kind](said))
    names = sorted(os.path.basename(disk.chain.links[0].path) for disk in vm.disks)
    assert names == [f"d{number}.vmdk" for number in range(said.disks)]
    cards = {nic.network: nic.mac for nic in vm.nics}
    assert cards == {f"n{number}": None if card == "none" else mac(number) for number, card in enumerate(said.cards)} and len(cards) == len(
        vm.nics
    )
    assert vm.suspended == said.suspended
    assert len(named(vm, "source.disconnected")) == said.cards.count("cut")
    assert len(named(vm, "source.media")) == said.drives
    assert len(named(vm, "source.passthrough")) == said.passed
    assert len(named(vm, "source.vtpm")[:1]) == said.tpm
    for what, code, count in (
        ("forgetful", "source.disk-mode", min(said.forgetful, said.disks)),
        ("settings", "source.properties", int(said.settings)),
        ("by_network", "source.boot-order", int(said.by_network)),
    ):
        found = named(vm, code)
        assert len(found) == (0 if (kind, what) in CANNOT else count), (what, found)
    devices = named(vm, "source.device")
    assert len(devices) == len(said.unknown) and all(any(name in device for device in devices) for name in said.unknown)
    assert vm.said().concerns == vm.concerns
    assert all(concern.remedy and concern.cause for concern in vm.concerns)


@settings(max_examples=200, deadline=None)
@given(said=LEDGERS)
def test_whatever_vsphere_says_arrives_is_refused_or_told(said):
    """A server describes one VM (`second` is nothing that it could say), and refuses by blockers."""
    record = hardware.record("vm-1", vsphere(said))
    concerns = readiness.concerns(record)
    vm = vsphere_transport.described(record, concerns)
    refused = {concern.code for concern in concerns if concern.severity == BLOCKER}
    assert refused == BLOCKED.get(said.extra, set()) | ({"vsphere.suspended"} if said.suspended else set())
    assert sorted(disk.files[0] for disk in record.disks if not disk.rdm) == [f"[ds] a/d{number}.vmdk" for number in range(said.disks)]
    assert {nic.network: nic.mac for nic in vm.nics} == {f"n{n}": None if kind == "none" else mac(n) for n, kind in enumerate(said.cards)}
    assert len(named(vm, "vsphere.disconnected")) == said.cards.count("cut")
    assert sorted(named(vm, "vsphere.media")) == [f"VirtualCdrom {number}" for number in range(said.drives)]
    assert sorted(named(vm, "vsphere.passthrough")) == [f"VirtualPCIPassthrough {number}" for number in range(said.passed)]
    assert sorted(named(vm, "vsphere.device")) == sorted(said.unknown)
    told = [concern.code for concern in concerns]
    assert told.count("vsphere.disk-mode") == min(said.forgetful, said.disks)
    assert ("vsphere.vtpm" in told, "vsphere.properties" in told, "vsphere.boot-order" in told) == (
        said.tpm,
        said.settings,
        said.by_network,
    )
    assert vm.said().concerns == concerns and {concern.code for concern in concerns} <= set(CONCERNS)


# What a VM of vSphere may have beside its disks and ordinary cards, and the concern that names it. Source: VirtualDevice's kinds in the API reference.
DISK = {
    "_type": "VirtualDisk",
    "key": 2000,
    "controllerKey": 1000,
    "unitNumber": 0,
    "capacityInBytes": 512,
    "deviceInfo": {"label": "Hard disk 1"},
}
FLAT = {"_type": "VirtualDiskFlatVer2BackingInfo", "fileName": "[ds] a/a.vmdk"}
OF_VSPHERE = [
    ({"_type": "VirtualPCIPassthrough", "backing": {"id": "0000:3b:00.0", "deviceName": "GPU"}}, "vsphere.passthrough", "GPU"),
    ({"_type": "VirtualPCIPassthrough", "backing": {"vgpu": "grid_a16-4q"}}, "vsphere.passthrough", "grid_a16-4q"),
    ({"_type": "VirtualSCSIPassthrough", "backing": {"deviceName": "tape"}}, "vsphere.passthrough", "tape"),
    ({"_type": "VirtualUSB", "backing": {"deviceName": "path:1/0/5"}}, "vsphere.passthrough", "path:1/0/5"),
    ({"_type": "VirtualUSBXHCIController"}, "vsphere.usb", "VirtualUSBXHCIController"),
    ({"_type": "VirtualNVDIMM", "deviceInfo": {"label": "NVDIMM 1"}}, "vsphere.nvdimm", "NVDIMM 1"),
    (
        {"_type": "VirtualSerialPort", "deviceInfo": {"label": "Serial 1"}, "backing": {"fileName": "[ds] a/log"}},
        "vsphere.device",
        "[ds] a/log",
    ),
    ({"_type": "VirtualPrecisionClock"}, "vsphere.device", "VirtualPrecisionClock"),
    ({"_type": "VirtualWDT"}, "vsphere.device", "VirtualWDT"),
    ({"_type": "VirtualSriovEthernetCard", "macAddress": mac(9)}, "vsphere.sriov", "card 9"),
    (
        {"_type": "VirtualCdrom", "connectable": {"startConnected": True}, "backing": {"fileName": "[iso] x.iso"}},
        "vsphere.media",
        "[iso] x.iso",
    ),
    ({**DISK, "backing": {**FLAT, "diskMode": "independent_nonpersistent"}}, "vsphere.disk-mode", "Hard disk 1"),
    ({**DISK, "backing": {**FLAT, "diskMode": "independent_persistent"}}, "vsphere.independent-disk", "Hard disk 1"),
    ({**DISK, "backing": {**FLAT, "sharing": "sharingMultiWriter"}}, "vsphere.multi-writer", "Hard disk 1"),
    ({**DISK, "backing": {**FLAT, "keyId": {"keyId": "x"}}}, "vsphere.encrypted", "Hard disk 1"),
    ({**DISK, "virtualDiskFormat": "native_4k", "backing": FLAT}, "vsphere.sectors", "Hard disk 1"),
    ({**DISK, "backing": {**FLAT, "parent": {**FLAT, "fileName": "[ds] golden/g.vmdk"}}}, "vsphere.linked-clone", "[ds] golden/g.vmdk"),
]


@pytest.mark.parametrize(("device", "code", "words"), OF_VSPHERE, ids=lambda value: value if isinstance(value, str) else None)
def test_each_kind_of_device_of_vsphere_is_named(device, code, words):
    devices = [{"key": 9, **device}, {"_type": "VirtualVmxnet3", "key": 4000, "macAddress": mac(1)}]
    devices += [] if device["_type"] == "VirtualDisk" else [{**DISK, "key": 2001, "backing": FLAT}]
    found = readiness.concerns(hardware.record("vm-1", {"name": "a", "config.hardware.device": devices}))
    assert words in next(concern.cause for concern in found if concern.code == code)


@pytest.mark.parametrize("kind", ["VirtualVmxnet3Vrdma", "VirtualEthernetCard", "VirtualVmxnet3", "VirtualNewCard"])
def test_a_card_of_whatever_type_is_a_card(kind):
    backing = {"opaqueNetworkId": "nsx-1"}
    vm = hardware.record("vm-1", {"config.hardware.device": [{"_type": kind, "key": 4000, "macAddress": mac(1), "backing": backing}]})
    assert [(nic.nic.mac, nic.nic.network) for nic in vm.nics] == [(mac(1), "nsx-1")] and vm.devices == ()


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"config.vAppConfig": {"property": [{"id": "ip"}], "ovfEnvironmentTransport": ["com.vmware.guestInfo"]}}, "vsphere.properties"),
        ({"config.extraConfig": [{"key": "guestinfo.userdata", "value": "I2Nsb3Vk"}]}, "vsphere.properties"),
        ({"config.bootOptions": {"bootOrder": [{"_type": "VirtualMachineBootOptionsBootableEthernetDevice"}]}}, "vsphere.boot-order"),
        ({"runtime.faultToleranceState": "running"}, "vsphere.fault-tolerance"),
        ({"snapshot": {"rootSnapshotList": [{"snapshot": "s", "name": "x"}]}}, "vsphere.snapshots"),
        ({"config.keyId": {"keyId": "x"}}, "vsphere.encrypted"),
    ],
)
def test_what_else_vsphere_says_of_a_vm_is_named(properties, code):
    devices = [{**DISK, "backing": FLAT}, {"_type": "VirtualVmxnet3", "key": 4000, "macAddress": mac(1)}]
    found = readiness.concerns(hardware.record("vm-1", {"name": "a", "config.hardware.device": devices, **properties}))
    assert [concern.code for concern in found] == [code]


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_of_nothing_else_is_told_nothing(folder, kind):
    assert opened(folder, kind, WRITERS[kind](Ledger(disks=2, cards=("mac", "none")))).concerns == ()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=LEDGERS, one=st.integers(0, 2**32), other=st.integers(0, 2**32))
def test_the_order_of_what_is_said_means_nothing(folder, kind, said, one, other):
    """But that of cards in an OVF, whose names are no numbers."""
    found = []
    for order in (one, other):
        try:
            vm = opened(
                folder, kind, WRITERS[kind](Ledger(**{**vars(said), "order": order, "cards": said.cards if kind != ".ovf" else ()}))
            )
            found.append(([disk.place.at for disk in vm.disks], vm.nics, sorted(concern.code for concern in vm.concerns)))
        except MigrationError as error:
            found.append(type(error))
    assert found[0] == found[1]
