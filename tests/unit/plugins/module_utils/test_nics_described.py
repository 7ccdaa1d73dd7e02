# SPDX-License-Identifier: GPL-3.0-or-later
"""Every NIC of the source is in the description of the VM, once, in its order, on the network that its own becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine, Nic, NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.macs import canonical
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import Converted, DiskSaid, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nics import made, whole
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import domains
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Facts

DISKS = (Converted("/a.qcow2", "qcow2"),)


def mac(number):
    return canonical(f"00:50:56:8a:00:{number:02x}")


def described(nics, facts=(), networks=(("LAN", "lan"), ("DMZ", "dmz"))):
    vm = VmSaid(Machine("web01", "ovf", nics=tuple(nics)))
    made_of = domains.describe("web01", vm, Facts(os="linux", nics=tuple(facts)), DISKS, "final", "default", "", dict(networks))
    return [(nic.mac, nic.network) for nic in made_of.nics]


def test_nics_without_a_mac_are_not_left_out():
    """Of 292 real OVFs 281 record no MAC."""
    found = described([Nic(None, "LAN"), Nic(None, "DMZ")])
    assert [network for dummy, network in found] == ["lan", "dmz"] and len({address for address, dummy in found}) == 2
    assert found == described([Nic(None, "LAN"), Nic(None, "DMZ")])


def test_a_nic_that_the_guest_does_not_configure_is_not_left_out():
    nics = [Nic(mac(1), "LAN"), Nic(mac(2), "DMZ")]
    facts = whole(nics, [NicFacts(mac(2), "ens224", "dhcp")], {}, "web01")
    assert described(nics, facts) == [(mac(1), "lan"), (mac(2), "dmz")]


def test_a_new_mac_stays_on_the_network_of_the_old_one():
    nics = [Nic(mac(1), "LAN"), Nic(mac(2), "DMZ")]
    new = {mac(1): mac(9), mac(2): mac(8)}
    facts = whole(nics, [NicFacts(mac(8), "ens224", "dhcp")], new, "web01")
    assert described(nics, facts) == [(mac(9), "lan"), (mac(8), "dmz")]


def test_nics_that_the_operator_names_keep_their_networks():
    """They stand for those of the source in their order, whatever slots these are in."""
    nics = [Nic(None, "LAN", slot=224), Nic(None, "DMZ", slot=192)]
    facts = whole([Nic(mac(7), "LAN"), Nic(mac(8), "DMZ")], (), {}, "web01")
    assert sorted(described(nics, facts)) == [(mac(7), "lan"), (mac(8), "dmz")]


def test_nics_stand_in_the_order_in_which_a_kernel_met_them():
    nics = [Nic(mac(1), "LAN", slot=192), Nic(mac(2), "DMZ", slot=1184)]
    assert described(nics) == [(mac(2), "dmz"), (mac(1), "lan")]


def test_an_order_that_only_the_guest_knows_is_said():
    vm = VmSaid(Machine("web01", "ovf", nics=(Nic(None, "LAN"), Nic(None, "DMZ"))))
    facts = Facts(os="linux", nics=(NicFacts(mac(1), "ens192", "dhcp"), NicFacts(mac(2), "ens224", "dhcp")))
    assert [concern.code for concern in domains.assumed(vm, facts)] == ["network.assumed-order"]
    assert domains.assumed(vm, Facts(os="unknown", nics=(NicFacts(mac(1)), NicFacts(mac(2))))) == ()
    alike = VmSaid(Machine("web01", "ovf", nics=(Nic(None, "LAN"), Nic(None, "LAN"))))
    assert domains.assumed(alike, facts) == ()


def test_a_nic_that_the_operator_leaves_out_is_told():
    vm = VmSaid(Machine("web01", "ovf", nics=(Nic(mac(1), "LAN"), Nic(mac(2), "DMZ"))))
    of = domains.describe("web01", vm, Facts(os="linux", nics=(NicFacts(mac(1)),)), DISKS, "final", "default", "")
    (concern,) = domains.left_out(vm, of)
    assert concern.code == "network.left-out" and f"{mac(2)} on DMZ" in concern.cause and mac(1) not in concern.cause
    new = domains.describe("web01", vm, Facts(os="linux", nics=(NicFacts(mac(1)), NicFacts(mac(9)))), DISKS, "final", "default", "")
    assert domains.left_out(vm, new) == ()


def test_a_result_for_each_disk_is_described():
    vm = VmSaid(Machine("web01", "ovf"), (DiskSaid(), DiskSaid()))
    with pytest.raises(InvalidInput, match="web01 has 2 disks, and 1 results"):
        domains.require_each_disk(vm, Facts(), DISKS)
    domains.require_each_disk(vm, Facts(boot_disk=1), DISKS * 2)
    domains.require_each_disk(VmSaid(), Facts(), DISKS)
    with pytest.raises(InvalidInput, match="starts from disk 1"):
        domains.require_each_disk(VmSaid(), Facts(boot_disk=1), DISKS)


NICS = st.lists(st.builds(Nic, st.one_of(st.none(), st.integers(1, 5).map(mac))), max_size=5).filter(
    lambda nics: len([nic.mac for nic in nics if nic.mac]) == len({nic.mac for nic in nics if nic.mac})
)
KNOWN = st.lists(st.integers(1, 9), max_size=5, unique=True).map(
    lambda numbers: [NicFacts(mac(number), f"eth{number}") for number in numbers]
)


@given(NICS, KNOWN)
def test_none_is_lost_none_is_twice_and_none_changes_its_mac(nics, known):
    found = whole(nics, known, {}, "web01")
    assert len({one.mac for one in found}) == len(found) >= len(nics)
    assert all(one.mac == nic.mac for one, nic in zip(found, nics) if nic.mac)
    assert {one.mac for one in known} <= {one.mac for one in found}
    assert [one.mac for one in whole(nics, (), {}, "web01")] == [nic.mac or made("web01", number) for number, nic in enumerate(nics)]
