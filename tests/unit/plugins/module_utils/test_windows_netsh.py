# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first start of Windows tells netsh, and what it says in lines that every cmd.exe reads alike."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import winlab
import winnics
from winlab import MAC, OTHER_MAC, RELEASES
from winnics import NAME, Card, named, script_of, set_by, told
from winplans import repaired

from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import netsh
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.adapter_devices import Device
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.network import Adapter, Ip, Route
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.wanted import Wanted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

FULL = Adapter(
    winlab.GUID,
    NAME,
    mac=MAC,
    v4=Ip(
        ("192.0.2.5/24", "192.0.2.6/25"), (("192.0.2.1", 0), ("192.0.2.2", 20)), ("192.0.2.8", "192.0.2.9"),
        (Route("10.8.0.0/16", "192.0.2.3", 7),), 15, 1400,
    ),
    v6=Ip(("2001:db8::5/64",), (("fe80::1", 0),), ("2001:db8::8",), (Route("2001:db8:7::/48", "2001:db8::7", 30),), 0, 1280),
    suffix="corp.example",
    wins=("192.0.2.7",),
    numbers=(("NetBT", "NetbiosOptions", 2),),
)  # fmt: skip
TCPIP = '"HKLM\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters\\Interfaces\\%GUID%"'
NETBT = '"HKLM\\SYSTEM\\CurrentControlSet\\Services\\NetBT\\Parameters\\Interfaces\\Tcpip_%GUID%"'
FROM_VISTA = """\
netsh interface ipv4 set address name="%CARD%" source=static address=192.0.2.5 mask=255.255.255.0 gateway=192.0.2.1
netsh interface ipv4 add address name="%CARD%" address=192.0.2.6 mask=255.255.255.128
netsh interface ipv4 add address name="%CARD%" gateway=192.0.2.2 gwmetric=20
netsh interface ipv6 add address interface="%CARD%" address=2001:db8::5/64 store=persistent
netsh interface ipv6 add route prefix=::/0 interface="%CARD%" nexthop=fe80::1 store=persistent
netsh interface ipv4 set dnsserver name="%CARD%" source=static address=192.0.2.8{0}
netsh interface ipv4 add dnsserver name="%CARD%" address=192.0.2.9 index=2{0}
netsh interface ipv6 set dnsserver name="%CARD%" source=static address=2001:db8::8{0}
netsh interface ipv4 set winsserver name="%CARD%" source=static address=192.0.2.7
netsh interface ipv4 set interface interface="%CARD%" metric=15
netsh interface ipv4 set subinterface interface="%CARD%" mtu=1400 store=persistent
netsh interface ipv4 add route prefix=10.8.0.0/16 interface="%CARD%" nexthop=192.0.2.3 metric=7 store=persistent
netsh interface ipv6 set subinterface interface="%CARD%" mtu=1280 store=persistent
netsh interface ipv6 add route prefix=2001:db8:7::/48 interface="%CARD%" nexthop=2001:db8::7 metric=30 store=persistent
reg add {1} /v Domain /t REG_SZ /d corp.example /f
reg add {2} /v NetbiosOptions /t REG_DWORD /d 2 /f"""
BEFORE_VISTA = """\
netsh interface ip set address name="%CARD%" source=static addr=192.0.2.5 mask=255.255.255.0
netsh interface ip add address name="%CARD%" addr=192.0.2.6 mask=255.255.255.128
netsh interface ip add address name="%CARD%" gateway=192.0.2.1 gwmetric=1
netsh interface ip add address name="%CARD%" gateway=192.0.2.2 gwmetric=20
netsh interface ip set dns name="%CARD%" source=static addr=192.0.2.8
netsh interface ip add dns name="%CARD%" addr=192.0.2.9 index=2
netsh interface ip set wins name="%CARD%" source=static addr=192.0.2.7
reg add {1} /v Domain /t REG_SZ /d corp.example /f
reg add {2} /v NetbiosOptions /t REG_DWORD /d 2 /f
reg add {1} /v InterfaceMetric /t REG_DWORD /d 15 /f
reg add {1} /v MTU /t REG_DWORD /d 1400 /f"""


@pytest.mark.parametrize(
    ("nt", "wanted"),
    [
        ((5, 1), BEFORE_VISTA.format("", TCPIP, NETBT)),
        ((5, 2), BEFORE_VISTA.format("", TCPIP, NETBT)),
        ((6, 0), FROM_VISTA.format("", TCPIP, NETBT)),
        ((6, 1), FROM_VISTA.format(" validate=no", TCPIP, NETBT)),
        ((10, 0), FROM_VISTA.format(" validate=no", TCPIP, NETBT)),
    ],
)
def test_the_arguments_for_netsh(nt, wanted):
    adapter = FULL if nt >= (6, 0) else replace(FULL, v6=Ip())
    assert [" ".join(command) for command in netsh.commands(nt, adapter)] == wanted.splitlines()


