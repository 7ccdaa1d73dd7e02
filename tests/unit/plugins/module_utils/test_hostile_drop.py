# SPDX-License-Identifier: GPL-3.0-or-later
"""What strangers put into a drop folder: nothing is opened that is no file, and one bad entry does not stop the others."""

from __future__ import annotations

import os
import subprocess

import pytest
from promptly import IRREGULAR, irregular, within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import drop


def deep(path):
    here = os.getcwd()
    os.mkdir(path)
    os.chdir(path)
    try:
        for dummy in range(1500):
            os.mkdir("ddd")
            os.chdir("ddd")
    finally:
        os.chdir(here)


def hole(path):
    with open(path, "wb") as file:
        try:
            file.truncate((1 << 63) - 4096)
        except OSError:  # ext4 has files of 16 TiB
            file.truncate((1 << 44) - 4096)


ENTRIES = {
    **{name: ("bad.raw", make) for name, make in IRREGULAR.items() if not name.startswith("link")},
    **{f"{name}, in a directory": ("bad/vm.vmx", make) for name, make in IRREGULAR.items() if name != "directory"},
    "a link to a file of the host": ("bad/disk.raw", lambda path: os.symlink("/etc/passwd", path)),
    "a link to a directory": ("bad/dir", lambda path: os.symlink("/etc", path)),
    "a pipe as a marker's neighbour": ("bad.ova", os.mkfifo),
    "levels": ("bad", deep),
    "too many files": ("bad", lambda path: (os.mkdir(path), [open(path / f"{n}", "w").close() for n in range(60)])),
    "a hole of exabytes": ("bad/two.raw", lambda path: (hole(path), hole(path.parent / "one.raw"))),
    "a name that is no text": ("bad", lambda path: (os.mkdir(path), open(os.fsencode(path) + b"/\xff\xfe.raw.x", "w").close())),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bad_entry_is_put_aside_with_a_reason_and_the_others_go_on(tmp_path, name, monkeypatch):
    monkeypatch.setattr(limits, "ENTRY_FILES", 2000 if name == "levels" else 50)
    path, make = ENTRIES[name]
    path = tmp_path / path
    path.parent.mkdir(exist_ok=True)
    make(path)
    (tmp_path / "good.raw").write_bytes(bytes(512))
    with within(20):
        items = {item.name: item for item in drop.arrived(str(tmp_path), 0.0, 0.0)}
    assert items["good"].source and not items["good"].fault
    bad = items["bad.raw" if os.path.isdir(tmp_path / "bad.raw") else "bad"]  # of directories nothing is taken for a suffix
    assert bad.fault and not bad.source
    with within(5):
        place = drop.put_away(str(tmp_path), bad, drop.FAILED, "", bad.fault)
    subprocess.run(["find", place, "-depth", "-name", "ddd", "-delete"], check=True)  # deeper than pytest can clean up
    assert os.path.exists(os.path.join(place, "result.txt")) and not os.path.lexists(tmp_path / path.relative_to(tmp_path).parts[0])


@pytest.mark.parametrize("place", [drop.PROCESSED, drop.FAILED, drop.DUPLICATES])
def test_a_place_that_is_a_link_is_not_followed(tmp_path, place):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / place).symlink_to(elsewhere)
    (folder / "a.raw").write_bytes(bytes(512))
    with pytest.raises(UnsafeInput, match="symbolic link"):
        drop.arrived(str(folder), 0.0, 0.0)
    with pytest.raises(UnsafeInput, match="symbolic link"):
        drop.put_away(str(folder), drop.Item("a", "", ("a.raw",), "0" * 64), place, "", "words")
    assert os.listdir(elsewhere) == [] and (folder / "a.raw").exists()


@pytest.mark.parametrize("kind", ["file", "fifo"])
@pytest.mark.parametrize("place", [drop.PROCESSED, drop.FAILED, drop.DUPLICATES])
def test_a_place_that_is_no_directory_is_refused_before_anything_is_migrated(tmp_path, place, kind):
    (tmp_path / place).write_text("") if kind == "file" else os.mkfifo(tmp_path / place)
    (tmp_path / "a.raw").write_bytes(bytes(512))
    with pytest.raises(UnsafeInput, match="no directory"):
        drop.arrived(str(tmp_path), 0.0, 0.0)


@pytest.mark.parametrize("entry", ["../victim", "/etc", "a/b", "", ".", ".."])
def test_an_item_names_entries_of_the_folder_only(tmp_path, entry):
    with pytest.raises(UnsafeInput):
        drop.put_away(str(tmp_path), drop.Item("a", "", (entry,), "0" * 64), drop.FAILED, "", "words")


@irregular
def test_a_record_that_is_no_file_is_never_opened(tmp_path, kind):
    IRREGULAR[kind](tmp_path / ".digests.json")
    with within(5), pytest.raises(InvalidInput):
        drop.known(str(tmp_path))


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", '{"a": 1}', '{"a": ["b"]}', "\0", "1" * 10_000])
def test_a_record_of_something_else_is_refused_with_a_remedy(tmp_path, text):
    (tmp_path / ".digests.json").write_text(text)
    with pytest.raises(InvalidInput, match="not the record") as caught:
        drop.known(str(tmp_path))
    assert caught.value.hint


def test_a_file_has_one_digest_however_it_is_stored_but_for_its_holes(tmp_path):
    for name, write in (("a", "x" * 5000), ("b", "x" * 5000), ("c", "y" * 5000)):
        (tmp_path / name).write_text(write)
    assert drop._digest(str(tmp_path / "a")) == drop._digest(str(tmp_path / "b")) != drop._digest(str(tmp_path / "c"))
    for name, size in (("d", 1 << 30), ("e", 1 << 31)):
        (tmp_path / name).write_text("x")
        os.truncate(tmp_path / name, size)
    assert drop._digest(str(tmp_path / "d")) != drop._digest(str(tmp_path / "e"))
