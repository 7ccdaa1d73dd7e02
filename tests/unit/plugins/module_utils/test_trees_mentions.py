# SPDX-License-Identifier: GPL-3.0-or-later
"""A card keeps its name and its profile whatever else is mentioned somewhere: by a command, a stale command line, or a file that nothing starts."""

from __future__ import annotations

import pytest
from fixtures import KVER, MAC
from test_trees_names import ANYWHERE, MAIN, TWO, comes_up
from test_trees_network import IFACE, NET, NETWORKD, NM, RH, card
from treerules import LINKS, OTHER, guest, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.network import interfaces

STATIC = "auto ens192\niface ens192 inet static\n address 10.0.0.2/24\n"
UP = comes_up("ens192", "static", "ifupdown", MAIN, ("10.0.0.2/24",))
KEYFILE = "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=manual\naddress1=10.0.0.2/24\n"
ENTRY = f"linux /boot/vmlinuz-{KVER}\noptions root=UUID=07 "
RESCUE = f"title rescue\nlinux /boot/vmlinuz-{KVER}\noptions root=UUID=07 ip=eth0:dhcp\n"
LOADER = "/boot/loader/entries"
SERVICE = Stat("link", 30, target="/usr/lib/systemd/system/netctl@.service")
WANTS = "/etc/systemd/system/multi-user.target.wants"


def beside(name, source, files=None, content=STATIC, cards=(ANYWHERE,)):
    """The stanza of ens192 with something beside it, for a card of which no source says where it is."""
    return card(name, source, {MAIN: content, **(files or {})}, "ens192", cards=cards, more=UP)


