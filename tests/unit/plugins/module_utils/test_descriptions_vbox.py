# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of .vbox files, one a row."""

from __future__ import annotations

import pytest
from descriptions import Got, Refused, Rule, Told, folder_with_disks, holds

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import UnsafeInput

SCHEMA, MANUAL = "VirtualBox-settings.xsd", "VirtualBox's user manual"
MEDIA = '<HardDisk uuid="{a}" location="a.vmdk" format="VMDK" type="Normal"/>'
SECOND = '<HardDisk uuid="{b}" location="b.vmdk" format="VMDK" type="Normal"/>'
FIRST = ("a.vmdk", "sata", 0, 0)


def attached(uuid: str = "a", port: int = 0, kind: str = "HardDisk", more: str = "", device: int = 0) -> str:
    return f'<AttachedDevice type="{kind}" port="{port}" device="{device}"{more}><Image uuid="{{{uuid}}}"/></AttachedDevice>'


def bus(inside: str = attached(), kind: str = "AHCI", name: str = "SATA") -> str:
    return f'<StorageController name="{name}" type="{kind}">{inside}</StorageController>'


def vbox(more: str = "", buses: str = bus(), media: str = MEDIA, machine: str = "", beside: str = "") -> str:
    return (
        '<?xml version="1.0"?><VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">'
        f'<Machine uuid="{{6d0e5a51-1111-2222-3333-444444444444}}" name="web01" OSType="Debian_64"{machine}><MediaRegistry><HardDisks>{media}</HardDisks>'
        f'</MediaRegistry><Hardware><CPU count="2"/><Memory RAMSize="2048"/>{more}<StorageControllers>{buses}</StorageControllers></Hardware></Machine>{beside}'
        "</VirtualBox>"
    )


def card(attributes: str, inside: str = "<NAT/>", slot: int = 0) -> str:
    return f'<Adapter slot="{slot}" {attributes} type="virtio">{inside}</Adapter>'


def network(*cards: str) -> str:
    return vbox(f"<Network>{''.join(cards)}</Network>")


