# SPDX-License-Identifier: GPL-3.0-or-later
"""Which card a profile is for where more than its name decides it: what ifupdown makes of names and commands, bonds over several files, and patterns that
fit nothing.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures import KVER, MAC
from test_trees_network import CARD, IFACE, KEYFILE, NET, NETWORKD, NM, PLAN, SECOND, card
from treerules import LINKS, OTHER, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic, NicFacts

MAIN, BRIDGE = "/etc/network/interfaces", "bridge-utils-interfaces(5), bridge_ports"
TWO = (CARD, SECOND)
ANYWHERE = Nic(MAC)  # a card of which no source says where it is
NO_CARD, UNDECIDED = ("network.no-card", "warning"), ("network.undecided", "warning")


def comes_up(name, how, backend, path, addresses=(), on="", gateway=""):
    return {"nics": (NicFacts(MAC, name, how, addresses, gateway, backend, path, on),)}


def interfaces(name, source, content, *names, **more):
    return card(name, source, {MAIN: content}, *names, **more)


def network(name, source, match, *names, **more):
    return card(name, source, {f"{NET}/a.network": f"[Match]\n{match}\n[Network]\nDHCP=yes\n"}, *names, **more)


IFUPDOWN = [
    interfaces(
        "several are renamed",
        f"{IFACE}, rename CUR=NEW ...",
        "rename ens192=lan0 ens224=wan0\nauto lan0 wan0\niface lan0 inet dhcp\niface wan0 inet dhcp\n",
        "ens192",
        "ens224",
        cards=TWO,
    ),
    interfaces(
        "a bond of renamed cards",
        f"{IFACE}, rename; ifenslave, README.Debian",
        "rename ens192=a0 ens224=b0\nauto bond0\niface bond0 inet dhcp\n bond-slaves a0 b0\n",
        "ens192",
        "ens224",
        cards=TWO,
    ),
    interfaces(
        "a VLAN on a renamed card",
        f"{IFACE}, rename; VLAN INTERFACES",
        "rename ens192=a0\nauto a0.5\niface a0.5 inet dhcp\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="a0.5"),
    ),
    interfaces(
        "renamed by a pattern of names",
        f"{IFACE}, PATTERN MATCHING INTERFACES",
        "rename /ens*=lan0\nauto lan0\niface lan0 inet dhcp\n",
        "ens192",
    ),
    interfaces(
        "renamed by MAC",
        f"{IFACE}, PATTERN MATCHING INTERFACES: mac",
        f"rename mac/{MAC}=lan0\nauto lan0\niface lan0 inet dhcp\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN),
    ),
    interfaces(
        "renamed by what /sys says",
        f"{IFACE}, PATTERN MATCHING INTERFACES: any filename in /sys/class/net",
        "rename type/1=lan0\nauto lan0\niface lan0 inet dhcp\n",
        concerns=(UNDECIDED,),
    ),
    interfaces(
        "started by the definition of another name",
        f"{IFACE}, INTERFACE SELECTION: [=LOGICAL]",
        "auto ens192=home\niface home inet static\n address 10.0.0.2/24\n",
        "ens192",
        more=comes_up("ens192", "static", "ifupdown", MAIN, ("10.0.0.2/24",)),
    ),
    interfaces(
        "started by a pattern and the definition of another name",
        f"{IFACE}, auto /eth*=eth",
        "auto /ens*=lan\niface lan inet dhcp\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN),
    ),
    interfaces(
        "a pattern that fits no card",
        f"{IFACE}, auto /eth*=eth",
        "auto /eth*=lan\niface lan inet dhcp\n",
        concerns=(NO_CARD,),
    ),
    interfaces(
        "a mapping by a pattern",
        f"{IFACE}, mapping: a pattern in shell glob syntax",
        "allow-hotplug ens192\nmapping ens*\n script /usr/local/sbin/where\n map home work\niface home inet dhcp\niface work inet manual\n",
        "ens192",
        concerns=(("network.undecided", "info"),),
    ),
    interfaces(
        "a mapping with one definition",
        f"{IFACE}, mapping",
        "auto ens192\nmapping ens192\n script /bin/echo\niface home inet dhcp\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN),
    ),
]
BONDED = {
    "nics": (
        NicFacts(MAC, "ens192", "dhcp", (), "", "ifupdown", MAIN, "bond0"),
        NicFacts(OTHER, "ens224", "none", (), "", "ifupdown", MAIN),
    )
}
COMMANDS = [
    interfaces(
        "ifenslave in post-up",
        "ifenslave(8); interfaces(5), post-up",
        "auto bond0\niface bond0 inet dhcp\n pre-up modprobe bonding\n post-up /sbin/ifenslave -f bond0 ens192 ens224\n"
        " pre-down ifenslave -d bond0 ens192 ens224\n",
        "ens192",
        "ens224",
        cards=TWO,
        more=BONDED,
    ),
    interfaces(
        "ip link set master, of the card's own stanza",
        "ip-link(8), set master; interfaces(5), IFACE",
        "auto ens192\niface ens192 inet manual\n up ip link set $IFACE master bond0\niface bond0 inet dhcp\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="bond0"),
    ),
    interfaces(
        "ip link set dev master, of the bridge's stanza",
        "ip-link(8), set master",
        "auto br0\niface br0 inet dhcp\n pre-up ip link add $IFACE type bridge || true\n up ip link set dev ens192 up && ip link set dev ens192 master br0\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="br0"),
    ),
    interfaces(
        "brctl addif",
        "brctl(8), addif",
        "auto br0\niface br0 inet dhcp\n up brctl addif br0 ens192\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="br0"),
    ),
    interfaces(
        "+card into bonding/slaves",
        "kernel, bonding.rst, Adding and Removing Slaves",
        "auto bond0\niface bond0 inet dhcp\n up echo +ens192 > /sys/class/net/bond0/bonding/slaves\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="bond0"),
    ),
    interfaces(
        "ip link add of a VLAN",
        "ip-link(8), add type vlan",
        "auto v5\niface v5 inet dhcp\n pre-up ip link add link ens192 name v5 type vlan id 5\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="v5"),
    ),
    interfaces(
        "vconfig add of a VLAN",
        "vconfig(8), VLAN_PLUS_VID_NO_PAD",
        "auto vlan5\niface vlan5 inet dhcp\n pre-up vconfig add ens192 5\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="vlan5"),
    ),
    interfaces(
        "a port of Open vSwitch",
        "ovs-vsctl(8), add-port",
        "auto ovs0\niface ovs0 inet dhcp\n up ovs-vsctl --may-exist add-port ovs0 ens192\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="ovs0"),
    ),
    interfaces(
        "a bridge that another command names",
        "ovs-vsctl(8), add-port BRIDGE PORT; dash(1), Command Substitution",
        "auto ens192\niface ens192 inet dhcp\n up ovs-vsctl add-port $(cat /etc/bridge) ens192\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN),
    ),
    interfaces(
        "a loop over cards",
        "dash(1), for",
        "auto bond0\niface bond0 inet dhcp\n up for i in ens192 ens224; do ifenslave bond0 $i; done\n",
        "ens192",
        "ens224",
        cards=TWO,
        more=BONDED,
    ),
    interfaces(
        "a card that is only named",
        "ethtool(8)",
        "auto lo\niface lo inet loopback\n up ethtool -K ens192 tso off\n",
        "ens192",
    ),
    interfaces(
        "words that begin like names of cards",
        "ip-link(8)",
        "auto ens192\niface ens192 inet dhcp\n up /usr/local/bin/ensure-enough --enp ethernet\n",
        "ens192",
    ),
]
PORTS = [
    interfaces(
        "a VLAN without a stanza",
        "bridge-utils, bridge-utils.sh: create_vlan_port",
        "auto br0\niface br0 inet dhcp\n bridge_ports ens192.7\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "ifupdown", MAIN, on="br0"),
    ),
    interfaces(
        "expressions up to noregex",
        f"{BRIDGE}: regex (eth|vif).*",
        "auto br0\niface br0 inet static\n address 10.0.0.2/24\n bridge_ports regex (eth|ens1)[0-9]+ noregex ens224\n",
        "ens192",
        "ens224",
        cards=TWO,
        more={
            "nics": (
                NicFacts(MAC, "ens192", "static", ("10.0.0.2/24",), "", "ifupdown", MAIN, "br0"),
                NicFacts(OTHER, "ens224", "none"),
            )
        },
    ),
    interfaces(
        "an expression that no card fits",
        f"{BRIDGE}: regex",
        "auto br0\niface br0 inet dhcp\n bridge_ports regex eth.*\n",
        concerns=(NO_CARD,),
    ),
    replace(
        interfaces(
            "all cards",
            f'{BRIDGE}: "all" is short for "regex eth.* noregex"',
            "auto br0\niface br0 inet dhcp\n bridge_ports all\n",
            "eth0",
            more=comes_up("eth0", "dhcp", "ifupdown", MAIN, on="br0"),
        ),
        files={
            **LINKS,
            MAIN: "auto br0\niface br0 inet dhcp\n bridge_ports all\n",
            "/boot/loader/entries/a.conf": f"linux /boot/vmlinuz-{KVER}\noptions root=UUID=07 net.ifnames=0\n",
        },
    ),
    interfaces("no port", f'{BRIDGE}: "none"', "auto br0\niface br0 inet dhcp\n bridge_ports none\n"),
]
ACROSS = [
    card(
        "a bond and its cards in files of their own",
        f"{IFACE}, source; ifenslave, README.Debian: bond-master",
        {
            MAIN: "source interfaces.d/*\n",
            "/etc/network/interfaces.d/bond0": "auto bond0\niface bond0 inet static\n address 10.0.0.2/24\n",
            "/etc/network/interfaces.d/ens192": "auto ens192\niface ens192 inet manual\n bond-master bond0\n",
        },
        "ens192",
        more=comes_up("ens192", "static", "ifupdown", "/etc/network/interfaces.d/bond0", ("10.0.0.2/24",), "bond0"),
    ),
    interfaces(
        "an address of a template",
        f"{IFACE}, INTERFACE TEMPLATES",
        "iface base inet static\n address 10.0.0.2/24\n gateway 10.0.0.1\nauto ens192\niface ens192 inet static inherits base\n mtu 9000\n",
        "ens192",
        more=comes_up("ens192", "static", "ifupdown", MAIN, ("10.0.0.2/24",), "", "10.0.0.1"),
    ),
    interfaces(
        "an address of a template of a template",
        f"{IFACE}, INTERFACE TEMPLATES: extend them",
        "iface net inet static\n address 10.0.0.2/24\n netmask 255.0.0.0\niface base inet static inherits net\n gateway 10.0.0.1\n"
        "auto ens192\niface ens192 inet static inherits base\n mtu 9000\niface x inet static inherits y\niface y inet static inherits x\n",
        "ens192",
        more=comes_up("ens192", "static", "ifupdown", MAIN, ("10.0.0.2/24",), "", "10.0.0.1"),
    ),
    card(
        "every card in a bond",
        f"{NETWORKD}, [Network] Bond=",
        {
            f"{NET}/a.netdev": "[NetDev]\nName=bond0\nKind=bond\n",
            f"{NET}/a.network": "[Match]\nType=ether\nKind=!*\n[Network]\nBond=bond0\n",
            f"{NET}/b.network": "[Match]\nName=bond0\n[Network]\nDHCP=yes\n",
        },
        more=comes_up("", "dhcp", "networkd", f"{NET}/b.network", on="bond0"),
    ),
    card(
        "a card by MAC in a bridge",
        f"{NETWORKD}, [Network] Bridge=",
        {
            f"{NET}/a.netdev": "[NetDev]\nName=br0\nKind=bridge\n",
            f"{NET}/a.network": f"[Match]\nMACAddress={MAC}\n[Network]\nBridge=br0\n",
            f"{NET}/b.network": "[Match]\nName=br0\n[Network]\nDHCP=yes\n",
        },
        "ens192",
        more=comes_up("ens192", "dhcp", "networkd", f"{NET}/b.network", on="br0"),
    ),
]
PATTERNS = [
    network("a pattern that nothing fits", f"{NETWORKD}, [Match] Name=", "Name=eno*", concerns=(NO_CARD,)),
    network("a pattern of the kernel's names", "systemd.net-naming-scheme(7)", "Name=eth*", concerns=(NO_CARD,)),
    network("patterns of which one fits", f"{NETWORKD}, [Match] Name=", "Name=eno* ens*", "ens192"),
    network("a pattern for wireless cards", f"{NETWORKD}, [Match] Name=", "Name=wl*"),
    network("a pattern for what programs make", f"{NETWORKD}, [Match] Name=", "Name=veth*"),
    network(
        "a pattern where nobody knows the slot",
        "systemd.net-naming-scheme(7), ID_NET_NAME_SLOT",
        "Name=ens*",
        cards=(ANYWHERE,),
        concerns=(NO_CARD,),
    ),
    network(
        "any name of Ethernet, where nobody knows the slot",
        "systemd.net-naming-scheme(7)",
        "Name=en*",
        cards=(ANYWHERE,),
        more=comes_up("", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    card(
        "netplan's pattern that nothing fits",
        f"{PLAN}, match: name",
        {"/etc/netplan/a.yaml": "network: {ethernets: {all: {match: {name: 'eno*'}, dhcp4: true}}}\n"},
        concerns=(NO_CARD,),
    ),
    card(
        "netplan's pattern where nobody knows the slot",
        f"{PLAN}, match: name",
        {"/etc/netplan/a.yaml": "network: {ethernets: {all: {match: {name: 'ens*'}, dhcp4: true}}}\n"},
        cards=(ANYWHERE,),
        concerns=(NO_CARD,),
    ),
    card(
        "NetworkManager's pattern that nothing fits",
        f"{KEYFILE}, match.interface-name",
        {f"{NM}/a.nmconnection": "[connection]\ntype=ethernet\n[match]\ninterface-name=eno*\n[ipv4]\nmethod=auto\n"},
        concerns=(NO_CARD,),
    ),
    replace(
        network("a pattern where names only count", "systemd.net-naming-scheme(7), net.ifnames=0", "Name=en*", concerns=(NO_CARD,)),
        files={
            **LINKS,
            f"{NET}/a.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n",
            "/boot/loader/entries/a.conf": f"linux /boot/vmlinuz-{KVER}\noptions root=UUID=07 net.ifnames=0\n",
        },
    ),
]


@pytest.mark.parametrize("rule", rules(IFUPDOWN, COMMANDS, PORTS, ACROSS, PATTERNS))
def test_the_card_that_a_profile_is_for(rule):
    holds(rule)
