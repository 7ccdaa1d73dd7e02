# SPDX-License-Identifier: GPL-3.0-or-later
"""Which card a profile is for where more than its name decides it: what ifupdown makes of names, refusals and drop-ins of networkd, commands, XML of
wicked, services of Gentoo, and the kernel's command line.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures import KVER, MAC
from test_trees_network import CARD, IFACE, KEYFILE, LINK, NET, NETWORKD, NM, PLAN, SECOND, card
from treerules import LINKS, OTHER, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic, NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

MAIN, XML, GENTOO = "/etc/network/interfaces", "/etc/wicked/ifconfig", "/etc/conf.d/net"
TWO = (CARD, SECOND)
ANYWHERE = Nic(MAC)  # a card of which no source says where it is
NO_CARD, UNDECIDED, UNREADABLE = ("network.no-card", "warning"), ("network.undecided", "warning"), ("network.unreadable", "warning")
SAMPLES = "wicked, samples/wicked"
EXAMPLE = "netifrc, net.example"
DRACUT, NFSROOT = "dracut.cmdline(7)", "kernel, nfsroot.rst"


def comes_up(name, how, backend, path, addresses=(), on="", gateway=""):
    return {"nics": (NicFacts(MAC, name, how, addresses, gateway, backend, path, on),)}


def interfaces(name, source, content, *names, **more):
    return card(name, source, {MAIN: content}, *names, **more)


def network(name, source, match, *names, **more):
    return card(name, source, {f"{NET}/a.network": f"[Match]\n{match}\n[Network]\nDHCP=yes\n"}, *names, **more)


def kernel(name, source, words, *names, **more):
    entry = {"/boot/loader/entries/a.conf": f"linux /boot/vmlinuz-{KVER}\noptions root=UUID=07 {words}\n"}
    return card(name, source, entry, *names, **more)


def wicked(name, source, content, *names, **more):
    return card(name, source, {f"{XML}/lan.xml": content}, *names, **more)


def gentoo(name, source, content, *names, more_files=None, **more):
    return card(name, source, {GENTOO: content, **(more_files or {})}, *names, **more)


def tied(base, *fields):
    """nothing is pinned, and what is said of the card is this."""
    return replace(base, facts=dict(fields))


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
COMMANDS = [
    interfaces(
        "ifenslave in post-up",
        "ifenslave(8); interfaces(5), post-up",
        "auto bond0\niface bond0 inet dhcp\n pre-up modprobe bonding\n post-up /sbin/ifenslave -f bond0 ens192 ens224\n"
        " pre-down ifenslave -d bond0 ens192 ens224\n",
        "ens192",
        "ens224",
        cards=TWO,
        more={
            "nics": (
                NicFacts(MAC, "ens192", "dhcp", (), "", "ifupdown", MAIN, "bond0"),
                NicFacts(OTHER, "ens224", "none", (), "", "ifupdown", MAIN),
            )
        },
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
    tied(network("any name of Ethernet, where nobody knows the slot", "systemd.net-naming-scheme(7)", "Name=en*", cards=(ANYWHERE,))),
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
    kernel("names that only count", "systemd.net-naming-scheme(7), net.ifnames=0", "net.ifnames=0"),
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
WICKED = [
    wicked(
        "identified by MAC",
        f"{SAMPLES}/eth0-identify.xml",
        f"<interface>\n <identify>\n  <ethernet:permanent-address>{MAC}</ethernet:permanent-address>\n </identify>\n"
        " <ipv4:dhcp><enabled>true</enabled></ipv4:dhcp>\n</interface>\n",
        "ens192",
        more=comes_up("ens192", "dhcp", "wicked", f"{XML}/lan.xml"),
    ),
    wicked(
        "several interfaces, one of them a VLAN",
        f"{SAMPLES}/vlan-static.xml",
        "<?xml version='1.0'?>\n<interface><name>ens192</name></interface>\n<interface><name>ens192.42</name>"
        "<vlan><device>ens192</device><tag>42</tag></vlan>"
        "<ipv4:static><address><local>17.99.0.1/24</local></address>"
        "<route><nexthop><gateway>17.99.0.254</gateway></nexthop></route></ipv4:static></interface>\n",
        "ens192",
        more=comes_up("ens192", "static", "wicked", f"{XML}/lan.xml", ("17.99.0.1/24",), "ens192.42", "17.99.0.254"),
    ),
    wicked(
        "a bond",
        "wicked, schema/bonding.xml",
        "<interface><name>bond0</name><bond><mode>active-backup</mode><slaves><slave><device>ens192</device><primary>true</primary></slave>"
        "<slave><device>ens224</device></slave></slaves></bond><ipv6:auto/></interface>",
        "ens192",
        "ens224",
        cards=TWO,
    ),
    wicked(
        "a bridge",
        f"{SAMPLES}/bridge-static.xml",
        "<interface><name>br0</name><bridge><ports><p><device>ens192</device></p></ports></bridge></interface>",
        "ens192",
    ),
    wicked(
        "a document type",
        "XML 1.0, 2.8",
        '<!DOCTYPE x [<!ENTITY n "ens192">]>\n<interface><name>&n;</name></interface>\n',
        concerns=(UNREADABLE,),
    ),
    wicked("no XML", "XML 1.0, 2.1", "<interface><name>ens192</name>", concerns=(UNREADABLE,)),
    card(
        "a file with another ending",
        "wicked-config(5), sources of ifconfig",
        {f"{XML}/lan.xml.rpmsave": "<interface><name>ens192</name></interface>"},
    ),
]
NETIFRC = [
    gentoo(
        "a static address with a netmask",
        f"{EXAMPLE}, config_eth0",
        'config_ens192="192.168.0.2 netmask 255.255.255.0 brd 192.168.0.255"\nroutes_ens192="default via 192.168.0.1"\n',
        "ens192",
        more=comes_up("ens192", "static", "netifrc", GENTOO, ("192.168.0.2/24",), "", "192.168.0.1"),
    ),
    gentoo(
        "an array of several lines",
        "net.lo of netifrc, _get_array",
        'config_ens192=(\n "192.168.0.2/24"\n "10.0.0.2/8"\n)\n',
        "ens192",
        more=comes_up("ens192", "static", "netifrc", GENTOO, ("192.168.0.2/24", "10.0.0.2/8")),
    ),
    gentoo("a bond", f"{EXAMPLE}, slaves_bond0", 'slaves_bond0="ens192 ens224"\nconfig_bond0="dhcp"\n', "ens192", "ens224", cards=TWO),
    gentoo(
        "a bridge",
        f"{EXAMPLE}, bridge_br0",
        'bridge_br0="ens192"\nbridge_stp_state_br0="0"\nconfig_br0="dhcp"\nconfig_ens192="null"\n',
        "ens192",
        more=comes_up("ens192", "dhcp", "netifrc", GENTOO, on="br0"),
    ),
    gentoo(
        "a VLAN",
        f"{EXAMPLE}, vlans_eth0",
        'vlans_ens192="5"\nconfig_ens192="null"\nconfig_ens192_5="10.0.5.2/24"\n',
        "ens192",
        more=comes_up("ens192", "static", "netifrc", GENTOO, ("10.0.5.2/24",), "ens192.5"),
    ),
    gentoo(
        "a service without a word about it is DHCP",
        "net.lo of netifrc: defaulting to DHCP",
        "# nothing\n",
        "ens192",
        more_files={
            "/etc/init.d/net.ens192": Stat("link", 6, target="net.lo"),
            "/etc/runlevels/default/net.ens192": Stat("link", 22, target="/etc/init.d/net.ens192"),
        },
        more=comes_up("ens192", "dhcp", "netifrc", GENTOO),
    ),
    card(
        "a file of the service",
        "openrc-run(8), conf.d",
        {f"{GENTOO}.ens192": 'config_ens192="dhcp"\n'},
        "ens192",
        more=comes_up("ens192", "dhcp", "netifrc", f"{GENTOO}.ens192"),
    ),
    gentoo(
        "by MAC",
        f"{EXAMPLE}, config_001122334455",
        f'config_{MAC.replace(":", "")}="dhcp"\n',
        "ens192",
        more=comes_up("ens192", "dhcp", "netifrc", GENTOO),
    ),
    gentoo("comments and the loopback", EXAMPLE, '#config_ens192="dhcp"\nconfig_lo="127.0.0.1/8"\n'),
]
CMDLINE = [
    kernel("ip= with a card and a method", f"{DRACUT}, ip=<interface>:", "rd.neednet=1 ip=ens192:dhcp", "ens192"),
    kernel(
        "ip= with an address of IPv6",
        f"{DRACUT}, ip=: put it in brackets",
        "ip=[2001:db8::2]::[2001:db8::1]:64:web:ens192:none",
        "ens192",
        more=comes_up("ens192", "static", "cmdline", "/boot/loader/entries/a.conf", ("2001:db8::2/64",), "", "2001:db8::1"),
    ),
    kernel(
        "ip= of the kernel's own",
        NFSROOT,
        "ip=10.0.0.2:10.0.0.9:10.0.0.1:255.255.255.0:web:ens192:off:10.0.0.9",
        "ens192",
        more=comes_up("ens192", "static", "cmdline", "/boot/loader/entries/a.conf", ("10.0.0.2/24",), "", "10.0.0.1"),
    ),
    kernel("ip= with nothing but a card", f"{NFSROOT}, empty fields", "ip=:::::ens192:dhcp", "ens192"),
    kernel("ip= for any card", f"{DRACUT}, ip=dhcp", "ip=dhcp"),
    kernel("ip= by a MAC", "nm-initrd-generator(8)", f"ip={MAC.replace(':', '-')}:dhcp", "ens192"),
    kernel("bond=", f"{DRACUT}, bond=", "bond=bond0:ens192,ens224:mode=1 ip=bond0:dhcp", "ens192", "ens224", cards=TWO),
    kernel("team=", f"{DRACUT}, team=", "team=team0:ens192,ens224:lacp ip=team0:dhcp", "ens192", "ens224", cards=TWO),
    kernel("bridge=", f"{DRACUT}, bridge=", "bridge=br0:ens192 ip=br0:dhcp", "ens192"),
    kernel("vlan=", f"{DRACUT}, vlan=", "vlan=ens192.5:ens192", "ens192"),
    kernel(
        "rd.route= and bootdev=",
        f"{DRACUT}, rd.route=",
        "bootdev=ens192 rd.route=10.1.0.0/16:10.0.0.1:ens224",
        "ens192",
        "ens224",
        cards=TWO,
    ),
    kernel("ifname= gives the name", f"{DRACUT}, ifname=", f"ifname=bootnet:{MAC} ip=bootnet:dhcp", "bootnet"),
    card(
        "what dracut adds to the command line",
        f"{DRACUT}, /etc/cmdline.d",
        {"/etc/cmdline.d/net.conf": "ip=ens192:dhcp\n"},
        "ens192",
    ),
    card(
        "what the next kernel will be told",
        "GRUB manual, GRUB_CMDLINE_LINUX",
        {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="ip=ens192:dhcp"\n'},
        "ens192",
    ),
    card(
        "DEVICE= and IP= of initramfs-tools",
        "initramfs.conf(5), DEVICE; dropbear-initramfs, README",
        {"/etc/initramfs-tools/initramfs.conf": "DEVICE=\nIP=10.0.0.2::10.0.0.1:255.255.255.0:web:ens192:off\n"},
        "ens192",
    ),
]


@pytest.mark.parametrize("rule", rules(IFUPDOWN, COMMANDS, PATTERNS, REFUSALS, TYPES, DROP_INS, WICKED, NETIFRC, CMDLINE))
def test_the_card_that_a_profile_is_for(rule):
    holds(rule)
