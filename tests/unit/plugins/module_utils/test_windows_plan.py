# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows from XP to 2022: the laws of plans, and what each fix decides."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import winlab
from winlab import CS, MAC, OTHER_MAC, RELEASES

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan, UnsupportedGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import CopyFile, UploadFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.patch import PatchDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, FirstStart, Mount
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import (
    bootsector,
    firstboot,
    hives,
    identity,
    network,
    paths,
    plan,
    pnp,
    proof,
    regf,
    tools,
    volumes,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.edit_hive import EditHive
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import DIRECT, TWO_PHASE, Options

SERVICES = f"{CS}\\Services"
UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    machines = ("x86_64", "i686")
    return str(
        winlab.driver_tree(tmp_path_factory.mktemp("virtio-win"), dict.fromkeys(("xp", "w7", "w8.1", "w10", "w11", "2k22"), machines))
    )


def repaired(release: winlab.Release, options: Options, made=None, **kwargs):
    """A guest with its facts, its plan carried out, and where the backup lies."""
    made = made or winlab.guest(release)
    facts = winlab.inspected(made, release, options)
    changes = winlab.planned(made, facts, options, **kwargs)
    backups = f"/c/{release.root}/hyper2kvm/backup"
    apply(made, changes, backups)
    return made, facts, changes, backups


def system_of(made, release: winlab.Release) -> hives.Draft:
    return hives.Draft.of(made, f"/c/{release.root}/System32/config/SYSTEM")


def software_of(made, release: winlab.Release) -> hives.Draft:
    return hives.Draft.of(made, f"/c/{release.root}/System32/config/SOFTWARE")


def codes(changes: Plan) -> set[str]:
    return {concern.code for concern in changes.concerns}


# -- laws -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boot", [DIRECT, TWO_PHASE])
@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_after_the_plan_there_is_nothing_to_do_the_proof_holds_and_undo_restores_every_byte(release, boot, source):
    options = Options(source, boot=boot)
    made = winlab.guest(release)
    before = dict(made.files)
    raw = dict(made.raw)
    facts = winlab.inspected(made, release, options)
    assert facts.disk_bus == "virtio" and facts.phases == (("bootstrap", "final") if boot == TWO_PHASE else ("final",))
    assert not proof.prove(made, facts, winlab.tables(release)).holds
    changes = winlab.planned(made, facts, options)
    assert Plan.from_data(json.loads(json.dumps(changes.as_data())), KINDS) == changes
    backups = f"/c/{release.root}/hyper2kvm/backup"
    apply(made, changes, backups)
    assert winlab.planned(made, winlab.inspected(made, release, options), options).changes == ()
    shown = proof.prove(made, facts, winlab.tables(release))
    assert shown.holds, shown.failures()
    with pytest.raises(StalePlan):
        apply(made, changes, backups)
    undo(made, changes, backups)
    assert made.files == before and made.raw == raw


@pytest.mark.parametrize("fix", plan.FIXES)
def test_each_fix_alone_keeps_the_laws(fix, source):
    release = RELEASES["w10"]
    made = winlab.guest(release)
    before = dict(made.files)
    made, facts, changes, backups = repaired(release, Options(source), made, fixes=(fix,))
    assert changes.changes and not winlab.planned(made, facts, Options(source), (fix,)).changes
    undo(made, changes, backups)
    assert made.files == before


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_each_hive_is_written_once(release, source):
    dummy, facts, changes, dummy2 = repaired(release, Options(source))
    written = [change.path for change in changes.changes if isinstance(change, EditHive)]
    assert len(written) == len(set(written)) and facts.windows.system_hive in written


# -- identity -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nt", "build", "server", "wanted"),
    [
        ((5, 1), 2600, False, "xp"), ((5, 2), 3790, True, "2k3"), ((6, 0), 6002, False, "2k8"), ((6, 0), 6002, True, "2k8"),
        ((6, 1), 7601, False, "w7"), ((6, 1), 7601, True, "2k8R2"), ((6, 2), 9200, False, "w8"), ((6, 2), 9200, True, "2k12"),
        ((6, 3), 9600, False, "w8.1"), ((6, 3), 9600, True, "2k12R2"), ((10, 0), 19045, False, "w10"), ((10, 0), 22000, False, "w11"),
        ((10, 0), 14393, True, "2k16"), ((10, 0), 17763, True, "2k19"), ((10, 0), 20348, True, "2k22"), ((10, 0), 26100, True, "2k25"),
        ((10, 0), 26100, False, "w11"),
    ],
)  # fmt: skip
def test_releases_go_by_version_build_and_kind(nt, build, server, wanted):
    assert identity.release(nt, build, server) == wanted


