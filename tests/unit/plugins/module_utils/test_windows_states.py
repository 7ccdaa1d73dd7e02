# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Windows may be in the middle of or bound to: each state is named with its remedy, and what it hides is found another way."""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace
from types import SimpleNamespace

import pytest
import winlab
from winlab import CS, RELEASES

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import Partition, Table
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import domains
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import ClockFacts, Facts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import formats, libvirt_xml
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.domain import Domain
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import bcd, bitlocker, editions, hives, proof, regf, volumes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

W10, SERVER = RELEASES["w10"], RELEASES["2k22"]
MANAGER = f"{CS}\\Control\\Session Manager"
VERSION = "Microsoft\\Windows NT\\CurrentVersion"


def held(tag: int) -> Stat:
    """A file behind a reparse point, as ntfs-3g of Debian 12 shows it (2022.10.3)."""
    return Stat("link", 34, target=f"unsupported reparse tag 0x{tag:08x}")


def looked(made: MemoryGuest, release: winlab.Release = W10, options: Options = Options()) -> tuple[object, dict[str, object]]:
    """The facts, and the concerns by their codes."""
    findings = Findings()
    facts = winlab.inspected(made, release, options, findings)
    return facts, {concern.code: concern for concern in findings.concerns}


def with_system(release: winlab.Release = W10, **keys: dict[str, object]) -> MemoryGuest:
    return winlab.guest(replace(release, extra=keys))


def with_software(more: dict[str, dict[str, object]], release: winlab.Release = W10) -> MemoryGuest:
    tree = winlab.software(release)
    for key, values in more.items():
        tree[key] = {**tree.get(key, {}), **values}
    return winlab.guest(release, {f"/c/{release.root}/System32/config/SOFTWARE": winlab.hive(tree)})


# -- compressed and deduplicated files -------------------------------------------------------------------------------------------------

ENVIRONMENT = {f"{MANAGER}\\Environment": {"PROCESSOR_ARCHITECTURE": "AMD64"}}
SYSTEM32 = "/c/Windows/System32"
PROGRAMS = tuple(f"{SYSTEM32}/{name}" for name in ("ntoskrnl.exe", "winload.efi", "cmd.exe", "drivers/storahci.sys", "drivers/DISK.sys"))


@pytest.mark.parametrize(("named", "wanted"), [("AMD64", "x86_64"), ("x86", "i686"), ("ARM64", "aarch64"), ("IA64", "")])
def test_where_no_program_can_be_read_the_registry_says_the_processor(named, wanted):
    made = with_system(**{f"{MANAGER}\\Environment": {"PROCESSOR_ARCHITECTURE": named}})
    made.files.update({path: held(0x80000017) for path in PROGRAMS})
    assert looked(made)[0].architecture == wanted


def test_a_compact_windows_gets_its_drivers_and_is_proved_as_far_as_it_can_be_read(virtio_win):
    made = with_system(**ENVIRONMENT)
    made.files.update({path: held(0x80000017) for path in PROGRAMS})
    facts, told = looked(made, options=Options(virtio_win))
    assert (facts.architecture, facts.disk_bus) == ("x86_64", "virtio")
    concern = told["windows.unreadable-programs"]
    assert "ntoskrnl.exe" in concern.cause and "CompactOS" in concern.cause and "compact /compactos:never" in concern.remedy
    apply(made, winlab.planned(made, facts, Options(virtio_win)), "/c/Windows/hyper2kvm/backup")
    shown = proof.prove(made, facts, winlab.tables(W10))
    assert shown.holds, shown.failures()
    assert "CompactOS" in next(check.detail for check in shown.checks if check.name == "bcd.loader")


