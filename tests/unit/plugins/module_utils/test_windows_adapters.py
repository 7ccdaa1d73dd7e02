# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows' network adapters of every kind: which NIC each is, what netsh is told, and that no static address is lost without a word."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import winlab
import winnics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from winlab import CS, MAC, NET, RELEASES
from winnics import NAME, Card, named, script_of, set_by, told
from winplans import codes, repaired, software_of, system_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import WindowsFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import hives, matching, netsh, network, plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.network import Adapter, Ip, Route
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

SERVICES = f"{CS}\\Services"
MACS = [f"00:50:56:aa:00:{number:02x}" for number in range(1, 9)]


def every_kind(release: winlab.Release) -> winlab.Release:
    """The card of winlab with a static address, and beside it one adapter of each kind."""
    made = winnics.tree(
        release,
        Card(1, winnics.VMXNET3.format(1), ("203.0.113.1/24", "2001:db8::1/64"), slot=161, mac=MACS[1], name=NAME),
        Card(2, winnics.E1000.format(2), ("203.0.113.2/24",), place="PCI bus 2, device 4, function 0", mac=MACS[2]),
        Card(3, winnics.VMBUS.format(3), ("203.0.113.3/24", "2001:db8:3::3/56"), mac=MACS[3]),
        Card(4, winnics.XENVIF.format(4), ("203.0.113.4/24",)),
        Card(5, winnics.TEAM.format(5), ("203.0.113.5/24",), mac=MACS[1]),
        Card(6, winnics.SWITCH.format(6), ("203.0.113.6/24",)),
        Card(7, winnics.BRIDGE.format(7), ("203.0.113.7/24",)),
        Card(8, winnics.VLAN.format(8), ("203.0.113.8/24", "2001:db8:8::8/64")),
        Card(9, winnics.LOOPBACK.format(9), ("203.0.113.9/24",)),
        Card(10, winnics.E1000E.format("005056FFFFAA000100"), ("203.0.113.10/24",), removed=True, installed=1),
        Card(11, "", ("203.0.113.11/24",)),
        Card(12, winnics.NUTANIX.format(12), ("203.0.113.12/24",), dhcp=True, mac="50:6b:8d:00:00:01", alternate="203.0.113.13/24"),
    )
    made[f"{SERVICES}\\{winnics.guid(13)}\\Parameters\\Tcpip"] = {"IPAddress": ["203.0.113.14"], "SubnetMask": ["255.255.255.0"]}
    if release.nt >= (6, 0):
        made[f"{winnics.NSI[4]}\\10"] = {winnics.row_name(99, "203.0.113.15"): winnics.row("203.0.113.15/24")}
    made[f"{SERVICES}\\Tcpip\\Parameters\\PersistentRoutes"] = {"10.77.0.0,255.255.0.0,203.0.113.77,5": ""}
    return replace(release, extra=made)


NICS = (
    Nic(MAC, slot=192),
    Nic(MACS[1], slot=1184),
    Nic(MACS[2], slot=36),
    Nic(MACS[3]),
    Nic(MACS[4]),
)


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_all_kinds_of_cards_keep_the_laws_of_plans_and_lose_no_address(release, virtio_win):
    release = every_kind(release)
    made = winlab.guest(release)
    before = dict(made.files)
    options = Options(virtio_win)
    facts = winlab.inspected(made, release, options)
    changes = plan.make_plan(made, facts, options, NICS)
    backups = f"/c/{release.root}/hyper2kvm/backup"
    apply(made, changes, backups)
    assert plan.make_plan(made, facts, options, NICS).changes == ()
    text = script_of(made, release)
    there = winnics.in_the_hive(before[f"/c/{release.root}/System32/config/SYSTEM"])
    assert len(there) >= 15 + (4 if release.nt >= (6, 0) else 0)
    assert there <= set_by(text) | named(told(changes))
    for number in (1, 2, 4):
        assert f"203.0.113.{number}" in set_by(text)
    for number in (5, 6, 7, 8, 9, 10, 11, 12, 13, 14):
        assert f"203.0.113.{number}" not in set_by(text) and f"203.0.113.{number}" in named(told(changes))
    # Before 10 nothing tells the MAC of a card on VMBUS, and there is another card that could be the NIC that is left.
    assert ("203.0.113.3" in set_by(text)) == (release.nt >= (10, 0)) and ("windows.card-unmatched" in codes(changes)) == (
        release.nt < (10, 0)
    )
    undo(made, changes, backups)
    assert made.files == before


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_a_name_never_reaches_the_script(release, virtio_win):
    release = every_kind(release)
    text = script_of(repaired(release, Options(virtio_win))[0], release)
    assert text.isascii() and "PATH" not in text.replace("%PATH%", "") and "LAN " not in text and "!" not in text


