# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot-readiness proof: for each link of the chain one thing is taken away or made wrong, and the proof names it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Callable

import pytest
import winlab
from winlab import CS, RELEASES

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import hives, proof, regf
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import TWO_PHASE, Options

SERVICES = f"{CS}\\Services"
DATABASE = "DriverDatabase"
IDS = ("VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01", "VEN_1AF4&DEV_1042&SUBSYS_11001AF4", "VEN_1AF4&DEV_1042")
SYS = "/c/Windows/System32/drivers/viostor.sys"


@dataclass
class Case:
    """A repaired guest that proves to boot, to be damaged."""

    made: object
    facts: object
    release: winlab.Release
    options: Options

    def edit(self, work: Callable[[hives.Draft], None], path: str = "") -> None:
        path = path or self.facts.windows.system_hive
        draft = hives.Draft.of(self.made, path)
        work(draft)
        assert draft.change(), "the mutation changes nothing"
        apply(self.made, Plan(tuple(draft.change())), "/c/mutation")

    def failures(self) -> set[str]:
        return {check.name for check in proof.prove(self.made, self.facts, winlab.tables(self.release)).failures()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folders = dict.fromkeys(("xp", "w7", "w10"), ("x86_64", "i686"))
    return str(winlab.driver_tree(tmp_path_factory.mktemp("virtio-win"), folders))


def case(name: str, source: str) -> Case:
    release, options = RELEASES[name], Options(source, boot=TWO_PHASE)
    made = winlab.guest(release)
    facts = winlab.inspected(made, release, options)
    apply(made, winlab.planned(made, facts, options), f"/c/{release.root}/hyper2kvm/backup")
    found = Case(made, facts, release, options)
    assert not found.failures()
    return found


def drop(key: str, name: str = "") -> Callable[[hives.Draft], None]:
    return lambda draft: draft.remove_value(key, name, "") if name else draft.remove_key(key, "")


def put(key: str, name: str, kind: int, value: object) -> Callable[[hives.Draft], None]:
    return lambda draft: draft.set(key, name, kind, value, "")


def package(draft: hives.Draft) -> str:
    return f"{DATABASE}\\DriverPackages\\" + draft.text(f"{DATABASE}\\DriverInfFiles\\viostor.inf", "Active")


REGISTRY = {
    "Select names nothing": ("hive.readable", put("Select", "Current", regf.DWORD, 9)),
    "start type": ("final.start", put(f"{SERVICES}\\viostor", "Start", regf.DWORD, 3)),
    "start override": ("final.start", put(f"{SERVICES}\\viostor\\StartOverride", "0", regf.DWORD, 3)),
    "service type": ("final.start", put(f"{SERVICES}\\viostor", "Type", regf.DWORD, 0x10)),
    "service": ("final.start", drop(f"{SERVICES}\\viostor")),
    "group": ("final.order", drop(f"{SERVICES}\\viostor", "Group")),
    "order of groups": ("final.order", drop(f"{CS}\\Control\\ServiceGroupOrder", "List")),
    "image path": ("final.file", put(f"{SERVICES}\\viostor", "ImagePath", regf.EXPAND_SZ, "system32\\drivers\\other.sys")),
    "device ids": ("final.device", lambda draft: [draft.remove_key(f"{DATABASE}\\DeviceIds\\PCI\\{one}", "") for one in IDS]),
    "active package": ("final.device", drop(f"{DATABASE}\\DriverInfFiles\\viostor.inf", "Active")),
    "package": ("final.device", lambda draft: draft.remove_key(package(draft), "")),
    "version": ("final.device", lambda draft: draft.set(package(draft), "Version", regf.BINARY, bytes(40), "")),
    "descriptor": ("final.device", lambda draft: draft.remove_key(f"{package(draft)}\\Descriptors\\PCI\\{IDS[0]}", "")),
    "configuration": ("final.device", lambda draft: draft.remove_key(f"{package(draft)}\\Configurations", "")),
    "another service": (
        "final.start", lambda draft: draft.set(f"{package(draft)}\\Configurations\\viostor_inst.NTamd64", "Service", regf.SZ, "nothing", ""),
    ),
    "AHCI start": ("bootstrap.start", put(f"{SERVICES}\\storahci", "Start", regf.DWORD, 3)),
    "AHCI override": ("bootstrap.start", put(f"{SERVICES}\\storahci\\StartOverride", "0", regf.DWORD, 3)),
    "AHCI device": ("bootstrap.device", drop(f"{DATABASE}\\DeviceIds\\PCI\\CC_010601")),
    "partition manager": ("chain.drivers", put(f"{SERVICES}\\partmgr", "Start", regf.DWORD, 3)),
    "disk driver": ("chain.drivers", drop(f"{SERVICES}\\disk")),
    "filter without a service": ("filters.disk", put(f"{CS}\\Control\\Class\\{winlab.DISK}", "LowerFilters", regf.MULTI_SZ, ("gone",))),
    "filter that is disabled": ("filters.volume", put(f"{CS}\\Control\\Class\\{winlab.VOLUME}", "UpperFilters", regf.MULTI_SZ, ("VMTools",))),
    "filter of the controller": ("filters.controller", put(f"{CS}\\Control\\Class\\{winlab.SCSI}", "UpperFilters", regf.MULTI_SZ, ("gone",))),
    **{
        f"filter of {name}": (f"filters.{name}", put(f"{CS}\\Control\\Class\\{guid}", where, regf.MULTI_SZ, (service,)))
        for name, guid, where, service in (
            ("ide", "{4d36e96a-e325-11ce-bfc1-08002be10318}", "UpperFilters", "xenfilt"),
            ("bus", "{4d36e97d-e325-11ce-bfc1-08002be10318}", "UpperFilters", "xenfilt"),
            ("network", "{4d36e972-e325-11ce-bfc1-08002be10318}", "LowerFilters", "VMTools"),
        )
    },
    "setup without a command": ("setup.command", put("Setup", "CmdLine", regf.SZ, "")),
}  # fmt: skip


@pytest.mark.parametrize("name", REGISTRY)
def test_each_key_and_value_is_missed(name, source):
    wanted, mutation = REGISTRY[name]
    damaged = case("w10", source)
    damaged.edit(mutation)
    assert wanted in damaged.failures()


BOOT = "/efi/EFI/Microsoft/Boot"
STORE = {
    "default": ("bcd.default", drop(f"Objects\\{winlab.bcd.BOOT_MANAGER}\\Elements\\{winlab.bcd.DEFAULT}")),
    "default object": ("bcd.default", drop(f"Objects\\{winlab.LOADER}")),
    "path": ("bcd.loader", put(f"Objects\\{winlab.LOADER}\\Elements\\12000002", "Element", regf.SZ, "\\Windows\\system32\\no.efi")),
    "ending": ("bcd.loader", put(f"Objects\\{winlab.LOADER}\\Elements\\12000002", "Element", regf.SZ, "\\Windows\\system32\\ntoskrnl.exe")),
    "no path": ("bcd.loader", drop(f"Objects\\{winlab.LOADER}\\Elements\\12000002")),
    "device": ("bcd.loader-device", drop(f"Objects\\{winlab.LOADER}\\Elements\\11000001")),
    "partition": (
        "bcd.system-device",
        put(f"Objects\\{winlab.LOADER}\\Elements\\21000001", "Element", regf.BINARY, bytes(16) + struct.pack("<II", 6, 0) + bytes(64)),
    ),
}


@pytest.mark.parametrize("name", STORE)
def test_each_element_of_the_boot_store_is_missed(name, source):
    wanted, mutation = STORE[name]
    damaged = case("w10", source)
    damaged.edit(mutation, f"{BOOT}/BCD")
    assert wanted in damaged.failures()


FILES = {
    "driver": (SYS, None, "final.file"),
    "empty driver": (SYS, b"", "final.file"),
    "no program": (SYS, b"text", "final.program"),
    "machine": (SYS, winlab.program("i686"), "final.program"),
    "subsystem": (SYS, winlab.program(subsystem=3), "final.program"),
    "signature": (SYS, winlab.program(signed=False), "final.signature"),
    "checksum": (SYS, winlab.program()[:-1] + b"?", "final.program"),
    "import": ("/c/Windows/System32/drivers/storport.sys", None, "final.program"),
    "disk": ("/c/Windows/System32/drivers/DISK.sys", None, "chain.drivers"),
    "volume filter": ("/c/Windows/System32/drivers/volsnap.sys", None, "filters.volume"),
    "AHCI": ("/c/Windows/System32/drivers/storahci.sys", None, "bootstrap.file"),
    "loader": ("/c/Windows/System32/winload.efi", None, "bcd.loader"),
    "manager": (f"{BOOT}/bootmgfw.efi", None, "firmware.manager"),
    "fallback": ("/efi/EFI/Boot/bootx64.efi", winlab.program("i686"), "firmware.fallback"),
    "store": (f"{BOOT}/BCD", None, "bcd.store"),
    "store that is none": (f"{BOOT}/BCD", b"x", "bcd.hive"),
}


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_missed(name, source):
    path, content, wanted = FILES[name]
    damaged = case("w10", source)
    if content is None:
        del damaged.made.files[path]
    else:
        damaged.made.files[path] = content
    assert wanted in damaged.failures()


def test_a_hive_that_is_not_clean_is_missed(source):
    from test_windows_hives import dirtied

    damaged = case("w10", source)
    path = damaged.facts.windows.system_hive
    damaged.made.files[path] = dirtied(damaged.made.files[path])
    assert "hive.clean" in damaged.failures()


def test_bios_needs_an_active_partition_boot_code_and_the_manager(source):
    damaged = case("w7", source)
    tables = winlab.tables(damaged.release)
    table = tables["disk0"]
    for wrong in (
        replace(table, boot_code=bytes(440)),
        replace(table, partitions=tuple(replace(part, active=False) for part in table.partitions)),
    ):
        failed = {check.name for check in proof.prove(damaged.made, damaged.facts, {"disk0": wrong}).failures()}
        assert failed == {"firmware.active"}
    other = replace(table, id="00000000")
    failed = {check.name for check in proof.prove(damaged.made, damaged.facts, {"disk0": other}).failures()}
    assert failed == {"bcd.loader-device", "bcd.system-device"}
    del damaged.made.files["/boot/bootmgr"]
    assert "firmware.manager" in damaged.failures()


def _criticals(draft: hives.Draft) -> list[str]:
    base = f"{CS}\\Control\\CriticalDeviceDatabase"
    return [f"{base}\\{name}" for name in draft.keys(base) if "1AF4" in name]


OLD = {
    "critical device": ("final.device", lambda draft: [draft.remove_key(key, "") for key in _criticals(draft)]),
    "class": ("final.device", lambda draft: [draft.remove_value(key, "ClassGUID", "") for key in _criticals(draft)]),
    "IDE": ("bootstrap.start", put(f"{SERVICES}\\intelide", "Start", regf.DWORD, 3)),
    "IDE channel": ("chain.drivers", put(f"{SERVICES}\\atapi", "Start", regf.DWORD, 3)),
}


@pytest.mark.parametrize("name", OLD)
def test_what_windows_before_8_needs_is_missed(name, source):
    wanted, mutation = OLD[name]
    damaged = case("xp", source)
    damaged.edit(mutation)
    assert wanted in damaged.failures()


@pytest.mark.parametrize("name", ["ntldr", "NTDETECT.COM", "boot.ini"])
def test_the_boot_files_of_xp_are_missed(name, source):
    damaged = case("xp", source)
    del damaged.made.files[f"/c/{name}"]
    assert damaged.failures() & {"firmware.ntldr", "firmware.ntdetect.com", "bcd.default"}


def test_an_unrepaired_guest_of_each_kind_does_not_prove():
    for release in RELEASES.values():
        made = winlab.guest(release)
        facts = replace(winlab.inspected(made, release, Options()), disk_bus="virtio")
        failed = {check.name for check in proof.prove(made, facts, winlab.tables(release)).failures()}
        assert failed == {"final.device"}
