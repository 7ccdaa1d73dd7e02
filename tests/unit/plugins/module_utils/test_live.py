# SPDX-License-Identifier: GPL-3.0-or-later
"""The running system as a guest: reading, writing with attributes, devices as lsblk tells them, repair and rollback of a directory tree."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, InvalidInput, StalePlan, UnsupportedGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import Completed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import apply as applying
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import live
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.entries import MakeLink, RemoveFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import live_rollback

_NONE = dict.fromkeys(["fstype", "uuid", "label", "partuuid", "partlabel", "parttype"])


def entry(name, kind, children=(), **more):
    return {"name": name, "kname": name, "type": kind, "size": 1 << 30, **_NONE, **more, "children": list(children)}


VOLUME = entry("/dev/mapper/vg-root", "lvm", kname="/dev/dm-0", fstype="ext4", uuid="ro-ot")
TREE = [
    entry(
        "/dev/sda",
        "disk",
        [entry("/dev/sda1", "part", fstype="vfat", uuid="AB-CD"), entry("/dev/sda2", "part", [VOLUME], fstype="LVM2_member", uuid="pv-1")],
    ),
    entry("/dev/sdb", "disk", [VOLUME], fstype="LVM2_member", uuid="pv-2"),
    entry("/dev/sr0", "rom", size=None),
]


@pytest.fixture
def system(monkeypatch, tmp_path):
    monkeypatch.setattr(live, "run", lambda argv, *rest, **more: Completed(tuple(argv), 0, json.dumps({"blockdevices": TREE}), ""))
    monkeypatch.setattr(applying, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(live_rollback, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(live, "_LOCK", str(tmp_path / "no-lock"))
    return live.LiveGuest()


def test_devices_are_what_the_kernel_says(system):
    found = {device.name: device for device in system.devices()}
    assert found["/dev/mapper/vg-root"].parents == ("/dev/sda2", "/dev/sdb") and found["/dev/mapper/vg-root"].kind == "lvm"
    assert found["/dev/sda1"].disk == 0 and found["/dev/sdb"].disk == 1 and set(system.tables) == {"disk0", "disk1"}
    assert system.device("UUID=ab-cd").name == "/dev/sda1" and system.device('UUID="ro-ot"').name == "/dev/mapper/vg-root"
    assert (
        system.device("/dev/dm-0").name == "/dev/mapper/vg-root"
        and system.device("UUID=") is None
        and system.device("/dev/nothing") is None
    )


def test_a_container_is_no_guest(system):
    with pytest.raises(UnsupportedGuest, match="not on a block device"):
        system.system()


def test_files_keep_owner_mode_and_attributes(system, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.chown(path, 12, 34)
    link = tmp_path / "link"
    link.symlink_to(path)
    system.write(str(link), b"new", None)
    info = path.stat()
    assert link.is_symlink() and path.read_bytes() == b"new" and (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o640, 12, 34)
    system.write(str(tmp_path / "made"), b"x", live.Stat("file", mode=0o600, uid=5, gid=6))
    info = (tmp_path / "made").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o600, 5, 6) and not list(tmp_path.glob("*.hyper2kvm"))


def test_what_is_no_file_is_not_read(system, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert system.read(str(tmp_path / "fifo")) is None and system.read(str(tmp_path)) is None and system.read("/dev/null") is None
    assert (
        system.stat(str(tmp_path / "fifo")).kind == "other"
        and system.stat(str(tmp_path / "no")) is None
        and system.listdir(str(tmp_path / "no")) == ()
    )


def plan_for(folder):
    (folder / "a").write_text("1")
    (folder / "b").write_text("2")
    (folder / "d").mkdir()
    (folder / "d" / "x").write_text("x")
    (folder / "image").write_text("image")
    command = ("/bin/sh", "-c", f"echo rebuilt > {folder}/image; echo said")
    return Plan((
        WriteFile(f"{folder}/a", "1", "one", "r"), WriteFile(f"{folder}/c", None, "3", "r", 0o600), RemoveFile(f"{folder}/d", "dir", 0, "r"),
        MakeLink(f"{folder}/l", f"{folder}/a", "r"), RunCommand(command, (f"{folder}/image",), "r"),
    ))  # fmt: skip


def tree(folder):
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def test_a_plan_is_applied_and_rolled_back_by_its_id(system, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(live, "_block_devices", lambda: ((), []))
    for module in (applying, live_rollback):
        monkeypatch.setattr(module, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(live, "_LOCK", str(tmp_path / "no-lock"))
    folder = tmp_path / "root"
    folder.mkdir()
    plan = plan_for(folder)
    before = tree(folder)
    outcome = applying.apply(live.LiveGuest(), plan)
    assert outcome.output == ("said\n",) and (folder / "image").read_text() == "rebuilt\n" and not (folder / "d").exists()
    with pytest.raises(InvalidInput, match=plan.id):
        live_rollback.rollback("nothing", False)
    assert live_rollback.rollback("", True).undone == (plan.id,) and tree(folder) != before
    assert live_rollback.rollback(plan.id, False) == live_rollback.RolledBack((plan.id,), ())
    assert tree(folder) == before and live_rollback.rollback("", False).undone == ()
    applying.apply(live.LiveGuest(), plan)
    (folder / "a").write_text("mine")
    with pytest.raises(StalePlan, match="changed after"):
        live_rollback.rollback("", False)
    assert (folder / "a").read_text() == "mine"


def test_a_package_tool_at_work_is_waited_for_by_a_message(monkeypatch, tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("")
    monkeypatch.setattr(live, "_LOCK", str(lock))
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(Busy, match="packages"), live.packages_locked():
        pass
    other.communicate()
    with live.packages_locked(), open(lock, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