def test_the_product_name_is_put_right_and_everything_else_read():
    facts = winlab.inspected(winlab.guest(RELEASES["w11"]), RELEASES["w11"], Options())
    assert (facts.product, facts.version, facts.architecture, facts.hostname) == ("Windows 11 Pro", "10.0.22631", "x86_64", "WIN")
    assert facts.windows.stores == ("/efi/EFI/Microsoft/Boot/BCD",) and facts.windows.drive == "C" and facts.tools == ("vmware",)
    xp = winlab.inspected(winlab.guest(RELEASES["xp"]), RELEASES["xp"], Options())
    assert (xp.architecture, xp.machine, xp.disk_bus, xp.nic_model) == ("i686", "pc", "ide", "rtl8139")


def test_a_control_set_of_zero_falls_back_and_a_missing_one_is_refused():
    release = replace(RELEASES["w7"], extra={"Select": {"Current": 0, "Default": 0}})
    assert winlab.inspected(winlab.guest(release), release, Options()).windows.control_set == CS
    release = replace(RELEASES["w7"], extra={"Select": {"Current": 7}})
    with pytest.raises(UnsupportedGuest, match="control set 7"):
        winlab.inspected(winlab.guest(release), release, Options())


def test_spelling_of_paths_does_not_matter(source):
    release = RELEASES["w7"]
    made = winlab.guest(release)
    spelt = (("/System32/config/SYSTEM", "/System32/config/system"), ("/System32/config", "/System32/Config"), ("/System32", "/SYSTEM32"))
    for usual, other in spelt:
        made.files = {path.replace(usual, other): data for path, data in made.files.items()}
    facts = winlab.inspected(made, release, Options(source))
    changes = winlab.planned(made, facts, Options(source))
    assert "/c/Windows/SYSTEM32/drivers/viostor.sys" in [change.path for change in changes.changes]
    apply(made, changes, "/c/Windows/hyper2kvm/backup")
    assert proof.prove(made, facts, winlab.tables(release)).holds


ROLES = {
    "windows.domain-controller": {f"{CS}\\Control\\ProductOptions": {"ProductType": "LanmanNT"}},
    "windows.cluster": {f"{SERVICES}\\ClusSvc": {"Start": 2}},
    "windows.antivirus": {f"{SERVICES}\\CSFalconService": {"Start": 2}},
}


@pytest.mark.parametrize("code", ROLES)
def test_roles_that_deserve_a_look_are_concerns(code):
    release = replace(RELEASES["2k22"], extra=ROLES[code])
    findings = Findings()
    winlab.inspected(winlab.guest(release), release, Options(), findings)
    assert code in {concern.code for concern in findings.concerns}


def test_policies_updates_and_fast_startup_are_concerns():
    release = RELEASES["w10"]
    soft = {
        **winlab.software(release),
        "Policies\\Microsoft\\Windows\\DeviceInstall\\Restrictions": {"DenyUnspecified": 1},
        "Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update\\RebootRequired": {"x": 1},
    }
    made = winlab.guest(release, {"/c/Windows/System32/config/SOFTWARE": winlab.hive(soft), "/c/hiberfil.sys": bytes(4096)})
    findings = Findings()
    winlab.inspected(made, release, Options(), findings)
    assert {"windows.device-policy", "windows.pending-updates", "windows.fast-startup"} <= {concern.code for concern in findings.concerns}


# -- storage --------------------------------------------------------------------------------------------------------------------------