# -- who is who ----------------------------------------------------------------------------------------------------------------------


def found(name: str, nics: tuple[Nic, ...], *cards: Card) -> tuple[matching.Matched, dict[str, str], Findings]:
    """Adapters of a guest whose own card is no more, by name with their MACs, and what is said."""
    release = RELEASES[name]
    extra = winnics.tree(release, *cards)
    extra[f"{CS}\\Control\\Network\\{NET}\\{winlab.GUID}\\Connection"] = {"Name": "gone", "PnpInstanceID": ""}
    extra[f"{SERVICES}\\Tcpip\\Parameters\\Interfaces\\{winlab.GUID.lower()}"] = {"EnableDHCP": 1}
    release = replace(release, extra=extra)
    made = winlab.guest(release)
    windows = winlab.inspected(made, release, Options()).windows
    matched = matching.matched(network.adapters(system_of(made, release), windows), nics, {})
    findings = Findings()
    matching.say(matched, matched.here, findings)
    return matched, {adapter.name: adapter.mac for adapter in matched.here}, findings


def said(findings: Findings, code: str) -> list[tuple[str, str]]:
    return [(concern.severity, concern.cause) for concern in findings.concerns if concern.code == code]


@pytest.mark.parametrize("name", ["w10", "2k22"])
def test_a_card_on_vmbus_is_told_by_its_mac(name):
    cards = [Card(number, winnics.VMBUS.format(number), (f"192.0.2.{number}/24",), mac=MACS[number]) for number in (1, 2)]
    dummy, macs, findings = found(name, (Nic(MACS[2]), Nic(MACS[1])), *cards)
    assert macs == {"LAN 1": MACS[1], "LAN 2": MACS[2]} and not findings.concerns


def test_two_cards_on_vmbus_without_macs_are_not_guessed():
    cards = [Card(number, winnics.VMBUS.format(number), (f"192.0.2.{number}/24",)) for number in (1, 2)]
    dummy, macs, findings = found("w8.1", (Nic(MACS[1]), Nic(MACS[2])), *cards)
    assert macs == {} and [concern.code for concern in findings.concerns] == ["windows.card-unmatched"]
    assert {"192.0.2.1", "192.0.2.2"} <= named(findings.concerns[0].cause)


def test_a_xen_card_is_told_by_the_number_of_its_interface():
    cards = [Card(number, winnics.XENVIF.format(number), (f"192.0.2.{number}/24",)) for number in (1, 0)]
    dummy, macs, findings = found("w7", (Nic(MACS[0]), Nic(MACS[1])), *cards)
    assert macs == {"LAN 0": MACS[0], "LAN 1": MACS[1]} and not findings.concerns


