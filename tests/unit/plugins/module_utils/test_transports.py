# SPDX-License-Identifier: GPL-3.0-or-later
"""Transports of vSphere are chosen by what they say they can do, and by no name; a point of a VM says what has changed."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Disk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources import vsphere_transports
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.vsphere_transport import ANY, Coming, Transport, Wanted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.vsphere_transports import AUTO, TRANSPORTS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.model import Vm, VmDisk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.snapshots import Point

DISK = VmDisk(2000, "Hard disk 1", Disk("scsi", 0, 0), 1000, "FlatVer2", ("[ds] a.vmdk",))


def point(snapshot: str = "", disk: VmDisk = DISK, power: str = "off", cbt: bool = True, session: object = None) -> Point:
    vm = Vm(id="vm-1", name="web01", path="a/web01", power=power, cbt=cbt, disks=(disk,))
    return Point(session, vm, snapshot)


def wanted(transport: str = AUTO, **more: object) -> Wanted:
    return Wanted(point(**more), (DISK,), Access(transport=transport), (), contextlib.ExitStack())


def nothing(given: Wanted) -> Coming:
    return Coming(given.whole(), lambda directory, progress: (), lambda directory: None, lambda sockets, cached: contextlib.nullcontext([]))


def blind(given: Wanted) -> Coming:
    raise InvalidInput("There are no files.", "Use another.")


def made(name: str, coming=nothing, **more: object) -> Transport:
    return Transport(name, coming, **{"resumes": False, "parts": True, "allocated": ANY, **more})


@pytest.fixture
def only(monkeypatch):
    """What makes some transports all that there are."""

    def set_to(*transports: Transport) -> None:
        monkeypatch.setattr(vsphere_transports, "TRANSPORTS", {one.name: one for one in transports})

    return set_to


def test_somebody_has_a_turn_for_every_vm():
    """Whatever a VM is doing: each turn is taken once, and one of them is for a VM that runs."""
    turns = [one.automatic for one in TRANSPORTS.values() if one.automatic]
    assert sorted(turns) == list(range(1, len(turns) + 1)) and AUTO not in TRANSPORTS
    assert any(one.automatic and not one.shut_out and not one.needs_off for one in TRANSPORTS.values())


@pytest.mark.parametrize(
    ("transport", "running", "chosen"),
    [(AUTO, False, "second"), (AUTO, True, "third"), ("third", False, "third"), ("second", True, "third"), ("named", True, "named")],
)
def test_the_first_that_can_has_its_turn(only, transport, running, chosen):
    only(
        made("third", automatic=3),
        made("named"),
        made("first", blind, automatic=1, shut_out=True),
        made("second", automatic=2, shut_out=True),
    )
    assert vsphere_transports.opened(wanted(transport), running).transport == chosen


def test_where_none_can_the_last_says_why(only):
    only(made("first", blind, automatic=1), made("second", blind, automatic=2))
    for transport in (AUTO, "first"):
        with pytest.raises(InvalidInput, match="no files"):
            vsphere_transports.opened(wanted(transport), False)


@pytest.mark.parametrize("parts", [False, True])
def test_disks_stay_where_they_are_only_with_one_that_reads_parts(only, parts):
    only(made("one", parts=parts))
    remote = vsphere_transports.opened(wanted("one"), False)
    assert (remote.in_place is not None) == parts and [disk.size for disk in remote.disks] == [1000]


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_vm_that_must_be_off_is_refused_before_it_is_frozen(name):
    vm = point(power="on").vm
    possible = contextlib.nullcontext() if not TRANSPORTS[name].needs_off else pytest.raises(InvalidInput, match="exports no VM")
    with possible:
        vsphere_transports.require_possible(vm, Access(transport=name, running="snapshot"))
    vsphere_transports.require_possible(vm, Access(transport=name, running="shutdown"))


@pytest.mark.parametrize(
    ("snapshot", "change_id", "power", "cbt", "tracks"),
    [
        ("s1", "52/1", "on", True, True),
        ("s1", "", "on", True, False),
        ("", "", "off", True, True),
        ("", "52/1", "on", True, False),
        ("", "", "off", False, False),
    ],
)
def test_who_can_be_asked_what_has_changed(snapshot, change_id, power, cbt, tracks):
    disk = replace(DISK, change_id=change_id)
    assert point(snapshot, disk, power, cbt).tracks(disk) == tracks


class Tracking:
    """A session whose VM answers in these pages: (start, length, areas)."""

    endpoint = SimpleNamespace(host="vc")

    def __init__(self, monkeypatch, *pages: tuple[int, int, list[tuple[int, int]]]) -> None:
        self.asked: list[tuple[int, str]] = []
        self._pages = {start: (length, areas) for start, length, areas in pages}
        monkeypatch.setattr(
            "ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.snapshots.managed", lambda session, vm: self
        )

    def call(self, ask):
        return ask()

    def QueryChangedDiskAreas(self, snapshot, key, offset, since):
        self.asked.append((offset, since))
        length, areas = self._pages[offset]
        changed = [SimpleNamespace(start=start, length=size) for start, size in areas]
        return SimpleNamespace(startOffset=offset, length=length, changedArea=changed or None)


def test_the_answer_ends_where_the_disk_does_whatever_its_pages_are(monkeypatch):
    session = Tracking(monkeypatch, (0, 400, []), (400, 100, [(400, 50), (450, 50)]), (500, 500, [(500, 10), (900, 100)]))
    assert point(session=session).areas(DISK, "52/1") == ((400, 110), (900, 100))
    assert session.asked == [(0, "52/1"), (400, "52/1"), (500, "52/1")]


def test_an_answer_without_an_end_is_a_fault(monkeypatch):
    with pytest.raises(ToolFailed, match="makes no progress"):
        point(session=Tracking(monkeypatch, (0, 0, []))).areas(DISK)


def test_a_disk_comes_whole_where_tracking_is_not_trusted_or_fails(monkeypatch):
    session = Tracking(monkeypatch, (0, 0, []))
    assert wanted(session=session).allocated(DISK) is None and session.asked
    good = Tracking(monkeypatch, (0, 1000, [(0, 4)]))
    assert wanted(session=good).allocated(DISK) == ((0, 4),)
    careful = wanted(session=good)
    assert replace(careful, access=replace(careful.access, allocated_only=False)).allocated(DISK) is None