def test_the_old_database_up_to_7_and_the_new_one_from_8_on(source):
    for name in ("xp", "w7"):
        made, *dummy = repaired(RELEASES[name], Options(source))
        system = system_of(made, RELEASES[name])
        key = f"{CS}\\Control\\CriticalDeviceDatabase\\PCI#VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00"
        assert system.text(key, "Service") == "viostor" and system.text(key, "ClassGUID") == winlab.SCSI
        assert not system.has("DriverDatabase")
    made, *dummy = repaired(RELEASES["w10"], Options(source))
    system = system_of(made, RELEASES["w10"])
    assert not system.has(f"{CS}\\Control\\CriticalDeviceDatabase")
    package = system.text("DriverDatabase\\DriverInfFiles\\viostor.inf", "Active")
    assert re.fullmatch(r"viostor\.inf_amd64_[0-9a-f]{16}", package)
    key = f"{SERVICES}\\viostor"
    assert (system.number(key, "Start"), system.text(key, "Group"), system.number(f"{key}\\Parameters", "BusType")) == (
        0,
        "SCSI miniport",
        1,
    )
    assert system.value(key, "Tag") is None


def test_overrides_of_an_earlier_installation_go(source):
    extra = {f"{SERVICES}\\viostor": {"Start": 3, "Type": 1}, f"{SERVICES}\\viostor\\StartOverride": {"0": 3}}
    release = replace(RELEASES["w10"], extra=extra)
    made, facts, *dummy = repaired(release, Options(source))
    system = system_of(made, release)
    for service in ("viostor", "storahci"):
        assert not system.has(f"{SERVICES}\\{service}\\StartOverride")
        assert pnp.effective_start(system, facts.windows, service) == 0


def test_a_driver_that_windows_has_installed_stays_in_charge_and_an_older_file_is_replaced(source):
    database, package, ident = "DriverDatabase", "viostor.inf_amd64_1111111111111111", "VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00"
    extra = {
        f"{database}\\DeviceIds\\PCI\\{ident}": {"oem7.inf": b"\1\xff\0\0"},
        f"{database}\\DriverInfFiles\\oem7.inf": {"": [package], "Active": package},
        f"{database}\\DriverPackages\\{package}": {"Version": bytes(48)},
        f"{database}\\DriverPackages\\{package}\\Configurations\\conf": {"Service": "viostor"},
        f"{database}\\DriverPackages\\{package}\\Descriptors\\PCI\\{ident}": {"Configuration": "conf"},
    }
    release = replace(RELEASES["w10"], extra=extra)
    old = winlab.program(pad=512)
    made = winlab.guest(release, {"/c/Windows/System32/drivers/viostor.sys": old})
    before = dict(made.files)
    made, facts, changes, backups = repaired(release, Options(source), made)
    system = system_of(made, release)
    assert [value.name for value in system.values(f"{database}\\DeviceIds\\PCI\\{ident}")] == ["oem7.inf"]
    assert "windows.driver-replaced" in codes(changes) and proof.prove(made, facts, winlab.tables(release)).holds
    assert made.files[f"{backups}/{changes.id}/c/Windows/System32/drivers/viostor.sys"] == old
    undo(made, changes, backups)
    assert made.files == before


def test_without_drivers_the_guest_gets_what_windows_brings_along():
    for name, bus, card in (("xp", "ide", "rtl8139"), ("w7", "sata", "e1000e"), ("2k22", "sata", "e1000e")):
        release = RELEASES[name]
        made, facts, changes, dummy = repaired(release, Options())
        assert (facts.disk_bus, facts.nic_model) == (bus, card) and "windows.no-drivers" in codes(changes)
        assert proof.prove(made, facts, winlab.tables(release)).holds


def test_a_release_without_a_folder_is_a_concern(tmp_path):
    winlab.driver_tree(tmp_path, {"w7": ("i686",)})
    release = RELEASES["w10"]
    made = winlab.guest(release)
    facts = winlab.inspected(made, release, Options(str(tmp_path)))
    assert facts.disk_bus == "sata" and "windows.no-drivers" in codes(winlab.planned(made, facts, Options(str(tmp_path))))