@pytest.mark.parametrize(
    "place", ["@system32\\drivers\\pci.sys,#65536;PCI bus %1, device %2, function %3;(3,0,0)", "PCI-Bus 3, Gerät 0, Funktion 0"]
)
def test_a_card_is_told_by_its_place_on_the_bus(place):
    """The port behind slot 160 is bus 3, as in a hive of Windows 10 on VMware."""
    cards = (Card(1, winnics.VMXNET3.format(1), ("192.0.2.1/24",), place=place), Card(2, winnics.VMXNET3.format(2), ("192.0.2.2/24",)))
    dummy, macs, dummy2 = found("w7", (Nic(MACS[1], slot=160), Nic(MACS[2], slot=192)), *cards)
    assert macs == {"LAN 1": MACS[1], "LAN 2": MACS[2]}


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("w10", {"removed": True}, {"removed": False}),
        ("w10", {"removed": True, "installed": 9}, {"removed": False, "installed": 1}),
        ("w10", {"installed": 1}, {"installed": 2}),
    ],
)
def test_of_two_with_one_mac_the_present_one_is_the_card(name, old, new, first):
    ghost, card = first, 3 - first
    cards = (
        Card(ghost, winnics.VMXNET3.format(ghost), ("192.0.2.1/24",), mac=MACS[1], name="old", **old),
        Card(card, winnics.VMXNET3.format(card), ("192.0.2.2/24",), mac=MACS[1], name="new", **new),
    )
    dummy, macs, findings = found(name, (Nic(MACS[1]),), *cards)
    assert macs == {"new": MACS[1]}
    ((severity, cause),) = said(findings, "windows.address-stays")
    assert "The card old keeps 192.0.2.1/24" in cause and severity == ("info" if old.get("removed") else "warning")


def test_the_model_of_the_card_tells_a_ghost_too():
    cards = (
        Card(1, winnics.E1000.format(1), ("192.0.2.1/24",), mac=MACS[1], name="old", installed=9),
        Card(2, winnics.VMXNET3.format(2), ("192.0.2.2/24",), mac=MACS[1], name="new"),
    )
    assert found("w10", (Nic(MACS[1], model="vmxnet3"),), *cards)[1] == {"new": MACS[1]}
    assert found("w10", (Nic(MACS[1], model="e1000"),), *cards)[1] == {"old": MACS[1]}


def test_the_only_card_with_another_mac_is_the_only_one_left_with_a_word():
    dummy, macs, findings = found("w10", (Nic(MACS[5]),), Card(1, winnics.VMXNET3.format(1), ("192.0.2.1/24",), mac=MACS[1]))
    assert macs == {"LAN 1": MACS[5]} and [concern.code for concern in findings.concerns] == ["windows.card-by-position"]
    assert MACS[1] in findings.concerns[0].cause and "192.0.2.1" in findings.concerns[0].cause


def test_a_removed_card_is_never_taken_for_the_one_that_is_left():
    dummy, macs, findings = found("w10", (Nic(MACS[5]),), Card(1, winnics.VMXNET3.format(1), ("192.0.2.1/24",), mac=MACS[1], removed=True))
    assert macs == {} and [severity for severity, dummy in said(findings, "windows.address-stays")] == ["info"]


@pytest.mark.parametrize(
    ("form", "kind", "severity"),
    [
        (winnics.TEAM, "team", "warning"),
        (winnics.SWITCH, "virtual switch", "warning"),
        (winnics.BRIDGE, "bridge", "warning"),
        (winnics.VLAN, "team or VLAN of Intel's driver", "warning"),
        (winnics.LOOPBACK, "virtual adapter", "info"),
    ],
)
def test_what_is_no_card_is_named_with_its_addresses(form, kind, severity):
    cards = (
        Card(1, winnics.VMXNET3.format(1), mac=MACS[1], dhcp=True),
        Card(2, form.format(2), ("192.0.2.2/24", "2001:db8::2/64"), name="Up", mac=MACS[1]),
    )
    matched, macs, findings = found("2k22", (Nic(MACS[1]),), *cards)
    assert macs == {"LAN 1": MACS[1]}
    ((found_severity, cause),) = said(findings, "windows.address-stays")
    assert cause.startswith(f"The {kind} Up keeps 192.0.2.2/24, 2001:db8::2/64: ") and found_severity == severity
    findings = Findings()
    matching.say(matched, (Adapter("", mac=MACS[1], v4=Ip(("192.0.2.2/24",)), v6=Ip(("2001:db8::2/64",))),), findings)
    assert not findings.concerns  # the operator has named the card that gets them


