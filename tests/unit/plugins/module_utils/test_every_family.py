# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of every family, over whole sessions; and one more family, which is a class and a name in the registry."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Callable

import dropped
import families as trees
import pytest
import reports
import winlab
from hypothesis import given
from hypothesis import strategies as st
from staged import Staged, attach

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Blocked, ProofFailed, UnsupportedGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.family import GuestRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.live import LiveSystem
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Mount
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nics import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.repairs import Repair, ordered
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import plan as linux
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families, live_repair
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.fix import options_digest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import first_start, fix, look, take_back, validate
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import plan as windows
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.edit_hive import EditHive
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import TWO_PHASE
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options as WindowsOptions

FREEBSD = dropped.module("one_more_family.py", "guest.freebsd").FAMILY


def linux_guest(name: str) -> Callable[[str], tuple[Staged, GuestRequest]]:
    def made(drivers: str) -> tuple[Staged, GuestRequest]:
        system = trees.SYSTEMS[name]
        guest = Staged(trees.guest(system), trees.tables(system), system.head["root"])
        return guest, GuestRequest((), (Nic(trees.MAC, slot=system.head["slot"]),), system.head["firmware"])

    return made


def windows_guest(name: str) -> Callable[[str], tuple[Staged, GuestRequest]]:
    def made(drivers: str) -> tuple[Staged, GuestRequest]:
        release = winlab.RELEASES[name]
        guest = Staged(winlab.guest(release), winlab.tables(release))
        return guest, GuestRequest((), winlab.NICS, release.firmware, options=(WindowsOptions(drivers),))

    return made


def freebsd_guest(drivers: str) -> tuple[Staged, GuestRequest]:
    files = {"/bin/freebsd-version": "#!/bin/sh\n", "/etc/fstab": "/dev/da0p2 / ufs rw 1 1\n"}
    return Staged(MemoryGuest(files, {"/dev/sda2": BlockDevice("/dev/sda2", "ufs", disk=0, part=2)}), {}, "/dev/sda2"), GuestRequest(())


def copied_guest(drivers: str) -> tuple[Staged, GuestRequest]:
    guest = Staged(MemoryGuest({}, {"/dev/sda1": BlockDevice("/dev/sda1", "zfs_member", "11")}), {})
    return guest, GuestRequest((), (Nic("00:50:56:00:00:01"), Nic(None)))


CASES = [
    *(pytest.param("linux", linux_guest(name), id=name) for name in ("ubuntu2404", "arch", "alpine")),
    *(pytest.param("windows", windows_guest(name), id=name) for name in ("xp", "w10")),
    pytest.param("freebsd", freebsd_guest, id="freebsd"),
    pytest.param("unknown", copied_guest, id="copied"),
]


@pytest.fixture(scope="module")
def drivers(tmp_path_factory) -> str:
    return str(winlab.driver_tree(tmp_path_factory.mktemp("virtio-win"), dict.fromkeys(("xp", "w10"), ("x86_64", "i686"))))


@pytest.fixture
def registered(monkeypatch) -> None:
    """The line of the registry that one more family is."""
    monkeypatch.setattr(families, "FAMILIES", (FREEBSD, *families.FAMILIES))


@pytest.fixture
def case(request, drivers, registered, monkeypatch) -> tuple[str, Staged, GuestRequest]:
    name, make = request.param
    guest, asked = make(drivers)
    attach(guest, monkeypatch)
    return name, guest, asked


every_family = pytest.mark.parametrize("case", [pytest.param(param.values, id=param.id) for param in CASES], indirect=True)


# -- laws --


def test_there_is_a_case_of_every_family(registered):
    assert {param.values[0] for param in CASES} == {family.name for family in families.FAMILIES}


def test_names_are_unique(registered):
    names = [family.name for family in families.FAMILIES]
    assert len(set(names)) == len(names)
    for family in families.FAMILIES:
        assert len(set(family.fixes)) == len(family.fixes)
    systems = [kind for family in families.FAMILIES for kind in family.filesystems]
    assert len(set(systems)) == len(systems)
    assert set(families.fixes()) == {name for family in families.FAMILIES for name in family.fixes}


