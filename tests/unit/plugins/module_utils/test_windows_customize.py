# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator wants changed in Windows: what is written for each release, and what is said where it cannot be."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import winlab
from winlab import CS, RELEASES
from winplans import repaired, software_of, system_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import secrets
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import guest_options
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.wanted import Customization
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

RULES = f"{CS}\\Services\\SharedAccess\\Parameters\\FirewallPolicy\\FirewallRules"
WINRM = f"{CS}\\Services\\WinRM"
ZONES = "Microsoft\\Windows NT\\CurrentVersion\\Time Zones\\W. Europe Standard Time"
# As a Windows 10 and a Windows 7 have them; only what they say of ports counts.
REAL = {
    "RemoteDesktop-UserMode-In-TCP": "v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=3389|App=%SystemRoot%\\system32\\svchost.exe|",
    "RemoteDesktop-UserMode-In-UDP": "v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=17|LPort=3389|App=%SystemRoot%\\system32\\svchost.exe|",
    "RemoteDesktop-In-TCP": "v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Profile=Domain|Profile=Private|LPort=3389|App=System|",
    "RemoteDesktop-In-TCP-WS": "v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=3387|App=System|",
    "WINRM-HTTP-In-TCP-NoScope": "v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=6|Profile=Domain|LPort=5985|App=System|",
    "WINRM-HTTP-Compat-In-TCP": "v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=80|App=System|",
}
# TZI of W. Europe: bias -60, daylight -60, back on the last Sunday of October at 3, forth on the last Sunday of March at 2.
TZI = struct.pack("<3i8H8H", -60, 0, -60, 0, 10, 0, 5, 3, 0, 0, 0, 0, 3, 0, 5, 2, 0, 0, 0)


def guest(release, accounts: dict[str, int] | None = None, **software: dict[str, object]):
    made = winlab.guest(release)
    config = f"/c/{release.root}/System32/config"
    zone = {
        "TZI": TZI,
        "Std": "W. Europe Standard Time",
        "Dlt": "W. Europe Daylight Time",
        "MUI_Std": "@tzres.dll,-322",
        "MUI_Dlt": "@tzres.dll,-321",
    }
    made.files[f"{config}/SOFTWARE"] = winlab.hive({**winlab.software(release), ZONES: zone, **software})
    made.files[f"{config}/SAM"] = winlab.sam({"Gast": 501, "Chef": 500} if accounts is None else accounts)
    return made


def with_rules(release):
    return replace(release, extra={RULES: dict(REAL), **({WINRM: {"Start": 3}} if release.nt >= (6, 1) else {}), **release.extra})


def changed(release, wanted: Customization, made=None):
    release = with_rules(release)
    made = made or guest(release)
    options = Options(customize=wanted)
    made, dummy, plan, backups = repaired(release, options, made)
    assert not winlab.planned(made, winlab.inspected(made, release, options), options).changes
    return made, plan, [one.cause for one in plan.concerns if one.code == "windows.customize"], backups


ALL = Customization("web01.example.org", "W. Europe Standard Time", rdp=True, winrm=True, admin_password="it's ^good & <long>!")


@pytest.mark.parametrize("name", ["w7", "w10", "2k22"])
def test_everything_is_set_once_and_undo_takes_it_back(name):
    release = RELEASES[name]
    first = guest(with_rules(release))
    before = dict(first.files)
    made, plan, told, backups = changed(release, ALL, first)
    assert told == []
    system, software = system_of(made, release), software_of(made, release)
    assert system.text(f"{CS}\\Control\\ComputerName\\ComputerName", "ComputerName") == "WEB01"
    assert [system.text(f"{CS}\\Services\\Tcpip\\Parameters", name) for name in ("Hostname", "NV Hostname")] == ["web01"] * 2
    zone = f"{CS}\\Control\\TimeZoneInformation"
    # As the hive of a Windows 10 in W. Europe has them.
    assert system.value(zone, "StandardStart").data.hex() == "00000a00050003000000000000000000"
    assert system.value(zone, "DaylightStart").data.hex() == "00000300050002000000000000000000"
    assert [system.number(zone, name) for name in ("Bias", "StandardBias", "DaylightBias")] == [0xFFFFFFC4, 0, 0xFFFFFFC4]
    assert [system.text(zone, name) for name in ("StandardName", "TimeZoneKeyName")] == ["@tzres.dll,-322", "W. Europe Standard Time"]
    assert system.number(f"{CS}\\Control\\Terminal Server", "fDenyTSConnections") == 0
    on = {value.name for value in system.values(RULES) if "|Active=TRUE|" in value.text}
    assert on == set(REAL) - {"RemoteDesktop-In-TCP-WS", "WINRM-HTTP-Compat-In-TCP"}
    assert software.number("Microsoft\\Windows\\CurrentVersion\\WSMAN\\Listener\\*+HTTP", "Port") == 5985
    assert system.number(f"{CS}\\Services\\WinRM", "Start") == 2
    home = f"/c/{release.root}/hyper2kvm"
    assert made.files[f"{home}/account.cmd"] == b'@%SystemRoot%\\System32\\net.exe user "Chef" "it\'s ^good & <long>!" /active:yes /y\r\n'
    assert ALL.admin_password not in made.files[f"{home}/work.cmd"].decode() and ALL.admin_password not in repr(ALL)
    assert ALL.admin_password not in "".join(change.diff() or "" for change in plan.changes if hasattr(change, "diff"))
    undo(made, plan, backups)
    assert dict(made.files) == before