def test_name_servers_of_a_card_that_gets_nothing_are_said_too():
    cards = [Card(number, winnics.VMBUS.format(number), dhcp=True, more=(("NameServer", f"192.0.2.{number}"),)) for number in (1, 2)]
    dummy, macs, findings = found("w8.1", (Nic(MACS[1]), Nic(MACS[2])), *cards)
    assert macs == {} and [concern.code for concern in findings.concerns] == ["windows.card-unmatched"]
    assert {"192.0.2.1", "192.0.2.2"} <= named(findings.concerns[0].cause)
    dummy, macs, findings = found("w10", (Nic(MACS[1]),), Card(1, winnics.VMBUS.format(1), mac=MACS[1]), replace(cards[1], mac=MACS[2]))
    ((severity, cause),) = said(findings, "windows.address-stays")
    assert "the name server 192.0.2.2" in cause and severity == "warning"


def test_a_mac_that_was_set_in_windows_is_said():
    release = RELEASES["w10"]
    tree = winnics.tree(release, Card(1, winnics.VMXNET3.format(1), ("192.0.2.1/24",), mac=MACS[1]))
    tree[f"{CS}\\Control\\Class\\{NET}\\0001"]["NetworkAddress"] = "02AABBCCDDEE"
    release = replace(release, extra=tree)
    made = winlab.guest(release)
    matched = matching.matched(
        network.adapters(system_of(made, release), winlab.inspected(made, release, Options()).windows), (Nic(MACS[1]), Nic(MAC)), {}
    )
    findings = Findings()
    matching.say(matched, matched.here, findings)
    ((dummy, cause),) = said(findings, "windows.mac-set")
    assert "02:aa:bb:cc:dd:ee" in cause and MACS[1] in cause


# -- what is read --------------------------------------------------------------------------------------------------------------------


def read(name: str, tree: winnics.Tree) -> Adapter:
    release = replace(RELEASES[name], extra=tree)
    made = winlab.guest(release)
    every = network.adapters(system_of(made, release), winlab.inspected(made, release, Options()).windows)
    return next(one for one in every if one.guid.upper() == winnics.guid(1).upper())


def test_every_setting_is_read():
    release = RELEASES["w10"]
    card = Card(1, winnics.VMXNET3.format(1), ("192.0.2.5/24", "2001:db8::5/64"), mac=MACS[1], more=(
        ("DefaultGateway", ["192.0.2.1", "192.0.2.2"]), ("DefaultGatewayMetric", ["0", "20"]), ("NameServer", "192.0.2.8,192.0.2.9"),
        ("Domain", "corp.example"), ("InterfaceMetric", 15), ("MTU", 1400), ("RegistrationEnabled", 0), ("RegisterAdapterName", 1),
    ))  # fmt: skip
    tree = winnics.tree(release, card)
    tree[f"{SERVICES}\\NetBT\\Parameters\\Interfaces\\Tcpip_{card.guid}"] = {"NameServerList": ["192.0.2.7"], "NetbiosOptions": 2}
    tree[f"{SERVICES}\\Tcpip6\\Parameters\\Interfaces\\{card.guid.lower()}"] = {"NameServer": "2001:db8::8", "MTU": 1280}
    unsaid = b"\xff" * 40
    tree[f"{winnics.NSI[6]}\\16"] = {
        winnics.route_name(1, "::/0", "fe80::1"): unsaid,
        winnics.route_name(1, "2001:db8:7::/48", "2001:db8::7"): b"\xff" * 12 + (30).to_bytes(4, "little") + b"\xff" * 24,
    }
    tree[f"{winnics.NSI[4]}\\16"] = {
        winnics.route_name(1, "0.0.0.0/0", "192.0.2.1"): unsaid,
        winnics.route_name(1, "10.8.0.0/16", "192.0.2.3"): unsaid,
    }
    adapter = read("w10", tree)
    assert adapter.v4 == Ip(
        ("192.0.2.5/24",), (("192.0.2.1", 0), ("192.0.2.2", 20)), ("192.0.2.8", "192.0.2.9"), (Route("10.8.0.0/16", "192.0.2.3"),), 15, 1400
    )
    assert adapter.v6 == Ip(
        ("2001:db8::5/64",), (("fe80::1", 0),), ("2001:db8::8",), (Route("2001:db8:7::/48", "2001:db8::7", 30),), 0, 1280
    )
    assert (adapter.suffix, adapter.wins) == ("corp.example", ("192.0.2.7",))
    assert adapter.numbers == (("NetBT", "NetbiosOptions", 2), ("Tcpip", "RegistrationEnabled", 0), ("Tcpip", "RegisterAdapterName", 1))
    assert adapter.facts().addresses == ("192.0.2.5/24", "2001:db8::5/64") and adapter.facts().gateway == "192.0.2.1"


