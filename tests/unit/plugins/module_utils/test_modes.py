# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may read what the collection writes, under every umask; what operators have made stays theirs."""

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import atomic, modes, process
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.locks import exclusive
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import ToFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import qemu_img


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_what_is_written_is_its_owners_under_every_umask(tmp_path, umask):
    modes.make_directory(str(tmp_path / "out" / "vm" / ".work"))
    work = tmp_path / "out" / "vm" / ".work"
    assert [mode(path) for path in (work, work.parent, work.parent.parent)] == [0o700, 0o711, 0o711]
    atomic.write_json(str(work / "report.json"), {})
    Manifest("fetch", (), {}).save(str(work / "fetch.json"))
    ToFile(str(work / "progress.json")).phase("copy")
    with modes.create(str(work / "console.log")) as file:
        file.write(b"x")
    with exclusive(str(work / "lock"), "the VM"):
        pass
    qemu_img.create_empty(str(work / "side.qcow2"), 1 << 20)
    process.run(["sh", "-c", f"echo x > {work}/printed"])
    assert {path.name: mode(path) for path in work.iterdir()} == dict.fromkeys(
        ("report.json", "fetch.json", "progress.json", "console.log", "lock", "side.qcow2", "printed"), 0o600
    )


def test_the_operators_mode_is_what_files_and_directories_get(tmp_path, umask):
    modes.make_directory(str(tmp_path / "a" / "b"), modes.with_disks(0o640), modes.with_disks(0o640))
    atomic.write_text(str(tmp_path / "a" / "b" / "x"), "", 0o640)
    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/x")] == [0o751, 0o751, 0o640]


def test_what_is_there_keeps_its_mode(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o2775)
    modes.make_directory(str(there))
    modes.make_directory(str(there / "vm"))
    assert mode(there) == 0o2775 and mode(there / "vm") == 0o700
    (there / "file").write_text("")
    with pytest.raises(FileExistsError):
        modes.make_directory(str(there / "file"))


def test_an_old_file_gets_its_mode_before_it_is_filled_and_no_link_is_followed(tmp_path):
    (tmp_path / "old").write_text("x")
    (tmp_path / "old").chmod(0o644)
    with modes.create(str(tmp_path / "old")) as file:
        assert mode(tmp_path / "old") == 0o600 and (tmp_path / "old").read_text() == ""
        file.write(b"y")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    with modes.create(str(tmp_path / "link")) as file:
        file.write(b"z")
    assert (tmp_path / "old").read_text() == "y" and (tmp_path / "link").read_text() == "z" and not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("", 0o600), (None, 0o600), ("0640", 0o640), ("640", 0o640), ("0o660", 0o660), (0o640, 0o640), ("0644", 0o644), ("0750", 0o640)],
)
def test_a_mode_is_read(given, wanted):
    assert modes.parse(given) == wanted


@pytest.mark.parametrize("given", ["416", "0", "0646", "u=rw", "07777", "-1", "rw", "0888", "0440", -1, 0o10600, True, "²40", ["0640"]])
def test_what_is_no_mode_is_refused(given):
    with pytest.raises(InvalidInput, match="is not a valid mode") as refused:
        modes.parse(given)
    assert "0640" in refused.value.hint


def test_directories_list_for_whom_files_can_be_read():
    assert [oct(modes.of_directory(value)) for value in (0o600, 0o640, 0o644, 0o660)] == ["0o700", "0o750", "0o755", "0o770"]
    assert [oct(modes.with_disks(value)) for value in (0o600, 0o640)] == ["0o711", "0o751"]
    assert [oct(modes.of_program(value)) for value in (0o600, 0o640)] == ["0o700", "0o750"]
