# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows from XP to 2022: what the first start does, and the settings of NICs that it restores."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import winlab
from winlab import CS, MAC, OTHER_MAC, RELEASES
from winplans import codes, repaired, system_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsupportedGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, FirstStart, Mount, StartStep
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import (
    firstboot,
    network,
    plan,
    startscript,
    volumes,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.adapter_devices import CARD, Device
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.matching import matched, say
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.wanted import Wanted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import DIRECT, TWO_PHASE, Options

SERVICES = f"{CS}\\Services"
UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall"


def script(made, release: winlab.Release) -> str:
    return made.read(f"/c/{release.root}/hyper2kvm/work.cmd").decode("ascii")


def test_settings_of_the_card_are_restored_by_mac(virtio_win):
    made, facts, *dummy = repaired(RELEASES["w10"], Options(virtio_win))
    (nic,) = facts.nics
    assert (nic.mac, nic.method, nic.addresses, nic.gateway) == (MAC, "static", ("192.168.10.5/24", "192.168.10.6/24"), "192.168.10.1")
    text = script(made, RELEASES["w10"])
    assert 'call :find "00 50 56 11 22 33" "00 50 56 11 22 33"\r\n' in text
    assert 'set address name="%CARD%" source=static address=192.168.10.5 mask=255.255.255.0 gateway=192.168.10.1 ' in text
    assert 'add address name="%CARD%" address=192.168.10.6 mask=255.255.255.0' in text
    assert "address=192.168.10.2 validate=no" in text and "address=192.168.10.3 index=2 validate=no" in text
    assert "set winsserver" in text and "192.168.10.9" in text and "/v Domain /t REG_SZ /d corp.example /f" in text
    assert f'/remove-device "{nic.path}"' in text and f"\\Interfaces\\{winlab.GUID}" in text


def test_before_vista_netsh_is_spoken_to_as_it_was(virtio_win):
    text_of_xp = script(repaired(RELEASES["xp"], Options(virtio_win))[0], RELEASES["xp"])
    assert 'netsh interface ip set address name="%CARD%" source=static addr=192.168.10.5 mask=255.255.255.0 >>' in text_of_xp
    assert 'netsh interface ip add address name="%CARD%" gateway=192.168.10.1 gwmetric=1' in text_of_xp
    assert "set dns " in text_of_xp and "validate" not in text_of_xp


def test_a_hostile_registry_never_reaches_the_script(virtio_win):
    key = f"{SERVICES}\\Tcpip\\Parameters\\Interfaces\\{winlab.GUID.lower()}"
    extra = {
        key: {
            "EnableDHCP": 0,
            "IPAddress": ["1.2.3.4 & format c:", "10.0.0.1"],
            "SubnetMask": ["255.0.0.0", "255.0.0.0"],
            "DefaultGateway": ["%ComSpec%"],
            "NameServer": "8.8.8.8,`x`",
            "Domain": 'a" & del "',
        }
    }
    release = replace(RELEASES["w10"], extra=extra)
    made, *dummy = repaired(release, Options(virtio_win))
    text = script(made, release)
    assert "format c" not in text and "ComSpec" not in text and "`" not in text and "& del" not in text
    assert "address=10.0.0.1 mask=255.0.0.0" in text and "8.8.8.8" in text
    assert text.isascii() and "\n" not in text.replace("\r\n", "")


def test_a_slot_on_a_further_function_has_the_number_that_windows_shows():
    """The fourth VMXNET3 has the slot 1184 in the VMX, and Windows calls it slot 161."""
    known = [
        network.Adapter("g1", "Ethernet1", Device("PCI\\1", CARD, slot=161), v4=network.Ip(("192.0.2.1/24",))),
        network.Adapter("g0", "Ethernet0", Device("PCI\\0", CARD, slot=192), v4=network.Ip(("192.0.2.2/24",))),
    ]
    found = matched(known, (Nic(MAC, slot=192), Nic(OTHER_MAC, slot=1184)), {})
    assert {adapter.name: adapter.mac for adapter in found.here} == {"Ethernet1": OTHER_MAC, "Ethernet0": MAC} and not found.rest


def test_two_cards_are_told_apart_by_slot_and_what_cannot_be_told_is_said():
    release = RELEASES["w7"]
    second = "PCI\\VEN_8086&DEV_100F&SUBSYS_075015AD&REV_01\\4&b70f118&0&1888"
    tree = {
        f"{CS}\\Control\\Network\\{winlab.NET}\\{winlab.OTHER_GUID}\\Connection": {"Name": "LAN 2", "PnpInstanceID": second},
        f"{CS}\\Enum\\{second}": {"UINumber": 224},
        f"{SERVICES}\\Tcpip\\Parameters\\Interfaces\\{winlab.OTHER_GUID}": {
            "EnableDHCP": 0, "IPAddress": ["10.3.58.5"], "SubnetMask": ["255.255.255.0"],
        },
    }  # fmt: skip
    release = replace(release, extra=tree)
    made = winlab.guest(release)
    system = system_of(made, release)
    windows = winlab.inspected(made, release, Options()).windows
    known = network.adapters(system, windows)
    findings = Findings()
    found = matched(known, (Nic(OTHER_MAC, slot=224), Nic(MAC, slot=192)), {})
    say(found, found.here, findings)
    assert {adapter.name: adapter.mac for adapter in found.here} == {"Ethernet0": MAC, "LAN 2": OTHER_MAC}
    assert not found.rest and not findings.concerns
    found = matched(known, (Nic(OTHER_MAC), Nic(MAC)), {})
    say(found, found.here, findings)
    assert not found.here and [concern.code for concern in findings.concerns] == ["windows.card-unmatched"]
    assert matched(known[:1], (Nic(MAC),), {MAC: OTHER_MAC}).here[0].mac == OTHER_MAC


def test_settings_that_could_not_be_assigned_are_not_thrown_away(virtio_win):
    release = RELEASES["w7"]
    made = winlab.guest(release)
    options = Options(virtio_win)
    facts = winlab.inspected(made, release, options)
    for cards, kept in (((Nic(MAC, slot=192),), False), ((Nic(MAC), Nic(OTHER_MAC)), True)):
        changes = plan.make_plan(made, facts, replace(options, fixes=("firstboot",), remove_tools=()), cards)
        text = next(change.after for change in changes.changes if change.path.endswith("work.cmd"))
        assert (winlab.GUID not in text) == kept and ("windows.card-unmatched" in codes(changes)) == kept


def test_the_operators_settings_go_before_the_registrys(virtio_win):
    wanted = (Wanted(MAC, ("10.9.8.7/16",), "10.9.0.1", dns=("10.9.0.2",), suffix="example.org"),)
    made, facts, *dummy = repaired(RELEASES["w10"], Options(virtio_win, network=wanted))
    text = script(made, RELEASES["w10"])
    assert "address=10.9.8.7 mask=255.255.0.0 gateway=10.9.0.1" in text and "192.168.10" not in text
    assert facts.nics[0].addresses == ("10.9.8.7/16",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nic": MAC, "addresses": ("10.0.0.1",)},
        {"nic": MAC, "dns": ("a b",)},
        {"nic": MAC, "suffix": "a b"},
        {"nic": MAC, "gateway": "fe80::1"},
        {"nic": MAC, "gateway6": "fe80::1%7 & del"},
        {"nic": MAC, "addresses": ("fe80::1%x/64",)},
    ],
)
def test_what_cannot_be_set_is_refused(wrong):
    with pytest.raises(InvalidInput, match="migrate_windows_network"):
        Wanted(**wrong)