def test_a_compressed_driver_of_the_controller_is_not_called_missing(virtio_win):
    made = with_system(**ENVIRONMENT)
    facts, dummy = looked(made, options=Options(virtio_win))
    apply(made, winlab.planned(made, facts, Options(virtio_win)), "/c/Windows/hyper2kvm/backup")
    made.files[f"{SYSTEM32}/drivers/viostor.sys"] = held(0x80000017)
    checks = {check.name: check for check in proof.prove(made, facts, winlab.tables(W10)).checks}
    assert checks["final.file"].passed and "CompactOS" in checks["final.file"].detail and "final.program" not in checks
    made.files[f"{SYSTEM32}/drivers/viostor.sys"] = held(0x80000013)
    checks = {check.name: check for check in proof.prove(made, facts, winlab.tables(W10)).checks}
    assert not checks["final.file"].passed and "deduplicated" in checks["final.file"].detail


@pytest.mark.parametrize("name", ["w7", "w8.1"])
def test_boot_loaders_before_10_read_no_compressed_file(name):
    """Source: wimlib, which compresses none that they need."""
    release = RELEASES[name]
    made = winlab.guest(release)
    facts = winlab.inspected(made, release, Options())
    made.files[f"{SYSTEM32}/winload.exe"] = held(0x80000017)
    checks = {check.name: check for check in proof.prove(made, facts, winlab.tables(release)).checks}
    assert not checks["bcd.loader"].passed


def test_a_storage_driver_that_is_there_compressed_stays(virtio_win):
    made = with_system(**ENVIRONMENT)
    there = f"{SYSTEM32}/drivers/viostor.sys"
    made.files[there] = held(0x80000017)
    facts, dummy = looked(made, options=Options(virtio_win))
    changes = winlab.planned(made, facts, Options(virtio_win))
    assert there not in {change.path for change in changes.changes}
    assert "windows.driver-kept" in {concern.code for concern in changes.concerns}


@pytest.mark.parametrize(
    ("tag", "word"), [(0x80000017, "compact /compactos:never"), (0x80000013, "Unoptimization"), (0x9000001A, "0x9000001a")]
)
def test_a_hive_that_cannot_be_read_is_refused_with_its_cause(tag, word):
    made = winlab.guest(W10)
    made.files[f"{SYSTEM32}/config/SYSTEM"] = held(tag)
    with pytest.raises(InvalidInput) as refused:
        looked(made)
    assert word in f"{refused.value.msg} {refused.value.hint}" and "missing" not in refused.value.msg


# -- volumes --------------------------------------------------------------------------------------------------------------------------


def bitlocker_volume(*protectors: int, vista: bool = False) -> bytes:
    """As libbde's specification has it: the boot sector, and at 64 KiB the metadata with a description and the protectors of the master key."""
    boot = bytearray(512)
    boot[:11] = (b"\xeb\x52\x90" if vista else b"\xeb\x58\x90") + b"-FVE-FS-"
    boot[11:14] = struct.pack("<HB", 512, 8)
    struct.pack_into("<Q", boot, 56 if vista else 176, 16 if vista else 65536)

    def entry(kind: int, value: int, data: bytes) -> bytes:
        return struct.pack("<4H", 8 + len(data), kind, value, 1) + data

    entries = entry(7, 2, "PC C: 1/1/2024".encode("utf-16-le"))
    for protector in protectors:
        entries += entry(2, 8, bytes(16) + bytes(8) + struct.pack("<HH", 0, protector) + entry(0, 5, bytes(60)))
    size = 48 + len(entries)
    header = struct.pack("<4I", size, 1, 48, size) + bytes(16) + struct.pack("<IIQ", 5, 0x8004, 0)
    block = struct.pack("<8sHHHH", b"-FVE-FS-", 64, 1 if vista else 2, 4, 4).ljust(64, b"\0") + header + entries
    return bytes(boot).ljust(65536, b"\0") + block.ljust(65536, b"\0")


