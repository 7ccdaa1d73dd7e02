# SPDX-License-Identifier: GPL-3.0-or-later
"""Network by the manuals of its seven backends, of udev and of cloud-init: which card a profile is for, and what keeps its name."""

from __future__ import annotations

import pytest
from fixtures import KVER, MAC
from treerules import LINKS, OTHER, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic, NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

NET, NM, RH, SUSE = (
    "/etc/systemd/network",
    "/etc/NetworkManager/system-connections",
    "/etc/sysconfig/network-scripts",
    "/etc/sysconfig/network",
)
IFACE, PLAN, NETWORKD, KEYFILE, IFCFG = (
    "interfaces(5)",
    "netplan(5)",
    "systemd.network(5)",
    "nm-settings-keyfile(5)",
    "nm-settings-ifcfg-rh(5)",
)
LINK, UDEV = "systemd.link(5)", "udev(7)"
DECIMAL = "".join(f"{int(digits, 16)};" for digits in MAC.split(":"))
CARD, SECOND = Nic(MAC, slot=192), Nic(OTHER, slot=224)


def pinned(name, mac=MAC):
    return {f"{NET}/10-hyper2kvm-{name}.link": f"[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n"}


def card(name, source, files, *names, after=None, cards=(CARD,), concerns=(), unmet="", more=None):
    """A rule of profiles for cards: the names that they are found to have, which are pinned to their MACs."""
    pairs = tuple(zip(names, (MAC, OTHER)))
    pins = {path: text for name, mac in pairs if name for path, text in pinned(name, mac).items()}
    return Rule(
        name, source, {**LINKS, **files}, {**pins, **(after or {})}, concerns, {"interfaces": pairs, **(more or {})}, cards, unmet=unmet
    )


