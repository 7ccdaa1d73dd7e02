# SPDX-License-Identifier: GPL-3.0-or-later
"""INF files, programs, driver trees: what is in a driver source and what of it fits a guest."""

from __future__ import annotations

from datetime import date

import pytest
import winlab
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import CopyFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat, WindowsFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import devices, driver_source, drivers, pe, regf
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.inf import Inf

W10 = WindowsFacts("w10", (10, 0), 19045, "Client", "/c/Windows", winlab.CS, "/c/Windows/System32/config/SYSTEM")


def facts(release: str, nt: tuple[int, int], build: int) -> WindowsFacts:
    return WindowsFacts(release, nt, build, "Client", "/c/Windows", winlab.CS, "")


def driver(text: str, machine: str = "x86_64", nt: tuple[int, int] = (10, 0), build: int = 19045):
    return Inf("x/viostor.inf", text.encode()).driver(machine, nt, build)


def test_everything_comes_from_the_inf():
    found = driver(winlab.inf("viostor", "amd64"))
    assert (found.inf, found.class_name, found.class_guid, found.provider) == (
        "viostor.inf",
        "SCSIAdapter",
        winlab.SCSI,
        "Test Vendor, Inc.",
    )
    assert (found.date, found.version, found.catalog, found.files) == (
        date(2025, 1, 15),
        (100, 93, 104, 26200),
        "viostor.cat",
        ("viostor.sys",),
    )
    assert "PCI\\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01" in found.ids and "PCI\\VEN_1AF4&DEV_1001" in found.ids
    service = found.service
    assert (service.name, service.kind, service.start, service.group) == ("viostor", 1, 0, "SCSI miniport")
    assert service.image == "system32\\drivers\\viostor.sys"
    assert ("Parameters", "BusType", regf.DWORD, b"\1\0\0\0") in service.values
    assert ("Parameters\\PnpInterface", "5", regf.DWORD, b"\1\0\0\0") in service.values


def test_the_version_is_packed_as_windows_packs_it():
    """From a real hive: the inbox package mshdc.inf of Windows 10, dated 06/21/2006, version 10.0.19041.1288, but for its first word."""
    real = "ffff0900000000006ae9364d25e3ce11bfc108002be1031800808ca3c594c6010805614a00000a000000000000000000"
    text = winlab.inf("viostor", "amd64").replace("01/15/2025,100.93.104.26200", "06/21/2006,10.0.19041.1288")
    text = text.replace(winlab.SCSI.upper(), "{4D36E96A-E325-11CE-BFC1-08002BE10318}")
    assert driver(text).version_blob().hex() == "00ff" + real[4:]


@pytest.mark.parametrize(
    ("decorations", "nt", "build", "wanted"),
    [
        (("", ".6.1", ".10.0"), (10, 0), 19045, ".10.0"),
        (("", ".6.1", ".10.0"), (6, 1), 7601, ".6.1"),
        (("", ".6.1", ".10.0"), (6, 0), 6002, ""),
        ((".6.1", ".10.0...22000"), (10, 0), 19045, ".6.1"),
        ((".6.1", ".10.0...22000"), (10, 0), 22631, ".10.0...22000"),
    ],
)
def test_the_section_that_fits_best_is_taken(decorations, nt, build, wanted):
    head, tail = winlab.inf("viostor", "amd64").split("[Manufacturer]")
    models = ", ".join(f"NTamd64{one}" for one in decorations)
    sections = "".join(
        f"[Vendor.NTamd64{one}]\r\n%Desc% = inst, PCI\\VEN_1AF4&DEV_{index:04X}\r\n" for index, one in enumerate(decorations)
    )
    tail = tail[tail.index("[viostor_inst") :].replace("viostor_inst", "inst")
    found = driver(f"{head}[Manufacturer]\r\n%VENDOR% = Vendor, {models}\r\n{sections}{tail}", nt=nt, build=build)
    assert found.ids == (f"PCI\\VEN_1AF4&DEV_{decorations.index(wanted):04X}",)


def test_an_inf_for_another_architecture_or_a_newer_windows_offers_nothing():
    assert driver(winlab.inf("viostor", "x86")) is None
    assert driver(winlab.inf("viostor", "amd64", decoration=".10.0"), nt=(6, 1), build=7601) is None


