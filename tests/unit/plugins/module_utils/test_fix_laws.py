# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of plan and apply, over the whole faulty guest and over each fix."""

from __future__ import annotations

import copy
import json

import fixtures
import pytest
from fixtures import INITRD, KVER, MAC, facts, guest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import BACKUPS, apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.entries import RemoveFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.extend_initramfs import ExtendInitramfs
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import FIXES, Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS

FIRMWARES = ("bios", "uefi")


@pytest.mark.parametrize("firmware", FIRMWARES)
@pytest.mark.parametrize("fixes", [(), *((name,) for name in FIXES)], ids=lambda fixes: "-".join(fixes) or "all")
def test_nothing_is_left_to_do_after_apply(firmware, fixes):
    made = guest(firmware)
    plan = make_plan(made, facts(made, firmware), Options(fixes))
    apply(made, plan)
    assert make_plan(made, facts(made, firmware), Options(fixes)).changes == ()


@pytest.mark.parametrize("firmware", FIRMWARES)
def test_undo_restores_every_byte(firmware):
    made = guest(firmware)
    before = copy.deepcopy(made.files)
    plan = make_plan(made, facts(made, firmware), Options())
    apply(made, plan)
    assert made.files != before
    undo(made, plan)
    assert made.files == before


def test_a_saved_plan_does_the_same(monkeypatch):
    made = guest("uefi")
    monkeypatch.setattr("time.time", lambda: 0.0)  # a second guest of the same files, whenever it is made
    other = guest("uefi")
    plan = make_plan(made, facts(made, "uefi"), Options())
    saved = Plan.from_data(json.loads(json.dumps(plan.as_data())), KINDS)
    assert saved == plan and saved.id == plan.id
    apply(made, plan)
    apply(other, saved)
    assert made.files == other.files


@pytest.mark.parametrize("path", ["/etc/fstab", "/boot/grub/grub.cfg", INITRD, "/etc/initramfs-tools/modules"])
def test_a_plan_refuses_a_guest_that_has_changed_since(path):
    made = guest()
    plan = make_plan(made, facts(made), Options())
    made.files[path] += b"\n"
    before = copy.deepcopy(made.files)
    with pytest.raises(StalePlan, match="changed since"):
        apply(made, plan)
    assert made.files == before


def test_undo_refuses_a_file_that_somebody_else_changed():
    made = guest()
    plan = make_plan(made, facts(made), Options())
    apply(made, plan)
    made.files["/etc/fstab"] += b"# mine\n"
    with pytest.raises(StalePlan, match="fstab"):
        undo(made, plan)


def test_backups_lie_outside_live_configuration():
    made = guest()
    before = set(made.files)
    apply(made, make_plan(made, facts(made), Options()))
    unexpected = {path for path in set(made.files) - before if not path.startswith(BACKUPS)}
    assert unexpected == {"/etc/systemd/network/10-hyper2kvm-ens192.link", "/etc/udev/rules.d/72-hyper2kvm-position.rules"}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"format": 99},
        {"format": 1, "changes": [{"kind": "no"}], "concerns": []},
        {"format": 1, "changes": [{"kind": "write"}], "concerns": []},
    ],
)
def test_a_damaged_plan_is_refused(data):
    with pytest.raises(InvalidInput):
        Plan.from_data(data, KINDS)


def test_an_unknown_fix_is_refused():
    made = guest()
    with pytest.raises(InvalidInput, match="fstabb"):
        make_plan(made, facts(made), Options(("fstabb",)))


def test_regenerate_runs_the_guests_own_tool_last_and_keeps_the_old_image():
    made = guest()
    plan = make_plan(made, facts(made), Options(initramfs_mode="regenerate"))
    assert isinstance(plan.changes[-1], RunCommand)
    outcome = apply(made, plan)
    assert made.commands == [("/usr/sbin/update-initramfs", "-u", "-k", KVER)]
    assert f"{outcome.backup}{INITRD}" in made.files


def test_the_extended_image_keeps_its_first_archive_and_gains_the_drivers():
    made = guest()
    old = made.read(INITRD)
    plan = make_plan(made, facts(made), Options(("initramfs",)))
    apply(made, plan)
    new = made.read(INITRD)
    image = cpio.read(new)
    assert new.startswith(old)
    assert {"virtio_pci", "virtio_blk", "virtio_scsi", "ext4", "vmw_pvscsi"} <= image.modules
    assert image.texts["conf/modules"].startswith(b"ext4\n") and b"virtio_blk" in image.texts["conf/modules"]
    assert image.texts["conf/conf.d/resume"] == b"RESUME=UUID=22222222-2222-4222-8222-222222222222\n"


PINNED = "etc/systemd/network/10-hyper2kvm-ens192.link"


@pytest.mark.parametrize(
    ("modules", "driver", "known"),
    [
        (("ext4", "vmw_pvscsi"), False, False),  # nothing names cards before the real root does
        (("ext4", "vmw_pvscsi", "vmxnet3"), True, True),  # the old image wants the network, so must the new one
        (("ext4", "virtio", "virtio_ring", "virtio_net"), True, True),  # it drives the new card, so it must know the name
    ],
)
def test_an_image_that_drives_cards_knows_their_names(modules, driver, known, monkeypatch):
    monkeypatch.setitem(fixtures.DRIVERS, "vmxnet3", "kernel/drivers/net/vmxnet3/vmxnet3.ko")
    made = guest(**{INITRD: fixtures.initramfs(*modules)})
    plan = make_plan(made, facts(made), Options(("initramfs",)))
    apply(made, plan)
    image = cpio.read(made.read(INITRD))
    assert ("virtio_net" in image.modules) == driver and (PINNED in image.texts) == known
    assert not known or MAC.encode() in image.texts[PINNED]
    assert make_plan(made, facts(made), Options(("initramfs",))).changes == ()


names = st.text("abcdefgh", min_size=1, max_size=6).map(lambda name: f"/etc/{name}")
texts = st.text(st.characters(codec="utf-8"), max_size=40)


@st.composite
def guests_and_plans(draw):
    """A guest with some files and a plan of writes and removals that fits it."""
    content = draw(st.dictionaries(names, texts, min_size=1, max_size=6))
    made = MemoryGuest(content)
    changes = []
    for path in draw(st.lists(names, max_size=6, unique=True)):
        before = content.get(path)
        if before is not None and draw(st.booleans()):
            changes.append(RemoveFile(path, "file", len(before.encode()), "r"))
        else:
            changes.append(WriteFile(path, before, draw(texts), "r"))
    return made, Plan(tuple(changes))


@given(guests_and_plans())
def test_apply_then_undo_is_nothing_for_any_plan(pair):
    made, plan = pair
    before = copy.deepcopy(made.files)
    apply(made, plan)
    for change in plan.changes:
        assert made.read(change.path) == (change.after.encode() if isinstance(change, WriteFile) else None)
    undo(made, plan)
    assert made.files == before


def test_extensions_of_a_plan_are_deterministic():
    made = guest()
    (change,) = [change for change in make_plan(made, facts(made), Options(("initramfs",))).changes if isinstance(change, ExtendInitramfs)]
    assert change.archive(made) == change.archive(made)
