# SPDX-License-Identifier: GPL-3.0-or-later
"""Which card a profile is for by the manuals of wicked's XML, of netifrc, and of those who read the kernel's command line."""

from __future__ import annotations

import pytest
from fixtures import KVER, MAC
from test_trees_names import ANYWHERE, TWO, comes_up
from test_trees_network import SUSE, card
from treerules import OTHER, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

XML, GENTOO, NETCTL_ = "/etc/wicked/ifconfig", "/etc/conf.d/net", "/etc/netctl"
UNREADABLE = ("network.unreadable", "warning")
SAMPLES, EXAMPLE = "wicked, samples/wicked", "netifrc, net.example"
DRACUT, NFSROOT = "dracut.cmdline(7)", "kernel, nfsroot.rst"


def wicked(name, source, content, *names, **more):
    return card(name, source, {f"{XML}/lan.xml": content}, *names, **more)


def gentoo(name, source, content, *names, more_files=None, **more):
    return card(name, source, {GENTOO: content, **(more_files or {})}, *names, **more)


def kernel(name, source, words, *names, **more):
    entry = {"/boot/loader/entries/a.conf": f"linux /boot/vmlinuz-{KVER}\noptions root=UUID=07 {words}\n"}
    return card(name, source, entry, *names, **more)


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
    wicked(
        "a description in ISO-8859-1",
        "XML 1.0, 4.3.3: encoding declaration",
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<interface><name>ens192</name><description>B\udcfcro</description><ipv4:dhcp/></interface>\n',
        "ens192",
        more=comes_up("ens192", "dhcp", "wicked", f"{XML}/lan.xml"),
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
    gentoo(
        "comments in an array",
        "bash(1), COMMENTS and Arrays",
        "config_ens192=(\n '192.168.0.2/24' # the old (one)\n # \"10.0.0.9/8\"\n '10.0.0.2/8'\n)\n",
        "ens192",
        more=comes_up("ens192", "static", "netifrc", GENTOO, ("192.168.0.2/24", "10.0.0.2/8")),
    ),
    gentoo(
        "what a function assigns when it is called",
        f"{EXAMPLE}, postup; bash(1), FUNCTIONS",
        'config_ens192="192.168.0.2/24"\npostup() {\n\tlocal x\n\tconfig_eth0="dhcp"\n\treturn 0\n}\npredown() { slaves_bond0="ens224"; }\n',
        "ens192",
        cards=(ANYWHERE,),
        more={**comes_up("ens192", "static", "netifrc", GENTOO, ("192.168.0.2/24",)), "network": ("netifrc",)},
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
NETCTL = [
    card(
        "a profile of netctl",
        "netctl.profile(5), Interface=",
        {f"{NETCTL_}/lan": "Interface=ens192\nConnection=ethernet\nIP=static\nAddress=('10.0.0.2/24')\nGateway='10.0.0.1'\n"},
        "ens192",
        more=comes_up("ens192", "static", "netctl", f"{NETCTL_}/lan", ("10.0.0.2/24",), "", "10.0.0.1"),
    ),
    card(
        "a bond of netctl",
        "netctl.profile(5), BindsToInterfaces=",
        {f"{NETCTL_}/bond": "Interface=bond0\nConnection=bond\nBindsToInterfaces=(ens192 ens224)\nIP=dhcp\n"},
        "ens192",
        "ens224",
        cards=TWO,
    ),
]
OTHERS = [
    card(
        "dhcpcd on one card",
        "dhcpcd.conf(5), allowinterfaces",
        {"/etc/dhcpcd.conf": "hostname\nallowinterfaces ens192\n"},
        "ens192",
        more=comes_up("ens192", "dhcp", "dhcpcd", "/etc/dhcpcd.conf"),
    ),
    card(
        "dhcpcd on all cards but one",
        "dhcpcd.conf(5), denyinterfaces: a space or comma separated list of patterns",
        {"/etc/dhcpcd.conf": "denyinterfaces veth*,ens224\n"},
        "",
        "ens224",
        cards=TWO,
        more={"interfaces": (("ens224", OTHER),)},
    ),
    card(
        "a card that NetworkManager leaves alone",
        "NetworkManager.conf(5), unmanaged-devices",
        {"/etc/NetworkManager/conf.d/a.conf": "[keyfile]\nunmanaged-devices=interface-name:ens192;interface-name:docker*\n"},
        "ens192",
    ),
    card(
        "devices that programs make",
        "NetworkManager.conf(5), unmanaged-devices",
        {"/etc/NetworkManager/conf.d/a.conf": "[keyfile]\nunmanaged-devices=interface-name:docker*;mac:00:50:56:00:00:09\n"},
    ),
    card(
        "a team of wicked",
        "ifcfg-team(5) of wicked, TEAM_PORT_DEVICE",
        {
            f"{SUSE}/ifcfg-team0": "STARTMODE=auto\nBOOTPROTO=dhcp\nTEAM_RUNNER=roundrobin\nTEAM_PORT_DEVICE_1=ens192\nTEAM_PORT_DEVICE_2=ens224\n"
        },
        "ens192",
        "ens224",
        cards=TWO,
    ),
    card(
        "a file of SLES 10",
        "ifup(8) of SLES 10, ifcfg-eth-id-MAC",
        {f"{SUSE}/ifcfg-eth-id-{MAC}": "STARTMODE='auto'\nBOOTPROTO='dhcp'\n"},
        "ens192",
        more=comes_up("ens192", "dhcp", "wicked", f"{SUSE}/ifcfg-eth-id-{MAC}"),
    ),
]
CMDLINE = [
    kernel("ip= with a card and a method", f"{DRACUT}, ip=<interface>:", "rd.neednet=1 ip=ens192:dhcp", "ens192"),
    kernel(
        "ip= with a method, an MTU and a MAC",
        f"{DRACUT}, ip=<interface>:{{dhcp|on|any|dhcp6|auto6|link6}}[:[<mtu>][:<macaddr>]]",
        "ip=ens192:dhcp:1500:52:54:00:12:34:56",
        "ens192",
        more=comes_up("ens192", "dhcp", "cmdline", "/boot/loader/entries/a.conf"),
    ),
    kernel("ip= with a method of IPv6 and a MAC", f"{DRACUT}, ip=: link6", "ip=ens192:link6::52:54:00:12:34:56", "ens192"),
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
    kernel(
        "ip= with an open bracket",
        f"{DRACUT}, ip=: put it in brackets",
        "ip=[2001:db8::2::[2001:db8::1]:64:web:ens192:none ip=[::1",
        concerns=(("network.undecided", "warning"),),
    ),
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


@pytest.mark.parametrize("rule", rules(WICKED, NETIFRC, NETCTL, OTHERS, CMDLINE))
def test_the_card_that_a_backend_names(rule):
    holds(rule)