def test_before_vista_names_and_ports_are_written_as_then():
    release = RELEASES["xp"]
    made, dummy, told, dummy2 = changed(release, replace(ALL, admin_password=""))
    system = system_of(made, release)
    zone = f"{CS}\\Control\\TimeZoneInformation"
    assert system.text(zone, "StandardName") == "W. Europe Standard Time" and system.value(zone, "TimeZoneKeyName") is None
    ports = f"{CS}\\Services\\SharedAccess\\Parameters\\FirewallPolicy\\StandardProfile\\GloballyOpenPorts\\List"
    assert system.text(ports, "3389:TCP").startswith("3389:TCP:*:Enabled:")
    assert [one for one in told if "WinRM" in one] == told != []


def test_a_computer_that_others_know_by_its_name_keeps_it():
    for extra in ({f"{CS}\\Services\\Netlogon": {"Start": 2}}, {f"{CS}\\Services\\ClusSvc": {"Start": 2}}):
        release = replace(RELEASES["2k22"], extra=extra)
        made, dummy, told, dummy2 = changed(release, Customization("web01"))
        assert len(told) == 1 and "domain or a cluster" in told[0]
        assert system_of(made, release).text(f"{CS}\\Services\\Tcpip\\Parameters", "NV Hostname") != "web01"


def test_what_cannot_be_had_is_said():
    w10 = RELEASES["w10"]
    home = guest(
        w10,
        {},
        **{"Microsoft\\Windows NT\\CurrentVersion": {**winlab.software(w10)["Microsoft\\Windows NT\\CurrentVersion"], "EditionID": "Core"}},
    )
    told = changed(w10, Customization(rdp=True, admin_password="x", elsewhere=("ssh_keys",)), home)[2]
    assert [any(word in one for one in told) for word in ("edition Core", "no such account", "ssh_keys: they are for Linux")] == [True] * 3
    policy = guest(w10, {"Администратор": 500}, **{"Policies\\Microsoft\\Windows NT\\Terminal Services": {"fDenyTSConnections": 1}})
    told = changed(w10, Customization(rdp=True, winrm=True, admin_password="x"), policy)[2]
    assert [
        any(word in one for one in told) for word in ("the policy fDenyTSConnections", "cannot stand in a script", "rule for port 3389")
    ] == [True] * 3
    controller = replace(RELEASES["2k22"], extra={f"{CS}\\Services\\NTDS": {"Start": 2}})
    assert any("a domain controller has none" in one for one in changed(controller, Customization(admin_password="x"))[2])


@pytest.mark.parametrize(
    "wrong",
    [
        Customization(timezone="Europe/Berlin"),
        Customization(admin_password='a"b'),
        Customization(admin_password="100%"),
        Customization(admin_password="back\\slash"),
        Customization(admin_password="/switch"),
        Customization(admin_password="*"),
        Customization(admin_password="pässword"),
        Customization(admin_password="line\nbreak"),
    ],
)
def test_what_no_windows_could_use_is_refused(wrong):
    with pytest.raises(InvalidInput) as told:
        changed(RELEASES["w10"], wrong)
    assert wrong.admin_password not in str(told.value) or len(wrong.admin_password) < 2


def test_after_the_first_start_no_password_is_laid_out_again():
    release = RELEASES["w10"]
    made = guest(release)
    made.files[f"/c/{release.root}/hyper2kvm/firstboot.done"] = b"ok\r\n"
    made, dummy, told, dummy2 = changed(release, Customization(admin_password="x"), made)
    assert not any("account.cmd" in path for path in made.files) and "the first start has been" in told[0]