def test_a_32_bit_driver_in_the_folder_of_a_64_bit_guest_is_never_used(tmp_path):
    winlab.driver_tree(tmp_path, {"w10": ("x86_64",)})
    for name in ("viostor", "vioscsi"):
        (tmp_path / name / "w10" / "amd64" / f"{name}.sys").write_bytes(winlab.program("i686"))
    made, facts, changes, dummy = repaired(RELEASES["w10"], Options(str(tmp_path)))
    assert facts.disk_bus == "sata" and {"windows.driver-unusable", "windows.no-drivers"} <= codes(changes)
    assert made.stat("/c/Windows/System32/drivers/viostor.sys") is None


def test_where_windows_looks_for_drivers_is_extended_once(source):
    made, *dummy = repaired(RELEASES["w10"], Options(source, drivers=("netkvm",)))
    value = software_of(made, RELEASES["w10"]).value("Microsoft\\Windows\\CurrentVersion", "DevicePath")
    folder = "%SystemRoot%\\hyper2kvm\\drivers\\"
    assert value.kind == regf.EXPAND_SZ
    assert value.text == f"%SystemRoot%\\inf;{folder}viostor;{folder}vioscsi;{folder}netkvm"
    assert (
        made.read("/c/Windows/hyper2kvm/drivers/netkvm/netkvm.sys") and made.stat("/c/Windows/hyper2kvm/drivers/netkvm/netkvm.pdb") is None
    )


# -- boot files -------------------------------------------------------------------------------------------------------------------------


def test_the_boot_store_is_kept_and_the_display_switched_on_again():
    release = RELEASES["w10"]
    made, *dummy = repaired(release, Options())
    path = "/efi/EFI/Microsoft/Boot/BCD"
    assert made.read(f"{path}.hyper2kvm") == winlab.files(release)[path]
    store = hives.Draft.of(made, path)
    assert not store.has(f"Objects\\{winlab.LOADER}\\Elements\\16000046") and store.has(f"Objects\\{winlab.LOADER}\\Elements\\12000002")


def test_uefi_finds_windows_without_a_boot_entry(source):
    release = RELEASES["w10"]
    manager = "bootmgfw".encode("utf-16-le")
    fallback = "/efi/EFI/Boot/bootx64.efi"
    for there, replaced in ((None, True), (winlab.program(subsystem=10) + b"shim", True), (winlab.program(subsystem=10) + manager, False)):
        made = winlab.guest(release, {fallback: there} if there else {})
        if there is None:
            del made.files[fallback]
        changes = winlab.planned(made, winlab.inspected(made, release, Options()), Options(), ("boot_files",))
        copies = [change for change in changes.changes if isinstance(change, CopyFile) and change.path.lower().endswith("bootx64.efi")]
        assert bool(copies) == replaced


def test_the_heads_of_an_old_boot_sector_follow_the_size_of_the_disk():
    assert [bootsector.heads(size) for size in (1 << 30, 3 << 30, 80 << 30)] == [0x40, 0x80, 0xFF]
    release = RELEASES["xp"]
    made, dummy, changes, backups = repaired(release, Options())
    (patch,) = [change for change in changes.changes if isinstance(change, PatchDevice)]
    assert (patch.offset, patch.after) == (0x1A, "4000") and made.raw["/dev/sda2"][0x1A:0x1C] == b"\x40\0"
    undo(made, changes, backups)
    assert made.raw["/dev/sda2"][0x1A:0x1C] == b"\x10\0"


# -- tools ------------------------------------------------------------------------------------------------------------------------------


def test_tools_leave_their_filters_before_they_are_disabled_and_look_alikes_stay():
    made, *dummy = repaired(RELEASES["w10"], Options())
    system = system_of(made, RELEASES["w10"])
    assert {name: system.number(f"{SERVICES}\\{name}", "Start") for name in ("VMTools", "VMMemCtl", "vmmouse", "vmci", "storflt", "LSI_SAS")} == {
        "VMTools": 4, "VMMemCtl": 4, "vmmouse": 4, "vmci": 0, "storflt": 3, "LSI_SAS": 0,
    }  # fmt: skip
    assert system.texts(f"{CS}\\Control\\Class\\{{4d36e96f-e325-11ce-bfc1-08002be10318}}", "UpperFilters") == ("mouclass",)
    assert system.text(f"{CS}\\Control\\NetworkProvider\\Order", "ProviderOrder") == "LanmanWorkstation"


