# SPDX-License-Identifier: GPL-3.0-or-later
"""A server is used when it listens, not when its socket has a name: between the two a starved host may have seconds."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import encrypted, qemu_img, tap
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.content import Content
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import nbdkit

SIZE = 1 << 20
# The real program, as it is where the host stops it between bind(2) and listen(2).
LATE = """#!{python}
import os, socket, sys, time
path = next(word.partition("--socket=")[2] or following for word, following in zip(sys.argv, sys.argv[1:]) if word == "--unix" or "--socket=" in word)
early = socket.socket(socket.AF_UNIX)
early.bind(path)
time.sleep(1)
os.unlink(path)
os.execv({real!r}, sys.argv)
"""


@pytest.fixture
def late(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name in ("qemu-nbd", "nbdkit"):
        path = tmp_path / "bin" / name
        path.write_text(LATE.format(python=sys.executable, real=shutil.which(name)))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_a_disk_is_tapped(late, tmp_path):
    data = os.urandom(SIZE)
    (tmp_path / "disk").write_bytes(data)
    expected = Content(SIZE)
    expected.part(0, memoryview(data))
    assert tap.digest(str(tmp_path / "disk"), "raw", SIZE) == expected.digest()


def test_an_encrypted_disk_is_opened(late, tmp_path):
    plain, image, key = (str(tmp_path / name) for name in ("plain", "image", "key"))
    qemu_img.create_empty(plain, SIZE)
    Path(key).write_text("only this opens it")
    qemu_img.convert(plain, "raw", image, "qcow2", ["encrypt.iter-time=10"], False, Silent(), SIZE, 1 << 30, key)
    with encrypted.opened([(image, "qcow2")], "only this opens it") as ((overlay, fmt),):
        assert qemu_img.map_allocated(overlay, fmt) <= SIZE


def test_nbdkit_serves(late):
    with nbdkit.export("memory", {"size": str(SIZE)}, {}) as export:
        assert qemu_img.info(export.uri, "raw").virtual_size == SIZE
