# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that match NICs by the old hardware match those of the new: as the same files would be written for it by hand."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.macs import canonical
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import matches, names
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.network import interfaces, plan

MACS = [canonical(f"00:50:56:8a:00:0{number}") for number in (1, 2)]
NICS = [Nic(MACS[0], slot=192), Nic(MACS[1], slot=224)]
NETWORK, NETPLAN, NM = (
    "/etc/systemd/network/10-x.network",
    "/etc/netplan/50-x.yaml",
    "/etc/NetworkManager/system-connections/x.nmconnection",
)
ALL = "/usr/lib/systemd/network/80-ec2.network"


def networkd(match):
    return f"[Match]\n{match}\n\n[Network]\nDHCP=yes\nDriver=none\n"


def keyfile(match):
    return f"[connection]\nid=x\nuuid=1\ntype=ethernet\n\n[match]\n{match}\n\n[ipv4]\nmethod=auto\ndriver=vmxnet3\n"


def netplan(match):
    return f"network:\n  version: 2\n  ethernets:\n    lan:\n      match: {match}\n      dhcp4: true\n"


# what is written where, and what it becomes; None where it stays
MATCHES = {
    "networkd by driver": (NETWORK, networkd("Driver=vmxnet3"), networkd("Driver=virtio_net")),
    "networkd by several drivers": (NETWORK, networkd("Driver = ena ixgbevf vif"), networkd("Driver = virtio_net")),
    "networkd by a driver of both": (NETWORK, networkd("Driver=vmxnet3 virtio_net"), None),
    "networkd by anything but a driver": (NETWORK, networkd("Driver=!vmxnet3"), None),
    "networkd by a pattern": (NETWORK, networkd("Driver=vmxnet*"), networkd("Driver=virtio_net")),
    "netplan by a pattern": (NETPLAN, netplan("{driver: vmxnet*}"), netplan("{driver: virtio_net}")),
    "a comment in netplan": (NETPLAN, netplan("{name: ens192}  # driver: vmxnet3"), None),
    "networkd by another driver": (NETWORK, networkd("Driver=mlx5_core"), None),
    "networkd by hypervisor": (NETWORK, networkd("Name=ens192\nVirtualization=vmware"), networkd("Name=ens192\nVirtualization=vm")),
    "networkd on anything but": (NETWORK, networkd("Name=ens192\nVirtualization=!microsoft"), None),
    "networkd by address": (NETWORK, networkd("Path=pci-0000:0b:00.0"), networkd("Name=ens192")),
    "networkd by two addresses": (NETWORK, networkd("Path=pci-0000:0b:00.0 pci-0000:13:00.0"), networkd("Name=ens192 ens224")),
    "netplan by driver": (NETPLAN, netplan("{driver: vmxnet3}"), netplan("{driver: virtio_net}")),
    "netplan by drivers": (NETPLAN, netplan("{driver: [vmxnet3, e1000]}"), netplan("{driver: virtio_net}")),
    "netplan in quotes": (NETPLAN, netplan('{driver: "hv_netvsc"}'), netplan("{driver: virtio_net}")),
    "netplan over lines": (NETPLAN, netplan("\n        driver: hv_netvsc"), netplan("\n        driver: virtio_net")),
    "netplan by another driver": (NETPLAN, netplan("{driver: mlx5*}"), None),
    "NetworkManager by driver": (NM, keyfile("driver=vmxnet3;"), keyfile("driver=virtio_net;")),
    "NetworkManager by one of several": (NM, keyfile("driver=|vmxnet3;|e1000;"), keyfile("driver=virtio_net;")),
    "NetworkManager by a driver that must be": (NM, keyfile("driver=&vmxnet3"), keyfile("driver=virtio_net")),
    "NetworkManager by one of several addresses": (NM, keyfile("path=|pci-0000:0b:00.0;"), keyfile("interface-name=ens192;")),
    "NetworkManager by anything but a driver": (NM, keyfile("driver=!vmxnet3;"), None),
    "NetworkManager by address": (NM, keyfile("path=pci-0000:0b:00.0;"), keyfile("interface-name=ens192;")),
}


