# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that match a card by its MAC match it by its name, and all else in them stays."""

from __future__ import annotations

import pytest
from cards import BY_MAC, KEYFILE, MAC, NET, NM, OTHER

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import by_name


@pytest.mark.parametrize("case", BY_MAC)
def test_a_profile_by_mac_becomes_one_by_name_and_keeps_all_else(case):
    path, before, after = BY_MAC[case]
    found = {path: new for path, old, new in by_name.rewritten(MemoryGuest({path: before}), {MAC: "ens192"}) if old != new}
    assert found == ({path: after} if after else {})
    assert not [1 for dummy, old, new in by_name.rewritten(MemoryGuest({path: after or before}), {MAC: "ens192"}) if old != new]


def test_a_mac_in_decimal_numbers_is_one():
    decimal = "".join(f"{int(digits, 16)};" for digits in MAC.split(":"))
    before = KEYFILE.format(name="", mac=f"mac-address={decimal}\n")
    assert list(by_name.rewritten(MemoryGuest({f"{NM}x": before}), {MAC: "ens192"})) == [
        (f"{NM}x", before, KEYFILE.format(name="interface-name=ens192\n", mac=""))
    ]


# What comes before a file with the MAC of the card, and whether that one is for the card.
BEFORE = {
    "the card's own, by name": ("[Match]\nName=ens192\n[Network]\nVLAN=v5\n", False),
    "by a pattern": ("[Match]\nName=en* eth*\n[Network]\nBridge=br0\n", False),
    "by what it is not": ("[Match]\nName=!lo veth*\n[Network]\nDHCP=yes\n", False),
    "by its MAC": (f"[Match]\nPermanentMACAddress={MAC}\n[Network]\nVLAN=v5\n", False),
    "another card's": (f"[Match]\nName=ens224\nMACAddress={OTHER}\n[Network]\nDHCP=yes\n", True),
    "a bridge's": (f"[Match]\nType=bridge\nMACAddress={MAC}\n[Network]\nDHCP=yes\n", True),
}


@pytest.mark.parametrize("case", BEFORE)
def test_a_file_after_that_of_the_card_is_for_what_lies_on_it(case):
    first, free = BEFORE[case]
    guest = MemoryGuest(
        {f"{NET}10-nic.network": first, f"{NET}20-v5.network": f"[Match]\nMACAddress={MAC}\n[Network]\nAddress=192.0.2.2/24\n"}
    )
    assert (f"{NET}20-v5.network" in {path for path, dummy, new in by_name.rewritten(guest, {MAC: "ens192"})}) == free


def test_a_file_of_the_distributions_own_is_replaced_and_not_edited():
    path = "/usr/lib/systemd/network/a.network"
    assert list(by_name.rewritten(MemoryGuest({path: BY_MAC["networkd"][1]}), {MAC: "ens192"})) == [
        (f"{NET}a.network", None, BY_MAC["networkd"][2])
    ]
