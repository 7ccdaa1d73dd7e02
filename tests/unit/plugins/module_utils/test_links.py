# SPDX-License-Identifier: GPL-3.0-or-later
"""Which .link file applies, and that a pin takes effect whatever the administrator has written before it."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.macs import canonical
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import links, names, networkd, rules
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.network import interfaces, plan

MAC, OTHER = canonical("00:50:56:8a:00:01"), canonical("00:50:56:8a:00:02")
DEFAULT = {
    "/usr/lib/systemd/network/99-default.link": "[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep kernel database onboard slot path\n"
}
ETC = "/etc/systemd/network/"
OWN = "[Match]\nMACAddress=00:50:56:8a:00:01\n\n[Link]\nName=ens192\n"


def made(files, null=()):
    guest = MemoryGuest({**DEFAULT, **files})
    stat, listdir = guest.stat, guest.listdir
    guest.stat = lambda path: Stat("link", target="/dev/null") if path in null else stat(path)
    guest.listdir = lambda path: sorted({*listdir(path), *(one.rsplit("/", 1)[1] for one in null if one.rsplit("/", 1)[0] == path)})
    return guest


def pinned(files, null=()):
    changes = plan(made(files, null), (("ens192", MAC),), {}, Findings())
    return {change.path: change.after for change in changes if hasattr(change, "after")}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {f"{ETC}10-hyper2kvm-ens192.link": OWN}),
        # A file of the administrator's for all NICs comes first: ours comes before it, with its settings.
        (
            {f"{ETC}05-mtu.link": "[Match]\nOriginalName=*\n\n[Link]\nMTUBytes=9000\nWakeOnLan=off\nNamePolicy=path\n"},
            {f"{ETC}00-0-hyper2kvm-ens192.link": f"{OWN}MTUBytes=9000\nWakeOnLan=off\n"},
        ),
        # One that would come after ours loses nothing either.
        (
            {f"{ETC}50-mtu.link": "[Match]\nType=ether\n\n[Link]\nMTUBytes=9000\n"},
            {f"{ETC}10-hyper2kvm-ens192.link": f"{OWN}MTUBytes=9000\n"},
        ),
        (
            {f"{ETC}05-x.link": "[Match]\nMACAddress=00:50:56:8A:00:01\n\n[Link]\nMTUBytes=9000\n"},
            {f"{ETC}00-0-hyper2kvm-ens192.link": f"{OWN}MTUBytes=9000\n"},
        ),
        # One that gives the name already is the pin.
        ({f"{ETC}20-lan.link": OWN + "MTUBytes=9000\n"}, {}),
        # What is for other hardware, or for another NIC, applies no more.
        ({f"{ETC}05-x.link": "[Match]\nDriver=vmxnet3\n\n[Link]\nMTUBytes=9000\n"}, {f"{ETC}10-hyper2kvm-ens192.link": OWN}),
        ({f"{ETC}05-x.link": "[Match]\nMACAddress=00:50:56:8A:00:02\n\n[Link]\nMTUBytes=9000\n"}, {f"{ETC}10-hyper2kvm-ens192.link": OWN}),
    ],
)
def test_a_pin_is_the_first_that_applies_and_loses_no_setting(files, expected):
    assert pinned(files) == expected
    assert pinned({**files, **expected}) == {}
    guest = made({**files, **expected})
    first = next(link for link in links.links(guest) if link.applies(MAC, "virtio_net"))
    assert first.name == "ens192"


def test_where_link_files_are_switched_off_a_rule_pins():
    masked = "/etc/udev/rules.d/80-net-setup-link.rules"
    udev = {"/usr/lib/udev/rules.d/80-net-setup-link.rules": "x"}
    for guest in ({"files": udev, "null": (masked,)}, {"files": {**udev, masked: ""}}):
        found = pinned(**guest)
        assert list(found) == [names.PERSISTENT_RULES] and 'NAME="ens192"' in found[names.PERSISTENT_RULES]


def test_a_link_of_the_administrators_follows_a_new_mac_and_stays_the_pin():
    files = {f"{ETC}10-lan.link": f"[Match]\nMACAddress={MAC}\n\n[Link]\nName=lan0\nMTUBytes=9000\n"}
    (change,) = plan(made(files), (("lan0", OTHER),), {MAC: OTHER}, Findings())
    assert change.path == f"{ETC}10-lan.link" and "MTUBytes=9000" in change.after and str(OTHER) in change.after


def test_what_a_rule_does_beside_a_name_stays_as_do_comments():
    path = names.PERSISTENT_RULES
    rule = 'SUBSYSTEM=="net", ATTR{address}=="00:50:56:8a:00:01", NAME="eth7", RUN+="/sbin/ethtool -K $name gro off"\n'
    first = 'SUBSYSTEM=="net", ATTR{address}=="00:50:56:8a:00:01", RUN+="/sbin/ethtool -K $name gro off"\n'
    assert pinned({path: f"{rule}# switched off\n"})[path] == f"{first}# switched off\n"
    assert rules.others('NAME="eth7", RUN+="x", ATTR{address}=="00:50:56:8a:00:01"\n') == 'RUN+="x", ATTR{address}=="00:50:56:8a:00:01"\n'


@pytest.mark.parametrize("name", ["../../../root/x", "a b", "sixteen-letters-", ".", "x:y"])
def test_what_the_kernel_takes_for_no_name_is_none(name):
    given = made({names.PERSISTENT_RULES: f'ATTR{{address}}=="{MAC}", NAME="{name}"\n', f"{ETC}20-x.link": OWN.replace("ens192", name)})
    assert names.persistent_names(given) == {} and names.given_names(given) == set()


def test_other_rules_in_the_file_stay():
    """Where .link files pin, and where a rule does."""
    named = 'SUBSYSTEM=="net", ATTR{address}=="00:50:56:8a:00:01", \\\n  NAME="eth7"\n'
    own = '# for the backup\nSUBSYSTEM=="usb", \\\n  MODE="0660"\n'
    path = names.PERSISTENT_RULES
    assert pinned({path: f"# PCI device\n{named}{own}"})[path] == own
    old = {"/usr/lib/udev/rules.d/80-net-setup-link.rules": "x", "/etc/udev/rules.d/80-net-setup-link.rules": ""}
    written = pinned({path: f"{own}# vmxnet3\n{named}", **old})[path]
    assert own in written and 'NAME="ens192"' in written and "eth7" not in written
    assert path not in pinned({path: f"# PCI device\n{named}"})  # removed as a whole


def test_a_masked_link_is_none():
    guest = made({f"{ETC}70-x.link": OWN}, (f"{ETC}60-y.link",))
    assert [link.path.rsplit("/", 1)[1] for link in links.links(guest)] == ["70-x.link", "99-default.link"]
    assert names.persistent_names(guest) == {MAC: "ens192"}


def test_of_two_link_files_for_a_nic_the_first_counts():
    assert names.persistent_names(made({f"{ETC}20-a.link": OWN, f"{ETC}30-b.link": OWN.replace("ens192", "lan0")})) == {MAC: "ens192"}


def test_a_link_by_address_names_the_nic_that_is_there():
    files = {
        f"{ETC}20-lan.link": "[Match]\nPath=pci-0000:13:00.0\n\n[Link]\nName=lan0\n",
        f"{ETC}30-x.network": "[Match]\nName=lan0\n\n[Network]\nDHCP=yes\n",
    }
    assert interfaces(made(files), [Nic(MAC, slot=192), Nic(OTHER, slot=224)], "id", Findings()) == (("lan0", OTHER),)


@pytest.mark.parametrize("how", ["cmdline", "rule", "link"])
def test_where_nothing_renames_nics_they_are_counted(how):
    cmdline = "ro net.ifnames=0" if how == "cmdline" else "ro"
    files = {
        "/boot/loader/entries/a.conf": f"title x\nlinux /vmlinuz\noptions {cmdline}\n",
        "/etc/systemd/network/x.network": "[Match]\nName=e*\n\n[Network]\nDHCP=yes\n",
    }
    null = {"rule": ("/etc/udev/rules.d/80-net-setup-link.rules",), "link": ("/etc/systemd/network/99-default.link",)}.get(how, ())
    nics = [Nic(MAC, slot=192), Nic(OTHER, slot=160)]
    assert dict(interfaces(made(files, null), nics, "id", Findings())) == {"eth1": MAC, "eth0": OTHER}


def test_keys_that_are_there_several_times_are_one_list():
    """Source: systemd.syntax(7); an empty value begins the list anew."""
    path = "/etc/systemd/network/10-x.link"
    said = f"[Match]\nMACAddress=00:50:56:00:00:09\nMACAddress=\nMACAddress={MAC}\n[Match]\nMACAddress={OTHER}\n[Link]\nName=lan0\n"
    assert names.persistent_names(made({path: said})) == {MAC: "lan0", OTHER: "lan0"}
    (first, second) = networkd.read(
        MemoryGuest({path.replace(".link", ".network"): "[Match]\nName=ens192\nName=ens224\n[Network]\nDHCP=yes\n"})
    )
    assert (first.name, second.name) == ("ens192", "ens224")