def test_tools_that_nobody_named_stay_with_a_word():
    release = RELEASES["w10"]
    made = winlab.guest(release)
    findings = Findings()
    facts = winlab.inspected(made, release, Options())
    system = system_of(made, release)
    tools.plan(system, facts.windows, (), findings)
    assert system.change() == [] and [concern.code for concern in findings.concerns] == ["windows.tools-left"]


def test_only_the_products_own_code_is_uninstalled():
    release = RELEASES["w10"]
    code = "{00000000-0000-0000-0000-000000000001}"
    soft = {
        **winlab.software(release),
        f"{UNINSTALL}\\{code}": {"DisplayName": "VMware Workstation"},
        f"{UNINSTALL}\\evil & del": {"DisplayName": "VMware Tools"},
    }
    made = winlab.guest(release, {"/c/Windows/System32/config/SOFTWARE": winlab.hive(soft)})
    assert tools.products(software_of(made, release), ("vmware",)) == [winlab.TOOLS_CODE]


# -- network and first boot -----------------------------------------------------------------------------------------------------------------


def script(made, release: winlab.Release) -> str:
    return made.read(f"/c/{release.root}/hyper2kvm/work.cmd").decode("ascii")


def test_settings_of_the_card_are_restored_by_mac(source):
    made, facts, *dummy = repaired(RELEASES["w10"], Options(source))
    (nic,) = facts.nics
    assert (nic.mac, nic.method, nic.addresses, nic.gateway) == (MAC, "static", ("192.168.10.5/24", "192.168.10.6/24"), "192.168.10.1")
    text = script(made, RELEASES["w10"])
    assert "call :find 00-50-56-11-22-33\r\n" in text
    assert 'set address name="%NAME%" source=static address=192.168.10.5 mask=255.255.255.0 gateway=192.168.10.1 ' in text
    assert 'add address name="%NAME%" address=192.168.10.6 mask=255.255.255.0' in text
    assert "address=192.168.10.2 validate=no" in text and "address=192.168.10.3 index=2 validate=no" in text
    assert "set winsservers" in text and "192.168.10.9" in text and "/v Domain /t REG_SZ /d corp.example /f" in text
    assert f'/remove-device "{nic.path}"' in text and f"\\Interfaces\\{winlab.GUID}" in text


def test_before_vista_netsh_is_spoken_to_as_it_was(source):
    text_of_xp = script(repaired(RELEASES["xp"], Options(source))[0], RELEASES["xp"])
    assert 'netsh interface ip set address name="%NAME%" source=static addr=192.168.10.5 mask=255.255.255.0 >>' in text_of_xp
    assert 'netsh interface ip add address name="%NAME%" gateway=192.168.10.1 gwmetric=1' in text_of_xp
    assert "set dns " in text_of_xp and "validate" not in text_of_xp


def test_a_hostile_registry_never_reaches_the_script(source):
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
    made, *dummy = repaired(release, Options(source))
    text = script(made, release)
    assert "format c" not in text and "ComSpec" not in text and "`" not in text and "& del" not in text
    assert "address=10.0.0.1 mask=255.0.0.0" in text and "8.8.8.8" in text
    assert text.isascii() and "\n" not in text.replace("\r\n", "")


