# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest keeps its network under a MAC that nobody foretold: what is written, and what udev and the backends make of it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import time
from dataclasses import replace

import fixtures
import pytest
from cards import FOREIGN, KEYFILE, LINK, MAC, MACS, NAMING, NET, NM, OTHER, PROFILES, RH, called, comes_up, repaired
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nics import whole
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio, newc
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import position
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.pinning import MODES, by_position
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, complete, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.proof import prove

# Where nothing renames cards, a profile by MAC is for eth0, which no pattern of another name takes.
ONE = [
    (profile, naming)
    for profile in PROFILES
    for naming in NAMING
    if (profile, naming) != ("networkd, by a pattern too", "link switched off")
]


@pytest.mark.parametrize(("profile", "naming"), ONE)
def test_a_guest_with_one_card_comes_up_under_any_mac(profile, naming):
    files = {**NAMING[naming], **PROFILES[profile]}
    either, alone = repaired(files, "auto"), repaired(files, "mac")
    assert repaired(files, "mac_or_position").files == either.files

    @settings(max_examples=3, deadline=None, database=None)
    @given(MACS)
    def holds(mac):
        for guest, expected in ((either, True), (alone, False)):
            assert comes_up(guest, called(guest, [mac])[mac], mac) == expected
            assert comes_up(guest, called(guest, [MAC])[MAC], MAC)

    holds()


@pytest.mark.parametrize("naming", ["link", "rules"])
def test_a_second_card_never_takes_the_name(naming):
    guest = repaired({**NAMING[naming], **PROFILES["NetworkManager"]}, "auto")
    assert called(guest, [MAC, FOREIGN]) == {MAC: "ens192", FOREIGN: "eth1"}
    assert called(guest, [FOREIGN, MAC]) == {FOREIGN: "eth0", MAC: "ens192"}
    assert called(guest, [FOREIGN, OTHER]) == {FOREIGN: "ens192", OTHER: "eth1"}


def test_a_card_that_is_renamed_meanwhile_is_counted(tmp_path):
    """udev names cards at the same time; the second must not miss the first because that has just got its name."""
    guest = repaired({**LINK, **PROFILES["ifupdown"]}, "auto")
    (rule,) = (line for line in guest.files[position.PATH].decode().splitlines() if not line.startswith("#"))
    program = re.search(r'PROGRAM=="([^"]*)"', rule)[1].replace("$attr{ifindex}", "3").replace("$$", "$")
    for name, mac, index in (("a0", None, 4), ("eth0", FOREIGN, 2), ("eth1", OTHER, 3)):
        (tmp_path / name / "device").mkdir(parents=True)
        (tmp_path / name / "ifindex").write_text(f"{index}\n")
        if mac is not None:
            (tmp_path / name / "address").write_text(f"{mac}\n")
    pipe = tmp_path / "a0" / "address"
    os.mkfifo(pipe)
    counting = subprocess.Popen(shlex.split(program.replace("/sys/class/net", str(tmp_path))), stderr=subprocess.DEVNULL)
    while counting.poll() is None:  # which waits at the first card, and has seen the names of all
        with contextlib.suppress(OSError):
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            if (tmp_path / "eth0").exists():
                (tmp_path / "eth0").rename(tmp_path / "ens192")
            with contextlib.closing(os.fdopen(writer, "w")) as file:
                file.write("52:54:00:00:00:0c\n")
        time.sleep(0.001)
    assert counting.wait() == 1


TWO = (Nic(MAC, slot=192), Nic(OTHER, slot=224))
PROFILES_OF_TWO = {f"{NET}a.network": f"[Match]\nMACAddress={MAC}\n", f"{NET}b.network": "[Match]\nName=ens224\n[Network]\nDHCP=yes\n"}


@pytest.mark.parametrize("naming", ["link", "rules"])
def test_several_cards_go_by_their_order_where_that_is_asked_for(naming):
    files = {**NAMING[naming], **PROFILES_OF_TWO}
    guest = repaired(files, "mac_or_position", TWO)
    fresh = ["52:54:00:00:00:0a", "52:54:00:00:00:0b"]
    assert called(guest, fresh) == dict(zip(fresh, ("ens192", "ens224")))
    assert called(guest, [OTHER, MAC]) == {MAC: "ens192", OTHER: "ens224"}
    assert called(guest, [MAC, FOREIGN]) == {MAC: "ens192", FOREIGN: "ens224"}
    assert called(guest, [FOREIGN, MAC]) == {FOREIGN: "eth0", MAC: "ens192"}
    assert called(guest, [FOREIGN, OTHER]) == {FOREIGN: "ens192", OTHER: "ens224"}
    assert comes_up(guest, "ens192", FOREIGN)
    for mode in ("auto", "mac"):
        alone = repaired(files, mode, TWO)
        assert position.PATH not in alone.files and alone.files[f"{NET}a.network"] == files[f"{NET}a.network"].encode()


