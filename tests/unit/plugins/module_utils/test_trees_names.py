# SPDX-License-Identifier: GPL-3.0-or-later
"""Which card a profile is for where more than its name decides it: what ifupdown makes of names, commands, patterns that fit nothing, refusals and drop-ins of
networkd.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures import KVER, MAC
from test_trees_network import CARD, IFACE, KEYFILE, LINK, NET, NETWORKD, NM, PLAN, SECOND, card
from treerules import LINKS, OTHER, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic, NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

MAIN = "/etc/network/interfaces"
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
REFUSALS = [
    network("all but the loopback", f"{NETWORKD}, [Match] Name=!", "Name=!lo", more=comes_up("", "dhcp", "networkd", f"{NET}/a.network")),
    network(
        "all but a card goes on to refuse that card",
        f"{NETWORKD}, [Match] Name=!",
        "Name=!ens192",
        "ens192",
        more={"nics": (NicFacts(MAC, "ens192"),)},
    ),
    network(
        "a list with ! before it is refused as a whole",
        f"{NETWORKD}, [Match] Name=: the test is inverted",
        "Name=!ens192 ens224",
        "ens192",
        "ens224",
        cards=TWO,
        more={"nics": (NicFacts(MAC, "ens192"), NicFacts(OTHER, "ens224"))},
    ),
    network(
        "a refused pattern goes on to refuse",
        f"{NETWORKD}, [Match] Name=!",
        "Name=!ens*",
        "ens192",
        more={"nics": (NicFacts(MAC, "ens192"),)},
    ),
    network("a refusal on a line of its own", f"{NETWORKD}, [Match] Name=", "Name=en*\nName=!eno1", "ens192"),
    card(
        "NetworkManager refuses a name",
        f"{KEYFILE}, match.interface-name: !foo",
        {f"{NM}/a.nmconnection": "[connection]\ntype=ethernet\n[match]\ninterface-name=!ens192;\n[ipv4]\nmethod=auto\n"},
        "ens192",
        more={"nics": (NicFacts(MAC, "ens192"),)},
    ),
]
TYPES = [
    network("no loopback", f"{NETWORKD}, [Match] Type=!", "Type=!loopback", more=comes_up("", "dhcp", "networkd", f"{NET}/a.network")),
    network("hardware alone", f"{NETWORKD}, [Match] Kind=!", "Kind=!*", more=comes_up("", "dhcp", "networkd", f"{NET}/a.network")),
    network("wireless cards", f"{NETWORKD}, [Match] Type=", "Type=wlan", more={"nics": (NicFacts(MAC),)}),
    network("inside containers", f"{NETWORKD}, [Match] Virtualization=", "Virtualization=container", more={"nics": (NicFacts(MAC),)}),
    network(
        "without a match it is every card",
        f"{NETWORKD}, [MATCH]: the file will match all interfaces",
        "",
        more=comes_up("", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    network("a type and a name", f"{NETWORKD}, [Match]", "Type=ether\nName=ens192", "ens192"),
    network("a property of udev's", f"{NETWORKD}, [Match] Property=", "Property=ID_MODEL_ID=0x07b0", concerns=(UNDECIDED,)),
]
DROP_INS = [
    card(
        "a drop-in for a file of the distribution",
        f"{NETWORKD}, drop-ins: wherever located",
        {
            "/usr/lib/systemd/network/a.network": "[Match]\nName=ens192\n",
            f"{NET}/a.network.d/b.conf": "[Network]\nAddress=10.0.0.2/24\n",
        },
        "ens192",
        more=comes_up("ens192", "static", "networkd", "/lib/systemd/network/a.network", ("10.0.0.2/24",)),
    ),
    card(
        "of drop-ins of one name that in /etc counts",
        f"{NETWORKD}, drop-ins: /etc/ take precedence over those in /run/",
        {
            f"{NET}/a.network": "[Match]\nName=ens192\n",
            "/usr/lib/systemd/network/a.network.d/b.conf": "[Network]\nAddress=10.0.0.4/24\n",
            "/run/systemd/network/a.network.d/b.conf": "[Network]\nAddress=10.0.0.3/24\n",
            f"{NET}/a.network.d/b.conf": "[Network]\nAddress=10.0.0.2/24\n",
        },
        "ens192",
        more=comes_up("ens192", "static", "networkd", f"{NET}/a.network", ("10.0.0.2/24",)),
    ),
    card(
        "a drop-in in /run counts before one in /usr",
        f"{NETWORKD}, drop-ins: those in /run/ which in turn take precedence",
        {
            f"{NET}/a.network": "[Match]\nName=ens192\n",
            "/usr/lib/systemd/network/a.network.d/b.conf": "[Network]\nAddress=10.0.0.4/24\n",
            "/run/systemd/network/a.network.d/b.conf": "[Network]\nAddress=10.0.0.3/24\n",
        },
        "ens192",
        more=comes_up("ens192", "static", "networkd", f"{NET}/a.network", ("10.0.0.3/24",)),
    ),
    card(
        "a masked drop-in",
        f"{NETWORKD}, /dev/null",
        {
            f"{NET}/a.network": "[Match]\nName=ens192\n[Network]\nDHCP=yes\n",
            "/usr/lib/systemd/network/a.network.d/b.conf": "[Network]\nDHCP=no\n",
            f"{NET}/a.network.d/b.conf": Stat("link", 9, target="/dev/null"),
        },
        "ens192",
        more=comes_up("ens192", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    card(
        "the last word counts",
        f"{NETWORKD}, drop-ins: parsed after the main file",
        {f"{NET}/a.network": "[Match]\nName=ens192\n[Network]\nDHCP=no\n", f"{NET}/a.network.d/b.conf": "[Network]\nDHCP=yes\n"},
        "ens192",
        more=comes_up("ens192", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    card(
        "a drop-in matches another card",
        "systemd.syntax(7), an empty value; systemd.network(5), drop-ins",
        {
            f"{NET}/a.network": "[Match]\nName=eno1\n[Network]\nDHCP=yes\n",
            f"{NET}/a.network.d/b.conf": "[Match]\nName=\nName=ens192\n",
        },
        "ens192",
    ),
    card(
        "a driver of the old hardware in a drop-in",
        f"{NETWORKD}, drop-ins and Driver=",
        {
            f"{NET}/a.network": "[Network]\nDHCP=yes\n",
            "/usr/lib/systemd/network/a.network.d/b.conf": "[Match]\nDriver=vmxnet3\n",
        },
        after={f"{NET}/a.network.d/b.conf": "[Match]\nDriver=virtio_net\n"},
    ),
    card(
        "an empty file masks",
        f"{NETWORKD}, file size 0",
        {
            "/usr/lib/systemd/network/a.network": "[Match]\nName=ens224\n[Network]\nDHCP=yes\n",
            f"{NET}/a.network": "",
            f"{NET}/b.network": "[Match]\nName=ens192\n[Network]\nDHCP=yes\n",
        },
        "ens192",
    ),
    card(
        "a file of /usr/local",
        f"{NETWORKD}, /usr/local/lib/systemd/network",
        {"/usr/local/lib/systemd/network/a.network": "[Match]\nName=ens192\n[Network]\nDHCP=yes\n"},
        "ens192",
    ),
    Rule(
        "a drop-in of a .link names the card",
        f"{LINK}, drop-ins",
        {
            **LINKS,
            f"{NET}/10-lan.link": f"[Match]\nMACAddress={MAC}\n",
            f"{NET}/10-lan.link.d/name.conf": "[Link]\nName=lan0\n",
            f"{NET}/a.network": "[Match]\nName=lan0\n[Network]\nDHCP=yes\n",
        },
        facts={"interfaces": (("lan0", MAC),)},
        nics=(CARD,),
    ),
]


@pytest.mark.parametrize("rule", rules(IFUPDOWN, COMMANDS, ACROSS, PATTERNS, REFUSALS, TYPES, DROP_INS))
def test_the_card_that_a_profile_is_for(rule):
    holds(rule)