@pytest.mark.parametrize("case", MATCHES)
def test_a_match_of_the_old_hardware_is_one_of_the_new(case):
    path, before, after = MATCHES[case]
    guest, findings = MemoryGuest({path: before}), Findings()
    pairs = interfaces(guest, NICS, "id", findings)
    found = {change.path: change.after for change in plan(guest, pairs, {}, findings) if change.path == path}
    assert found == ({path: after} if after else {})
    again = MemoryGuest({path: after or before})
    assert not [change for change in plan(again, pairs, {}, findings) if change.path == path] and not findings.concerns


def test_what_the_distribution_brings_along_is_replaced_and_not_edited():
    guest = MemoryGuest({ALL: networkd("Driver=ena ixgbevf")})
    assert {change.path: (change.before, change.after) for change in plan(guest, (), {}, Findings())} == {
        "/etc/systemd/network/80-ec2.network": (None, networkd("Driver=virtio_net"))
    }
    guest.files["/etc/systemd/network/80-ec2.network"] = networkd("Driver=virtio_net").encode()
    assert plan(guest, (), {}, Findings()) == []


@pytest.mark.parametrize(
    "files",
    [
        {NETWORK: networkd("Path=pci-0000:99:00.0")},
        {NETWORK: networkd("Driver=vmxnet3"), NETWORK.replace("x", "y"): networkd("Driver=e1000")},
        {NM: keyfile("path=pci-0000:99:00.0;")},
        {NETWORK: networkd("Driver=vmxnet*"), NETWORK.replace("x", "y"): networkd("Driver=e1000*")},
        {NM: keyfile("driver=vmxnet3;"), NM.replace("/x", "/y"): keyfile("driver=e1000;")},
        {NM: keyfile("driver=e1000;!virtio_net")},
        {NM: keyfile("path=pci-0000:0b:00.0;\ninterface-name=ens*")},
    ],
)
def test_what_cannot_be_told_is_a_blocker_and_stays(files):
    findings = Findings()
    assert plan(MemoryGuest(files), (), {}, findings) == []
    assert {(concern.code, concern.severity) for concern in findings.concerns} == {("network.driver-match", "blocker")}


def test_a_profile_by_driver_is_how_the_nic_comes_up():
    for driver in ("vmxnet3", "virtio_net"):
        (nic,) = names.nics(names.profiles(MemoryGuest({NETWORK: networkd(f"Driver={driver}")})), [("", MACS[0])], "virtio_net")
        assert nic.method == "dhcp"


@pytest.mark.parametrize("own", ["[Match]\nName=ens192\n", Stat("link", target="/dev/null")])
def test_what_the_administrator_has_replaced_or_masked_matches_nothing(own):
    path = "/usr/lib/systemd/network/50-x.network"
    guest = MemoryGuest({path: networkd("Path=pci-0000:0b:00.0"), path.replace("/usr/lib", "/etc"): own})
    findings = Findings()
    assert not plan(guest, (), {}, findings) and not findings.concerns


def test_a_new_mac_and_a_new_driver_in_one_file_are_one_change():
    new = canonical("52:54:00:00:00:01")
    before = netplan(f"{{macaddress: '{MACS[0]}', driver: vmxnet3}}")
    (change,) = plan(MemoryGuest({NETPLAN: before}), (), {MACS[0]: new}, Findings())
    assert (change.before, change.after) == (before, netplan(f"{{macaddress: '{new}', driver: virtio_net}}"))


@pytest.mark.parametrize(("model", "driver"), [("virtio", "virtio_net"), ("e1000e", "e1000e")])
def test_the_new_driver_is_that_of_the_nic_that_the_vm_gets(model, driver):
    assert matches.driver_of(model) == driver
    guest = MemoryGuest({NETWORK: networkd("Driver=vmxnet3")})
    (change,) = plan(guest, (), {}, Findings(), driver)
    assert change.after == networkd(f"Driver={driver}") and not matches.is_old(driver, driver)
