# SPDX-License-Identifier: GPL-3.0-or-later
"""Network files that would take for ever, or more memory than there is: what they take grows as they do, or has an end that is said."""

from __future__ import annotations

import functools

import pytest
from fixtures import MAC
from hypothesis import given
from hypothesis import strategies as st
from promptly import within
from treerules import OTHER

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import boot_cards, unmatched
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import by_name, commands, ifupdown, names, networkd, wicked


def test_a_thousand_patterns_over_a_thousand_files_are_read_once():
    listed = {f"/etc/x/{number}": "iface a inet dhcp\n" for number in range(1000)}
    made = MemoryGuest({"/etc/network/interfaces": "source /etc/x/*\n" * 1000 + "source /etc/x/1*\n", **listed})
    made.listdir = functools.lru_cache(None)(made.listdir)
    with within(5, processor=True):
        assert 100 < len(ifupdown.files(made)) <= 200


WORDS = "ifenslave -d ip link set dev master add type vlan name b0 eth0 brctl addif vconfig ovs-vsctl add-port add-bond echo +eth0 for i in"
WORDS += " $i /sys/class/net/b/bonding/slaves sudo sh -c a=b if do done ; | ( ) { } ' -- / $IFACE"


@given(st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=3), max_size=8))
def test_commands_that_are_cut_off_join_nothing_that_is_not_there(words):
    for kind, upper, card in commands.read(" ".join(words), "own").joined:
        assert kind in ("bond", "bridge", "vlan") and "$" not in upper + card


def test_a_product_of_names_and_macs_is_a_doubt_and_no_profile_for_each_pair():
    pairs = LARGE["names and MACs"]
    found = list(networkd.read(MemoryGuest(pairs)))
    assert len(found) == FEW and {profile.doubt for profile in found} == {f"{FEW} MACs beside {FEW} names"}


def test_a_bridge_has_each_of_its_cards_once():
    said = "[Match]\nName=e0 e1\n[Network]\nBridge=a\nBridge=b\nBridge=b\n"
    made = MemoryGuest({
        "/etc/systemd/network/a.network": said,
        "/etc/systemd/network/b.network": "[Match]\nName=a\n",
        "/etc/systemd/network/c.network": "[Match]\nName=b\n",
    })  # fmt: skip
    assert {profile.name: profile.members for profile in networkd.read(made) if profile.name in ("a", "b")} == {"a": (), "b": ("e0", "e1")}


def test_interfaces_of_one_name_share_what_lies_below_them():
    cards = "".join(f"<interface><name>e{number}</name><link><master>b</master></link></interface>" for number in range(9))
    made = MemoryGuest({"/etc/wicked/ifconfig/a.xml": cards + "<interface><name>b</name></interface>" * 9})
    found = [profile.members for profile in wicked.read(made, []) if profile.name == "b"]
    assert len(found) == 9 and len(found[0]) == 9 and all(members is found[0] for members in found)


def test_a_network_file_is_not_compared_with_each_before_it():
    files = {f"{networkd.DIRECTORY}/{number}.network": f"[Match]\nMACAddress={OTHER}\n" for number in range(1200)}
    made = MemoryGuest({**files, f"{networkd.DIRECTORY}/z.network": f"[Match]\nMACAddress={MAC}\n"})
    made.listdir = functools.lru_cache(None)(made.listdir)
    with within(10, processor=True):
        assert [path for path, old, new in by_name.rewritten(made, {MAC: "ens192"}) if old != new] == [f"{networkd.DIRECTORY}/z.network"]


def test_files_beyond_those_that_are_read_are_said():
    problems = []
    many = {f"/etc/x/{number}": "iface a inet dhcp\n" for number in range(300)}
    made = MemoryGuest({"/etc/network/interfaces": "source /etc/x/*\n", **many})
    assert len(ifupdown.files(made, problems)) == 200 and problems == ["/etc/network/interfaces takes in more files than are read"]
    assert ifupdown.files(MemoryGuest({"/etc/network/interfaces": "source /etc/x/*\n"}), none := []) and not none


def test_patterns_are_compared_with_so_many_names_in_all():
    compared = []
    made = MemoryGuest({"/etc/network/interfaces": "".join(f"source /etc/x/y{number}*\n" for number in range(400))})
    made.listdir = lambda directory: compared.append(directory) or [f"x{number}" for number in range(2000)] if directory == "/etc/x" else ()
    problems = []
    ifupdown.files(made, problems)
    assert len(compared) == 50 and len(problems) == 1