def test_the_first_start_is_armed_once_and_resets_itself_first(virtio_win):
    release = RELEASES["2k22"]
    made, facts, *dummy = repaired(release, Options(virtio_win))
    system = system_of(made, release)
    assert (system.number("Setup", "SetupType"), system.number("Setup", "SystemSetupInProgress")) == (2, 1)
    assert system.text("Setup", "CmdLine") == 'cmd.exe /c "%SystemRoot%\\hyper2kvm\\firstboot.cmd"'
    starter = made.read("/c/Windows/hyper2kvm/firstboot.cmd").decode()
    # The service is armed before Setup forgets the command: a power cut in between loses nothing.
    assert starter.index("/v Start /t REG_DWORD /d 2") < starter.index("SetupType /t REG_DWORD /d 0") < starter.index('start ""')
    key = f"{SERVICES}\\hyper2kvm-firstboot"
    shell = "%SystemRoot%\\System32\\cmd.exe"
    assert system.text(key, "ImagePath") == f'{shell} /c start "" /b {shell} /c %SystemRoot%\\hyper2kvm\\work.cmd'
    # Not automatic yet, else the first start would do the work twice at once; and an error that nobody is asked about.
    assert [system.number(key, name) for name in ("Type", "Start", "ErrorControl")] == [0x10, 3, 0]
    assert firstboot.read(made, facts.windows, system).state == "armed"


