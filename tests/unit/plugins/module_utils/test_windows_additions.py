# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest agent, the balloon's service and the spice agent: from where they come, and what is said where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import winlab
from winlab import CS, RELEASES
from winplans import repaired, system_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import additions, drivers
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

BALLOON = f"{CS}\\Services\\BalloonService"


@pytest.fixture
def source(tmp_path) -> Path:
    """A source of its own, for tests that change it."""
    return winlab.driver_tree(tmp_path / "source", {"w10": ("x86_64",), "xp": ("i686",)})


def said(release, options: Options, made=None) -> list[str]:
    made = made or winlab.guest(release)
    plan = winlab.planned(made, winlab.inspected(made, release, options), options)
    return [concern.cause for concern in plan.concerns if concern.code == "windows.addition-left"]


@pytest.mark.parametrize(("name", "package"), [("w10", "qemu-ga-x86_64.msi"), ("w7", "qemu-ga-i386.msi"), ("2k22", "qemu-ga-x86_64.msi")])
def test_agent_and_service_come_from_the_drivers_own_folders_and_undo_takes_them_away(name, package, virtio_win):
    release, options = RELEASES[name], Options(virtio_win)
    made = winlab.guest(release)
    before = dict(made.files)
    made, dummy, changes, backups = repaired(release, options, made)
    packages = f"/c/{release.root}/hyper2kvm/packages/"
    assert [path for path in made.files if path.startswith(packages)] == [f"{packages}{package}"]
    assert f'msiexec.exe /i "%HOME%\\packages\\{package}" /qn' in made.files[f"/c/{release.root}/hyper2kvm/work.cmd"].decode()
    system = system_of(made, release)
    assert (
        system.text(BALLOON, "ImagePath") == '"C:\\Program Files\\Balloon\\blnsvr.exe"'
        and "/c/Program Files/Balloon/blnsvr.exe" in made.files
    )
    assert (system.number(BALLOON, "Start"), system.number(BALLOON, "Type"), system.texts(BALLOON, "DependOnService")) == (
        2,
        0x10,
        ("Winmgmt",),
    )
    undo(made, changes, backups)
    assert dict(made.files) == before


def test_what_is_installed_or_was_not_chosen_is_left_alone(virtio_win):
    release = replace(RELEASES["w10"], extra={f"{CS}\\Services\\QEMU-GA": {"Start": 2}, BALLOON: {"Start": 3, "ImagePath": "mine"}})
    made, *dummy = repaired(release, Options(virtio_win))
    assert not any("packages" in path or "Balloon" in path for path in made.files)
    assert system_of(made, release).text(BALLOON, "ImagePath") == "mine"
    made, *dummy = repaired(RELEASES["w10"], Options(virtio_win, additions=()))
    assert not any("packages" in path or "Balloon" in path for path in made.files) and not said(
        RELEASES["w10"], Options(virtio_win, additions=())
    )


def test_the_operators_package_is_taken_in_place_of_the_sources(virtio_win, tmp_path):
    (tmp_path / "qemu-ga-109.msi").write_bytes(b"newer")
    made, *dummy = repaired(RELEASES["w10"], Options(virtio_win), installers=(str(tmp_path / "qemu-ga-109.msi"),))
    assert [path.rsplit("/", 1)[1] for path in made.files if "/packages/" in path] == ["qemu-ga-109.msi"]


def test_the_newest_spice_agent_is_taken_on_demand(source):
    for name in ("spice-vdagent-x64-0.9.0.msi", "spice-vdagent-x64-0.10.0.msi", "spice-vdagent-x86-0.10.0.msi"):
        (source / name).write_bytes(name.encode())
    options = Options(str(source), additions=("spice_agent",))
    made, *dummy = repaired(RELEASES["w10"], options)
    assert [path.rsplit("/", 1)[1] for path in made.files if "/packages/" in path] == ["spice-vdagent-x64-0.10.0.msi"]


def test_what_the_source_lacks_is_said(source):
    (source / "guest-agent" / "qemu-ga-x86_64.msi").unlink()
    (source / "Balloon" / "w10" / "amd64" / "blnsvr.exe").write_bytes(winlab.program("i686"))
    told = said(RELEASES["w10"], Options(str(source), additions=additions.ADDITIONS))
    assert len(told) == 3 and [any(word in one for one in told) for word in ("qemu-ga", "blnsvr.exe", "spice-vdagent")] == [True] * 3
    (told,) = said(RELEASES["xp"], Options(str(source)))[:1]
    assert "qemu-ga" in told or "blnsvr" in told
    assert any("not made for this release" in one for one in said(RELEASES["xp"], Options(str(source))))


def test_an_agent_without_its_channel_is_said(source):
    assert any("vioser" in one for one in said(RELEASES["w10"], Options(str(source), drivers=("netkvm",))))
    assert "vioser" in drivers.OPTIONAL


def test_programs_on_another_disk_than_windows_are_not_written(virtio_win, monkeypatch):
    release = RELEASES["w10"]
    made = winlab.guest(release)
    software = {**winlab.software(release), "Microsoft\\Windows\\CurrentVersion": {"ProgramFilesDir": "D:\\Programs"}}
    made.files[f"/c/{release.root}/System32/config/SOFTWARE"] = winlab.hive(software)
    made, *dummy = repaired(release, Options(virtio_win), made)
    assert not any("Balloon" in path for path in made.files) and system_of(made, release).number(BALLOON, "Start") is None


def test_installers_are_chosen_by_their_architecture(tmp_path):
    for name in ("qemu-ga-x86_64.msi", "qemu-ga-i386.msi", "readme.txt"):
        (tmp_path / name).touch()
    found, left = additions._given([str(tmp_path)], "x86_64")
    assert [one.name for one in found] == ["qemu-ga-x86_64.msi"] and len(left) == 2
    assert [one.name for one in additions._given([str(tmp_path)], "i686")[0]] == ["qemu-ga-i386.msi"]
    (tmp_path / "qemu-ga-arm64.msi").touch()
    assert [[one.name for one in additions._given([str(tmp_path)], machine)[0]] for machine in ("aarch64", "x86_64")] == [
        ["qemu-ga-arm64.msi"],
        ["qemu-ga-x86_64.msi"],
    ]
    (tmp_path / "a & b.msi").touch()
    with pytest.raises(InvalidInput, match="script"):
        additions._given([str(tmp_path)], "x86_64")