MENTIONS = [
    beside(
        "a rule of a firewall", f"iptables(8), -o; {IFACE}, up", None, f"{STATIC} up iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE\n"
    ),
    beside("an offload of another card", f"ethtool(8); {IFACE}, up", None, f"{STATIC} up ethtool -K eth7 tso off\n", cards=(TWO[0],)),
    beside("a stanza that nothing starts", f"{IFACE}, auto", None, f"{STATIC}iface eth0 inet dhcp\n"),
    beside("the command line", "dracut.cmdline(7), ip=", {f"{LOADER}/a.conf": f"{ENTRY}ip=eth0:dhcp\n"}),
    beside(
        "dracut's next command line", "dracut.conf(5), kernel_cmdline", {"/etc/dracut.conf.d/n.conf": 'kernel_cmdline="ip=eth0:dhcp"\n'}
    ),
    beside("initramfs-tools", "initramfs.conf(5), DEVICE", {"/etc/initramfs-tools/initramfs.conf": "DEVICE=eth0\n"}),
    beside("a service of netifrc", "netifrc, net.lo", {"/etc/init.d/net.eth0": Stat("link", 6, target="net.lo")}),
    beside("a configuration of netifrc", "netifrc, net.example", {"/etc/conf.d/net": 'config_eth0="dhcp"\n'}),
    beside("an example of netctl", "netctl(1), enable", {"/etc/netctl/eth": "Interface=eth0\nConnection=ethernet\nIP=dhcp\n"}),
    beside(
        "a profile that is not brought up",
        "nm-settings-ifcfg-rh(5), ONBOOT",
        {f"{RH}/ifcfg-eth0": "DEVICE=eth0\nONBOOT=no\nBOOTPROTO=dhcp\n"},
    ),
    card(
        "the entry for a rescue",
        "Boot Loader Specification, sorting; dracut.cmdline(7), ip=",
        {f"{NM}/x": KEYFILE, f"{LOADER}/a.conf": f"title z\n{ENTRY}\n", f"{LOADER}/0-rescue.conf": RESCUE},
        "ens192",
        cards=(ANYWHERE,),
        more=comes_up("ens192", "static", "networkmanager", f"{NM}/x", ("10.0.0.2/24",)),
    ),
    card(
        "a pattern goes on to fit",
        f"{NETWORKD}, [Match] Name=; dracut.cmdline(7), ip=",
        {f"{NET}/a.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n", f"{LOADER}/a.conf": f"{ENTRY}ip=eth0:dhcp\n"},
        cards=(ANYWHERE,),
        more=comes_up("", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    card(
        "a pattern goes on to fit the first card by its slot",
        f"{NETWORKD}, [Match] Name=; {IFACE}, auto",
        {f"{NET}/a.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n", MAIN: "iface eth0 inet dhcp\n"},
        "ens192",
        more=comes_up("ens192", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    card(
        "nothing but a mention",
        f"ethtool(8); {IFACE}, up",
        {MAIN: "auto lo\niface lo inet loopback\n up ethtool -K eth0 tso off\n"},
        "eth0",
        cards=(ANYWHERE,),
    ),
    card(
        "a third card beside two",
        f"iptables(8), -o; {IFACE}, up",
        {MAIN: f"{STATIC}auto ens224\niface ens224 inet dhcp\n up iptables -A FORWARD -o eth0 -j ACCEPT\n"},
        "ens192",
        "ens224",
        cards=(ANYWHERE, Nic(OTHER)),
    ),
    card(
        "a mapping with one definition and a mention",
        f"{IFACE}, mapping",
        {MAIN: "auto ens192\nmapping ens192\n script /bin/echo\niface home inet dhcp\n up ethtool -K eth7 tso off\n"},
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN),
    ),
]
NETCTL = [
    card(
        "a profile with a dash in its name",
        "systemd.unit(5), STRING ESCAPING; netctl(1), enable",
        {
            "/etc/netctl/my-lan": "Interface=ens192\nConnection=ethernet\nIP=static\nAddress=('10.0.0.2/24')\n",
            "/etc/netctl/alt": "Interface=ens192\nConnection=ethernet\nIP=dhcp\n",
            f"{WANTS}/netctl@my\\x2dlan.service": SERVICE,
        },
        "ens192",
        more=comes_up("ens192", "static", "netctl", "/etc/netctl/my-lan", ("10.0.0.2/24",)),
    ),
    card(
        "a profile with a space and a letter beyond ASCII in its name",
        "systemd-escape(1): C-style \\x escapes",
        {
            "/etc/netctl/b\u00fcro lan": "Interface=ens192\nConnection=ethernet\nIP=static\nAddress=('10.0.0.2/24')\n",
            "/etc/netctl/alt": "Interface=ens192\nConnection=ethernet\nIP=dhcp\n",
            f"{WANTS}/netctl@b\\xc3\\xbcro\\x20lan.service": SERVICE,
        },
        "ens192",
        more=comes_up("ens192", "static", "netctl", "/etc/netctl/b\u00fcro lan", ("10.0.0.2/24",)),
    ),
    card(
        "a unit of dhcpcd for one card",
        "dhcpcd@.service of Arch: dhcpcd -q -w %I; systemd.unit(5)",
        {f"{WANTS}/dhcpcd@ens192.service": Stat("link", 40, target="/usr/lib/systemd/system/dhcpcd@.service")},
        "ens192",
        cards=(ANYWHERE,),
        more=comes_up("ens192", "dhcp", "dhcpcd", f"{WANTS}/dhcpcd@ens192.service"),
    ),
]


@pytest.mark.parametrize("rule", rules(MENTIONS, NETCTL))
def test_a_card_keeps_its_name(rule):
    holds(rule)
    found = interfaces(guest(rule), rule.nics, "id", findings := Findings())
    assert found == rule.facts.get("interfaces", found)
    assert [concern.code for concern in findings.concerns] == (["network.assumed-order"] if len(rule.nics) > 1 else [])


BARE = {
    "a command": {MAIN: f"{STATIC} up iptables -A FORWARD -o eth0 -j ACCEPT\n"},
    "a command line": {MAIN: STATIC, f"{LOADER}/a.conf": f"{ENTRY}ip=eth0:dhcp\n"},
    "the next command line": {MAIN: STATIC, "/etc/default/grub": 'GRUB_CMDLINE_LINUX="bond=bond0:eth0,eth1"\n'},
    "netifrc": {MAIN: STATIC, "/etc/conf.d/net": 'config_eth0="dhcp"\n'},
}


@pytest.mark.parametrize("case", BARE)
def test_a_mention_makes_no_card_for_a_bare_disk(case):
    findings = Findings()
    found = interfaces(MemoryGuest({**LINKS, **BARE[case]}), (), "id", findings)
    assert [name for name, dummy in found] == ["ens192"] and not findings.concerns


def test_a_bare_disk_gets_the_card_that_only_its_command_line_names():
    found = interfaces(MemoryGuest({**LINKS, "/etc/cmdline.d/net.conf": "ip=ens192:dhcp\n"}), (), "id", Findings())
    assert [name for name, dummy in found] == ["ens192"]


def test_a_card_that_is_known_by_its_mac_has_it_whatever_is_mentioned():
    files = {
        f"{NET}/a.network": f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=yes\n",
        "/etc/netctl/eth": "Interface=eth0\nConnection=ethernet\n",
    }
    findings = Findings()
    assert interfaces(MemoryGuest({**LINKS, **files}), (Nic(None),), "id", findings) == (("", MAC),) and not findings.concerns