@pytest.mark.parametrize("vista", [False, True])
@pytest.mark.parametrize(
    ("protectors", "wanted"),
    [((0x0100, 0x0800), False), ((0x0100, 0x0800, 0x0000), True), ((0x0000,), True), ((0x2000,), False), ((), False)],
)
def test_a_clear_key_tells_that_bitlocker_is_suspended(protectors, wanted, vista):
    device = BlockDevice("/dev/sda2", "BitLocker")
    made = MemoryGuest({}, {"/dev/sda2": device}, {"/dev/sda2": bitlocker_volume(*protectors, vista=vista)})
    assert bitlocker.encrypted(made, device) and bitlocker.suspended(made, device) is wanted
    findings = Findings()
    volumes._report_encrypted(made, findings)
    (concern,) = findings.concerns
    assert (concern.code, concern.severity) == ("windows.bitlocker", "blocker") and "manage-bde -off" in concern.remedy
    assert ("Suspending is not enough" in concern.remedy) is wanted


@pytest.mark.parametrize("length", [0, 100, 512, 65536, 65536 + 70, 65536 + 130])
def test_a_bitlocker_volume_that_breaks_off_is_only_encrypted(length):
    device = BlockDevice("/dev/sda2")
    made = MemoryGuest({}, {"/dev/sda2": device}, {"/dev/sda2": bitlocker_volume(0)[:length]})
    assert bitlocker.suspended(made, device) is False


LDM_MBR, LDM_GPT, SPACES = "42", "af9b60a0-1431-4f62-bc68-3311714a69ad", "e75caf8f-f680-4cee-afa3-b001e56efc2d"


@pytest.mark.parametrize(("known", "severity"), [(True, "warning"), (False, "blocker")])
@pytest.mark.parametrize(
    ("kind", "code"), [(LDM_MBR, "windows.dynamic-disk"), (LDM_GPT, "windows.dynamic-disk"), (SPACES, "windows.storage-spaces")]
)
def test_disks_that_cannot_be_opened_stop_it_only_where_windows_is_on_none_else(kind, code, known, severity):
    plain = Table("gpt", (Partition(1, 1 << 20, 1 << 30, "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", ""),), b"")
    tables = {"disk0": plain, "disk1": Table("gpt", (Partition(1, 1 << 20, 1 << 30, kind, ""),), b"")}
    findings = Findings()
    volumes._report_disks(SimpleNamespace(tables=tables), known, findings)
    (concern,) = findings.concerns
    assert (concern.code, concern.severity) == (code, severity) and concern.cause.startswith("disk1 is")


# -- what waits for the next start ------------------------------------------------------------------------------------------------------


def renames(*pairs: str) -> dict[str, dict[str, object]]:
    """A value as MoveFileEx leaves it: an empty text for what is deleted (Microsoft, KB 202071)."""
    return {MANAGER: {"PendingFileRenameOperations": "".join(f"{text}\0" for text in (*pairs, "")).encode("utf-16-le")}}


def multi(keys: dict[str, dict[str, object]], monkeypatch) -> MemoryGuest:
    """winlab writes a list without empty texts, and bytes as bytes; here the bytes are those of a list."""
    plain = winlab.encoded
    monkeypatch.setattr(
        winlab, "encoded", lambda value: (regf.MULTI_SZ, value) if isinstance(value, bytes) and b"?\0?" in value else plain(value)
    )
    return with_system(**keys)


def test_renames_that_wait_are_counted_and_named(monkeypatch):
    made = multi(renames("\\??\\C:\\Config.Msi\\1.rbf", "", "\\??\\C:\\a.dll", "!\\??\\C:\\b.dll"), monkeypatch)
    concern = looked(made)[1]["windows.pending-renames"]
    assert concern.severity == "info" and concern.cause.startswith("2 files") and "a.dll" in concern.cause
    assert "windows.pending-renames" not in looked(winlab.guest(W10))[1]