def test_a_slot_on_a_further_function_has_the_number_that_windows_shows():
    """The fourth VMXNET3 has the slot 1184 in the VMX, and Windows calls it slot 161."""
    known = [
        network.Adapter("g1", "Ethernet1", "PCI\\1", slot=161, static=True, addresses=("192.0.2.1/24",)),
        network.Adapter("g0", "Ethernet0", "PCI\\0", slot=192, static=True, addresses=("192.0.2.2/24",)),
    ]
    here, rest = network.matched(known, (Nic(MAC, slot=192), Nic(OTHER_MAC, slot=1184)), {}, Findings())
    assert {adapter.name: adapter.mac for adapter in here} == {"Ethernet1": OTHER_MAC, "Ethernet0": MAC} and not rest


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
    here, rest = network.matched(known, (Nic(OTHER_MAC, slot=224), Nic(MAC, slot=192)), {}, findings)
    assert {adapter.name: adapter.mac for adapter in here} == {"Ethernet0": MAC, "LAN 2": OTHER_MAC} and not rest and not findings.concerns
    here, rest = network.matched(known, (Nic(OTHER_MAC), Nic(MAC)), {}, findings)
    assert not here and [concern.code for concern in findings.concerns] == ["windows.card-unmatched"]
    assert network.matched(known[:1], (Nic(MAC),), {MAC: OTHER_MAC}, Findings())[0][0].mac == OTHER_MAC


def test_settings_that_could_not_be_assigned_are_not_thrown_away(source):
    release = RELEASES["w7"]
    made = winlab.guest(release)
    options = Options(source)
    facts = winlab.inspected(made, release, options)
    for cards, kept in (((Nic(MAC, slot=192),), False), ((Nic(MAC), Nic(OTHER_MAC)), True)):
        changes = plan.make_plan(made, facts, replace(options, fixes=("firstboot",), remove_tools=()), cards)
        text = next(change.after for change in changes.changes if change.path.endswith("work.cmd"))
        assert (winlab.GUID not in text) == kept and ("windows.card-unmatched" in codes(changes)) == kept


def test_the_operators_settings_go_before_the_registrys(source):
    wanted = ({"mac": MAC, "addresses": ["10.9.8.7/16"], "gateway": "10.9.0.1", "dns": ["10.9.0.2"], "suffix": "example.org"},)
    made, facts, *dummy = repaired(RELEASES["w10"], Options(source, network=wanted))
    text = script(made, RELEASES["w10"])
    assert "address=10.9.8.7 mask=255.255.0.0 gateway=10.9.0.1" in text and "192.168.10" not in text
    assert facts.nics[0].addresses == ("10.9.8.7/16",)
    for wrong in ({"mac": "x"}, {"mac": MAC, "addresses": ["10.0.0.1"]}, {"mac": MAC, "dns": ["a b"]}, {"mac": MAC, "suffix": "a b"}):
        with pytest.raises(InvalidInput, match="migrate_windows_network"):
            network.overridden((), (wrong,))


def test_the_first_start_is_armed_once_and_resets_itself_first(source):
    release = RELEASES["2k22"]
    made, facts, *dummy = repaired(release, Options(source))
    system = system_of(made, release)
    assert (system.number("Setup", "SetupType"), system.number("Setup", "SystemSetupInProgress")) == (2, 1)
    assert system.text("Setup", "CmdLine") == 'cmd.exe /c "%SystemRoot%\\hyper2kvm\\firstboot.cmd"'
    starter = made.read("/c/Windows/hyper2kvm/firstboot.cmd").decode()
    assert starter.index("SetupType /t REG_DWORD /d 0") < starter.index("schtasks") < starter.index("call ")
    assert firstboot.read(made, facts.windows, system).state == "armed"
    made.files["/c/Windows/hyper2kvm/firstboot.try"] = b"2\r\n"
    assert firstboot.read(made, facts.windows, system) == FirstStart("running", 2, ())
    made.files["/c/Windows/hyper2kvm/firstboot.done"] = b"ok\r\n"
    made.files["/c/Windows/hyper2kvm/firstboot.log"] = b"a\r\nb\r\n"
    assert firstboot.read(made, facts.windows, system) == FirstStart("done", 2, ("a", "b"))
    assert not winlab.planned(made, facts, Options(source), ("firstboot",)).changes  # it is not armed again