def test_a_password_is_laid_out_with_the_step_that_sets_it_or_not_at_all():
    release, home = RELEASES["w10"], "/c/Windows/hyper2kvm"
    made, *dummy = repaired(release, Options(customize=Customization(admin_password="x")), guest(release), fixes=("firstboot",))
    assert f"{home}/account.cmd" in made.files and ":step_account" in made.files[f"{home}/work.cmd"].decode()
    options = Options(customize=Customization(admin_password="x"))
    plan = winlab.planned(guest(release), winlab.inspected(guest(release), release, options), options, ("customize",))
    assert not plan.changes and "the fix firstboot sets" in plan.concerns[-1].cause
    controller = replace(RELEASES["2k22"], extra={f"{CS}\\Services\\NTDS": {"Start": 2}})
    assert ":step_account" not in changed(controller, Customization(admin_password="x"))[0].files.get(f"{home}/work.cmd", b"").decode()


@pytest.mark.parametrize("name", ["a_b", "12345", "sixteen-letters-x"])
def test_a_name_that_windows_does_not_take_stops_nothing(name):
    assert len(changed(RELEASES["w10"], Customization(name))[2]) == 1


def test_ports_of_its_own_are_said():
    tcp = f"{CS}\\Control\\Terminal Server\\WinStations\\RDP-Tcp"
    release = replace(RELEASES["w10"], extra={tcp: {"PortNumber": 3390}})
    listener = "Microsoft\\Windows\\CurrentVersion\\WSMAN\\Listener\\*+HTTP"
    made = guest(with_rules(release), **{listener: {"Port": 5999}})
    told = changed(release, Customization(rdp=True, winrm=True), made)[2]
    assert len(told) == 2 and "3390" in told[0] and "5999" in told[1]
    assert "whose service is not there" in changed(RELEASES["w10"], Customization(winrm=True), guest(RELEASES["w10"]))[2][0]


def test_options_that_nobody_gave_are_neither_told_nor_recorded():
    """Ansible fills in the options of an option that has some."""
    cloud_init = dict.fromkeys(("user_data", "meta_data", "network_config", "drop_in"), "")
    given = {
        "hostname": "",
        "ssh_keys": {},
        "firstboot_script": "",
        "serial_console": False,
        "selinux_relabel": False,
        "cloud_init": cloud_init,
    }
    assert guest_options.windows_options_of({"customize": given, "mac_map": {}}, ()).customize == Customization()
    given["cloud_init"] = {**cloud_init, "user_data": "#cloud-config"}
    assert guest_options.windows_options_of({"customize": given, "mac_map": {}}, ()).customize.elsewhere == ("cloud_init",)


def test_what_winrm_needs_is_no_secret():
    assert not secrets.in_registry("Microsoft\\Windows\\CurrentVersion\\Policies\\System", "LocalAccountTokenFilterPolicy", number=True)
    assert secrets.in_registry("x", "AccessToken")


def test_a_rule_that_blocks_is_told_and_never_turned_on():
    blocking = "v2.28|Action=Block|Active={}|Dir=In|Protocol=6|LPort=3389|App=System|"
    for name, place, active in (
        ("RemoteDesktop-UserMode-In-TCP", RULES, "TRUE"),
        ("mine", RULES, "TRUE"),
        ("RemoteDesktop-UserMode-In-TCP", RULES, "FALSE"),
    ):
        release = replace(RELEASES["w10"], extra={place: {**REAL, name: blocking.format(active)}})
        made, dummy, told, dummy2 = changed(release, Customization(rdp=True), guest(with_rules(release)))
        assert system_of(made, release).text(RULES, name) == blocking.format(active)
        assert [name in one for one in told] == ([True] if active == "TRUE" else [])
    policies = {"Policies\\Microsoft\\WindowsFirewall\\FirewallRules": {"deny": blocking.format("TRUE")}}
    assert "deny" in changed(RELEASES["w10"], Customization(rdp=True), guest(with_rules(RELEASES["w10"]), **policies))[2][0]


def test_a_listener_that_is_off_is_turned_on():
    listener = "Microsoft\\Windows\\CurrentVersion\\WSMAN\\Listener\\*+HTTP"
    made = guest(with_rules(RELEASES["w10"]), **{listener: {"Port": 5985, "enabled": 0}})
    made, dummy, told, dummy2 = changed(RELEASES["w10"], Customization(winrm=True), made)
    assert software_of(made, RELEASES["w10"]).number(listener, "enabled") == 1 and told == []