def test_they_are_asked_by_name_and_those_that_take_every_guest_last(registered):
    order = [(family.fallback, family.name) for family in families.FAMILIES]
    assert order == sorted(order) and [family.name for family in families.FAMILIES if family.fallback] == ["unknown"]


@every_family
def test_a_report_says_of_the_first_start_what_the_family_does(case):
    """From the record alone, and with the name of the VM."""
    record = json.loads(json.dumps(look(case[2], plan_too=False).as_result()))
    page = reports.page(reports.written({"name": "web01"}, record))
    steps = record["facts"]["first_steps"]
    assert bool(steps) == (case[0] == "windows") and "{vm}" not in page
    assert record["facts"]["console"] == (case[0] == "linux")


@every_family
def test_a_guest_is_found_repaired_and_proved_and_nothing_is_left_to_do(case):
    name, dummy, request = case
    done = fix(request, Silent())
    assert done.facts.os == name and families.of(done.facts).name == name
    assert done.proof is None or done.proof.holds
    again = look(request, plan_too=True)
    assert again.facts.os == name and again.plan.changes == ()
    proof = validate(request).proof
    assert proof == done.proof and (proof is None) == (name == "unknown")


@every_family
def test_what_is_not_repaired_is_not_proved(case):
    proof = validate(case[2]).proof
    assert proof is None or not proof.holds


@every_family
def test_looking_changes_nothing(case):
    dummy, guest, request = case
    before = copy.deepcopy((guest.files, guest.raw))
    look(request, plan_too=True)
    validate(request)
    assert (guest.files, guest.raw) == before


@every_family
def test_a_repair_is_taken_back_to_the_byte(case):
    dummy, guest, request = case
    before = copy.deepcopy((guest.files, guest.raw))
    done = fix(request, Silent())
    taken = take_back(request, "", check=False)
    assert taken == ((done.plan.id,) if done.plan.changes else ())
    assert (guest.files, guest.raw) == before


@every_family
def test_a_saved_plan_is_carried_out_as_it_was_reviewed(case):
    request = case[2]
    saved = Plan.from_json(look(request, plan_too=True).plan.text().encode(), KINDS)
    done = fix(request, Silent(), saved)
    assert done.plan == saved and look(request, plan_too=True).plan.changes == ()


@every_family
def test_the_record_of_a_session_is_data(case):
    name, dummy, request = case
    record = fix(request, Silent()).as_result()
    assert json.loads(json.dumps(record))["facts"]["os"] == name
    assert record["facts"].keys() == GuestFacts().as_result().keys()


@every_family
def test_the_first_start_is_told_where_there_is_one(case):
    name, dummy, request = case
    fix(request, Silent())
    if name == "windows":
        assert first_start(request).firstboot.state == "armed"
    else:
        with pytest.raises(UnsupportedGuest, match="is not Windows"):
            first_start(request)


# -- the running system --


@pytest.fixture
def running(drivers, monkeypatch) -> Staged:
    """A Linux that runs: what live repairs find where they are carried out."""
    guest, dummy = linux_guest("ubuntu2404")(drivers)
    root = next(device for device in guest.devices() if device.name == guest.handle.root)
    system = LiveSystem(root, "", (Mount(root.name, "/"),), (("ens192", trees.MAC),), "bios")
    monkeypatch.setattr(guest, "system", lambda: system, raising=False)
    monkeypatch.setattr(live_repair, "LiveGuest", lambda: guest)
    monkeypatch.setattr(live_repair, "packages_locked", contextlib.nullcontext)
    return guest


def test_the_running_system_is_repaired_by_its_family(running, registered):
    request = GuestRequest((), accept=("proof.failed",))
    planned, before = live_repair.live_fix(request, check=True), dict(running.files)
    assert planned.facts.os == "linux" and planned.facts.live and planned.plan.changes and running.files == before
    done = live_repair.live_fix(request, check=False)
    assert done.plan == planned.plan and done.proof is not None and running.files != before
    assert live_repair.live_fix(request, check=True).plan.changes == ()


def test_a_running_system_that_no_family_repairs_is_refused(running, monkeypatch):
    before = dict(running.files)
    monkeypatch.setattr(families, "FAMILIES", tuple(family for family in families.FAMILIES if family.name != "linux"))
    with pytest.raises(UnsupportedGuest, match="while it runs"):
        live_repair.live_fix(GuestRequest(()), check=False)
    assert running.files == before


