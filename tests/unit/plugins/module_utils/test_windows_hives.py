# SPDX-License-Identifier: GPL-3.0-or-later
"""Hives: read by us, written by hivex, looked at by two more parsers; transaction logs replayed; nothing damaged gets through."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

import pytest
import winlab
from hypothesis import given
from hypothesis import strategies as st
from regipy.registry import RegistryHive
from Registry import Registry

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import edit_hive, hives, logs, regf
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.edit_hive import RegistryEdit

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "windows"
PATH = "/c/Windows/System32/config/SYSTEM"
TREE = {
    "Select": {"Current": 1},
    "ControlSet001\\Services\\disk": {"Start": 0, "ImagePath": ("expand", "System32\\drivers\\disk.sys"), "Group": "SCSI Class"},
    "ControlSet001\\Services\\old\\StartOverride": {"0": 3},
    "ControlSet001\\Control\\Class": {"UpperFilters": ["a", "b"], "Blob": bytes(range(200)), "": "default", "Empty": b""},
    "ControlSet001\\Größe": {"Ünïcode": "wert"},
}


def flat(data: bytes) -> dict[str, dict[str, tuple[int, bytes]]]:
    return {path: {value.name: (value.kind, value.data) for value in values} for path, values in regf.Hive(data).walk()}


def draft(data: bytes, *log: bytes) -> tuple[MemoryGuest, hives.Draft]:
    files = {PATH: data, **{f"{PATH}.LOG{number}": content for number, content in enumerate(log, 1)}}
    guest = MemoryGuest(files)
    return guest, hives.Draft.of(guest, PATH)


def written(guest: MemoryGuest, edited: hives.Draft) -> Plan:
    plan = Plan(tuple(edited.change()))
    apply(guest, plan, "/c/backup")
    return plan


def witness(data: bytes, path: Path) -> tuple[int, int]:
    """Keys and values as two independent parsers count them; both walk the whole tree."""
    path.write_bytes(data)
    keys = values = 0
    stack = [Registry.Registry(str(path)).root()]
    while stack:
        key = stack.pop()
        keys += 1
        values += sum(1 for value in key.values() if value.raw_data() is not None)
        stack += key.subkeys()
    other = sum(1 for dummy in RegistryHive(str(path)).recurse_subkeys(fetch_values=False))
    assert other == keys
    return keys, values


def test_what_hivex_writes_is_read(tmp_path):
    data = winlab.hive(TREE)
    hive = regf.Hive(data)
    assert hive.find("controlset001\\SERVICES\\Disk").value("start").number == 0
    assert hive.find("ControlSet001\\Services\\disk").value("ImagePath").text == "System32\\drivers\\disk.sys"
    assert hive.find("ControlSet001\\Control\\Class").value("UpperFilters").texts == ("a", "b")
    assert hive.find("ControlSet001\\Control\\Class").value("").text == "default"
    assert hive.find("ControlSet001\\Größe").value("ünïcode").text == "wert"
    assert hive.find("ControlSet001\\Nothing") is None
    keys, values = witness(data, tmp_path / "hive")
    assert (keys, values) == (len(flat(data)), sum(map(len, flat(data).values())))


def test_a_draft_sees_its_own_edits_and_nothing_is_written_before():
    guest, edited = draft(winlab.hive(TREE))
    before = dict(guest.files)
    key = "ControlSet001\\Services\\viostor"
    edited.set(key, "Start", regf.DWORD, 0, "why")
    edited.set(f"{key}\\Parameters", "BusType", regf.DWORD, 1, "why")
    assert edited.has(key) and edited.number(key, "start") == 0 and "viostor" in edited.keys("controlset001\\services")
    edited.remove_key("ControlSet001\\Services\\old\\StartOverride", "why")
    assert not edited.has("ControlSet001\\Services\\old\\StartOverride") and edited.has("ControlSet001\\Services\\old")
    assert edited.value("ControlSet001\\Services\\old\\StartOverride", "0") is None
    edited.remove_value("ControlSet001\\Control\\Class", "Blob", "why")
    assert edited.value("ControlSet001\\Control\\Class", "blob") is None
    assert [value.name for value in edited.values(key)] == ["Start"]
    assert guest.files == before


def test_one_change_with_every_edit_is_written_once_and_taken_back(tmp_path):
    guest, edited = draft(winlab.hive(TREE))
    before = dict(guest.files)
    edited.set("ControlSet001\\Services\\viostor", "Start", regf.DWORD, 0, "first")
    edited.set("ControlSet001\\Services\\disk", "Start", regf.DWORD, 3, "second")
    edited.remove_value("ControlSet001\\Control\\Class", "Blob", "second")
    edited.remove_key("ControlSet001\\Services\\old\\StartOverride", "first")
    (change,) = edited.change()
    assert "-Start = 0\n+Start = 3" in change.diff() and "-[ControlSet001\\Services\\old\\StartOverride]" in change.diff()
    assert Plan.from_data(Plan((change,)).as_data(), KINDS) == Plan((change,))
    plan = written(guest, edited)
    after = flat(guest.read(PATH))
    assert after["ControlSet001\\Services\\viostor"]["Start"][1] == bytes(4)
    assert "Blob" not in after["ControlSet001\\Control\\Class"] and "ControlSet001\\Services\\old\\StartOverride" not in after
    assert logs.is_clean(guest.read(PATH))
    witness(guest.read(PATH), tmp_path / "hive")
    undo(guest, plan, "/c/backup")
    assert guest.files == before


def test_setting_what_is_there_is_no_change():
    dummy, edited = draft(winlab.hive(TREE))
    edited.set("controlset001\\services\\DISK", "START", regf.DWORD, 0, "why")
    edited.set("ControlSet001\\Services\\disk", "Group", regf.SZ, "other", "why")
    edited.set("ControlSet001\\Services\\disk", "Group", regf.SZ, "SCSI Class", "why")
    edited.remove_key("ControlSet001\\Nothing", "why")
    edited.remove_value("ControlSet001\\Services\\disk", "nothing", "why")
    assert edited.change() == []


def test_a_changed_hive_or_log_refuses_the_plan_and_a_later_change_refuses_the_undo():
    guest, edited = draft(winlab.hive(TREE), b"log")
    edited.set("Select", "Current", regf.DWORD, 2, "why")
    plan = Plan(tuple(edited.change()))
    guest.files[f"{PATH}.LOG1"] = b"other"
    with pytest.raises(StalePlan):
        apply(guest, plan, "/c/backup")
    guest.files[f"{PATH}.LOG1"] = b"log"
    apply(guest, plan, "/c/backup")
    guest.files[PATH] = winlab.hive({"Select": {"Current": 9}}, guest.read(PATH))
    with pytest.raises(StalePlan):
        undo(guest, plan, "/c/backup")


def test_a_value_too_long_for_one_cell_is_refused():
    dummy, edited = draft(winlab.hive(TREE))
    edited.set("Select", "Long", regf.BINARY, bytes(regf.MAX_VALUE), "why")
    with pytest.raises(InvalidInput, match="16344"):
        edited.set("Select", "Long", regf.BINARY, bytes(regf.MAX_VALUE + 1), "why")


def test_a_write_that_is_not_what_was_intended_reaches_nobody(monkeypatch):
    guest, edited = draft(winlab.hive(TREE))
    before = dict(guest.files)
    edited.set("Select", "Current", regf.DWORD, 2, "why")
    honest = edit_hive._carry_out

    def wrong(handle, edit):
        honest(handle, edit)
        honest(handle, RegistryEdit("Select", "Extra", regf.DWORD, None, "01000000"))

    monkeypatch.setattr(edit_hive, "_carry_out", wrong)
    with pytest.raises(ToolFailed, match="second parser"):
        written(guest, edited)
    assert guest.files[PATH] == before[PATH]


words = st.text(st.characters(codec="utf-16-le", exclude_characters="\0\\", exclude_categories=("Cs",)), min_size=1, max_size=12)
values = st.one_of(
    st.integers(0, 2**32 - 1),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40),
    st.binary(max_size=60),
)


@given(
    st.dictionaries(words, st.dictionaries(words, values, max_size=4), max_size=6), st.dictionaries(words, values, min_size=1, max_size=5)
)
def test_any_edit_is_exactly_what_changes(tree, new):
    guest, edited = draft(winlab.hive({f"Base\\{key}": content for key, content in tree.items()}))
    start = flat(guest.read(PATH))
    for name, value in new.items():
        kind, data = winlab.encoded(value)
        edited.set("Base\\Added", name, kind, data, "why")
    if not edited.change():
        return
    written(guest, edited)
    end = flat(guest.read(PATH))
    for path, content in start.items():
        assert path.lower() == "base\\added" or end[path] == content
    again = draft(guest.read(PATH))[1]
    for name, value in {name.lower(): value for name, value in new.items()}.items():
        assert again.value("Base\\Added", name).data == winlab.encoded(value)[1]


# -- hostile bytes --------------------------------------------------------------------------------------------------------------


@given(st.data())
def test_damaged_bytes_are_an_error_and_never_a_crash(data):
    whole = bytearray(HIVE)
    for dummy in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for content in (bytes(whole), cut):
        try:
            for dummy in regf.Hive(content).walk():
                pass
        except InvalidInput as error:
            assert error.hint


HIVE = winlab.hive(TREE)


@pytest.mark.parametrize("data", [b"", b"regf", bytes(8192), b"regf" + bytes(9000)])
def test_what_is_no_hive_is_refused(data):
    with pytest.raises(InvalidInput):
        regf.Hive(data)
    assert logs.replay(data, ()).state in (logs.INVALID, logs.UNREPLAYABLE)


def test_a_tree_that_goes_round_in_a_circle_is_refused():
    whole = bytearray(winlab.hive({"a\\b": {}}))
    at = whole.index(b"lh", 4096)
    root = struct.unpack_from("<I", whole, 36)[0]
    for place in (at, whole.index(b"lh", at + 1)):
        struct.pack_into("<I", whole, place + 4, root)
    with pytest.raises(InvalidInput, match="circle"):
        list(regf.Hive(bytes(whole)).walk())


# -- transaction logs -----------------------------------------------------------------------------------------------------------


def dirtied(old: bytes) -> bytes:
    """A hive whose last write was interrupted after the base block."""
    hive = bytearray(old)
    struct.pack_into("<I", hive, 4, struct.unpack_from("<I", hive, 8)[0] + 1)
    struct.pack_into("<I", hive, 508, logs.checksum(hive))
    return bytes(hive)


def head(hive: bytes, kind: int) -> bytes:
    block = bytearray(hive[:512])
    struct.pack_into("<I", block, 28, kind)
    struct.pack_into("<I", block, 508, logs.checksum(block))
    return bytes(block)


def new_log(old: bytes, new: bytes, sequence: int) -> bytes:
    """One entry of the newer format that turns `old` into `new`."""
    padded = old.ljust(len(new), b"\0")
    pages = [at for at in range(4096, len(new), 4096) if new[at : at + 4096] != padded[at : at + 4096]]
    bins = struct.unpack_from("<I", new, 40)[0]
    body = b"".join(struct.pack("<II", at - 4096, 4096) for at in pages) + b"".join(new[at : at + 4096] for at in pages)
    size = -(-(40 + len(body)) // 512) * 512
    body = body.ljust(size - 40, b"\0")
    start = struct.pack("<4s5I", b"HvLE", size, 0, sequence, bins, len(pages)) + struct.pack("<Q", logs._marvin(body))
    return head(old, 6) + start + struct.pack("<Q", logs._marvin(start)) + body


def old_log(old: bytes, new: bytes, sequence: int) -> bytes:
    """A log of the older format that turns `old` into `new`."""
    bins = struct.unpack_from("<I", new, 40)[0]
    padded = old.ljust(len(new), b"\0")
    count = bins // 512
    dirty = [index for index in range(count) if padded[4096 + 512 * index :][:512] != new[4096 + 512 * index :][:512]]
    bitmap = bytearray(count // 8)
    for index in dirty:
        bitmap[index // 8] |= 1 << index % 8
    block = bytearray(new[:512])
    struct.pack_into("<II", block, 4, sequence, sequence)
    log = head(bytes(block), 1) + (b"DIRT" + bytes(bitmap)).ljust(-(-(4 + len(bitmap)) // 512) * 512, b"\0")
    return log + b"".join(new[4096 + 512 * index :][:512] for index in dirty)


OLD = winlab.hive(TREE)
NEW = winlab.hive({"ControlSet001\\Services\\late": {"Start": 2, "Blob": bytes(9000)}}, OLD)


@pytest.mark.parametrize("make", [new_log, old_log])
def test_pending_logs_are_replayed_before_anything_is_edited(make):
    sequence = struct.unpack_from("<I", OLD, 8)[0]
    dirty = dirtied(OLD)
    result = logs.replay(dirty, (make(OLD, NEW, sequence + 1),))
    assert result.state == logs.REPLAYED and result.entries and logs.is_clean(result.data)
    assert flat(result.data) == flat(NEW)
    guest, edited = draft(dirty, make(OLD, NEW, sequence + 1))
    before = dict(guest.files)
    edited.set("Select", "Current", regf.DWORD, 2, "why")
    plan = written(guest, edited)
    assert "ControlSet001\\Services\\late" in flat(guest.read(PATH))
    undo(guest, plan, "/c/backup")
    assert guest.files == before


def test_a_clean_hive_ignores_its_logs():
    assert logs.replay(OLD, (new_log(OLD, NEW, 1),)) == logs.Replay(OLD, logs.CLEAN)


def test_logs_in_the_wrong_order_are_put_right_and_a_gap_ends_the_replay():
    sequence = struct.unpack_from("<I", OLD, 8)[0] + 1
    third = winlab.hive({"Third": {"x": 1}}, NEW)
    first, second = new_log(OLD, NEW, sequence), new_log(NEW, third, sequence + 1)
    assert flat(logs.replay(dirtied(OLD), (second, first)).data) == flat(third)
    far = new_log(NEW, third, sequence + 5)
    assert flat(logs.replay(dirtied(OLD), (far, first)).data) == flat(NEW)


@pytest.mark.parametrize("at", [600, 512 + 24, 512 + 4])
def test_a_log_with_a_wrong_hash_is_not_replayed(at):
    log = bytearray(new_log(OLD, NEW, struct.unpack_from("<I", OLD, 8)[0] + 1))
    log[at] ^= 0xFF
    assert logs.replay(dirtied(OLD), (bytes(log),)).state == logs.UNREPLAYABLE


def test_a_torn_base_block_is_taken_from_the_log():
    sequence = struct.unpack_from("<I", OLD, 8)[0]
    torn = bytearray(OLD)
    torn[508] ^= 1
    assert flat(logs.replay(bytes(torn), (new_log(OLD, NEW, sequence + 1),)).data) == flat(NEW)
    assert logs.replay(bytes(torn), ()).state == logs.UNREPLAYABLE


def test_a_dirty_hive_without_logs_needs_the_operators_word():
    guest, edited = draft(dirtied(OLD))
    edited.set("Select", "Current", regf.DWORD, 2, "why")
    (change,) = edited.change()
    assert change.forced  # the plan has a blocker for it
    apply(guest, Plan((change,)), "/c/backup")
    assert logs.is_clean(guest.read(PATH)) and edited.file.replay.state == logs.UNREPLAYABLE
    unforced = change.__class__(**{**change.__dict__, "forced": False})
    guest = MemoryGuest({PATH: dirtied(OLD)})
    with pytest.raises(InvalidInput, match="dirty"):
        apply(guest, Plan((unforced,)), "/c/backup")


@given(st.binary(max_size=3000), st.booleans())
def test_any_log_is_taken_or_left(tail, newer):
    log = head(OLD, 6 if newer else 1) + (b"HvLE" if newer else b"DIRT") + tail
    result = logs.replay(dirtied(OLD), (log,))
    assert result.state in (logs.UNREPLAYABLE, logs.REPLAYED)


# -- real hives, where they are ---------------------------------------------------------------------------------------------------

real = pytest.mark.skipif(not DATA.is_dir(), reason="the real hives are not here; the tests above make their own")


def unpacked(name: str) -> bytes:
    return lzma.decompress((DATA / f"{name}.xz").read_bytes())


@real
@pytest.mark.parametrize("name", ["hives/SYSTEM-win7sp1-x86-vmware", "hives/SYSTEM-win10-19041-x64-vmware", "dirty/SYSTEM_B"])
def test_real_hives_are_edited_and_walked_by_other_parsers(name, tmp_path):
    pending = [unpacked(f"{name}.LOG{number}") for number in (1, 2) if (DATA / f"{name}.LOG{number}.xz").exists()]
    guest, edited = draft(unpacked(name), *pending)
    assert edited.file.replay.state == (logs.REPLAYED if pending else logs.CLEAN)
    edited.set("ControlSet001\\Services\\viostor", "Start", regf.DWORD, 0, "why")
    edited.remove_key("ControlSet001\\Services\\disk\\Enum", "why")
    written(guest, edited)
    data = guest.read(PATH)
    keys, count = witness(data, tmp_path / "hive")
    assert (keys, count) == (len(flat(data)), sum(map(len, flat(data).values()))) and keys > 30000


@real
@pytest.mark.parametrize("name", ["BCD-win10-uefi", "BCD-setup-uefi", "BCD-Template-uefi"])
def test_real_boot_stores_are_edited_too(name, tmp_path):
    guest, edited = draft(unpacked(f"bcd/{name}"))
    edited.set("Objects\\{00000000-0000-0000-0000-000000000001}\\Elements\\1", "Element", regf.SZ, "x", "why")
    written(guest, edited)
    assert witness(guest.read(PATH), tmp_path / "hive")[0] > 50


@real
def test_the_replay_of_the_newer_format_is_what_windows_10_made_to_the_byte():
    folder = "dirty/yarp-NewDirtyHive1/"
    result = logs.replay(unpacked(folder + "NewDirtyHive"), [unpacked(f"{folder}NewDirtyHive.LOG{number}") for number in (1, 2)])
    assert result.data == unpacked(folder + "RecoveredHive_Windows10")


@real
def test_the_replay_of_the_older_format_has_the_keys_that_windows_7_recovered():
    folder = "dirty/yarp-OldDirtyHive/"
    result = logs.replay(unpacked(folder + "OldDirtyHive"), [unpacked(f"{folder}OldDirtyHive.LOG{number}") for number in (1, 2)])
    recovered = unpacked(folder + "RecoveredHive_Windows7")
    assert result.state == logs.REPLAYED and set(flat(recovered)) == set(flat(result.data))
    assert sum(recovered[at : at + 4096] != result.data[at : at + 4096] for at in range(0, len(recovered), 4096)) <= 3


@real
def test_a_really_damaged_hive_is_refused():
    with pytest.raises(InvalidInput, match="damaged"):
        list(regf.Hive(unpacked("hives/SYSTEM-corrupted")).walk())