def test_utf_16_comments_and_quotes_are_read():
    text = winlab.inf("viostor", "amd64").replace("Test Vendor, Inc.", "A; B")
    assert Inf("viostor.inf", text.encode("utf-16")).driver("x86_64", (10, 0), 19045).provider == "A; B"


def test_a_comma_in_quotes_is_no_separator():
    text = winlab.inf("viostor", "amd64").replace('"BusType", 0x00010001, 0x1', '"Name", 0x00000000,  "a, b; c"')
    assert ("Parameters", "Name", regf.SZ, "a, b; c\0".encode("utf-16-le")) in driver(text).service.values


def test_a_service_outside_the_known_directories_is_refused():
    with pytest.raises(InvalidInput, match="viostor"):
        driver(winlab.inf("viostor", "amd64").replace("%12%", "%16422%"))


def test_drivers_that_run_from_the_store_are_put_beside_the_others():
    assert driver(winlab.inf("viostor", "amd64").replace("%12%", "%13%")).service.image == "system32\\drivers\\viostor.sys"


@given(st.text(max_size=400), st.integers(0, 40))
def test_any_inf_is_read_or_refused(extra, at):
    lines = winlab.inf("viostor", "amd64").split("\r\n")
    lines.insert(at, extra)
    try:
        Inf("viostor.inf", "\r\n".join(lines).encode("utf-8", "surrogatepass")).driver("x86_64", (10, 0), 19045)
    except MigrationError as error:
        assert error.hint


# -- programs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", ["x86_64", "i686", "aarch64"])
def test_a_program_says_what_it_is(machine):
    data = winlab.program(machine, 1, ("ntoskrnl.exe", "STORPORT.SYS"))
    assert pe.parse(data) == pe.Program(machine, pe.NATIVE, True, ("ntoskrnl.exe", "storport.sys"))
    assert pe.certificate(winlab.program(machine, 3, signed=False)) == b"" and pe.certificate(b"MZ") == b""
    assert pe.certificate(winlab.program(machine, 3)) == b"not a signature!"
    assert pe.parse(data[:-1] + b"?").checksum is False


@given(st.binary(max_size=600), st.integers(0, 900))
def test_any_program_is_read_or_not(data, cut):
    pe.parse(data)
    whole = winlab.program()
    pe.parse(whole[:cut] + data + whole[cut + len(data) :])


# -- trees ------------------------------------------------------------------------------------------------------------------------


def selected(tree, wanted: WindowsFacts, machine: str = "x86_64", names: tuple[str, ...] = ()):
    findings = Findings()
    return drivers.select(tree, wanted, machine, names, findings), [concern.code for concern in findings.concerns]


@pytest.fixture
def source(tmp_path):
    return winlab.driver_tree(tmp_path, {"w10": ("x86_64", "i686"), "2k19": ("x86_64",), "w7": ("i686",)})


def test_the_folder_of_release_and_architecture_is_taken_without_symbols(source):
    packages, codes = selected(driver_source.HostTree(str(source)), W10)
    assert set(packages) == set(winlab.STUB_IDS) and not codes
    assert packages["viostor"].inf == "viostor/w10/amd64/viostor.inf"
    assert [name for name, dummy in packages["netkvm"].files] == ["netkvm.inf", "netkvm.cat", "netkvm.sys"]
    packages, dummy = selected(driver_source.HostTree(str(source)), W10, "i686", ("balloon",))
    assert set(packages) == {"viostor", "vioscsi", "balloon"} and packages["balloon"].inf == "Balloon/w10/x86/balloon.inf"


def test_another_release_is_taken_by_the_table_only_and_said(source):
    packages, codes = selected(driver_source.HostTree(str(source)), facts("2k22", (10, 0), 20348))
    assert packages["viostor"].inf.startswith("viostor/2k19/") and set(codes) == {"windows.driver-fallback"}
    assert selected(driver_source.HostTree(str(source)), facts("w8.1", (6, 3), 9600)) == ({}, [])
    assert selected(driver_source.HostTree(str(source)), facts("w7", (6, 1), 7601), "x86_64") == ({}, [])


