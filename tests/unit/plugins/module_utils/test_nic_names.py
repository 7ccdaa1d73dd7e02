# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest on VMware calls its NICs: slots, addresses, orders, and rules of udev in every spelling. Expected values are VMware's and systemd's."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.macs import canonical
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nic_names import Slot, as_met, in_order
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import rules
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.network import interfaces


def mac(number):
    return canonical(f"00:50:56:8a:00:{number:02x}")


@pytest.mark.parametrize(
    ("number", "address", "names"),
    [
        (32, "0000:02:00.0", {"ens32", "enp2s0", "eno16777728"}),
        (33, "0000:02:01.0", {"ens33", "enp2s1", "eno16777736"}),
        (34, "0000:02:02.0", {"ens34", "eno33554960"}),
        (160, "0000:03:00.0", {"ens160", "enp3s0", "eno16777984", "ens160np0"}),
        (192, "0000:0b:00.0", {"ens192", "enp11s0"}),
        (224, "0000:13:00.0", {"ens224", "enp19s0"}),
        (256, "0000:1b:00.0", {"ens256", "enp27s0"}),
        (1184, "0000:04:00.0", {"ens161", "enp4s0"}),
        (1216, "0000:0c:00.0", {"ens193", "enp12s0"}),
        (1248, "0000:14:00.0", {"ens225", "enp20s0"}),
        (2208, "0000:05:00.0", {"ens162", "enp5s0"}),
    ],
)
def test_a_slot_is_a_bridge_a_device_and_a_function(number, address, names):
    slot = Slot.of(number)
    assert slot.address == address and all(map(slot.called, names))
    assert not any(map(slot.called, ("ens1", "enp1s0", "eth0", "eno1", f"ens{number + 2}", "ensX", "lan0")))


def test_nics_are_counted_by_bridge_and_function():
    nics = [Nic(mac(number), slot=slot) for number, slot in enumerate((192, 224, 256, 1184, 33, 160))]
    assert [nic.slot for nic in in_order(nics)] == [33, 160, 1184, 192, 224, 256]
    assert in_order([*nics, Nic(mac(9))]) == (*nics, Nic(mac(9)))
    assert in_order([nics[0], nics[0]]) == (nics[0], nics[0])


def test_what_goes_with_nics_comes_in_their_order_at_the_source():
    """By MAC, or by number where a NIC has got another MAC. 1216 is a function of bridge 6, after 192; 224 and 256 are bridges 7 and 8."""
    nics = [Nic(mac(number), slot=slot) for number, slot in enumerate((256, 192, 1216, 224))]
    assert as_met(nics, [mac(number) for number in range(4)], "abcd") == ["b", "c", "d", "a"]
    assert as_met(nics, [mac(3), mac(2), mac(1), mac(0)], "dcba") == ["b", "c", "d", "a"]
    assert as_met(nics, [mac(number) for number in range(10, 14)], "abcd") == ["b", "c", "d", "a"]
    assert as_met(nics, [mac(0), mac(1)], "ab") == ["a", "b"]


RULES = {
    "the installer's": (
        'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="00:50:56:8A:00:01", ATTR{type}=="1", KERNEL=="eth*", NAME="eth5"\n',
        ("eth5", mac(1), ""),
    ),
    "ATTRS": ('SUBSYSTEM=="net", ATTRS{address}=="00:50:56:8a:00:01", NAME="lan0"\n', ("lan0", mac(1), "")),
    "SYSFS of old udev": ('SUBSYSTEM=="net", SYSFS{address}=="00:50:56:8a:00:01", NAME="lan0"\n', ("lan0", mac(1), "")),
    "blanks and a final assignment": (
        'ACTION == "add" , SUBSYSTEM == "net" , ATTR{address} == "00:50:56:8a:00:01" , NAME := "lan0"\n',
        ("lan0", mac(1), ""),
    ),
    "a name before the match": ('NAME="lan0", SUBSYSTEM=="net", ATTR{address}=="00:50:56:8a:00:01"\n', ("lan0", mac(1), "")),
    "a line that goes on": ('SUBSYSTEM=="net", \\\n ATTR{address}=="00:50:56:8a:00:01", \\\n NAME="lan0"\n', ("lan0", mac(1), "")),
    "an address of PCI": ('SUBSYSTEM=="net", ACTION=="add", KERNELS=="0000:0b:00.0", NAME="lan0"\n', ("lan0", None, "0000:0b:00.0")),
    "a driver": ('SUBSYSTEM=="net", DRIVERS=="vmxnet3", NAME="lan0"\n', ("lan0", None, "")),
    "a pattern": ('SUBSYSTEM=="net", DRIVERS=="vmxnet3", NAME="lan%n"\n', None),
    "a comment": ('# SUBSYSTEM=="net", ATTR{address}=="00:50:56:8a:00:01", NAME="lan0"\n', None),
    "a disk": ('SUBSYSTEM=="block", KERNEL=="sda", NAME="x"\n', None),
    "no name": ('SUBSYSTEM=="net", ATTR{address}=="00:50:56:8a:00:01", RUN+="x"\n', None),
    "not this MAC": ('SUBSYSTEM=="net", ATTR{address}!="00:50:56:8a:00:01", NAME="lan0"\n', ("lan0", None, "")),
}