def test_a_card_with_dhcp_gets_its_name_servers_and_no_address():
    adapter = Adapter("", mac=MAC, v4=Ip(gateways=(("192.0.2.1", 0),), dns=("192.0.2.8",)))
    assert [command[2:5] for command in netsh.commands((10, 0), adapter)] == [("ipv4", "set", "dnsserver")]


def test_an_address_is_read_back_and_a_longer_one_is_none_of_it():
    lines = netsh.lines((10, 0), Adapter("", mac=MAC, v4=Ip(("192.0.2.5/24",)), v6=Ip(("2001:db8::5/64",))))
    patterns = [re.findall(r'/c:"([^"]+)"', line) for line in lines if line.startswith("findstr")]
    for some, right, wrong in (
        (
            patterns[0],
            ("    IP Address:    192.0.2.5", "  192.0.2.5 (Preferred)"),
            ("  192.0.2.50", "  1192.0.2.5", "  192.0.2.5.7", "  192x0.2.5"),
        ),
        (patterns[1], ("Address 2001:db8::5 Parameters", "Manual Preferred infinite 2001:db8::5"), ("2001:db8::5a", "2001:db8::5:1")),
    ):
        assert all(any(re.search(one, text) for one in some) for text in right)
        assert not any(re.search(one, text) for one in some for text in wrong)
    assert [line for line in lines if "WORST" in line] == [] and sum("call :lost" in line for line in lines) == 2


@pytest.mark.parametrize("nt", [(5, 1), (6, 1), (10, 0)])
def test_the_lines_avoid_what_other_interpreters_do_otherwise(nt):
    """FOR over the output of a command, quoted fields in FOR, delayed expansion, and values that are expanded again by CALL or an escape."""
    lines = [*netsh.lines(nt, FULL if nt >= (6, 0) else replace(FULL, v6=Ip())), *netsh.subroutines(nt)]
    text = "\n".join(lines)
    assert "('" not in text and "^" not in text.replace('"[^', "").replace("[^", "") and "!" not in text and "|" not in text
    for line in lines:
        if line.startswith("for "):
            assert re.match(r'for /f "usebackq [^"]*" %%a in \("%HOME%\\found\.txt"\) do if not defined CARD set ', line)
        if line.startswith("call "):
            assert "%" not in re.sub(r"%~?[12]", "", line)
    called = set(re.findall(r"(?:call|goto) :(\w+)", text)) - {"eof", "say"}
    assert called <= set(re.findall(r"^:(\w+)", text, re.MULTILINE))


def test_devices_of_other_hypervisors_are_removed_and_nothing_else():
    every = [
        Adapter(winnics.guid(number), device=replace(Device(), instance=form))
        for number, form in enumerate(
            (winnics.VMXNET3.format(1), winnics.VMBUS.format(1), winnics.XENVIF.format(0), 'PCI\\A\\1" & del "', "ROOT\\NET\\0")
        )
    ]
    removed = [re.findall(r'/remove-device "([^"]+)"', line) for line in netsh.removed(every, True)]
    assert not any("remove-device" in line for line in netsh.removed(every, False))
    assert [one for (one,) in filter(None, removed)] == [winnics.VMXNET3.format(1), winnics.VMBUS.format(1), winnics.XENVIF.format(0)]


def test_what_is_said_to_stay_is_not_removed(virtio_win):
    release = RELEASES["w10"]
    kept = Card(1, winnics.VMXNET3.format(1), ("192.0.2.5/24",), mac=MAC, alternate="192.0.2.6/24", installed=9)
    release = replace(release, extra=winnics.tree(release, kept))
    made, dummy, changes, dummy2 = repaired(release, Options(virtio_win))
    assert "192.0.2.5" in set_by(script_of(made, release)) and "192.0.2.6" in named(told(changes))
    assert f"Interfaces\\{kept.guid}" not in script_of(made, release)


def test_the_operator_gives_both_versions_of_ip(virtio_win):
    wanted = Wanted(OTHER_MAC, ("10.9.8.7/16", "2001:db8:9::7/64"), "10.9.0.1", "2001:db8:9::1", ("10.9.0.2", "2001:db8:9::2"))
    made, facts, *dummy = repaired(RELEASES["w10"], Options(virtio_win, network=(wanted,)))
    text = script_of(made, RELEASES["w10"])
    assert {"10.9.8.7", "2001:db8:9::7", "192.168.10.5"} <= set_by(text)
    assert "prefix=::/0" in text and 'ipv6 set dnsserver name="%CARD%" source=static address=2001:db8:9::2' in text
    assert facts.nics[1].addresses == ("10.9.8.7/16", "2001:db8:9::7/64")
