# SPDX-License-Identifier: GPL-3.0-or-later
"""One content in every format of disk images, for the tests that read them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from imagelab import KINDS, MIB, SIZE, run


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