def test_what_a_guest_says_of_its_first_start(virtio_win):
    release, home = RELEASES["2k22"], "/c/Windows/hyper2kvm"
    made, facts, *dummy = repaired(release, Options(virtio_win))
    system = system_of(made, release)
    waiting = dict.fromkeys(("drivers", "network", "settings", "extras", "agent", "tools", "cleanup"), "waiting")
    assert {step.name: step.state for step in firstboot.read(made, facts.windows, system).steps} == waiting
    made.files[f"{home}/firstboot.try"] = b"2\r\n"
    made.files.update({f"{home}/state/drivers.{name}": b"time\r\n" for name in ("try.1.1", "try.1.2", "try.2.1")})
    made.files[f"{home}/state/drivers.bad"] = b"1603\r\n"
    seen = firstboot.read(made, facts.windows, system)
    assert (seen.state, seen.tries, seen.ready) == ("running", 2, False)
    assert seen.steps[0] == StartStep("drivers", "running", 3, 1603, "the installer failed; its own log tells")
    made.files[f"{home}/state/drivers.done"] = made.files[f"{home}/state/network.done"] = b"0\r\n"
    seen = firstboot.read(made, facts.windows, system)
    assert (seen.state, seen.ready, seen.steps[0]) == ("running", True, StartStep("drivers", "done", 3, 0))
    made.files[f"{home}/state/tools.failed"] = b"no number"
    made.files[f"{home}/firstboot.done"] = b"ok\r\n"
    seen = firstboot.read(made, facts.windows, system)
    assert (seen.state, seen.ready, seen.steps[-1].state) == ("done", True, "done") and seen.steps[-2] == StartStep("tools", "failed")


def test_a_first_start_of_an_earlier_version_is_read_as_before(virtio_win):
    release, home = RELEASES["2k22"], "/c/Windows/hyper2kvm"
    made, facts, *dummy = repaired(release, Options(virtio_win))
    made.files[f"{home}/work.cmd"] = b"@echo off\r\ncall :driver critical viostor viostor.inf\r\n"
    system = system_of(made, release)
    made.files[f"{home}/firstboot.try"] = b"2\r\n"
    assert firstboot.read(made, facts.windows, system) == FirstStart("running", 2, ())
    made.files[f"{home}/firstboot.done"] = b"ok\r\n"
    made.files[f"{home}/firstboot.log"] = b"a\r\nb\r\n"
    assert firstboot.read(made, facts.windows, system) == FirstStart("done", 2, ("a", "b"), ready=True)
    assert not winlab.planned(made, facts, Options(virtio_win), ("firstboot",)).changes  # it is not armed again
    made.files[f"{home}/firstboot.done"] = b"failed\r\n"
    assert firstboot.read(made, facts.windows, system) == FirstStart("failed", 2, ("a", "b"))


