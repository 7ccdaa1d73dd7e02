# SPDX-License-Identifier: GPL-3.0-or-later
"""A vSphere with a VM of two disks, and a host that serves its files by SSH."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import peers
from peers import MIB, VM


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    """Two disks with data and holes."""
    folder, found = tmp_path_factory.mktemp("images"), []
    for number, size in enumerate((150, 8)):
        rng = random.Random(number)
        with open(folder / f"{number}.raw", "wb") as file:
            file.truncate(size * MIB)
            for at in range(0, size * MIB, 16 * MIB):
                file.seek(at + rng.randrange(MIB))
                file.write(rng.randbytes(3 * MIB))
        found.append(folder / f"{number}.raw")
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory, images):
    vcenter = peers.VCenter(tmp_path_factory.mktemp("vc"))
    vcenter.place(VM, images, firmware="efi", memoryMB=2048, mac="00:50:56:00:00:07", slot=192)
    yield vcenter
    vcenter.close()


@pytest.fixture
def vc(running):
    running.peer("clear")
    yield running
    running.peer("clear")
    assert running.vm(VM).snapshot is None
    assert all(state != "ready" for state in running.peer("leases") or ())


@pytest.fixture(scope="module")
def esxi(tmp_path_factory, running):
    """A host whose datastores are where ESXi has them."""
    host = peers.Esxi(tmp_path_factory.mktemp("esx"), {"LocalDS_0": running.folder_of(running.vm(VM)).parent})
    yield host
    host.close()


@pytest.fixture
def library(vc, monkeypatch, tmp_path) -> dict:
    """VDDK over the simulator's flat files."""
    monkeypatch.setenv("VDDK_FILES", vc.vddk_files(vc.vm(VM)))
    monkeypatch.setenv("VDDK_LOG", str(tmp_path / "vddk.log"))
    return peers.vddk()


@pytest.fixture
def exporters(monkeypatch, tmp_path) -> Path:
    """Programs with the names govc and ovftool; gives the file that lists their calls."""
    log = tmp_path / "calls.jsonl"
    monkeypatch.setenv("PATH", f"{peers.exporters(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("EXPORT_LOG", str(log))
    return log
