# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards, firmware and controllers of an OVF, as VirtualBox, VMware and oVirt write them beside what the standard says."""

from __future__ import annotations

import pytest
from test_hostile_descriptions import (
    BOTH,
    BUS,
    envelope,
    opened,
    system,
)

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput


def card(number, address="", config=""):
    return f"<Item><InstanceID>{number}</InstanceID><ResourceType>10</ResourceType><Connection>NAT</Connection>{address}{config}</Item>"


def box(*macs, firmware=""):
    cards = "".join(
        f'<Adapter slot="{slot}" enabled="true" MACAddress="{mac}" type="virtio"/>' for slot, mac in reversed(list(enumerate(macs)))
    )
    return f'<Machine uuid="{{x}}"><Hardware>{firmware}<Network>{cards}<Adapter slot="7" MACAddress="080027000009"/></Network></Hardware></Machine>'


def with_box(cards, machine):
    return envelope(system(hardware=BUS + BOTH + cards)).replace("</VirtualSystem>", f"{machine}</VirtualSystem>")


ADDRESS = "<Address>00-50-56-AA-BB-CC</Address>"
OF_OVIRT = (
    "<rasd:OtherResourceType/><rasd:ResourceSubType>3</rasd:ResourceSubType><rasd:Linked>true</rasd:Linked><rasd:Name>nic1</rasd:Name>"
    "<rasd:ElementName>nic1</rasd:ElementName><rasd:MACAddress>56:6f:1a:2b:00:01</rasd:MACAddress><rasd:speed>10000</rasd:speed>"
    "<Type>interface</Type><Device>bridge</Device><rasd:Address>{type=pci, slot=0x03, bus=0x00, domain=0x0000, function=0x0}</rasd:Address>"
).replace("rasd:", "")


@pytest.mark.parametrize(
    ("cards", "machine", "macs"),
    [
        (card(7) + card(8), box("080027000001", "080027000002"), ["08:00:27:00:00:01", "08:00:27:00:00:02"]),
        (card(7, ADDRESS) + card(8), box("080027000001", "080027000002"), ["00:50:56:aa:bb:cc", "08:00:27:00:00:02"]),
        ("", box("080027000001"), ["08:00:27:00:00:01"]),
        (card(7) + card(8), box("080027000001"), [None, None]),  # which of them it is cannot be told
        (card(7, "<Address>7</Address>"), "", [None]),
        (card(7, OF_OVIRT), "", ["56:6f:1a:2b:00:01"]),
        (card(7, "<MACAddress>00:00:00:00:00:00</MACAddress>"), "", [None]),
        (card(7, OF_OVIRT) + card(8), box("080027000001", "080027000002"), ["56:6f:1a:2b:00:01", "08:00:27:00:00:02"]),
    ],
)
def test_virtualbox_says_the_macs_in_its_own_section(tmp_path, cards, machine, macs):
    assert [nic.mac for nic in opened(tmp_path, with_box(cards, machine)).nics] == macs


def test_a_card_with_two_macs_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="two values of MACAddress"):
        opened(tmp_path, with_box(card(7, OF_OVIRT + "<MACAddress>56:6f:1a:2b:00:02</MACAddress>"), ""))


@pytest.mark.parametrize(
    ("element", "config", "firmware"),
    [
        ('<Firmware type="EFI"/>', "", "uefi"),
        ('<Firmware type="EFI64"/>', "", "uefi"),
        ('<Firmware type="BIOS"/>', "", "bios"),
        ("", "", None),
        ('<Firmware type="EFI"/>', '<Config key="firmware" value="EFI"/>', "uefi"),
        ("", '<Config key="firmware" value="bios"/>', "bios"),
    ],
)
def test_virtualbox_says_the_firmware_in_its_own_section(tmp_path, element, config, firmware):
    assert opened(tmp_path, with_box(config, box(firmware=element))).firmware == firmware


def test_virtualbox_and_vmware_must_say_one_firmware(tmp_path):
    with pytest.raises(InvalidInput, match="'bios' and as 'efi'"):
        opened(tmp_path, with_box('<Config key="firmware" value="bios"/>', box(firmware='<Firmware type="EFI"/>')))


def test_a_card_has_the_slot_that_vmware_gives_it(tmp_path):
    cards = card(7, config='<Config key="slotInfo.pciSlotNumber" value="192"/><Config key="wakeOnLanEnabled" value="true"/>') + card(8)
    assert [nic.slot for nic in opened(tmp_path, with_box(cards, "")).nics] == [192, None]


def test_the_virtio_controller_of_virtualbox_is_scsi_as_in_its_settings(tmp_path):
    virtio = BUS.replace("6</ResourceType>", "20</ResourceType><ResourceSubType>VirtioSCSI</ResourceSubType>")
    assert {disk.place.bus for disk in opened(tmp_path, envelope(system(hardware=virtio + BOTH))).disks} == {"scsi"}