def test_the_task_of_an_earlier_version_starts_the_work_and_is_removed_at_the_end(virtio_win):
    """It runs at every start, so nothing else may: two would do the work at once."""
    for place, there in (("System32/Tasks/hyper2kvm-firstboot", True), ("Tasks/other.job", False)):
        made = winlab.guest(RELEASES["w10"], {f"/c/Windows/{place}": b"task"})
        made, *dummy = repaired(RELEASES["w10"], Options(virtio_win), made)
        text, system = script(made, RELEASES["w10"]), system_of(made, RELEASES["w10"])
        assert ("schtasks /delete /tn hyper2kvm-firstboot /f" in text) == there
        assert (system.text("Setup", "CmdLine") == "") == there == (not system.has(f"{SERVICES}\\hyper2kvm-firstboot"))


def test_a_guest_that_has_begun_is_not_armed_twice(virtio_win):
    """After a first start that is not finished the service is automatic; Setup's command would only wait for it."""
    release = replace(RELEASES["w10"], extra={f"{SERVICES}\\hyper2kvm-firstboot": {"Start": 2, "Type": 0x10}})
    made, *dummy = repaired(release, Options(virtio_win))
    system = system_of(made, release)
    assert system.text("Setup", "CmdLine") == "" and system.number(f"{SERVICES}\\hyper2kvm-firstboot", "Start") == 2
    assert made.stat("/c/Windows/hyper2kvm/work.cmd") is not None


# What wine and cmd.exe read differently, or what a release or a policy takes away.
REFUSED = {
    "FOR reads delimiters and quotes differently": r"(?i)\bfor\s+[/%]",
    "a second expansion": r"%%|\^\^|\bcall [^:]",
    "delayed expansion": r"!",
    "a block is expanded before it runs": r"[()]",
    "code pages": r"chcp|[^\x20-\x7e]",
    "engines that may be missing, forbidden or hang": r"(?i)schtasks|wmic|powershell|cscript|wscript|mshta|bitsadmin|timeout|choice",
    "an exit code that is gone": r"& *(if|set)\b",
}
GIVEN = {"START", "TRY", "CODE", "RESULT"}  # what may be handed to a subroutine, where it is expanded again: numbers and our own words


def faults(lines: list[str]) -> list[tuple[str, str]]:
    found = [(why, line) for line in lines for why, pattern in REFUSED.items() if re.search(pattern, line) and not line.startswith("rem ")]
    for line in lines:
        used = set(re.findall(r"%(\w+)%", line))
        found += [("a value that is expanded again", line)] if line.startswith("call ") and used - GIVEN else []
        if re.search(r"%\d|%ERRORLEVEL%", line) and line.startswith("if ") and re.search(r"\bset \w+=%ERRORLEVEL%", line):
            found.append(("an exit code of another program", line))
    return found


@pytest.mark.parametrize("boot", [DIRECT, TWO_PHASE])
@pytest.mark.parametrize("name", RELEASES)
def test_the_scripts_avoid_what_wine_and_windows_read_differently(name, boot, virtio_win, tmp_path):
    """Without the settings of a card, which have a find of their own."""
    (tmp_path / "qemu-ga.msi").touch()
    made = winlab.guest(RELEASES[name])
    made.names["/dev/sdb1"] = BlockDevice("/dev/sdb1", "ntfs", "AA", disk=1, part=1)
    repaired(RELEASES[name], Options(virtio_win, boot=boot), made, installers=(str(tmp_path / "qemu-ga.msi"),))
    home = f"/c/{RELEASES[name].root}/hyper2kvm"
    lines = script(made, RELEASES[name]).splitlines()
    network = lines.index(":step_network")
    ends = next(index for index, line in enumerate(lines) if index > network and line.startswith(":step_"))
    text = [*lines[:network], *lines[ends:], *made.read(f"{home}/firstboot.cmd").decode("ascii").splitlines()]
    assert faults(text) == []
    assert len({line for line in text if line.startswith(":")} - {":quit"}) == sum(
        line.startswith(":") and line != ":quit" for line in text
    )
    assert ("pnputil.exe" in "".join(lines)) and (any(line.startswith("call :driver ") for line in lines) == (name != "xp"))


