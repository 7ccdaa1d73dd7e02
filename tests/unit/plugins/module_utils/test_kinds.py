# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws that every kind of change keeps, whatever it does."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field
from typing import Callable

import pytest
import winlab
from fixtures import initramfs

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import BACKUPS, apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.change import Change, Visible
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import CopyFile, UploadFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.entries import MakeLink, RemoveFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.patch import PatchDevice
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan, merge
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.view import PendingView
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.extend_initramfs import ExtendInitramfs
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import live_kinds
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import hives, regf

INITRD = initramfs("virtio_net")
HIVE = winlab.hive({"Select": {"Current": 1}})
HOST_FILE = b"from the host\n"
# What a rollback does with what somebody else has changed since the change was carried out.
REFUSED, LEFT, REPLACED = "refused", "left", "replaced"
Write = Callable[[MemoryGuest], None]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def puts(path: str, data: bytes) -> Write:
    return lambda made: made.files.__setitem__(path, data)


def loses(path: str) -> Write:
    return lambda made: made.remove(path)


def patches(data: bytes) -> Write:
    return lambda made: made.write_device("disk0", 2, data)


@dataclass(frozen=True)
class Example:
    """A change, what somebody else does before it is carried out, or afterwards, and what then comes of taking it back."""

    change: Change
    before: Write
    after: Write
    then: str
    files: dict[str, bytes] = field(default_factory=dict)

    def guest(self) -> MemoryGuest:
        return MemoryGuest({"/etc/other": "x\n", **self.files}, raw={"disk0": b"0123456789"})


def edited() -> Change:
    draft = hives.Draft.of(MemoryGuest({"/c/SYSTEM": HIVE}), "/c/SYSTEM")
    draft.set("Select", "Default", regf.DWORD, 2, "for a test")
    (change,) = draft.change()
    return change


def examples(host_file: str) -> dict[str, Example]:
    size, digest, why = len(HOST_FILE), sha256(HOST_FILE), "for a test"
    mine = b"mine\n"
    return {
        "write": Example(WriteFile("/a", "1\n", "2\n", why), puts("/a", mine), puts("/a", mine), REFUSED, {"/a": b"1\n"}),
        "write, new": Example(WriteFile("/d/a", None, "2\n", why, 0o600, (1, 2)), puts("/d/a", mine), puts("/d/a", mine), REFUSED),
        "remove": Example(RemoveFile("/a", "file", 2, why), puts("/a", mine), puts("/a", mine), REPLACED, {"/a": b"1\n"}),
        "remove, a directory": Example(RemoveFile("/d", "dir", 0, why), loses("/d"), puts("/d/a", mine), REPLACED, {"/d/a": b"1\n"}),
        "link": Example(MakeLink("/a", "/etc/other", why), puts("/a", mine), puts("/a", mine), LEFT),
        "copy": Example(CopyFile("/a", "/b", why), puts("/b", mine), puts("/b", mine), REPLACED, {"/a": b"1\n"}),
        "copy, in place of another": Example(
            CopyFile("/a", "/b", why, sha256(b"2\n")), puts("/b", mine), puts("/b", mine), REPLACED, {"/a": b"1\n", "/b": b"2\n"}
        ),
        "upload": Example(UploadFile(host_file, "/b", size, digest, why), puts("/b", mine), puts("/b", mine), REFUSED),
        "upload, in place of another": Example(
            UploadFile(host_file, "/b", size, digest, why, 0o755, sha256(b"2\n")), puts("/b", mine), puts("/b", mine), REFUSED, {"/b": b"2\n"}
        ),
        "extend_initramfs": Example(
            ExtendInitramfs("/i", len(INITRD), sha256(INITRD), ("/m.ko -> m.ko",), ("/m.dep -> m.dep",), (("conf/modules", "m\n"),), why),
            puts("/i", INITRD + mine), puts("/i", b"built anew" * 9999), LEFT, {"/i": INITRD, "/m.ko": b"m", "/m.dep": b"m.ko:\n"},
        ),
        "registry": Example(edited(), puts("/c/SYSTEM", HIVE + mine), puts("/c/SYSTEM", HIVE + mine), REFUSED, {"/c/SYSTEM": HIVE}),
        "patch": Example(PatchDevice("disk0", 2, b"23".hex(), b"xy".hex(), why), patches(b"__"), patches(b"__"), LEFT),
        "run": Example(
            RunCommand(("/bin/x", "-a"), ("/a", "/none"), why, revert=("/bin/x", "-b")), loses("/bin/x"), puts("/a", mine), REPLACED,
            {"/bin/x": b"", "/a": b"1\n"},
        ),
    }  # fmt: skip


@pytest.fixture(params=examples(""))
def example(request, tmp_path) -> Example:
    (tmp_path / "file").write_bytes(HOST_FILE)
    return examples(str(tmp_path / "file"))[request.param]


def everything(made: MemoryGuest) -> object:
    return copy.deepcopy((made.files, made.raw))


