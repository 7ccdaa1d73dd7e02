# SPDX-License-Identifier: GPL-3.0-or-later
"""What the appliance says when it fails becomes an error with a remedy; and it is always closed."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MissingTool, TimedOut, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import offline
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.appliance import Patience


class Handle:
    """A libguestfs handle whose calls succeed but for one."""

    def __init__(self, failing):
        self.failing, self.closed, self.drives = failing, False, []

    def __getattr__(self, name):
        def call(*args, **options):
            if name == "add_drive_opts":
                self.drives.append(options)
            if name == self.failing:
                raise RuntimeError(f"{name}: Input/output error")
            return name == "is_ready"

        return call

    def close(self):
        self.closed = True


def opened(monkeypatch, failing, writable=False):
    handle = Handle(failing)
    monkeypatch.setattr(offline, "accelerator", lambda: "tcg")
    monkeypatch.setattr(offline, "guestfs", SimpleNamespace(GuestFS=lambda **options: handle))
    return handle, offline.open_disks([offline.Attached("/x", "qcow2")], writable)


@pytest.mark.parametrize(
    ("failing", "words"), [("launch", "did not start"), ("rename", "failed: rename"), ("shutdown", "failed: shutdown")]
)
def test_a_failing_call_has_a_cause_and_a_remedy(monkeypatch, failing, words):
    handle, context = opened(monkeypatch, failing)
    with pytest.raises(ToolFailed, match=words) as caught, context as guest:
        guest.handle.rename("a", "b")
    assert caught.value.hint and handle.closed


@pytest.mark.parametrize("writable", [False, True])
def test_disks_are_attached_as_stated(monkeypatch, writable):
    handle, context = opened(monkeypatch, "nothing", writable)
    with context:
        pass
    assert handle.drives[0]["format"] == "qcow2" and handle.drives[0]["readonly"] is not writable


def test_missing_bindings_are_named(monkeypatch):
    monkeypatch.setattr(offline, "guestfs", None)
    with pytest.raises(MissingTool, match="python3-guestfs"), offline.open_disks([], False):
        pass


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (25, "z"), (26, "aa"), (27, "ab"), (52, "ba")])
def test_disks_are_counted_as_the_kernel_does(number, name):
    assert offline.letters(number) == name


def test_an_appliance_that_never_comes_up_is_ended_and_started_once_more(monkeypatch):
    made = []

    class Stuck(Handle):
        """Its launch takes until its program is ended from outside, the first `times` times."""

        times = 1

        def config(self, name, value):
            self.mark = value

        def launch(self):
            if len(made) <= self.times:
                child = subprocess.Popen(["sh", "-c", "while :; do :; done", self.mark.partition("unix:")[2].partition(",")[0]])
                assert child.wait(timeout=30) < 0
                raise RuntimeError("the appliance closed the connection")

    short = Patience(launch=0.5, look=0.2)
    monkeypatch.setattr(offline, "accelerator", lambda: "tcg")
    monkeypatch.setattr(offline, "guestfs", SimpleNamespace(GuestFS=lambda **options: made.append(Stuck("nothing")) or made[-1]))
    with offline.open_disks([offline.Attached("/x", "qcow2")], False, patience=short):
        assert len(made) == 2 and made[0].closed and not made[1].closed
    made.clear()
    Stuck.times = 2
    with (
        pytest.raises(TimedOut, match="did not come up") as caught,
        offline.open_disks([offline.Attached("/x", "qcow2")], False, patience=short),
    ):
        pass
    assert caught.value.hint and [handle.closed for handle in made] == [True, True]