def test_the_static_check_sees_what_it_is_for():
    for line in (
        "for /f %a in (x) do y",
        "echo %%a",
        "chcp 65001",
        'call :say "%NAME%"',
        "schtasks /run",
        "if 1==1 (",
        "reg add x & if errorlevel 1 y",
    ):
        assert faults([line]), line


def test_what_a_release_lacks_is_not_called(virtio_win):
    old = replace(RELEASES["w10"], build=18363)
    for release, removes in ((old, False), (RELEASES["w10"], True)):
        text = script(repaired(release, Options(virtio_win))[0], release)
        assert ("/remove-device" in text) == removes and f"\\Interfaces\\{winlab.GUID}" in text


def test_settings_of_the_first_start_only_are_kept_and_undone(virtio_win):
    """AutoReboot 0 leaves a stop code on the screen. A second plan does not take ours for what was there."""
    key = f"{CS}\\Control\\CrashControl"
    for before, back in ((None, "/v AutoReboot /f"), (1, "/v AutoReboot /t REG_DWORD /d 1 /f"), (0, "")):
        release = replace(RELEASES["w10"], extra={key: {"AutoReboot": before} if before is not None else {}})
        made = winlab.guest(release)
        files = dict(made.files)
        made, facts, changes, backups = repaired(release, Options(virtio_win), made)
        assert system_of(made, release).number(key, "AutoReboot") == 0
        assert not winlab.planned(made, facts, Options(virtio_win)).changes
        text = script(made, release)
        assert back in text and ("AutoReboot" in text) == bool(back)
        undo(made, changes, backups)
        assert made.files == files


def test_the_policy_of_a_guest_without_other_work_is_set_back_too():
    release = RELEASES["2k22"]
    system, software = winlab.system(release), winlab.software(release)
    system[f"{SERVICES}\\Tcpip\\Parameters\\Interfaces\\{winlab.GUID.lower()}"] = {"EnableDHCP": 1}
    system.pop(f"{SERVICES}\\NetBT\\Parameters\\Interfaces\\Tcpip_{winlab.GUID}")
    software.pop(f"{UNINSTALL}\\{winlab.TOOLS_CODE}")
    root = "/c/Windows/System32/config"
    made = winlab.guest(release, {f"{root}/SYSTEM": winlab.hive(system), f"{root}/SOFTWARE": winlab.hive(software)})
    made.names["/dev/sdb1"] = BlockDevice("/dev/sdb1", "ntfs", "AA", disk=1, part=1)
    made, *dummy = repaired(release, Options(remove_tools=()), made)
    text, after = script(made, release), system_of(made, release)
    assert "/v SanPolicy /f" in text and re.findall(r"^call :run (\w+)", text, re.MULTILINE) == ["disks", "settings"]
    assert after.number(f"{SERVICES}\\partmgr\\Parameters", "SanPolicy") == 1 and "hyper2kvm" in after.text("Setup", "CmdLine")


def test_after_its_first_start_a_guest_is_not_given_the_settings_again(virtio_win):
    release, key = RELEASES["2k22"], f"{SERVICES}\\partmgr\\Parameters"
    made = winlab.guest(release, {"/c/Windows/hyper2kvm/firstboot.done": b"ok\r\n"})
    made.names["/dev/sdb1"] = BlockDevice("/dev/sdb1", "ntfs", "AA", disk=1, part=1)
    facts = winlab.inspected(made, release, Options(virtio_win))
    assert not winlab.planned(made, facts, Options(virtio_win), ("firstboot",)).changes
    assert system_of(made, release).number(key, "SanPolicy") is None