@pytest.mark.parametrize("case", RULES)
def test_rules_that_name_nics(case):
    text, expected = RULES[case]
    found = [(rule.name, rule.mac, rule.address) for rule in rules.parse("x", text)]
    assert found == ([expected] if expected else [])


IFCFG = "/etc/sysconfig/network-scripts/ifcfg-"


def found(names, nics, **files):
    profiles = {f"{IFCFG}{name}": f"DEVICE={name}\nBOOTPROTO=dhcp\n" for name in names}
    findings = Findings()
    made = MemoryGuest({**profiles, **files})
    return dict(interfaces(made, nics, "id", findings)), [concern.code for concern in findings.concerns]


FOUR = [Nic(mac(1), slot=192), Nic(mac(2), slot=224), Nic(mac(3), slot=256), Nic(mac(4), slot=1184)]


def test_four_nics_by_the_names_of_their_slots():
    names = {"ens192": mac(1), "ens224": mac(2), "ens256": mac(3), "ens161": mac(4)}
    assert found(names, FOUR) == (names, [])


def test_a_nic_without_a_profile_does_not_take_anothers():
    names = {"ens192": mac(1), "ens224": mac(2), "ens256": mac(3), "ens161": mac(4)}
    assert found(names, [*FOUR, Nic(mac(5), slot=1216), Nic(mac(6), slot=1248)]) == (names, [])


def test_names_that_count_do_so_in_the_order_of_pci():
    assert found(["eth0", "eth1", "eth2", "eth3"], FOUR) == ({"eth0": mac(4), "eth1": mac(1), "eth2": mac(2), "eth3": mac(3)}, [])
    assert found(["eth0", "eth3"], FOUR)[0] == {"eth0": mac(4), "eth3": mac(3)}
    assert found(["em1", "em2"], FOUR[:2]) == ({"em1": mac(1), "em2": mac(2)}, [])


def test_without_slots_an_order_is_only_assumed():
    nics = [Nic(mac(1)), Nic(mac(2))]
    assert found(["enp11s0", "enp3s0"], nics) == ({"enp3s0": mac(1), "enp11s0": mac(2)}, ["network.assumed-order"])


def test_a_rule_by_address_names_the_nic_that_is_there():
    rule = 'SUBSYSTEM=="net", ACTION=="add", KERNELS=="0000:13:00.0", NAME="lan0"\n'
    assert found(["lan0"], FOUR[:2], **{"/etc/udev/rules.d/90-my.rules": rule})[0] == {"lan0": mac(2)}


def test_rules_in_any_file_are_read_before_names_are_given():
    rule = "".join(
        f'ACTION=="add", SUBSYSTEM=="net", ATTR{{address}}=="{address}", NAME="{name}", SUBSYSTEMS=="pci"\n'
        for name, address in (("eth0", mac(2)), ("eth1", mac(1)))
    )
    assert found(["eth0", "eth1"], FOUR[:2], **{"/etc/udev/rules.d/60-net.rules": rule}) == ({"eth0": mac(2), "eth1": mac(1)}, [])


def test_of_two_names_of_a_slot_the_one_in_use_counts():
    profiles = {f"{IFCFG}enp11s0": "DEVICE=enp11s0\nONBOOT=no\nBOOTPROTO=dhcp\n"}
    assert found(["ens192"], FOUR[:1], **profiles) == ({"ens192": mac(1)}, [])
    assert found(["ens192", "enp11s0"], FOUR[:1])[0]["ens192"] == mac(1)


def test_the_name_of_another_slot_is_not_given_by_order():
    names, dummy = found(["ens192", "ens256"], FOUR[:2])
    assert names == {"ens192": mac(1)}


def test_a_pattern_has_the_name_that_the_slot_gives():
    network = "[Match]\nName=ens*\n\n[Network]\nAddress=192.0.2.40/24\n"
    assert found([], FOUR[:1], **{"/etc/systemd/network/10-x.network": network}) == ({"ens192": mac(1)}, [])
    assert found([], FOUR[:1], **{"/etc/systemd/network/10-x.network": network.replace("ens*", "enp*")}) == ({"enp11s0": mac(1)}, [])