def test_every_label_that_the_script_calls_exists(source):
    for release in RELEASES.values():
        text = script(repaired(release, Options(source))[0], release)
        called = set(re.findall(r"(?:call|goto) :(\w+)", text)) - {"eof"}
        assert called <= set(re.findall(r"^:(\w+)", text, re.MULTILINE))
        critical = [line for line in text.splitlines() if line.startswith("call :driver")]
        assert critical == sorted(critical, key=lambda line: "optional" in line)


def test_a_windows_in_its_own_setup_is_a_blocker(source):
    release = replace(RELEASES["w10"], extra={"Setup": {"SetupType": 1, "CmdLine": "oobe"}})
    made = winlab.guest(release)
    changes = winlab.planned(made, winlab.inspected(made, release, Options(source)), Options(source))
    assert "windows.setup-pending" in codes(changes)


def test_a_wrapper_makes_it_a_service_and_an_installer_goes_along(tmp_path, source):
    wrapper, agent, package = tmp_path / "rhsrvany.exe", tmp_path / "qemu-ga-x86_64.msi", tmp_path / "agent.deb"
    for path in (wrapper, agent, package):
        path.write_bytes(b"program")
    release = RELEASES["w10"]
    options = Options(source, wrapper=str(wrapper))
    made, facts, changes, dummy = repaired(release, options, installers=(str(agent), str(package)))
    system = system_of(made, release)
    key = f"{SERVICES}\\hyper2kvm-firstboot"
    assert system.text(key, "ImagePath") == '"C:\\Windows\\hyper2kvm\\rhsrvany.exe" -s hyper2kvm-firstboot'
    assert system.number("Setup", "SetupType") == 0 and made.stat("/c/Windows/hyper2kvm/firstboot.cmd") is None
    assert made.read("/c/Windows/hyper2kvm/packages/qemu-ga-x86_64.msi") == b"program" and "windows.agent-package" in codes(changes)
    assert 'msiexec /i "%HOME%\\packages\\qemu-ga-x86_64.msi"' in script(made, release)
    assert firstboot.read(made, facts.windows, system).state == "armed"


def test_installers_are_chosen_by_their_architecture(tmp_path):
    for name in ("qemu-ga-x86_64.msi", "qemu-ga-i386.msi", "readme.txt"):
        (tmp_path / name).touch()
    found, left = firstboot.installers([str(tmp_path)], "x86_64")
    assert [path.rsplit("/", 1)[1] for path in found] == ["qemu-ga-x86_64.msi"] and len(left) == 2
    assert firstboot.installers([str(tmp_path)], "i686")[0][0].endswith("qemu-ga-i386.msi")
    (tmp_path / "a & b.msi").touch()
    with pytest.raises(InvalidInput, match="script"):
        firstboot.installers([str(tmp_path)], "x86_64")


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


def test_data_disks_come_online_and_the_policy_is_set_back(source):
    release = RELEASES["2k22"]
    key = f"{SERVICES}\\partmgr\\Parameters"
    for boot, before in ((DIRECT, None), (DIRECT, 3), (TWO_PHASE, 3)):
        varied = replace(release, extra={key: {"SanPolicy": before}} if before is not None else {})
        made = winlab.guest(varied)
        made.names["/dev/sdb1"] = BlockDevice("/dev/sdb1", "ntfs", "AA", disk=1, part=1)
        options = Options(source, boot=boot)
        files = dict(made.files)
        made, facts, changes, backups = repaired(varied, options, made)
        assert not winlab.planned(made, facts, options).changes
        assert system_of(made, varied).number(key, "SanPolicy") == 1
        text = script(made, varied)
        back = "/v SanPolicy /f" if before is None else "/v SanPolicy /t REG_DWORD /d 3 /f"
        undo(made, changes, backups)
        assert made.files == files
        assert (back in text) == (boot == DIRECT) and ("windows.san-policy" in codes(changes)) == (boot == TWO_PHASE)


# -- states -------------------------------------------------------------------------------------------------------------------------------