def test_the_report_says_what_a_name_goes_by():
    made = MemoryGuest({**LINK, **PROFILES_OF_TWO})
    facts, dummy = complete(GuestFacts(), made, TWO, {})
    assert [change.reason for change in make_plan(made, facts, Options(("network",))).changes] == [
        f"{name} keeps its name on the new hardware, by its MAC alone" for name in ("ens192", "ens224")
    ]
    reasons = {change.path: change.reason for change in make_plan(made, facts, Options(("network",), pin="mac_or_position")).changes}
    assert reasons[position.PATH] == "ens192, ens224 by position, where the target gives another MAC"


def test_where_a_card_has_no_name_several_have_no_position():
    findings = Findings()
    facts = GuestFacts(interfaces=(("ens192", MAC), ("", OTHER)))
    made = MemoryGuest({})
    told, dummy = complete(facts, made, TWO, {}, facts.interfaces)
    assert by_position(made, told, "mac_or_position", findings) == ()
    assert [(concern.code, concern.severity) for concern in findings.concerns] == [("network.no-position", "info")]
    assert by_position(made, told, "auto", findings) == () and len(findings.concerns) == 1


def test_a_card_that_only_its_mac_told_gets_a_name():
    """Where nothing tells its slot, any name will do, but for one that is taken."""
    files = {**LINK, f"{NM}x": KEYFILE.format(name="", mac=f"mac-address={MAC}\n"), "/etc/network/interfaces": "iface lan0 inet dhcp\n"}
    guest = repaired(files, "auto", (Nic(MAC),))
    assert called(guest, [FOREIGN]) == {FOREIGN: "lan1"} and comes_up(guest, "lan1", FOREIGN)
    assert comes_up(guest, called(guest, [MAC])[MAC], MAC)


@pytest.mark.parametrize("naming", ["link", "rules"])
def test_a_guest_that_went_by_its_position_is_pinned_anew_when_it_moves_on(naming):
    once = repaired({**NAMING[naming], **PROFILES["NetworkManager"]}, "auto")
    for pin in MODES:
        again = repaired(once.files, pin, (Nic(FOREIGN),))
        assert called(again, [FOREIGN]) == {FOREIGN: "ens192"} and comes_up(again, "ens192", FOREIGN)
        assert called(again, [OTHER]) == {OTHER: "eth0" if pin == "mac" else "ens192"}
    assert complete(GuestFacts(), once, (Nic(MAC),), {})[0].interfaces == (("ens192", MAC),)
    assert complete(GuestFacts(), once, (), {})[0].interfaces == (("ens192", MAC),)


@pytest.mark.parametrize("how", ["cmdline", "no udev"])
def test_a_name_of_the_kernels_own_needs_no_rule(how):
    menu = {"/boot/loader/entries/a.conf": "title x\nlinux /vmlinuz\noptions ro net.ifnames=0\n"} if how == "cmdline" else {}
    files = {**menu, **(LINK if how == "cmdline" else {}), f"{RH}ifcfg-eth0": f"DEVICE=eth0\nHWADDR={MAC}\nBOOTPROTO=dhcp\n"}
    guest = repaired(files, "auto")
    assert position.PATH not in guest.files and comes_up(guest, "eth0", FOREIGN)


@pytest.mark.parametrize("name", ['a"b', "a$b", "a%k", "a\\b", "a'b", "a|b", "a,b"])
def test_a_name_that_udev_would_read_otherwise_has_no_rule(name):
    assert position.rule([(name, MAC)]) == "" and position.rule([("lan-0.1", MAC)])


def test_a_choice_that_is_taken_back_takes_the_rule_away():
    files = {**LINK, **PROFILES["ifupdown"]}
    guest = repaired(repaired(files, "auto").files, "mac")
    assert position.PATH not in guest.files and f"{NET}10-hyper2kvm-ens192.link" in guest.files


def test_a_mode_that_does_not_exist_is_refused():
    with pytest.raises(InvalidInput, match="'slot'"):
        by_position(MemoryGuest({}), GuestFacts(), "slot", Findings())
    assert MODES[0] == Options().pin


def with_a_shell(image):
    return newc.write([("bin/sh", b"sh")]) + image


