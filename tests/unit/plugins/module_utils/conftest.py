# SPDX-License-Identifier: GPL-3.0-or-later
"""What many tests read: one content in every format of disk images, and the folder of a driver ISO."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import signlab
import winlab
from imagelab import KINDS, MIB, SIZE, run

from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import roots


@pytest.fixture(autouse=True)
def pinned(request, monkeypatch):
    """The vendor of the stand-ins counts as Microsoft where there are any."""
    if hasattr(request.module, "winlab"):
        monkeypatch.setattr(roots, "ROOTS", (*roots.ROOTS, signlab.vendor_root()))


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> Path:
    """A disk with data, holes, and something in its last sector."""
    path = tmp_path_factory.mktemp("content") / "content.raw"
    rng = random.Random(3)
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for at in (0, 3 * MIB + 4096, 20 * MIB - 512, SIZE - 512):
            file.seek(at)
            file.write(rng.randbytes(512 if at == SIZE - 512 else 70_000))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory, content) -> Path:
    """The same content in every format."""
    folder = tmp_path_factory.mktemp("images")
    for name, (fmt, options) in KINDS.items():
        run("convert", "-f", "raw", "-O", fmt, *(["-o", options] if options else []), content, folder / name)
    return folder


@pytest.fixture(scope="module")
def virtio_win(tmp_path_factory) -> str:
    """Drivers in the form of virtio-win, for both machines and several releases."""
    machines = ("x86_64", "i686")
    return str(
        winlab.driver_tree(tmp_path_factory.mktemp("virtio-win"), dict.fromkeys(("xp", "w7", "w8.1", "w10", "w11", "2k22"), machines))
    )