def test_what_is_inherited_is_too_long_to_be_read_for_each():
    ports = " ".join(f"e{number}" for number in range(2000))
    (base, heir) = names.profiles(
        MemoryGuest({"/etc/network/interfaces": f"iface base inet manual\n bridge_ports {ports}\niface br0 inet dhcp inherits base\n"})
    )
    assert len(base.members) == 2000 and not heir.members and heir.doubt == "what it inherits from base, which is too long"


def test_of_many_concerns_for_profiles_the_first_are_told_and_how_many_more_there_are():
    files = {f"/etc/systemd/network/{number}.network": "[Match]\nName=eno*\n[Network]\nDHCP=yes\n" for number in range(50)}
    findings = Findings()
    unmatched.say(MemoryGuest({**files, "/usr/lib/systemd/network/99-default.link": ""}), GuestFacts(), findings)
    told = [concern.cause for concern in findings.concerns]
    assert len(told) == 21 and told[-1] == "The same is so for 30 more profiles."


MANY, FEW = 4000, 1500
LARGE = {
    "ifupdown": {
        "/etc/network/interfaces": "".join(
            f"auto e{n} /x{n}*\nmapping y{n}*\n script x\nrename a{n}=e{n}\niface e{n} inet dhcp\n up ifenslave b{n - 1} b{n}\n"
            for n in range(MANY)
        )
    },
    "a loop in a command": {
        "/etc/network/interfaces": "iface a inet dhcp\n" + " up for i in " + "a " * MANY + "; do ip link set $i master b; done\n" * 500
    },
    "stanzas that extend a long one": {
        "/etc/network/interfaces": "iface b inet dhcp\n"
        + "".join(f" o{n} 1\n" for n in range(2 * MANY))
        + "".join(f"iface a{n} inet dhcp inherits {f'a{n - 1}' if n % 2 else 'b'}\n" for n in range(2 * MANY))
    },
    "one name that extends itself": {
        "/etc/network/interfaces": "".join(f"iface a inet dhcp inherits a\n o{n} 1\n" for n in range(3 * MANY))
    },
    "expressions of ports": {
        "/etc/network/interfaces": "iface a inet dhcp\n bridge_ports regex " + f"{'(a|b)' * 20} {'[' * 90} {'(' * 90} " * 100 + "\n"
    },
    "many loops": {
        "/etc/network/interfaces": "".join(
            f"iface a{k} inet dhcp\n" + "".join(f" up for x{n} in a; do echo $y{n}; done\n" for n in range(1500)) for k in range(15)
        )
    },
    "names and MACs": {
        "/etc/systemd/network/a.network": "[Match]\nName="
        + " ".join(f"e{n}" for n in range(FEW))
        + "\nMACAddress="
        + " ".join(f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(FEW))
        + "\n"
    },
    "files of netifrc": {
        "/etc/conf.d/net": "".join(f'config_e{n}="dhcp"\n' for n in range(2 * MANY)),
        **{f"/etc/conf.d/net.e{n}": "" for n in range(MANY)},
    },
    "open brackets": {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="ip=' + "[:" * 100_000 + '"\n'},
    "empty fields": {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="ip=' + ":" * 300_000 + '"\n'},
    "netifrc": {
        "/etc/conf.d/net": "".join(
            f'config_e{n}="dhcp"\nbridge_add_e{n}="b{n}"\nvlans_e{n}="1 2"\nslaves_b{n}="b{n + 1}"\n' for n in range(MANY)
        )
    },
    "an open array of netifrc": {"/etc/conf.d/net": "config_e=(\n" * MANY + 'x="' * MANY},
    "networkd": {
        "/etc/systemd/network/a.network": "[Match]\nName="
        + " ".join(f"e{n}*" for n in range(MANY))
        + " !x" * MANY
        + "\n[Network]\nBond=b\n"
    },
    "dhcpcd": {"/etc/dhcpcd.conf": "".join(f"allowinterfaces e{n}*\ndenyinterfaces f{n}*\n" for n in range(MANY))},
    "wicked": {"/etc/wicked/ifconfig/a.xml": "<a:interface><a:name>x</a:name></a:interface>" * MANY},
    "prefixes of wicked": {"/etc/wicked/ifconfig/a.xml": "<interface>" + "".join(f"<p{n}:x/>" for n in range(MANY)) + "</interface>"},
    "the command line": {
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX="'
        + " ".join(f"ip=e{n}:dhcp bond=b{n}:b{n + 1} vlan=v{n}:b{n}" for n in range(MANY))
        + '"\n'
    },
}


@pytest.mark.parametrize("case", LARGE)
def test_large_files_take_bounded_time(case):
    made = MemoryGuest(LARGE[case])
    with within(10, processor=True):
        names.nics(boot_cards.profiles(made), [("ens192", MAC), ("", OTHER)], "virtio_net", ("enp1s0",))