# -- who has a guest --


def test_a_family_that_is_not_registered_has_nothing(drivers, monkeypatch):
    guest, request = freebsd_guest(drivers)
    attach(guest, monkeypatch)
    found = look(request, plan_too=True)
    assert found.facts.os == "unknown" and [concern.code for concern in found.plan.concerns] == ["guest.unknown"]


def test_a_family_is_refused_where_its_proof_fails(registered, drivers, monkeypatch):
    guest, request = freebsd_guest(drivers)
    attach(guest, monkeypatch)
    monkeypatch.setattr(type(FREEBSD), "plan", lambda *dummy: Plan())
    with pytest.raises(ProofFailed, match="fstab names the root"):
        fix(request, Silent())


def test_a_root_that_is_named_is_a_system_of_its_family_or_of_none(registered, drivers, monkeypatch):
    """Two systems in one guest: without a name the first family has it that can mount its root."""
    guest, dummy = linux_guest("ubuntu2404")(drivers)
    guest.files["/bin/freebsd-version"] = b""
    guest.names["/dev/sdb2"] = BlockDevice("/dev/sdb2", "ufs", "22", disk=1, part=2)
    attach(guest, monkeypatch)

    def os_of(root: str) -> str:
        return families.find(guest, GuestRequest((), root=root, firmware="bios"))[0].os

    assert os_of("") == os_of(guest.handle.root) == "linux"
    guest.handle.root = "/dev/sdb2"
    assert os_of("") == os_of("/dev/sdb2") == "freebsd"
    del guest.files["/bin/freebsd-version"]
    assert os_of("/dev/sdb2") == "unknown"
    guest.names["/dev/sdb3"] = BlockDevice("/dev/sdb3", "ntfs", "33", disk=1, part=3)
    assert os_of("/dev/sdb3") == "unknown"  # an NTFS without a Windows is nothing that Linux is asked for
    with pytest.raises(UnsupportedGuest, match="is not a root file system"):
        os_of("/dev/sdz9")


def test_what_keeps_one_family_from_looking_is_told_though_another_has_the_guest(drivers, monkeypatch):
    guest, request = copied_guest(drivers)
    guest.names["/dev/sda2"] = BlockDevice("/dev/sda2", "BitLocker", "22")
    attach(guest, monkeypatch)
    found = look(request, plan_too=True)
    assert [concern.code for concern in found.plan.concerns] == ["windows.bitlocker", "guest.unknown"]
    assert [nic.mac for nic in found.facts.nics] == ["00:50:56:00:00:01", made("", 1)]


def test_a_linux_that_ostree_deploys_is_copied_and_named(drivers, monkeypatch):
    """The physical root has no /etc. Source: ostree's manual, "Deployments"."""
    guest = Staged(
        MemoryGuest({"/ostree/deploy/fedora/deploy/0123.0/usr/etc/fstab": b""}, {"/dev/sda3": BlockDevice("/dev/sda3", "xfs", "33")}),
        {},
        "/dev/sda3",
    )
    attach(guest, monkeypatch)
    found = look(GuestRequest(()), plan_too=True)
    assert found.facts.os == "unknown" and [concern.code for concern in found.plan.concerns] == ["guest.ostree", "guest.unknown"]
    assert "/dev/sda3 holds a Linux" in found.plan.concerns[0].cause


def test_encrypted_devices_that_stayed_locked_keep_a_guest_from_being_copied(drivers, monkeypatch):
    guest, request = copied_guest(drivers)
    attach(guest, monkeypatch, locked=("11",))
    with pytest.raises(Blocked, match="stayed locked: 11"):
        fix(request, Silent())
    assert look(request, plan_too=False).facts.encrypted == ("11",)


# -- options, and the order of repairs --


def test_each_family_has_its_own_options():
    mine = linux.Options(("fstab",))
    request = GuestRequest((), options=(WindowsOptions("/drivers"), mine))
    assert request.of(linux.Options) is mine and request.of(WindowsOptions).virtio_win == "/drivers"
    assert GuestRequest(()).of(linux.Options) == linux.Options()
    assert families.drivers(request).path == "/drivers" and not families.drivers(GuestRequest(())).path