@pytest.mark.parametrize("fault", ["other machine", "no catalogue", "no program"])
def test_a_driver_that_cannot_work_is_left_out_and_named(source, fault):
    folder = source / "viostor" / "w10" / "amd64"
    if fault == "other machine":
        (folder / "viostor.sys").write_bytes(winlab.program("i686"))
    else:
        (folder / ("viostor.cat" if fault == "no catalogue" else "viostor.sys")).unlink()
    packages, codes = selected(driver_source.HostTree(str(source)), W10)
    assert "viostor" not in packages and "vioscsi" in packages and codes == ["windows.driver-unusable"]


def test_the_layouts_of_packages_and_boot_folders_are_found(tmp_path):
    made = winlab.driver_tree(tmp_path / "iso", {"w10": ("x86_64",)})
    for layout in ("drivers/by-os/amd64/w10", "amd64/w10"):
        folder = tmp_path / layout.replace("/", "_") / layout
        folder.mkdir(parents=True)
        for file in (made / "viostor" / "w10" / "amd64").iterdir():
            (folder / file.name.upper()).write_bytes(file.read_bytes())
        packages, codes = selected(driver_source.HostTree(str(tmp_path / layout.replace("/", "_"))), W10)
        assert set(packages) == {"viostor"} and not codes


def test_links_in_a_source_are_not_followed(source, tmp_path):
    (source / "viostor" / "w10" / "amd64" / "viostor.sys").unlink()
    (source / "viostor" / "w10" / "amd64" / "viostor.sys").symlink_to("/etc/passwd")
    packages, codes = selected(driver_source.HostTree(str(source)), W10)
    assert "viostor" not in packages and codes == ["windows.driver-unusable"]


def test_an_iso_in_the_appliance_is_read_through_the_guest(source):
    files = {f"/virtio-win/{path.relative_to(source)}": path.read_bytes() for path in source.rglob("*") if path.is_file()}
    guest = MemoryGuest({**files, "/c": Stat("dir")})
    packages, codes = selected(driver_source.IsoTree(guest), W10)
    assert set(packages) == set(winlab.STUB_IDS) and not codes
    change = driver_source.IsoTree(guest).change(packages["viostor"].inf, "/c/x", "why")
    assert change == CopyFile("/virtio-win/viostor/w10/amd64/viostor.inf", "/c/x", "why")


def test_what_a_source_is_comes_from_its_bytes(tmp_path):
    image = tmp_path / "virtio-win-0.1.262.iso"
    image.write_bytes(bytes(0x8001) + b"CD001" + bytes(100))
    assert driver_source.locate(str(image)) == (str(image), True)
    assert driver_source.locate(str(tmp_path)) == (str(image), True)
    (tmp_path / "viostor").mkdir()
    assert driver_source.locate(str(tmp_path)) == (str(tmp_path), False)
    before = driver_source.stamp(str(tmp_path))
    (tmp_path / "viostor" / "x.sys").write_bytes(b"x")
    assert driver_source.stamp(str(tmp_path)) != before
    for wrong in (tmp_path / "viostor" / "x.sys", tmp_path / "nothing"):
        with pytest.raises(InvalidInput):
            driver_source.locate(str(wrong))


def test_identifiers_stand_in_the_order_in_which_windows_tries_them():
    """As a real Windows 7 lists them for an e1000 of VMware: hardware ids, then compatible ids."""
    card = devices.PciDevice("e1000", 0x8086, 0x100F, 0x15AD, 0x0750, 1, 0x020000)
    assert card.identifiers() == (
        "VEN_8086&DEV_100F&SUBSYS_075015AD&REV_01",
        "VEN_8086&DEV_100F&SUBSYS_075015AD",
        "VEN_8086&DEV_100F&CC_020000",
        "VEN_8086&DEV_100F&CC_0200",
        "VEN_8086&DEV_100F&REV_01",
        "VEN_8086&DEV_100F",
        "VEN_8086&CC_020000",
        "VEN_8086&CC_0200",
        "VEN_8086",
        "CC_020000",
        "CC_0200",
    )
