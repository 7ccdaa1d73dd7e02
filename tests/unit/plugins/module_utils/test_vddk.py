# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware's library by whatever number it comes: nbdkit's plugin looks for the numbers that its release knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MissingTool
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.vddk import Vddk

# What is in the directory, and which file the plugin gets.
UNPACKED = {
    "VDDK 6.7": (["lib64/libvixDiskLib.so.6", "lib64/libvixDiskLib.so.6.7.3"], "lib64/libvixDiskLib.so.6"),
    "VDDK 7": (["lib64/libvixDiskLib.so.7"], "lib64/libvixDiskLib.so.7"),
    "VDDK 8": (["lib64/libvixDiskLib.so.8", "lib64/libvixDiskLib.so.8.0.3"], "lib64/libvixDiskLib.so.8"),
    "VDDK 9": (["lib64/libvixDiskLib.so.9", "lib64/libvixDiskLib.so.9.0.1", "lib64/libdiskLibPlugin.so"], "lib64/libvixDiskLib.so.9.0.1"),
    "VDDK 10 beside 9": (["lib64/libvixDiskLib.so.9", "lib64/libvixDiskLib.so.10"], "lib64/libvixDiskLib.so.10"),
    "OpenVDDK": (["lib64/libvixDiskLib.so.8.0.3"], "lib64/libvixDiskLib.so.8.0.3"),
    "lib64 itself is named": (["libvixDiskLib.so.9", "libvixMntapi.so.9"], "libvixDiskLib.so.9"),
}


@pytest.mark.parametrize("name", UNPACKED)
def test_the_library_is_found_whatever_its_number(name, tmp_path):
    files, library = UNPACKED[name]
    root = tmp_path / "a [b] c"
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file)
    with Vddk(str(root)).as_loaded() as libdir:
        loaded = [Path(libdir, "lib64", f"libvixDiskLib.so.{number}") for number in (8, 7, 6)]
        assert next(path for path in loaded if path.exists()).read_text() == library
        assert {Path(file).name for file in files} <= {path.name for path in Path(libdir, "lib64").iterdir()}
    assert {str(path.relative_to(root)) for path in root.rglob("*.so*")} == set(files)  # nothing is put into what belongs to others


def test_a_directory_of_links_is_gone_afterwards(tmp_path):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libvixDiskLib.so.9").write_text("")
    with Vddk(str(tmp_path)).as_loaded() as libdir:
        assert libdir != str(tmp_path)
    assert not Path(libdir).exists()


@pytest.mark.parametrize("files", [[], ["lib64/libdiskLibPlugin.so"], ["lib32/libvixDiskLib.so.6"], ["lib64/libvixDiskLib.so"]])
def test_no_library_is_said_with_what_was_looked_for(files, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    with pytest.raises(MissingTool, match=r"no lib64/libvixDiskLib\.so\.\*") as refused, Vddk(str(tmp_path)).as_loaded():
        pass
    assert "OpenVDDK" in refused.value.hint