def test_records_of_earlier_versions_hold_the_same_digest_of_the_options():
    same = {"fixes": ("fstab",), "remove_tools": ("vmware", "hyperv"), "agent_packages": ("/a.deb",)}
    given = linux.Options(macs={"00:50:56:00:00:01": "52:54:00:00:00:01"}, fstab_mode="noop", initramfs_mode="regenerate",
                          customize=linux.customize.Customization("web01"), **same)  # fmt: skip
    for_windows = WindowsOptions(drivers=("balloon",), boot=TWO_PHASE, macs=given.macs, **same)
    assert options_digest("", (linux.Options(), WindowsOptions())).startswith("372769bec301f519")
    assert options_digest("/dev/sda2", (given, for_windows)).startswith("859088b99599a262")


names = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(names, st.sets(names, max_size=3)), unique_by=lambda pair: pair[0]))
def test_a_repair_comes_after_those_that_it_builds_on_and_otherwise_where_it_is_listed(pairs):
    before = {name: position for position, (name, dummy) in enumerate(pairs)}
    # Only what is listed earlier is built on, so that nothing waits for itself.
    listed = [Repair(name, lambda dummy: (), tuple(one for one in after if before.get(one, 99) < before[name])) for name, after in pairs]
    assert ordered(listed) == tuple(listed)
    turned = [repair.name for repair in ordered(reversed(listed))]
    assert sorted(turned) == sorted(before)
    for repair in listed:
        assert all(turned.index(one) < turned.index(repair.name) for one in repair.after)


def test_repairs_that_wait_for_each_other_are_none():
    with pytest.raises(ValueError, match="a, b"):
        ordered([Repair("a", lambda dummy: (), ("b",)), Repair("b", lambda dummy: (), ("a",))])


@pytest.mark.parametrize("repairs", [linux.REPAIRS, windows.REPAIRS], ids=["linux", "windows"])
def test_what_a_repair_builds_on_is_one(repairs):
    known = {repair.name for repair in repairs}
    assert all(set(repair.after) <= known for repair in repairs) and ordered(repairs) == repairs


@pytest.mark.parametrize("position", range(len(linux.REPAIRS)))
@pytest.mark.parametrize("mode", ["overlay", "regenerate"])
@pytest.mark.parametrize("name", ["ubuntu2404", "rhel9", "sles15"])
def test_where_a_repair_of_linux_is_listed_does_not_matter(name, mode, position, monkeypatch):
    system = trees.SYSTEMS[name]
    made = trees.guest(system)
    facts, options = trees.facts(system, made), linux.Options(initramfs_mode=mode)
    wanted = linux.make_plan(made, facts, options)
    monkeypatch.setattr(linux, "REPAIRS", moved_to_front(linux.REPAIRS, position))
    found = linux.make_plan(made, facts, options)
    assert sorted(map(repr, found.changes)) == sorted(map(repr, wanted.changes)) and set(found.concerns) == set(wanted.concerns)
    assert mode == "overlay" or type(found.changes[-1]) is type(wanted.changes[-1]) is RunCommand


@pytest.mark.parametrize("position", range(len(windows.REPAIRS)))
@pytest.mark.parametrize("release", winlab.RELEASES.values(), ids=winlab.RELEASES)
def test_where_a_repair_of_windows_is_listed_does_not_matter(release, position, drivers, monkeypatch):
    made, options = winlab.guest(release), WindowsOptions(drivers, boot=TWO_PHASE)
    facts = winlab.inspected(made, release, options)

    def planned() -> list[str]:
        plan = windows.make_plan(made, facts, options, winlab.NICS)
        edits = [repr(one) for change in plan.changes if isinstance(change, EditHive) for one in change.edits]
        return sorted([*edits, *(repr(change) for change in plan.changes if not isinstance(change, EditHive)), *map(repr, plan.concerns)])

    wanted = planned()
    monkeypatch.setattr(windows, "REPAIRS", moved_to_front(windows.REPAIRS, position))
    assert planned() == wanted


def moved_to_front(repairs: tuple[Repair, ...], position: int) -> tuple[Repair, ...]:
    return (repairs[position], *repairs[:position], *repairs[position + 1 :])