def test_an_image_that_drives_cards_knows_their_positions(monkeypatch):
    monkeypatch.setitem(fixtures.DRIVERS, "vmxnet3", "kernel/drivers/net/vmxnet3/vmxnet3.ko")
    plain = fixtures.initramfs("ext4", "vmw_pvscsi", "vmxnet3")
    for pin, initrd, known in (("auto", with_a_shell(plain), True), ("auto", plain, False), ("mac", with_a_shell(plain), False)):
        made = fixtures.guest(**{fixtures.INITRD: initrd})
        before = dict(made.files)
        plan = make_plan(made, fixtures.facts(made), Options(pin=pin))
        apply(made, plan)
        image = cpio.read(made.read(fixtures.INITRD))
        assert (position.PATH[1:] in image.texts) == known
        assert not known or image.texts[position.PATH[1:]] == made.read(position.PATH)
        assert make_plan(made, fixtures.facts(made), Options(pin=pin)).changes == ()
        undo(made, plan)
        assert made.files == before


@pytest.mark.parametrize("macs", [{}, {fixtures.MAC: FOREIGN}])
def test_a_choice_that_is_taken_back_is_taken_back_in_the_image_too(monkeypatch, macs):
    monkeypatch.setitem(fixtures.DRIVERS, "vmxnet3", "kernel/drivers/net/vmxnet3/vmxnet3.ko")
    made = fixtures.guest(**{fixtures.INITRD: with_a_shell(fixtures.initramfs("ext4", "vmw_pvscsi", "vmxnet3"))})
    apply(made, make_plan(made, fixtures.facts(made), Options()))
    moved = replace(fixtures.facts(made), interfaces=(("ens192", macs.get(fixtures.MAC, fixtures.MAC)),))
    for fix, expected in (("network", [False]), ("initramfs", [])):
        apply(made, make_plan(made, moved, Options((fix,), pin="mac", macs=macs)))
        proof = prove(made, moved, fixtures.tables())
        assert [check.passed for check in proof.checks if check.name == "initramfs.position"] == expected
    assert position.PATH not in made.files and proof.holds, proof.failures()
    assert cpio.read(made.read(fixtures.INITRD)).texts[position.PATH[1:]] == b""
    assert make_plan(made, moved, Options(pin="mac")).changes == ()


@pytest.mark.parametrize("pin", MODES)
def test_the_proof_holds_and_says_what_a_name_goes_by(pin):
    made = fixtures.guest()
    apply(made, make_plan(made, fixtures.facts(made), Options(pin=pin)))
    proof = prove(made, fixtures.facts(made), fixtures.tables())
    (card,) = [check.detail for check in proof.checks if check.name == "network.card"]
    assert proof.holds and (f"({fixtures.MAC}, or by position)" in card) == (pin != "mac")
    made.files["/etc/systemd/network/10-hyper2kvm-ens192.link"] = b"[Match]\nMACAddress=00:50:56:00:00:01\n\n[Link]\nName=ens192\n"
    assert not prove(made, fixtures.facts(made), fixtures.tables()).holds


def test_the_proof_knows_a_card_by_the_name_that_it_got():
    made = fixtures.guest(
        **{
            "/etc/network/interfaces": "auto lo\niface lo inet loopback\n",
            "/etc/udev/rules.d/70-persistent-net.rules": "",
            f"{NM}x": KEYFILE.format(name="", mac=f"mac-address={fixtures.MAC}\n"),
        }
    )
    facts = replace(fixtures.facts(made), interfaces=(("", fixtures.MAC),))
    apply(made, make_plan(made, facts, Options()))
    proof = prove(made, facts, fixtures.tables())
    assert proof.holds, proof.failures()
    (card,) = [check.detail for check in proof.checks if check.name == "network.card"]
    assert card.startswith(f"lan0 ({fixtures.MAC}, or by position)")


THREE = ("ens192", "ens224", "lan")


def known_by_name(names):
    profiles = {f"{NM}{name}": KEYFILE.format(name=f"interface-name={name}\n", mac="") for name in names}
    pinned = {
        f"{NET}{number}.link": f"[Match]\nMACAddress=00:50:56:00:00:0{number}\n[Link]\nName={name}\n" for number, name in enumerate(names)
    }
    return {**LINK, **profiles, **pinned}


