# SPDX-License-Identifier: GPL-3.0-or-later
"""One more target is one more file: a directory that runs VMs goes through the same calls as libvirt, and the same decisions."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import dropped
import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, InvalidInput, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import encrypted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import decision, libvirt, placement, targets
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.decision import Image, Removal, Unwanted, Wanted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.lifecycle import Done, bring, take_back
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.target import (
    Definition,
    Described,
    Fitted,
    Found,
    Target,
)

ONE = VmId("u1", "/a/web01.vmx", ("/a/web01.vmx",), "web01", "d1")
OTHER = VmId("u2", "/b/web01.vmx", ("/b/web01.vmx",), "web01", "d2")


Shelf = dropped.module("one_more_target.py", "targets.shelf").Shelf


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


def described(folder: Path, vm: VmId | None = ONE, content: bytes = b"image", **more: object) -> str:
    folder.mkdir(exist_ok=True)
    disk = folder / "web01-disk0.qcow2"
    if not disk.exists() or disk.read_bytes() != content:
        disk.unlink(missing_ok=True)
        disk.write_bytes(content)
    return json.dumps({"name": "web01", "disks": [str(disk)], "vm": to_data(vm), **more})


def brought(target: Target, wanted: Wanted) -> Done:
    """What check mode says is what is done, then, and only once."""
    before = target.describe("web01")
    said = bring(target, wanted, True)
    assert target.describe("web01") == before
    done = bring(target, wanted, False)
    assert done == said and bring(target, wanted, False).as_result() == {"changed": False, "actions": [], "disks": list(done.disks)}
    return done


def test_a_vm_is_brought_found_unchanged_and_removed(shelf, tmp_path):
    wanted = Wanted(described(tmp_path / "a"), kind=placement.COPY, directory=str(tmp_path / "b"), running=True, autostart=True)
    path, place = str(tmp_path / "a" / "web01-disk0.qcow2"), str(tmp_path / "b" / "web01-disk0.qcow2")
    done = brought(shelf, wanted)
    assert done.actions == (f"copy {path} to {place}", "define web01", "set autostart of web01", "start web01")
    assert done.disks == (place,) and Path(place).read_bytes() == b"image" and done.after == shelf.describe("web01").text
    assert brought(shelf, replace(wanted, autostart=False)).actions == ("clear autostart of web01",)
    assert brought(shelf, replace(wanted, autostart=None, description=described(tmp_path / "a", memory=2))).actions == ("define web01",)
    with pytest.raises(ToolFailed):
        take_back(replace(shelf, deaf=True), Unwanted("web01"), False)
    unwanted = Unwanted("web01", quarantine=str(tmp_path / "quarantine"), source=ONE.source)
    said = take_back(shelf, unwanted, True)
    assert shelf.describe("web01").running and not (tmp_path / "quarantine").exists()
    taken = take_back(shelf, unwanted, False)
    assert taken == said and taken.actions == (
        "shut down web01",
        f"move {place} to {tmp_path}/quarantine/web01-disk0.qcow2",
        "undefine web01",
    )
    assert shelf.describe("web01") is None and not Path(place).exists() and len(list((tmp_path / "quarantine").iterdir())) == 2
    assert take_back(shelf, unwanted, False) == Done()


def test_a_disk_that_was_migrated_again_is_replaced_where_that_is_said_and_the_vm_is_off(shelf, tmp_path):
    wanted = Wanted(described(tmp_path / "a"), kind=placement.COPY, directory=str(tmp_path / "b"), running=True)
    brought(shelf, wanted)
    described(tmp_path / "a", content=b"another")
    for check in (True, False):
        with pytest.raises(InvalidInput, match="before it was migrated again"):
            bring(shelf, wanted, check)
        with pytest.raises(Busy):
            bring(shelf, replace(wanted, overwrite=True), check)
    assert (tmp_path / "b" / "web01-disk0.qcow2").read_bytes() == b"image"
    shelf.stop("web01", 1, True)
    assert [word.split()[0] for word in brought(shelf, replace(wanted, overwrite=True)).actions] == ["copy", "define", "start"]
    assert (tmp_path / "b" / "web01-disk0.qcow2").read_bytes() == b"another"


def test_nothing_is_done_where_anything_is_refused(shelf, tmp_path):
    """And no image is put anywhere before all are known to be there."""
    text = json.loads(described(tmp_path / "a"))
    wanted = Wanted(json.dumps({**text, "disks": [*text["disks"], "/none"]}), kind=placement.MOVE, directory=str(tmp_path / "b"))
    with pytest.raises(InvalidInput, match="does not exist"):
        bring(shelf, wanted, False)
    (shelf.folder / "full").touch()
    with pytest.raises(InvalidInput, match="no room"):
        bring(shelf, Wanted(json.dumps(text), kind=placement.MOVE, directory=str(tmp_path / "b"), running=True), False)
    assert shelf.describe("web01") is None and not (tmp_path / "b").exists() and Path(text["disks"][0]).exists()


def test_no_vm_of_others_is_touched(shelf, tmp_path):
    theirs = described(tmp_path / "a", None)
    shelf.define(Definition("web01", theirs))
    before = (shelf.folder / "web01.json").read_text()
    for check in (True, False):
        with pytest.raises(InvalidInput, match="not made from a migration"):
            bring(shelf, Wanted(theirs), check)
        with pytest.raises(InvalidInput, match="not made from a migration"):
            take_back(shelf, Unwanted("web01"), check)
    assert (shelf.folder / "web01.json").read_text() == before
    shelf.remove("web01")
    brought(shelf, Wanted(described(tmp_path / "a")))
    with pytest.raises(InvalidInput, match="belongs to"):
        bring(shelf, Wanted(described(tmp_path / "b", OTHER)), False)
    with pytest.raises(InvalidInput, match="belongs to"):
        take_back(shelf, Unwanted("web01", source=OTHER.source), False)
    assert shelf.read(shelf.describe("web01").text).vm == ONE


def test_a_passphrase_is_kept_once_and_tried_before_anything_is_placed(shelf, tmp_path, monkeypatch):
    tried = []

    def require(disks: list, passphrase: str) -> None:
        tried.append(disks)
        if passphrase != "right":
            raise InvalidInput("It does not open it.", "Give another.")

    monkeypatch.setattr(encrypted, "require", require)
    path = str(tmp_path / "a" / "web01-disk0.qcow2")
    text = described(tmp_path / "a", secret="s1", locked=[path])
    wanted = Wanted(text, kind=placement.MOVE, directory=str(tmp_path / "b"))
    for check in (True, False):
        with pytest.raises(InvalidInput, match="does not open"):
            bring(shelf, wanted, check)
    assert Path(path).exists()
    done = bring(shelf, replace(wanted, passphrase="right"), False)
    assert [word.split()[0] for word in done.actions] == ["move", "keep", "define"] and tried[-1] == [(path, "qcow2")]
    assert bring(shelf, wanted, False).actions == () and shelf.describe("web01").secret == "s1"


@pytest.mark.parametrize("uri", ["", "qemu:///system", "qemu+ssh://host/system", "test:///default", "alias", "QEMU:///session"])
def test_what_is_of_no_other_kind_is_libvirts(uri, monkeypatch):
    other = dropped.module("one_more_target.py", "targets.shelf").TARGET
    assert targets.of(uri) is libvirt.TARGET and targets.of("shelf:///tmp") is libvirt.TARGET
    monkeypatch.setattr(targets, "TARGETS", {**targets.TARGETS, other.scheme: other})
    assert targets.of(uri) is libvirt.TARGET and targets.of("shelf:///tmp") is targets.of("Shelf:///tmp") is other


def test_the_description_of_a_vm_that_is_taken_back_is_kept_as_its_target_has_it(shelf, tmp_path):
    brought(shelf, Wanted(described(tmp_path / "a")))
    take_back(shelf, Unwanted("web01", quarantine=str(tmp_path / "quarantine")), False)
    assert shelf.read((tmp_path / "quarantine" / "web01.json").read_text()).vm == ONE


# The decision alone


HERE = Image("/a/d", "/b/d", here=True, there=False, stamp="1")
DESCRIBED = Described("web01", ("/a/d",), vm=ONE, secret="s1")
FITTED = Fitted("text", {"digest": "1"})
FOUND = Found("text", {"digest": "1"}, images={"/a/d": "1"}, vm=ONE, secret="s1", knows=True)
STATES = [
    None,
    *(replace(FOUND, running=one, autostart=two, knows=three) for one, two, three in itertools.product([False, True], repeat=3)),
]
WISHES = [
    Wanted("", placement.COPY, "/b", one, two, three)
    for one, two, three in itertools.product([False, True], [False, True], [None, False, True])
]


@pytest.mark.parametrize("found", STATES)
def test_after_what_was_decided_there_is_nothing_to_do(found):
    """Whatever there is and whatever is wanted."""
    image = replace(HERE, there=found is not None)
    for wanted, mark in itertools.product(WISHES, ("1", "2")):
        nothing_is_left(wanted, found, image, Fitted("new", {"digest": mark}))


def nothing_is_left(wanted: Wanted, found: Found | None, image: Image, fitted: Fitted) -> None:
    due = decision.placings(wanted, "web01", found, [image])
    todo = decision.bringing(wanted, DESCRIBED, found, due, fitted)
    was = found or Found("")
    then = Found(
        todo.definition.text or was.text,
        fitted.mark if todo.definition.text else was.mark,
        images=decision.versions(found, [image], due),
        vm=ONE,
        running=was.running or todo.start,
        autostart=was.autostart if todo.definition.autostart is None else todo.definition.autostart,
        secret=todo.definition.secret or was.secret,
        knows=was.knows or bool(todo.definition.secret),
    )
    again = decision.placings(wanted, "web01", then, [replace(image, there=True)])
    after = decision.bringing(wanted, DESCRIBED, then, again, fitted)
    assert (after.placings, after.definition.empty, after.start, after.actions) == ((), True, False, ())
    assert then.running >= wanted.running and (wanted.autostart is None or then.autostart == wanted.autostart)
    assert bool(todo.actions) == bool(todo.placings or not todo.definition.empty or todo.start)


def test_the_passphrase_of_images_that_are_no_more_is_forgotten():
    anew = decision.bringing(Wanted(""), replace(DESCRIBED, secret="s2"), replace(FOUND, knows=False), (), Fitted("new", {"digest": "2"}))
    assert anew.actions == ("keep the passphrase of web01", "define web01", "forget the passphrase of web01")
    assert (anew.definition.secret, anew.definition.forgotten) == ("s2", "s1")


def test_a_vm_of_an_earlier_version_is_known_by_its_images():
    old = replace(FOUND, vm=None)
    for described_vm, found in ((ONE, old), (None, FOUND), (None, old)):
        decision.require_same_vm(Wanted(""), replace(DESCRIBED, vm=described_vm), found, [HERE], ["/b/d"])
        with pytest.raises(InvalidInput, match=r"other images \(/z\)"):
            decision.require_same_vm(Wanted(""), replace(DESCRIBED, vm=described_vm), replace(found, images={}), [HERE], ["/z"])
    assert decision.bringing(Wanted(""), DESCRIBED, old, (), FITTED).actions == ("define web01",)


def test_what_a_removal_says_is_what_there_is_to_do():
    whole = Removal("web01", True, (("/b/d", "/q/d"),), "s1")
    assert whole.actions == ("shut down web01", "move /b/d to /q/d", "forget the passphrase of web01", "undefine web01")
    assert Removal("web01", False).actions == ("undefine web01",)