RULES = [
    *(
        Rule(
            f"a controller {kind} is {name}",
            f"{SCHEMA}, TStorageControllerType",
            vbox(buses=bus(kind=kind)),
            Got(disks=[("a.vmdk", name, 0, 0)]),
        )
        for kind, name in (
            ("AHCI", "sata"),
            ("PIIX4", "ide"),
            ("ICH6", "ide"),
            ("LsiLogic", "scsi"),
            ("LsiLogicSas", "scsi"),
            ("BusLogic", "scsi"),
            ("VirtioSCSI", "scsi"),
            ("NVMe", "nvme"),
        )
    ),
    Rule("a disk on USB is a disk", f"{SCHEMA}, TStorageControllerType", vbox(buses=bus(kind="USB")), Got(disks=[("a.vmdk", None, 0, 0)])),
    Rule(
        "a disk of IDE is at channel and device",
        MANUAL,
        vbox(buses=bus(attached(port=1, device=1), "PIIX4")),
        Got(disks=[("a.vmdk", "ide", 0, 3)]),
    ),
    Rule(
        "a drive is told",
        f"{SCHEMA}, TAttachedDevice",
        vbox(buses=bus(attached() + '<AttachedDevice type="DVD" port="1" device="0"/>')),
        Told("source.media", "SATA DVD"),
    ),
    Rule(
        "a drive of the host may be passed through",
        f"{SCHEMA}, passthrough",
        vbox(buses=bus(attached() + attached("h", 1, "DVD", ' passthrough="true"'))),
        Told("source.passthrough", "SATA DVD"),
    ),
    Rule(
        "a device that nobody knows is told",
        "the project's rule",
        vbox(buses=bus(attached() + attached("h", 1, "Tape"))),
        Told("source.device", "SATA Tape"),
    ),
    Rule(
        "a disk that the settings do not list is refused",
        f"{SCHEMA}, MediaRegistry",
        vbox(buses=bus(attached("z"))),
        Refused("does not list"),
    ),
    Rule(
        "a disk of the list that nothing has is told", f"{SCHEMA}, MediaRegistry", vbox(media=MEDIA + SECOND), Told("source.file", "b.vmdk")
    ),
    Rule(
        "a snapshot is refused",
        f"{MANUAL}, Snapshots",
        vbox(buses=bus(attached("b")), media=MEDIA.replace("/>", f">{SECOND}</HardDisk>")),
        Refused("runs on a snapshot"),
    ),
    Rule(
        "an immutable disk is told",
        f"{MANUAL}, Special Image Write Modes",
        vbox(media=MEDIA.replace("Normal", "Immutable")),
        Told("source.disk-mode", "a.vmdk"),
    ),
    Rule(
        "images that go on from a disk of the VM are told",
        f"{SCHEMA}, TDifferencingHardDisk",
        vbox(media=MEDIA.replace("/>", '><HardDisk uuid="{c}" location="Snapshots/{c}.vmdk" format="VMDK"/></HardDisk>')),
        Told("source.snapshots", "Snapshots/"),
    ),
    Rule(
        "a start from the network is told",
        f"{SCHEMA}, TBootOrder",
        vbox(
            '<Boot><Order position="1" device="Floppy"/><Order position="2" device="Network"/><Order position="3" device="HardDisk"/></Boot>'
        ),
        Told("source.boot-order", "network"),
    ),
    Rule(
        "a shareable disk is told",
        f"{MANUAL}, Special Image Write Modes",
        vbox(media=MEDIA.replace("Normal", "Shareable")),
        Told("source.shared-disk", "a.vmdk"),
    ),
    Rule(
        "a disk may lie in a folder of the VM",
        f"{MANUAL}, Snapshots: their folder is below",
        vbox(media=MEDIA.replace("a.vmdk", "disks/d.vmdk")),
        Got(disks=[("d.vmdk", "sata", 0, 0)]),
    ),
    Rule(
        "a disk elsewhere is refused",
        "the project's rule",
        vbox(media=MEDIA.replace("a.vmdk", "/srv/a.vmdk")),
        Refused("plain file name", UnsafeInput),
    ),
    Rule(
        "an encrypted disk is refused",
        f"{MANUAL}, Disk Encryption",
        vbox(media=MEDIA.replace("/>", '><Property name="CRYPT/KeyId" value="k"/></HardDisk>')),
        Refused("a.vmdk .*is encrypted"),
    ),
    Rule(
        "encrypted settings are refused",
        f"{MANUAL}, Encryption of VMs",
        "<VirtualBox><MachineEncrypted/></VirtualBox>",
        Refused("is encrypted"),
    ),
    Rule("a saved state is one", f"{SCHEMA}, stateFile", vbox(machine=' stateFile="Snapshots/x.sav"'), Got(suspended=True)),
    Rule("a second machine is refused", f"{SCHEMA}, VirtualBox", vbox(beside="<Machine/>"), Refused("describes 2 machines")),
    Rule(
        "cards are in the order of their slots",
        f"{SCHEMA}, TNetworkAdapter",
        network(
            card('enabled="true" MACAddress="080027000002"', slot=1),
            card('enabled="true" MACAddress="080027000001"', '<BridgedInterface name="eth0"/>'),
        ),
        Got(nics=[("08:00:27:00:00:01", "eth0", "virtio"), ("08:00:27:00:00:02", "", "virtio")]),
    ),
    Rule(
        "a card that is switched off is none",
        f"{SCHEMA}, enabled",
        network(card('enabled="false" MACAddress="080027000001"')),
        Got(nics=[], codes=[]),
    ),
    Rule(
        "a flag may be a number",
        "XML Schema 2, xs:boolean",
        network(card('enabled="1" MACAddress="080027000001"')),
        Got(nics=[("08:00:27:00:00:01", "", "virtio")], codes=[]),
    ),
    Rule(
        "a card without its cable is told",
        f"{SCHEMA}, cable",
        network(card('enabled="true" cable="false"')),
        Told("source.disconnected", "slot 0"),
    ),
    Rule(
        "a device of the host is told",
        f"{SCHEMA}, HostPci",
        vbox('<HostPci><Devices><Device host="0000:01:00.0" guest="0"/></Devices></HostPci>'),
        Told("source.passthrough", "0000:01:00.0"),
    ),
    Rule(
        "a device of USB that is caught is told",
        f"{SCHEMA}, DeviceFilter",
        vbox('<USB><DeviceFilters><DeviceFilter name="Dongle" active="true"/></DeviceFilters></USB>'),
        Told("source.passthrough", "USB Dongle"),
    ),
    Rule("a TPM is told", f"{SCHEMA}, TrustedPlatformModule", vbox('<TrustedPlatformModule type="v2_0"/>'), Told("source.vtpm")),
    Rule("no TPM is not", f"{SCHEMA}, TrustedPlatformModule", vbox('<TrustedPlatformModule type="None"/>'), Got(codes=[])),
    Rule(
        "a serial port is told",
        f"{SCHEMA}, UART",
        vbox('<UART><Port slot="0" enabled="true"/><Port slot="1" enabled="false"/></UART>'),
        Told("source.device", "serial port."),
    ),
    Rule(
        "a shared folder is told",
        f"{SCHEMA}, SharedFolders",
        vbox('<SharedFolders><SharedFolder name="home" hostPath="/home"/></SharedFolders>'),
        Told("source.device", "shared folder home"),
    ),
    Rule("hardware that nobody knows is told", "the project's rule", vbox("<FluxCapacitor/>"), Told("source.device", "FluxCapacitor")),
    Rule("EFI is said by its kind", f"{SCHEMA}, TFirmwareType", vbox('<Firmware type="EFI64"/>'), Got(firmware="uefi")),
    Rule("a VM without a number of CPUs has one", f"{SCHEMA}, TCPU", vbox().replace(' count="2"', ""), Got(cpus=1, memory=2048)),
    Rule(
        "up to 1.14 the controllers stand beside the hardware",
        f"{SCHEMA}, 1.14",
        vbox()
        .replace("<StorageControllers>", "</Hardware><StorageControllers>")
        .replace("</StorageControllers></Hardware>", "</StorageControllers>"),
        Got(disks=[FIRST]),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_a_vbox_follows_its_rules(tmp_path, rule):
    holds(folder_with_disks(tmp_path), rule, "vm.vbox")


def test_each_row_is_another_rule():
    assert len({rule.rule for rule in RULES}) == len(RULES) and all(rule.source for rule in RULES)