def test_every_kind_is_tried_and_the_kinds_of_a_live_rollback_are_among_them():
    assert {name.partition(",")[0] for name in examples("")} == {kind.name for kind in KINDS}
    assert len({kind.name for kind in KINDS}) == len(KINDS) and set(live_kinds.KINDS) < set(KINDS)


def test_what_holds_is_carried_out_and_taken_back_to_the_byte(example):
    made, plan = example.guest(), Plan((example.change,))
    before = everything(made)
    assert example.change.holds(made)
    apply(made, plan)
    assert everything(made) != before and not example.change.foreign(made, f"{BACKUPS}/{plan.id}")
    undo(made, plan)
    assert everything(made) == before and example.change.holds(made)


def test_taking_back_what_was_not_carried_out_changes_nothing(example):
    made = example.guest()
    before = everything(made)
    undo(made, Plan((example.change,)))
    assert everything(made) == before


def test_a_saved_plan_is_the_plan(example):
    plan = Plan((example.change,))
    saved = Plan.from_data(json.loads(plan.text()), KINDS)
    assert saved == plan and (saved.id, saved.digest, saved.text()) == (plan.id, plan.digest, plan.text())
    shown = plan.shown()
    assert shown == plan and not shown.withheld()  # there is no secret in any of them
    assert plan.counts() == {example.change.name: 1} and plan.summary()[0]["path"] == example.change.path


def test_what_somebody_else_changed_before_is_noticed(example):
    made = example.guest()
    example.before(made)
    before = everything(made)
    with pytest.raises(StalePlan, match="changed since"):
        apply(made, Plan((example.change,)))
    assert everything(made) == before


def test_what_somebody_else_changed_afterwards_is_noticed(example):
    made, plan = example.guest(), Plan((example.change,))
    first = everything(made)
    apply(made, plan)
    example.after(made)
    before = everything(made)
    if example.then == REFUSED:
        with pytest.raises(StalePlan, match="after the plan was applied"):
            undo(made, plan)
        assert everything(made) == before
        return
    undo(made, plan)
    made.remove(f"{BACKUPS}/{plan.id}")
    assert everything(made) == (first if example.then == REPLACED else (without_backups(before[0]), before[1]))


def without_backups(files: dict[str, object]) -> dict[str, object]:
    return {path: data for path, data in files.items() if not path.startswith(BACKUPS)}


@pytest.mark.parametrize("example", [name for name, one in examples("").items() if isinstance(one.change, Visible)], indirect=True)
def test_what_is_told_of_a_result_is_what_there_is(example):
    made = example.guest()
    told = PendingView(example.guest(), (example.change,))
    apply(made, Plan((example.change,)))
    there, said = made.stat(example.change.path), told.stat(example.change.path)
    assert (there and (there.kind, there.size, there.target)) == (said and (said.kind, said.size, said.target))
    if example.change.name in ("write", "copy", "remove"):  # no fix reads links that it made, and files of the conversion host
        assert told.read(example.change.path) == made.read(example.change.path)


def test_two_of_one_kind_and_key_are_one(example):
    command = RunCommand(("/bin/y",), (), "for a test")
    merged = merge([command, example.change, example.change])
    assert sorted(map(repr, merged)) == sorted(map(repr, (command, example.change)))
    assert merged[-1].name == "run"


@pytest.mark.parametrize("kind", ["write", "upload"])
def test_a_directory_in_the_place_of_a_new_file_is_somebody_elses(kind, tmp_path):
    (tmp_path / "host").write_bytes(HOST_FILE)
    upload = UploadFile(str(tmp_path / "host"), "/etc/new", len(HOST_FILE), sha256(HOST_FILE), "why")
    plan = Plan((WriteFile("/etc/new", None, "text", "why") if kind == "write" else upload,))
    guest = MemoryGuest({"/etc/hosts": "x"})
    apply(guest, plan)
    guest.remove("/etc/new")
    guest.files["/etc/new/kept"] = b"theirs"
    with pytest.raises(StalePlan):
        undo(guest, plan)
    assert guest.read("/etc/new/kept") == b"theirs"


def test_an_image_that_has_become_larger_than_what_is_read_is_cut_all_the_same():
    class Limited(MemoryGuest):
        def truncate(self, path, size):
            self.files[path] = self.files[path][:size]

        def read(self, path):
            if len(self.files.get(path, b"")) > len(INITRD):
                raise InvalidInput("It is too large.", "Look at it.")
            return super().read(path)

        def append(self, path, data):
            self.files[path] += data

    guest = Limited({"/boot/initrd": INITRD, "/lib/a.ko": "a"})
    plan = Plan((ExtendInitramfs("/boot/initrd", len(INITRD), sha256(INITRD), ("/lib/a.ko",), (), (), "why"),))
    apply(guest, plan)
    undo(guest, plan)
    assert guest.read("/boot/initrd") == INITRD
