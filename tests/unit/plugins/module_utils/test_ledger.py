# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of descriptions: whatever a .vmx, an OVF or a .vbox says of a VM is in the machine, refused, or named by a concern.

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

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

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
    """What a description says: disks, cards (with a MAC, without one, not connected), and others by what they are."""

    disks: int = 1
    cards: tuple[str, ...] = ()
    drives: int = 0
    unknown: tuple[str, ...] = ()
    passed: int = 0
    suspended: bool = False
    tpm: bool = False
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
    system = f'<VirtualSystem ovf:id="a"><VirtualHardwareSection>{CPU}{MEMORY}{BUS}{"".join(shuffled(items, said.order))}</VirtualHardwareSection>{box}'
    other = '</VirtualSystem><VirtualSystem ovf:id="b">' if said.extra == "second" else ""
    locked = "<EncryptionSection/>" if said.extra == "encrypted" else ""
    return f"<Envelope {SPACES}><References>{files}</References><DiskSection>{disks}</DiskSection>{locked}{system}{other}</VirtualSystem></Envelope>"


def vbox(said: Ledger) -> str:
    media = "".join(f'<HardDisk uuid="{{{number}}}" location="d{number}.vmdk"/>' for number in range(said.disks))
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


WRITERS = {".vmx": vmx, ".ovf": ovf, ".vbox": vbox}


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
    devices = named(vm, "source.device")
    assert len(devices) == len(said.unknown) and all(any(name in device for device in devices) for name in said.unknown)
    assert vm.said().concerns == vm.concerns
    assert all(concern.remedy and concern.cause for concern in vm.concerns)


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