@settings(max_examples=60, deadline=None, database=None)
@given(st.permutations(THREE), st.integers(1, 3), st.lists(st.sampled_from(["own", "foreign", "none"]), min_size=3, max_size=3), st.data())
def test_a_repaired_guest_that_is_repaired_again_keeps_every_name_at_its_position(order, count, kinds, data):
    names = order[:count]
    first = tuple(Nic(f"00:50:56:00:00:0{number}") for number in range(count))
    once = repaired(known_by_name(names), "mac_or_position", first)
    fresh = data.draw(st.lists(MACS, min_size=count, max_size=count, unique=True))
    macs = [{"own": nic.mac, "foreign": mac, "none": None}[kind] for nic, mac, kind in zip(first, fresh, kinds)]
    nics = tuple(map(Nic, macs))
    facts, findings = complete(GuestFacts(), once, nics, {})
    assert [name for name, dummy in facts.interfaces] == names and findings.concerns == []
    assert [given for (dummy, given), mac in zip(facts.interfaces, macs) if mac] == [mac for mac in macs if mac]
    for pin in ("mac_or_position", "auto"):
        again = MemoryGuest(once.files)
        apply(again, make_plan(again, facts, Options(("network",), pin=pin)))
        assert position.numbers(again) == (dict(enumerate(names)) if pin == "mac_or_position" or count == 1 else {})
    assert [name for name, dummy in complete(GuestFacts(), once, (), {})[0].interfaces] == names


def test_a_name_whose_own_card_is_there_is_not_taken_by_another():
    once = repaired(known_by_name(("lan", "ens192")), "mac_or_position", (Nic("00:50:56:00:00:00"), Nic("00:50:56:00:00:01")))
    facts, dummy = complete(GuestFacts(), once, (Nic("00:50:56:00:00:01"), Nic(FOREIGN)), {})
    assert facts.interfaces == (("ens192", "00:50:56:00:00:01"), ("lan", FOREIGN))


def test_a_card_that_came_later_takes_no_name_from_the_first():
    once = repaired({**LINK, **PROFILES["NetworkManager by name"]}, "auto")
    nics = (Nic(FOREIGN), Nic(OTHER))
    for pin in MODES:
        guest = MemoryGuest(once.files)
        facts, findings = complete(GuestFacts(), guest, nics, {})
        assert facts.interfaces == (("ens192", FOREIGN),) and findings.concerns == []
        apply(guest, make_plan(guest, facts, Options(("network",), pin=pin)))
        assert called(guest, [FOREIGN, OTHER]) == {FOREIGN: "ens192", OTHER: "eth1"}
    second = MemoryGuest({**once.files, f"{NM}y": KEYFILE.format(name="interface-name=enp7s0\n", mac="")})
    assert complete(GuestFacts(), second, nics, {})[0].interfaces == (("ens192", FOREIGN), ("enp7s0", OTHER))


def test_the_rule_stays_while_nothing_else_gives_a_name_of_it():
    nics = (Nic("00:50:56:00:00:00"), Nic("00:50:56:00:00:01"))
    guest = repaired(known_by_name(("ens224", "ens192")), "mac_or_position", nics)
    facts, dummy = complete(GuestFacts(), guest, nics, {})
    plan = make_plan(guest, replace(facts, interfaces=facts.interfaces[:1]), Options(("network",), pin="mac"))
    assert position.PATH not in {change.path for change in plan.changes}


def test_cards_whose_macs_no_source_says_are_known_by_their_slots():
    profile = "DEVICE={}\nHWADDR={}\nBOOTPROTO=dhcp\n"
    second = {**LINK, f"{RH}ifcfg-ens224": profile.format("ens224", OTHER)}
    made = MemoryGuest(second)
    nics = (Nic(None, slot=192), Nic(None, slot=224))
    facts, dummy = complete(GuestFacts(), made, nics, {})
    assert facts.interfaces == (("ens224", OTHER),)
    every = whole(nics, facts.nics, {}, "seed")
    assert [one.mac == OTHER for one in every] == [False, True]
    assert [one.mac for one in whole((Nic(None, slot=224), Nic(OTHER)), facts.nics, {}, "seed")][1] == OTHER
    plan = make_plan(made, replace(facts, nics=every), Options(("network",)))
    assert {change.path for change in plan.changes} == {f"{NET}10-hyper2kvm-ens224.link"}
    both = MemoryGuest({**second, f"{RH}ifcfg-ens192": profile.format("ens192", MAC)})
    for order in (nics, nics[::-1]):
        found = complete(GuestFacts(), both, order, {})[0].interfaces
        assert found == ((("ens192", MAC), ("ens224", OTHER)) if order == nics else (("ens224", OTHER), ("ens192", MAC)))