AZURE = (
    f"network:\n  ethernets:\n    eth0:\n      match: {{{{driver: {{}}, macaddress: '{MAC}'}}}}\n      set-name: eth0\n      dhcp4: true\n"
)
RENDERED = (
    f"network:\n  version: 2\n  ethernets:\n    ens192:\n      match: {{macaddress: '{MAC}'}}\n      set-name: ens192\n      dhcp4: true\n"
)
KEPT = "# The data source of the old hypervisor is gone; what it configured stays.\nnetwork: {config: disabled}\nmanual_cache_clean: true\n"
IFUPDOWN = [
    card(
        "auto and iface", IFACE, {"/etc/network/interfaces": "auto lo ens192\niface lo inet loopback\niface ens192 inet dhcp\n"}, "ens192"
    ),
    card("allow-hotplug", IFACE, {"/etc/network/interfaces": "allow-hotplug ens192\niface ens192 inet6 auto\n"}, "ens192"),
    card(
        "source by a pattern",
        f"{IFACE}, source",
        {
            "/etc/network/interfaces": "source /etc/network/interfaces.d/*.cfg\n",
            "/etc/network/interfaces.d/a.cfg": "auto ens192\niface ens192 inet dhcp\n",
        },
        "ens192",
    ),
    card(
        "source by a pattern of directories",
        f"{IFACE}, source: wordexp(3)",
        {
            "/etc/network/interfaces": "source /etc/network/*.d/*/l?n\n",
            "/etc/network/interfaces.d/a/lan": "auto ens192\niface ens192 inet dhcp\n",
            "/etc/network/interfaces.d/.b/lan": "auto ens224\niface ens224 inet dhcp\n",
            "/etc/network/if-up/a/lan": "auto ens256\niface ens256 inet dhcp\n",
        },
        "ens192",
        cards=(Nic(MAC),),
    ),
    card(
        "source-directory takes plain names alone",
        f"{IFACE}, source-directory",
        {
            "/etc/network/interfaces": "source-directory /etc/network/interfaces.d\n",
            "/etc/network/interfaces.d/lan": "auto ens192\niface ens192 inet dhcp\n",
            "/etc/network/interfaces.d/lan.old": "iface ens224 inet dhcp\n",
        },
        "ens192",
    ),
    card(
        "a stanza over several lines",
        f"{IFACE}, lines ending with \\",
        {"/etc/network/interfaces": "auto ens192\niface ens192 inet \\\n static\n address 10.0.0.2/24\n"},
        "ens192",
    ),
    card(
        "rename needs the name that was",
        f"{IFACE}, rename",
        {"/etc/network/interfaces": "rename ens192=lan0\nauto lan0\niface lan0 inet dhcp\n"},
        "ens192",
    ),
    card(
        "a mapping by a script",
        f"{IFACE}, mapping",
        {"/etc/network/interfaces": "auto ens192\nmapping ens192\n script /usr/local/sbin/where\niface home inet dhcp\n"},
        "ens192",
    ),
    card(
        "an alias is on its interface",
        f"{IFACE}, IFACE:LABEL",
        {"/etc/network/interfaces": "auto ens192 ens192:0\niface ens192 inet dhcp\niface ens192:0 inet static\n address 10.0.0.9/24\n"},
        "ens192",
    ),
    card(
        "a name of the kernel's",
        "systemd.net-naming-scheme(7), net.ifnames=0",
        {"/etc/network/interfaces": "auto eth0\niface eth0 inet dhcp\n"},
        "eth0",
    ),
    card(
        "a stanza that inherits",
        f"{IFACE}, inherits",
        {"/etc/network/interfaces": "iface base inet static\n address 10.0.0.2/24\nauto ens192\niface ens192 inet static inherits base\n"},
        "ens192",
    ),
    card(
        "a bridge",
        "bridge-utils-interfaces(5)",
        {"/etc/network/interfaces": "auto br0\niface br0 inet dhcp\n bridge_ports ens192\n"},
        "ens192",
    ),
]
NETPLAN = [
    card(
        "an id is a name",
        f"{PLAN}, device definitions",
        {"/etc/netplan/a.yaml": "network: {version: 2, ethernets: {ens192: {dhcp4: true}}}\n"},
        "ens192",
    ),
    card(
        "an id with a match is only an id",
        f"{PLAN}, match",
        {"/etc/netplan/a.yaml": "network: {ethernets: {lan: {match: {name: ens192}, dhcp4: true}}}\n"},
        "ens192",
    ),
    card(
        "set-name renames",
        f"{PLAN}, set-name",
        {"/etc/netplan/a.yaml": f"network: {{ethernets: {{lan: {{match: {{macaddress: '{MAC}'}}, set-name: lan0, dhcp4: true}}}}}}\n"},
        "lan0",
    ),
    card(
        "a later file overrides",
        f"{PLAN}, description",
        {
            "/etc/netplan/00.yaml": "network: {ethernets: {ens192: {dhcp4: true}}}\n",
            "/etc/netplan/90.yaml": "network: {ethernets: {ens192: {dhcp4: false, addresses: [10.0.0.2/24]}}}\n",
        },
        "ens192",
    ),
    card(
        "a pattern of names",
        f"{PLAN}, match: globbing",
        {"/etc/netplan/a.yaml": "network: {ethernets: {all: {match: {name: 'en*'}, dhcp4: true}}}\n"},
        "ens192",
    ),
    card(
        "a driver of Azure",
        f"{PLAN}, match: driver",
        {"/etc/netplan/50-cloud-init.yaml": AZURE.format("hv_netvsc")},
        "eth0",
        after={"/etc/netplan/50-cloud-init.yaml": AZURE.format("virtio_net")},
    ),
    card(
        "a renderer is no card",
        f"{PLAN}, renderer",
        {"/etc/netplan/a.yaml": "network: {renderer: networkd, ethernets: {renderer: networkd, ens192: {dhcp4: true}}}\n"},
        "ens192",
    ),
]
SYSTEMD = [
    card("Name=", f"{NETWORKD}, [Match]", {f"{NET}/a.network": "[Match]\nName=ens192\n[Network]\nDHCP=yes\n"}, "ens192"),
    card(
        "Name= with several",
        f"{NETWORKD}, [Match] Name=",
        {f"{NET}/a.network": "[Match]\nName=ens192 ens224\n[Network]\nDHCP=yes\n"},
        "ens192",
        "ens224",
        cards=(CARD, SECOND),
    ),
    card("Name= with a pattern", f"{NETWORKD}, [Match] Name=", {f"{NET}/a.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n"}, "ens192"),
    Rule(
        "Type= takes every card",
        f"{NETWORKD}, [Match] Type=",
        {**LINKS, f"{NET}/a.network": "[Match]\nType=ether\n[Network]\nDHCP=yes\n"},
        facts={"network": ("networkd",)},
        nics=(CARD,),
    ),
    card(
        "a drop-in adds to a file",
        f"{NETWORKD}, drop-ins",
        {f"{NET}/a.network": "[Match]\nName=ens192\n", f"{NET}/a.network.d/b.conf": "[Network]\nDHCP=yes\n"},
        "ens192",
        more={"nics": (NicFacts(MAC, "ens192", "dhcp", (), "", "networkd", f"{NET}/a.network"),)},
    ),
    card(
        "a masked file",
        f"{NETWORKD}, /dev/null",
        {
            "/usr/lib/systemd/network/a.network": "[Match]\nName=ens224\n[Network]\nDHCP=yes\n",
            f"{NET}/a.network": Stat("link", 9, target="/dev/null"),
            f"{NET}/b.network": "[Match]\nName=ens192\n[Network]\nDHCP=yes\n",
        },
        "ens192",
    ),
    card(
        "a driver of VMware",
        f"{NETWORKD}, Driver=",
        {f"{NET}/a.network": "[Match]\nDriver=vmxnet3\n[Network]\nDHCP=yes\n"},
        after={f"{NET}/a.network": "[Match]\nDriver=virtio_net\n[Network]\nDHCP=yes\n"},
    ),
    card(
        "cards of EC2",
        f"Amazon Linux 2023, 80-ec2.network; {NETWORKD}, Driver=",
        {"/usr/lib/systemd/network/80-ec2.network": "[Match]\nDriver=ena ixgbevf vif\n[Network]\nDHCP=yes\n"},
        after={f"{NET}/80-ec2.network": "[Match]\nDriver=virtio_net\n[Network]\nDHCP=yes\n"},
    ),
    Rule(
        "a .link of the administrator's names the card",
        f"{LINK}, [Link] Name=",
        {
            **LINKS,
            f"{NET}/10-lan.link": f"[Match]\nMACAddress={MAC}\n\n[Link]\nName=lan0\n",
            f"{NET}/a.network": "[Match]\nName=lan0\n[Network]\nDHCP=yes\n",
        },
        facts={"interfaces": (("lan0", MAC),)},
        nics=(CARD,),
    ),
    Rule(
        "a rule of udev names the card: a .link does it now",
        f"{UDEV}, NAME",
        {
            **LINKS,
            "/etc/network/interfaces": "auto lan0\niface lan0 inet dhcp\n",
            "/etc/udev/rules.d/70-persistent-net.rules": f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{MAC}", NAME="lan0"\n',
        },
        {**pinned("lan0"), "/etc/udev/rules.d/70-persistent-net.rules": None},
        facts={"interfaces": (("lan0", MAC),)},
        nics=(CARD,),
    ),
]
PROFILES = [
    card(
        "interface-name of a keyfile",
        KEYFILE,
        {f"{NM}/a.nmconnection": "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=auto\n"},
        "ens192",
    ),
    card("a profile for any card", KEYFILE, {f"{NM}/a.nmconnection": "[connection]\ntype=ethernet\n[ipv4]\nmethod=auto\n"}, "ens192"),
    card(
        "a profile by MAC",
        f"{KEYFILE}, mac-address",
        {f"{NM}/a.nmconnection": f"[connection]\ntype=ethernet\n[ethernet]\nmac-address={MAC}\n[ipv4]\nmethod=auto\n"},
        "ens192",
    ),
    card(
        "a MAC in decimal numbers",
        f"{KEYFILE}, mac-address: a byte array in semicolon-separated decimal",
        {f"{NM}/a": f"[connection]\ntype=802-3-ethernet\n[802-3-ethernet]\nmac-address={DECIMAL}\n[ipv4]\nmethod=auto\n"},
        "ens192",
        more={"nics": (NicFacts(MAC, "ens192", "dhcp", (), "", "networkmanager", f"{NM}/a"),)},
    ),
    card(
        "DEVICE= counts, NAME= is for people",
        f"{IFCFG}, DEVICE",
        {f"{RH}/ifcfg-lan": 'DEVICE=ens192\nNAME="System lan"\nBOOTPROTO=dhcp\nONBOOT=yes\n'},
        "ens192",
    ),
    card("HWADDR= binds the file", f"{IFCFG}, HWADDR", {f"{RH}/ifcfg-lan": f"HWADDR={MAC}\nBOOTPROTO=dhcp\n"}, "ens192"),
    card(
        "NM_CONTROLLED=no changes nobody's card",
        f"{IFCFG}, NM_CONTROLLED",
        {f"{RH}/ifcfg-ens192": "DEVICE=ens192\nNM_CONTROLLED=no\nBOOTPROTO=none\nIPADDR=10.0.0.2\nPREFIX=24\n"},
        "ens192",
    ),
    card(
        "copies of editors are no profiles",
        "initscripts, ifup-post: *.bak and *~",
        {f"{RH}/ifcfg-ens192": "DEVICE=ens192\nBOOTPROTO=dhcp\n", f"{RH}/ifcfg-ens224.bak": "DEVICE=ens224\n"},
        "ens192",
    ),
    card("a file of wicked", "ifcfg(5) of wicked", {f"{SUSE}/ifcfg-ens192": "STARTMODE='auto'\nBOOTPROTO='dhcp'\n"}, "ens192"),
    card(
        "wicked's own XML",
        "wicked(8), /etc/wicked/ifconfig",
        {"/etc/wicked/ifconfig/lan.xml": "<interface><name>ens192</name><ipv4:dhcp><enabled>true</enabled></ipv4:dhcp></interface>\n"},
        "ens192",
    ),
    card(
        "netifrc of Gentoo",
        "Gentoo handbook, /etc/conf.d/net",
        {"/etc/conf.d/net": 'config_ens192="dhcp"\n'},
        "ens192",
    ),
    card(
        "a card that only the command line names",
        "dracut.cmdline(7), ip=",
        {"/boot/loader/entries/a.conf": f"linux /boot/vmlinuz-{KVER}\noptions root=UUID=07 ip=10.0.0.2::10.0.0.1:24:web:ens192:none\n"},
        "ens192",
    ),
    card(
        "cloud-init's rendering of netplan",
        "cloud-init, network rendering",
        {
            "/etc/netplan/50-cloud-init.yaml": RENDERED,
            "/etc/cloud/cloud.cfg": "users: [default]\n",
        },
        "ens192",
        after={"/etc/cloud/cloud.cfg.d/99-hyper2kvm.cfg": KEPT},
    ),
]


@pytest.mark.parametrize("rule", rules(IFUPDOWN, NETPLAN, SYSTEMD, PROFILES))
def test_the_card_of_a_profile(rule):
    holds(rule)
