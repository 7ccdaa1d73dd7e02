# SPDX-License-Identifier: GPL-3.0-or-later
"""Which card a .network file is for by what it refuses, by types and kinds, and with its drop-ins; NetworkManager's refusals beside it."""

from __future__ import annotations

import pytest
from fixtures import MAC
from test_trees_names import ANYWHERE, TWO, UNDECIDED, comes_up, network
from test_trees_network import CARD, KEYFILE, LINK, NET, NETWORKD, NM, card
from treerules import LINKS, OTHER, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

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
    network(
        "a refused name that the card never had",
        "systemd.net-naming-scheme(7); systemd.network(5), [Match] Name=!",
        "Name=!eth0",
        more=comes_up("", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    network(
        "a refused name of another card",
        f"{NETWORKD}, [Match] Name=!",
        "Name=!ens224",
        more=comes_up("", "dhcp", "networkd", f"{NET}/a.network"),
    ),
    network(
        "a refused name where nobody knows the slot",
        f"{NETWORKD}, [Match] Name=!",
        "Name=!ens192",
        cards=(ANYWHERE,),
        concerns=(("network.no-card", "info"),),
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
        "what netplan makes at each boot is netplan's",
        "netplan-generate(8), /run/systemd/network/10-netplan-*",
        {
            "/etc/netplan/a.yaml": "network: {ethernets: {ens192: {dhcp4: true}}}\n",
            "/run/systemd/network/10-netplan-ens192.network": "[Match]\nName=ens192\n[Network]\nDHCP=ipv4\n",
        },
        "ens192",
        more={"network": ("netplan",)},
    ),
    card(
        "a file of /run is no file to change",
        f"{NETWORKD}, /run/systemd/network",
        {"/run/systemd/network/70-a.network": "[Match]\nDriver=vmxnet3\n[Network]\nDHCP=yes\n"},
        concerns=(("network.driver-match", "blocker"),),
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


@pytest.mark.parametrize("rule", rules(REFUSALS, TYPES, DROP_INS))
def test_the_card_that_a_network_file_is_for(rule):
    holds(rule)