BY_MAC_ALONE = {f"{NM}x": KEYFILE.format(name="", mac=f"mac-address={MAC}\n")}
TAKEN_BY_NAME = {
    "networkd": {f"{NET}20-mac.network": f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=yes\n"},
    "an idle profile": {f"{NM}x": BY_MAC_ALONE[f"{NM}x"].replace("type=", "autoconnect=false\ntype=")},
}


@pytest.mark.parametrize("pattern", ["en*", "eth*"])
@pytest.mark.parametrize("case", TAKEN_BY_NAME)
def test_a_card_that_a_pattern_takes_is_given_no_name_that_it_does_not_know(case, pattern):
    files = {**LINK, **TAKEN_BY_NAME[case], f"{NET}10-wired.network": f"[Match]\nName={pattern}\n[Network]\nAddress=192.0.2.2/24\n"}
    assert repaired(files, "auto", (Nic(MAC),)).files == {path: data.encode() for path, data in files.items()}


@pytest.mark.parametrize("how", ["command line", "rules", "no udev"])
def test_where_the_kernel_counts_a_card_keeps_the_name_that_it_has(how):
    menu = {"/boot/loader/entries/a.conf": "title x\nlinux /vmlinuz\noptions ro net.ifnames=0\n"}
    files = {**{"command line": {**menu, **LINK}, "rules": NAMING["rules"], "no udev": {}}[how], **BY_MAC_ALONE}
    guest = repaired(files, "auto", (Nic(MAC),))
    assert called(guest, [FOREIGN]) == {FOREIGN: "eth0"} and comes_up(guest, "eth0", FOREIGN)
    both = {**files, "/etc/network/interfaces": "iface eth0 inet dhcp\n"}
    facts, dummy = complete(GuestFacts(), MemoryGuest(both), (Nic(MAC),), {}, (("", MAC),))
    assert by_position(MemoryGuest(both), facts, "auto", Findings()) == ()


@pytest.mark.parametrize("slot", [None, 192])
@pytest.mark.parametrize("case", ["NetworkManager", "networkd", "ifcfg without a name"])
def test_without_udev_a_profile_is_for_the_name_of_the_kernels(case, slot):
    made = MemoryGuest(PROFILES[case])
    nics = (Nic(MAC, slot=slot),)
    guest = repaired(PROFILES[case], "auto", nics)
    assert comes_up(guest, "eth0", FOREIGN)
    facts, dummy = complete(GuestFacts(), made, nics, {})
    cards = {check.detail: check.passed for check in prove(guest, facts, {}).checks if check.name == "network.card"}
    assert len(cards) == 1 and all(cards.values()) and "eth0" in next(iter(cards))
    (path,) = PROFILES[case]
    guest.files = {path: guest.files[path].replace(b"eth0", b"ens192")}
    assert [check.passed for check in prove(guest, facts, {}).checks if check.name == "network.card"] == [False]


def test_without_udev_no_profile_is_for_a_name_that_nothing_gives():
    made = MemoryGuest(BY_MAC_ALONE)
    facts, dummy = complete(GuestFacts(), made, (Nic(MAC),), {}, (("ens192", MAC),))
    assert make_plan(made, facts, Options(("network",))).changes == ()


def test_the_same_facts_planned_twice_give_the_same_name():
    made = MemoryGuest({**LINK, **BY_MAC_ALONE})
    facts, dummy = complete(GuestFacts(), made, (Nic(MAC),), {})
    assert facts.interfaces == (("", MAC),)
    apply(made, make_plan(made, facts, Options(("network",))))
    assert make_plan(made, facts, Options(("network",))).changes == ()


def test_a_profile_that_stays_by_its_mac_is_told():
    path = "/etc/systemd/network/a.network"
    made = fixtures.guest(
        **{
            "/etc/network/interfaces": "auto lo\niface lo inet loopback\n",
            path: f"[Match]\nMACAddress={fixtures.MAC} {OTHER}\n[Network]\nDHCP=yes\n",
        }
    )
    for pin, expected in (("auto", [path]), ("mac", [])):
        plan = make_plan(made, fixtures.facts(made), Options(pin=pin))
        told = [concern for concern in plan.concerns if concern.code == "network.by-mac"]
        assert [concern.cause.split()[0] for concern in told] == expected and {concern.severity for concern in told} <= {"info"}
    apply(made, make_plan(made, fixtures.facts(made), Options()))
    proof = prove(made, fixtures.facts(made), fixtures.tables())
    (card,) = [check.detail for check in proof.checks if check.name == "network.card"]
    assert proof.holds and f"({fixtures.MAC})" in card