def test_a_dirty_hive_is_a_blocker_unless_its_logs_replay(source):
    from test_windows_hives import dirtied, new_log

    release = RELEASES["w10"]
    clean = winlab.files(release)["/c/Windows/System32/config/SYSTEM"]
    later = winlab.hive({f"{SERVICES}\\late": {"Start": 2}}, clean)
    sequence = int.from_bytes(clean[8:12], "little") + 1
    log = {"/c/Windows/System32/config/SYSTEM.LOG1": new_log(clean, later, sequence)}
    for files, code, state in (({}, "windows.dirty-hive", "unreplayable"), (log, "windows.hive-replayed", "replayed")):
        made = winlab.guest(release, {"/c/Windows/System32/config/SYSTEM": dirtied(clean), **files})
        findings = Findings()
        facts = winlab.inspected(made, release, Options(source), findings)
        assert code in {concern.code for concern in findings.concerns} and facts.windows.hives == state
        changes = winlab.planned(made, facts, Options(source))
        apply(made, changes, "/c/Windows/hyper2kvm/backup")
        assert proof.prove(made, facts, winlab.tables(release)).holds
        assert system_of(made, release).has(f"{SERVICES}\\late") == bool(files)


def test_a_damaged_hive_is_an_error_with_a_remedy():
    release = RELEASES["w10"]
    data = bytearray(winlab.files(release)["/c/Windows/System32/config/SYSTEM"])
    data[4096 + 0x24 : 4096 + 0x60] = bytes(0x3C)
    made = winlab.guest(release, {"/c/Windows/System32/config/SYSTEM": bytes(data)})
    with pytest.raises(InvalidInput, match="damaged"):
        winlab.inspected(made, release, Options())


def test_the_dirty_flag_of_ntfs_is_read_from_the_volume():
    def volume(flags: int) -> bytes:
        boot = bytearray(512)
        boot[3:7], boot[11:13], boot[13], boot[48:56], boot[64] = b"NTFS", (512).to_bytes(2, "little"), 8, (4).to_bytes(8, "little"), 0xF6
        record = bytearray(1024)
        record[:4], record[20:22] = b"FILE", (56).to_bytes(2, "little")
        record[56:64] = (0x70).to_bytes(4, "little") + (40).to_bytes(4, "little")
        record[76:78] = (24).to_bytes(2, "little")
        record[56 + 24 + 10 : 56 + 24 + 12] = flags.to_bytes(2, "little")
        record[96:100] = b"\xff\xff\xff\xff"
        return bytes(boot).ljust(4 * 4096, b"\0") + bytes(3 * 1024) + bytes(record)

    made = winlab.guest(RELEASES["w10"])
    for flags, wanted in ((0, False), (1, True)):
        made.raw["/dev/sda2"] = volume(flags)
        assert volumes.dirty(made, "/dev/sda2") is wanted
    made.raw["/dev/sda2"] = b"\xeb\x52\x90NTFS    " + bytes(501)
    assert not volumes.dirty(made, "/dev/sda2")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", "/c/Windows/system32/drivers/disk.sys"),
        ("System32\\drivers\\x.sys", "/c/Windows/System32/drivers/x.sys"),
        ("\\SystemRoot\\System32\\x.sys", "/c/Windows/System32/x.sys"),
        ("%SystemRoot%\\System32\\x.sys", "/c/Windows/System32/x.sys"),
        ("\\??\\C:\\Program Files\\x.sys", "/c/Program Files/x.sys"),
        ("\\??\\D:\\x.sys", None),
    ],
)
def test_every_form_of_an_image_path_leads_to_the_file(value, wanted):
    assert paths.image("/c/Windows", value, "disk") == wanted


def test_uploaded_files_are_checked_before_anything_is_written(tmp_path):
    winlab.driver_tree(tmp_path, {"w10": ("x86_64",)})
    release = RELEASES["w10"]
    made = winlab.guest(release)
    before = dict(made.files)
    changes = winlab.planned(made, winlab.inspected(made, release, Options(str(tmp_path))), Options(str(tmp_path)))
    upload = next(change for change in changes.changes if isinstance(change, UploadFile))
    with open(upload.source, "ab") as file:
        file.write(b"!")
    with pytest.raises(StalePlan):
        apply(made, changes, "/c/backup")
    assert made.files == before
