# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of VHD and VHDX: read sector by sector where they are, and refused without the very parent that they were made over."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from imagelab import MIB, Older, Snapshot, run, seen

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import image, qcow2_map


def data_id(path: Path) -> str:
    return image.resolve(str(path)).links[0].header.id


@pytest.mark.parametrize("seed", range(4))
def test_checkpoints_of_hyper_v_are_read_sector_by_sector_without_a_copy(images, content, tmp_path, seed):
    last, below = tmp_path / "base.vhdx", content.read_bytes()
    last.write_bytes((images / "dynamic.vhdx").read_bytes())
    for number in range(3):
        snapshot = Snapshot(last, data_id(last), seed * 10 + number)
        last, below = tmp_path / f"web_{number}.avhdx", snapshot.over(below)
        last.write_bytes(snapshot.bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(image.resolve(str(last)).links) == 4
    assert seen(last, tmp_path / "w") == below
    maps = list((tmp_path / "w").glob("*-map*.qcow2"))
    assert len(maps) == 3 and all(os.stat(made).st_blocks * 512 < MIB for made in maps)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("located", [True, False])
def test_differencing_vhds_are_read_sector_by_sector_without_a_copy(images, content, tmp_path, located):
    last, below = tmp_path / "base.vhd", content.read_bytes()
    last.write_bytes((images / ("dynamic.vhd" if located else "fixed.vhd")).read_bytes())
    for number in range(2):
        child = Older(last, data_id(last), number, located)
        last, below = tmp_path / f"web_{number}.avhd", child.over(below)
        last.write_bytes(child.bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert seen(last, tmp_path / "w") == below
    assert len(list((tmp_path / "w").glob("*-map*.qcow2"))) > 2 and {path: path.read_bytes() for path in before} == before
    (tmp_path / "other.avhd").write_bytes(Older(tmp_path / "base.vhd", str(uuid.UUID(int=7)), 1, located).bytes())
    with pytest.raises(InvalidInput, match="has changed since"):
        image.resolve(str(tmp_path / "other.avhd"))


def test_a_block_that_reaches_over_the_end_of_the_disk_is_cut(tmp_path):
    qcow2_map.write(str(tmp_path / "map"), MIB, [qcow2_map.Piece(n, 0, 1) for n in range(0, 1 << 20, 1 << 10)], 512)
    run("convert", "-f", "raw", "-O", "raw", tmp_path / "map", tmp_path / "copy")
    run("info", "-f", "qcow2", tmp_path / "copy")


def test_a_checkpoint_without_its_parent_or_with_another_is_refused(images, tmp_path):
    base = tmp_path / "base.vhdx"
    base.write_bytes((images / "dynamic.vhdx").read_bytes())
    for text, error, words in (
        (Snapshot(base, str(uuid.UUID(int=5)), 1), InvalidInput, "has changed since the snapshot"),
        (Snapshot(tmp_path / "gone.vhdx", data_id(base), 1), InvalidInput, "gone.vhdx does not exist"),
        (Snapshot(base, data_id(base), 1, name="..\\.."), UnsafeInput, "does not lie beside it"),
        (Snapshot(base, "x", 1), InvalidInput, "parent locator"),
    ):
        (tmp_path / "top.avhdx").write_bytes(text.bytes())
        with pytest.raises(error, match=words):
            image.resolve(str(tmp_path / "top.avhdx"))
    (tmp_path / "top.avhdx").write_bytes(text.bytes()[: 5 * MIB])
    with pytest.raises(InvalidInput):
        image.resolve(str(tmp_path / "top.avhdx"))