@pytest.mark.parametrize(
    "pair",
    [("\\??\\C:\\Windows\\system32\\DRIVERS\\viostor.sys", ""), ("\\??\\C:\\t.tmp", "!\\??\\C:\\Windows\\System32\\drivers\\vioscsi.sys")],
)
def test_a_rename_that_takes_the_boot_driver_away_is_a_warning(pair, monkeypatch):
    assert looked(multi(renames(*pair), monkeypatch))[1]["windows.pending-renames"].severity == "warning"


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        ({"/c/Windows/WinSxS/pending.xml": b"<PendingTransaction/>"}, {}),
        ({}, {MANAGER: {"SetupExecute": ["C:\\Windows\\System32\\poqexec.exe /x"]}}),
    ],
)
def test_updates_wait_also_where_only_what_carries_them_out_says_so(files, keys):
    made = with_system(**keys)
    made.files.update(files)
    assert "windows.pending-updates" in looked(made)[1]
    assert "windows.pending-updates" not in looked(winlab.guest(W10))[1]


# -- setup ------------------------------------------------------------------------------------------------------------------------------

STATE = "Microsoft\\Windows\\CurrentVersion\\Setup\\State"


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE", "sysprep"),
        ("IMAGE_STATE_SPECIALIZE_RESEAL_TO_AUDIT", "audit"),
        ("IMAGE_STATE_UNDEPLOYABLE", "on its way"),
    ],
)
def test_an_image_that_setup_has_not_finished_is_named_for_what_it_is(image, words):
    concern = looked(with_software({STATE: {"ImageState": image}}))[1]["windows.setup-unfinished"]
    assert image in concern.cause and words in concern.cause
    assert "windows.setup-unfinished" not in looked(with_software({STATE: {"ImageState": "IMAGE_STATE_COMPLETE"}}))[1]


def test_a_command_line_of_setup_itself_is_told_and_never_replaced(virtio_win):
    own = {"CmdLine": "oobe\\windeploy.exe", "SetupType": 2, "SystemSetupInProgress": 1, "OOBEInProgress": 1}
    made = with_system(Setup=own)
    facts, told = looked(made, options=Options(virtio_win))
    assert "oobe\\windeploy.exe" in told["windows.setup-unfinished"].cause
    changes = winlab.planned(made, facts, Options(virtio_win))
    apply(made, changes, "/c/Windows/hyper2kvm/backup")
    system = hives.Draft.of(made, f"{SYSTEM32}/config/SYSTEM")
    assert system.text("Setup", "CmdLine") == "oobe\\windeploy.exe" and "windows.setup-pending" in {one.code for one in changes.concerns}


def test_our_own_first_start_is_no_setup_of_windows(virtio_win):
    made = winlab.guest(W10)
    facts, dummy = looked(made, options=Options(virtio_win))
    apply(made, winlab.planned(made, facts, Options(virtio_win)), "/c/Windows/hyper2kvm/backup")
    assert "windows.setup-unfinished" not in looked(made, options=Options(virtio_win))[1]


@pytest.mark.parametrize("once", [False, True])
def test_an_upgrade_that_goes_on_at_the_next_start_stops_it(once):
    setup = "{11111111-2222-3333-4444-555555555555}"
    tree = winlab.store(W10)
    ram_disk = bytes(176) + "\\$WINDOWS.~BT\\Sources\\SafeOS\\winre.wim\0".encode("utf-16-le")
    tree[f"Objects\\{setup}\\Elements\\{bcd.DEVICE}"] = {"Element": ram_disk}
    tree[f"Objects\\{bcd.BOOT_MANAGER}\\Elements\\{bcd.ONCE if once else bcd.DEFAULT}"] = {"Element": [setup] if once else setup}
    store = "/efi/EFI/Microsoft/Boot/BCD"
    concern = looked(winlab.guest(W10, {store: winlab.hive(tree)}))[1]["windows.upgrade-unfinished"]
    assert concern.severity == "blocker" and store in concern.cause
    left = winlab.guest(W10, {"/c/$WINDOWS.~BT/Sources/setup.exe": b"left over"})
    assert "windows.upgrade-unfinished" not in looked(left)[1]


