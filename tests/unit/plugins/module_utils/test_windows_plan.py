# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows from XP to 2022: the laws of plans, and what each fix decides."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import winlab
from winlab import CS, RELEASES
from winplans import codes, repaired, software_of, system_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan, UnsupportedGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import CopyFile, UploadFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.patch import PatchDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import (
    bootsector,
    hives,
    identity,
    paths,
    plan,
    pnp,
    proof,
    regf,
    tools,
    volumes,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.edit_hive import EditHive
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.wanted import Customization
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import DIRECT, TWO_PHASE, Options

SERVICES = f"{CS}\\Services"
UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall"


# -- laws -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boot", [DIRECT, TWO_PHASE])
@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_after_the_plan_there_is_nothing_to_do_the_proof_holds_and_undo_restores_every_byte(release, boot, virtio_win):
    options = Options(virtio_win, boot=boot)
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
def test_each_fix_alone_keeps_the_laws(fix, virtio_win):
    release = RELEASES["w10"]
    made = winlab.guest(release)
    before = dict(made.files)
    options = Options(virtio_win, customize=Customization("web01"))
    made, facts, changes, backups = repaired(release, options, made, fixes=(fix,))
    assert changes.changes and not winlab.planned(made, facts, options, (fix,)).changes
    undo(made, changes, backups)
    assert made.files == before


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_each_hive_is_written_once(release, virtio_win):
    dummy, facts, changes, dummy2 = repaired(release, Options(virtio_win))
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


def test_spelling_of_paths_does_not_matter(virtio_win):
    release = RELEASES["w7"]
    made = winlab.guest(release)
    spelt = (("/System32/config/SYSTEM", "/System32/config/system"), ("/System32/config", "/System32/Config"), ("/System32", "/SYSTEM32"))
    for usual, other in spelt:
        made.files = {path.replace(usual, other): data for path, data in made.files.items()}
    facts = winlab.inspected(made, release, Options(virtio_win))
    changes = winlab.planned(made, facts, Options(virtio_win))
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


def test_the_old_database_up_to_7_and_the_new_one_from_8_on(virtio_win):
    for name in ("xp", "w7"):
        made, *dummy = repaired(RELEASES[name], Options(virtio_win))
        system = system_of(made, RELEASES[name])
        key = f"{CS}\\Control\\CriticalDeviceDatabase\\PCI#VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00"
        assert system.text(key, "Service") == "viostor" and system.text(key, "ClassGUID") == winlab.SCSI
        assert not system.has("DriverDatabase")
    made, *dummy = repaired(RELEASES["w10"], Options(virtio_win))
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


def test_overrides_of_an_earlier_installation_go(virtio_win):
    extra = {f"{SERVICES}\\viostor": {"Start": 3, "Type": 1}, f"{SERVICES}\\viostor\\StartOverride": {"0": 3}}
    release = replace(RELEASES["w10"], extra=extra)
    made, facts, *dummy = repaired(release, Options(virtio_win))
    system = system_of(made, release)
    for service in ("viostor", "storahci"):
        assert not system.has(f"{SERVICES}\\{service}\\StartOverride")
        assert pnp.effective_start(system, facts.windows, service) == 0


def test_a_driver_that_windows_has_installed_stays_in_charge_and_an_older_file_is_replaced(virtio_win):
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
    made, facts, changes, backups = repaired(release, Options(virtio_win), made)
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


def test_where_windows_looks_for_drivers_is_extended_once(virtio_win):
    made, *dummy = repaired(RELEASES["w10"], Options(virtio_win, drivers=("netkvm",)))
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


def test_uefi_finds_windows_without_a_boot_entry(virtio_win):
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


# -- states -------------------------------------------------------------------------------------------------------------------------------


def test_a_dirty_hive_is_a_blocker_unless_its_logs_replay(virtio_win):
    from test_windows_hives import dirtied, new_log

    release = RELEASES["w10"]
    clean = winlab.files(release)["/c/Windows/System32/config/SYSTEM"]
    later = winlab.hive({f"{SERVICES}\\late": {"Start": 2}}, clean)
    sequence = int.from_bytes(clean[8:12], "little") + 1
    log = {"/c/Windows/System32/config/SYSTEM.LOG1": new_log(clean, later, sequence)}
    for files, code, state in (({}, "windows.dirty-hive", "unreplayable"), (log, "windows.hive-replayed", "replayed")):
        made = winlab.guest(release, {"/c/Windows/System32/config/SYSTEM": dirtied(clean), **files})
        findings = Findings()
        facts = winlab.inspected(made, release, Options(virtio_win), findings)
        assert code in {concern.code for concern in findings.concerns} and facts.windows.hives == state
        changes = winlab.planned(made, facts, Options(virtio_win))
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