def test_metric_and_mtu_that_netsh_has_set_are_read():
    """NL_INTERFACE_RW: in the row of an interface all bits are set but for the times and the MTU, which are 0 where they are not said."""

    def row(metric: int, mtu: int) -> bytes:
        return b"\xff" * 28 + metric.to_bytes(4, "little") + bytes(12) + b"\xff" * 76 + mtu.to_bytes(4, "little") + b"\xff" * 356

    tree = winnics.tree(RELEASES["w10"], Card(1, winnics.VMXNET3.format(1), ("192.0.2.5/24",)))
    name = winnics.row_name(1, "0.0.0.0")[:16]
    for version, content in ((4, row(25, 0)), (6, row(0xFFFFFFFF, 1400))):
        tree[f"{winnics.NSI[version]}\\7"] = {name: content}
    adapter = read("w10", tree)
    assert (adapter.v4.metric, adapter.v4.mtu, adapter.v6.metric, adapter.v6.mtu) == (25, 0, 0, 1400)


def test_a_card_without_enabledhcp_is_static():
    """KB 314053: the default of EnableDHCP is 0."""
    tree = winnics.tree(RELEASES["xp"], Card(1, winnics.VMXNET3.format(1), ("192.0.2.5/24",)))
    del tree[Card(1, "").settings]["EnableDHCP"]
    assert read("xp", tree).v4.addresses == ("192.0.2.5/24",)


def test_ipv6_that_is_switched_off_is_not_set_and_said():
    tree = winnics.tree(RELEASES["w10"], Card(1, winnics.VMXNET3.format(1), ("192.0.2.5/24", "2001:db8::5/64")))
    tree[f"{SERVICES}\\Tcpip6\\Parameters"] = {"DisabledComponents": 0xFF}
    adapter = read("w10", tree)
    assert adapter.addresses == ("192.0.2.5/24",) and adapter.unused == (("2001:db8::5/64", "IPv6 is switched off"),)


def test_what_is_no_address_is_said_and_goes_nowhere():
    tree = winnics.tree(RELEASES["w10"], Card(1, winnics.VMXNET3.format(1), ("192.0.2.5/24",), mac=MACS[1]))
    tree[Card(1, "").settings].update(
        IPAddress=["192.0.2.5", "1.2.3.4 & del", "192.0.2.6"], SubnetMask=["255.255.255.0", "255.0.0.0"], NameServer="8.8.8.8,`x`"
    )
    tree[f"{SERVICES}\\Tcpip6\\Parameters\\Interfaces\\{winnics.guid(1)}"] = {"IPAddress": ["fe80::1%x&del/64"], "NameServer": "::1%&y"}
    adapter = read("w10", tree)
    assert adapter.addresses == ("192.0.2.5/24",) and adapter.v4.dns == ("8.8.8.8",) and adapter.v6 == Ip()
    assert adapter.unread == ("1.2.3.4 & del", "192.0.2.6", "`x`", "fe80::1%x&del/64", "::1%&y")
    findings = Findings()
    matching.say(matching.matched((adapter,), (Nic(MACS[1]),), {}), (adapter,), findings)
    ((dummy, cause),) = said(findings, "windows.address-unread")
    assert "192.0.2.6" in cause


def test_a_persistent_route_goes_to_the_card_that_reaches_its_gateway():
    release = replace(RELEASES["w7"], extra={f"{SERVICES}\\Tcpip\\Parameters\\PersistentRoutes": {
        "10.8.0.0,255.255.0.0,192.0.2.3,7": "", "10.9.0.0,255.255.0.0,198.51.100.1,1": "", "0.0.0.0,0.0.0.0,192.0.2.1,-1": "", "x": "",
    }})  # fmt: skip
    made = winlab.guest(release)
    routes = network.persistent_routes(system_of(made, release), winlab.inspected(made, release, Options()).windows)
    adapter = Adapter("", v4=Ip(("192.0.2.5/24",), (("192.0.2.1", 0),)))
    assert network.with_routes((adapter,), routes)[0].v4.routes == (Route("10.8.0.0/16", "192.0.2.3", 7),)