# -- licence ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kms", "word"),
    [
        ({"EditionID": "Professional", "ProductId": "00371-OEM-8992671-00524"}, "", "came with a computer"),
        ({"EditionID": "Core", "ProductId": "00325-80000-00000-AAOEM"}, "", "came with a computer"),
        ({"EditionID": "ServerStandardEval", "ProductId": "00454-10000-00001-AA256"}, "", "evaluation"),
        ({"EditionID": "ServerStandardEvalCor", "ProductId": "00454-10000-00001-AA256"}, "", "evaluation"),
        ({"EditionID": "Enterprise", "ProductId": "00329-00000-00003-AA100"}, "kms.corp.example", "kms.corp.example"),
        ({"EditionID": "Professional", "ProductId": "00330-80000-00000-AA100"}, "", "another computer"),
    ],
)
def test_what_is_known_of_the_licence_is_told(values, kms, word):
    keys = {VERSION: values, f"{VERSION}\\SoftwareProtectionPlatform": {"KeyManagementServiceName": kms} if kms else {}}
    concern = looked(with_software(keys))[1]["windows.activation"]
    assert (
        concern.severity == "info" and word in concern.cause and values["EditionID"] in concern.cause and "migrate_uuid" in concern.remedy
    )


# -- sockets ----------------------------------------------------------------------------------------------------------------------------


def policy(**values: int) -> bytes:
    """A licence as G. Chappell describes it: a header of 20 bytes, values of 16 bytes with name and data, an end marker."""
    entries = b""
    for name, number in values.items():
        text = name.replace("_", "-").encode("utf-16-le")
        size = (16 + len(text) + 4 + 3) & ~3
        entries += (struct.pack("<4HII", size, len(text), 4, 4, 0, 0) + text + struct.pack("<I", number)).ljust(size, b"\0")
    return struct.pack("<5I", 20 + len(entries) + 4, len(entries), 4, 0, 1) + entries + bytes(4)


def draft(options: dict[str, object]) -> hives.Draft:
    return hives.Draft.of(MemoryGuest({"/c/SYSTEM": winlab.hive({f"{CS}\\Control\\ProductOptions": options})}), "/c/SYSTEM")


def test_the_licence_in_the_registry_says_how_many_sockets():
    said = policy(Kernel_PhysicalMemoryAddAllowed=9, Kernel_RegisteredProcessors=4, Telemetry_ProcessorModeAllowed=1)
    assert editions.sockets(draft({"ProductPolicy": said}), CS, (10, 0), False, "Core") == 4
    for length in range(0, len(said), 7):  # one that breaks off says nothing, and the edition does
        assert editions.sockets(draft({"ProductPolicy": said[:length]}), CS, (10, 0), False, "Core") == 1


@pytest.mark.parametrize(
    ("nt", "server", "edition", "suites", "wanted"),
    [
        ((5, 1), False, "", ["Personal"], 1), ((5, 1), False, "", ["Terminal Server"], 2), ((5, 2), True, "", ["Terminal Server"], 4),
        ((5, 2), True, "", ["Blade"], 2), ((5, 2), True, "", ["Enterprise", "Terminal Server"], 8), ((5, 2), True, "", ["DataCenter"], 32),
        ((5, 2), True, "", ["Small Business(Restricted)"], 2), ((6, 0), False, "HomePremium", [], 1), ((6, 1), False, "Starter", [], 1),
        ((6, 1), False, "Ultimate", [], 2), ((6, 1), True, "ServerStandard", [], 4), ((6, 1), True, "ServerEnterprise", [], 8),
        ((6, 1), True, "ServerDatacenter", [], 64), ((6, 1), True, "ServerFoundation", [], 1), ((6, 3), False, "CoreSingleLanguage", [], 1),
        ((6, 3), True, "ServerStandard", [], 64), ((10, 0), False, "Core", [], 1), ((10, 0), False, "ProfessionalN", [], 2),
        ((10, 0), False, "ProfessionalWorkstation", [], 4), ((10, 0), False, "EnterpriseS", [], 2), ((10, 0), False, "Education", [], 2),
        ((10, 0), True, "ServerStandardEval", [], 64), ((10, 0), False, "NobodyKnows", [], 0), ((10, 0), True, "", [], 0),
    ],
)  # fmt: skip
def test_where_the_licence_says_nothing_the_edition_does(nt, server, edition, suites, wanted):
    assert editions.sockets(draft({"ProductSuite": suites} if suites else {}), CS, nt, server, edition) == wanted