def test_every_label_that_the_script_calls_exists(virtio_win):
    for release in RELEASES.values():
        text = script(repaired(release, Options(virtio_win))[0], release)
        called = set(re.findall(r"(?:call|goto) :(\w+)(?![\w%])", text)) - {"eof"}
        assert called <= set(re.findall(r"^:(\w+)", text, re.MULTILINE))
        # What Windows cannot be used without comes before what it can.
        order = re.findall(r"^call :run (\w+)", text, re.MULTILINE)
        assert order == [name for name in startscript.STEPS if name in order] and order[:2] == ["drivers", "network"]
        assert {f"step_{name}" for name in order} <= set(re.findall(r"^:(\w+)", text, re.MULTILINE))


def test_a_windows_in_its_own_setup_is_a_blocker(virtio_win):
    release = replace(RELEASES["w10"], extra={"Setup": {"SetupType": 1, "CmdLine": "oobe"}})
    made = winlab.guest(release)
    changes = winlab.planned(made, winlab.inspected(made, release, Options(virtio_win)), Options(virtio_win))
    assert "windows.setup-pending" in codes(changes)


def test_a_wrapper_makes_it_a_service_and_an_installer_goes_along(tmp_path, virtio_win):
    wrapper, agent, package = tmp_path / "rhsrvany.exe", tmp_path / "qemu-ga-x86_64.msi", tmp_path / "agent.deb"
    for path in (wrapper, agent, package):
        path.write_bytes(b"program")
    release = RELEASES["w10"]
    options = Options(virtio_win, wrapper=str(wrapper))
    made, facts, changes, dummy = repaired(release, options, installers=(str(agent), str(package)))
    system = system_of(made, release)
    key = f"{SERVICES}\\hyper2kvm-firstboot"
    assert system.text(key, "ImagePath") == '"C:\\Windows\\hyper2kvm\\rhsrvany.exe" -s hyper2kvm-firstboot'
    assert system.number("Setup", "SetupType") == 0 and made.stat("/c/Windows/hyper2kvm/firstboot.cmd") is None
    assert made.read("/c/Windows/hyper2kvm/packages/qemu-ga-x86_64.msi") == b"program" and "windows.agent-package" in codes(changes)
    assert 'msiexec.exe /i "%HOME%\\packages\\qemu-ga-x86_64.msi"' in script(made, release)
    assert firstboot.read(made, facts.windows, system).state == "armed"


def test_a_volume_that_stays_read_only_is_an_error_before_anything_is_written():
    class Handle:
        calls: list[str] = []

        def __getattr__(self, name):
            def call(*args):
                self.calls.append(name)
                if name == "touch":
                    raise RuntimeError("Read-only file system")

            return call

    made = winlab.guest(RELEASES["w10"])
    made.handle, made.mounts, made.forget = Handle(), (Mount("/dev/sda2", "/c"),), lambda: None
    with pytest.raises(UnsupportedGuest, match="read-only") as caught:
        volumes.mount_writable(made, False)
    assert caught.value.hint and Handle.calls == ["umount", "mount_options", "touch"]


def test_data_disks_come_online_and_the_policy_is_set_back(virtio_win):
    release = RELEASES["2k22"]
    key = f"{SERVICES}\\partmgr\\Parameters"
    for boot, before in ((DIRECT, None), (DIRECT, 3), (TWO_PHASE, 3)):
        varied = replace(release, extra={key: {"SanPolicy": before}} if before is not None else {})
        made = winlab.guest(varied)
        made.names["/dev/sdb1"] = BlockDevice("/dev/sdb1", "ntfs", "AA", disk=1, part=1)
        options = Options(virtio_win, boot=boot)
        files = dict(made.files)
        made, facts, changes, backups = repaired(varied, options, made)
        assert not winlab.planned(made, facts, options).changes
        assert system_of(made, varied).number(key, "SanPolicy") == 1
        text = script(made, varied)
        back = "/v SanPolicy /f" if before is None else "/v SanPolicy /t REG_DWORD /d 3 /f"
        undo(made, changes, backups)
        assert made.files == files
        assert back in text and ("QEMU" in text) == (boot == TWO_PHASE)  # there the final devices are waited for
        assert ("windows.san-policy" in codes(changes)) == (boot == TWO_PHASE)