def test_a_private_network_is_a_concern():
    release = RELEASES["w10"]
    profiles = "Microsoft\\Windows NT\\CurrentVersion\\NetworkList\\Profiles"
    soft = {**winlab.software(release), f"{profiles}\\{{1}}": {"ProfileName": "LAN", "Category": 1}, f"{profiles}\\{{2}}": {"Category": 0}}
    made = winlab.guest(release, {"/c/Windows/System32/config/SOFTWARE": winlab.hive(soft)})
    assert software_of(made, release).number(f"{profiles}\\{{1}}", "Category") == 1
    changes = winlab.planned(made, winlab.inspected(made, release, Options()), Options())
    (concern,) = [concern for concern in changes.concerns if concern.code == "windows.network-category"]
    assert ": LAN." in concern.cause


# -- the law --------------------------------------------------------------------------------------------------------------------------

FORMS = [
    winnics.VMXNET3, winnics.E1000, winnics.VMBUS, winnics.XENVIF, winnics.NUTANIX, winnics.TEAM, winnics.SWITCH, winnics.BRIDGE,
    winnics.VLAN, winnics.LOOPBACK, "",
]  # fmt: skip
V4 = st.ip_addresses(v=4, network="10.0.0.0/8").map(lambda one: f"{one}/24")
V6 = st.ip_addresses(v=6, network="2001:db8::/32").map(lambda one: f"{one}/64")
ADDRESSES = st.lists(V4 | V6, max_size=3, unique=True).map(tuple)


@st.composite
def registries(draw):
    cards = [
        Card(
            number,
            draw(st.sampled_from(FORMS)).format(number),
            draw(ADDRESSES),
            name=draw(st.sampled_from(["", NAME, "a, b"])),
            mac=draw(st.sampled_from(["", *MACS[:4]])),
            slot=draw(st.sampled_from([None, 160, 161, 192])),
            removed=draw(st.none() | st.booleans()),
            installed=draw(st.integers(1, 28)),
            dhcp=draw(st.booleans()),
            alternate=draw(st.just("") | V4),
        )
        for number in range(1, draw(st.integers(1, 5)) + 1)
    ]
    nics = [
        Nic(
            draw(st.sampled_from([None, mac])),
            slot=draw(st.sampled_from([None, 160, 192, 1184])),
            model=draw(st.sampled_from(["", "vmxnet3", "e1000"])),
        )
        for mac in MACS[: draw(st.integers(0, 3))]
    ]
    return draw(st.sampled_from(["xp", "w7", "w8.1", "w10"])), cards, tuple(nics)


@functools.lru_cache
def windows_of(name: str) -> WindowsFacts:
    return winlab.inspected(winlab.guest(RELEASES[name]), RELEASES[name], Options()).windows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(registries())
def test_no_static_address_is_lost_without_a_concern(made):
    name, cards, nics = made
    release = replace(RELEASES[name], extra=winnics.tree(RELEASES[name], *cards))
    hive, windows = winlab.hive(winlab.system(release)), windows_of(name)
    system = hives.Draft.of(MemoryGuest({"/SYSTEM": hive}), "/SYSTEM")
    matched = matching.matched(network.adapters(system, windows), nics, {})
    assert len({adapter.mac for adapter in matched.here}) == len(matched.here)
    findings = Findings()
    matching.say(matched, matched.here, findings)
    lines = [line for adapter in matched.here for line in netsh.lines(windows.nt, adapter)]
    assert all(line.isascii() for line in lines)
    assert winnics.in_the_hive(hive) <= set_by("\n".join(lines)) | named("\n".join(concern.cause for concern in findings.concerns))


def test_codes_of_the_whole_are_those_of_the_registry(virtio_win):
    release = every_kind(RELEASES["2k22"])
    made = winlab.guest(release)
    changes = plan.make_plan(made, winlab.inspected(made, release, Options(virtio_win)), Options(virtio_win), NICS)
    assert "windows.address-stays" in codes(changes) and "windows.card-unmatched" not in codes(changes)