@pytest.mark.parametrize(
    ("cpus", "cores", "most", "wanted"),
    [
        (8, 1, 2, (2, 4)), (8, 1, 1, (1, 8)), (8, 4, 2, (2, 4)), (8, 2, 2, (2, 4)), (8, 1, 0, (8, 1)), (2, 1, 2, (2, 1)), (6, 1, 2, (2, 3)),
        (7, 1, 2, (1, 7)), (12, 3, 2, (2, 6)), (64, 1, 64, (64, 1)), (1, 1, 1, (1, 1)),
    ],
)  # fmt: skip
def test_sockets_that_the_edition_does_not_use_become_cores(cpus, cores, most, wanted):
    assert Domain("a", (), cpus=cpus, cores_per_socket=cores, most_sockets=most).topology == wanted


def test_no_processor_is_lost_and_what_fits_stays_for_every_size():
    for cpus, most in itertools.product(range(1, 65), range(1, 5)):
        for cores in (n for n in range(1, cpus + 1) if cpus % n == 0):
            sockets, each = Domain("a", (), cpus=cpus, cores_per_socket=cores, most_sockets=most).topology
            assert sockets * each == cpus and sockets <= most and each >= cores
            assert each == cores or cpus // cores > most


def test_every_description_has_the_topology_that_the_edition_takes():
    vm = VmSaid(Machine("a", cpus=8, cores_per_socket=1))
    facts = Facts(os="windows", windows=ClockFacts(sockets=2))
    disks = [SimpleNamespace(path="/images/a.qcow2", format="qcow2", device=False, encrypted=False, luks="")]
    made = domains.describe("a", vm, facts, disks, "final", "default", "")
    assert made.topology == (2, 4)
    assert 'sockets="2" cores="4"' in libvirt_xml.FORMAT.text(made)
    words = {"kubevirt": '"cores": 4', "openstack": '"hw_cpu_max_sockets": "2"', "proxmox": '"cores": 4', "qemu": "sockets=2,cores=4"}
    for name, fmt in formats.FORMATS.items():
        assert words[name] in fmt.text(made), name
    (concern,) = domains.other_topology(made)
    assert (concern.code, concern.severity) == ("windows.sockets", "info") and "2 with 4 cores" in concern.cause
    assert not domains.other_topology(domains.describe("a", vm, Facts(os="linux"), disks, "final", "default", ""))


def test_cores_that_do_not_come_out_even_are_told():
    vm = VmSaid(Machine("a", cpus=6, cores_per_socket=4))
    made = domains.describe("a", vm, Facts(os="linux"), [], "final", "default", "")
    assert made.topology == (6, 1) and [concern.code for concern in domains.other_topology(made)] == ["source.topology"]


def test_the_facts_of_a_guest_tell_its_sockets():
    made = winlab.guest(
        replace(SERVER, extra={f"{CS}\\Control\\ProductOptions": {"ProductPolicy": policy(Kernel_RegisteredProcessors=64)}})
    )
    facts = looked(made, SERVER)[0]
    assert facts.windows.sockets == from_data(Facts, facts.as_result(), "facts").windows.sockets == 64
