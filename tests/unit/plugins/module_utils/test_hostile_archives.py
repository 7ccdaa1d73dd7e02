# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that are made to take memory, time or space: refused with a remedy, soon, in little memory, and nothing of them stays."""

from __future__ import annotations

import os

import pytest
from hostile_archives import HOSTILE
from promptly import PEAK, alone

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import archive, ovf


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_soon_in_little_memory_and_nothing_stays(tmp_path, name, monkeypatch):
    monkeypatch.setattr(limits, "UNPACKED_FREE", 256 * limits.MIB)
    monkeypatch.setattr(limits, "UNPACKED_RATIO", 100)
    path = HOSTILE[name](tmp_path)

    def work():
        try:
            archive.unpack(str(path), str(tmp_path / "w"), Silent())
        except MigrationError as error:
            assert error.hint
            raise

    said, memory = alone(work)
    assert said.startswith(("InvalidInput", "UnsafeInput")), said
    assert memory < PEAK, f"{memory >> 20} MiB"
    assert os.listdir(tmp_path / "w") == []
    path.unlink()


@pytest.mark.parametrize("name", [name for name in HOSTILE if HOSTILE[name].__qualname__.startswith(("tar.", "claims."))])
def test_an_appliance_of_the_kind_is_refused_too(tmp_path, name):
    path = HOSTILE[name](tmp_path).rename(tmp_path / "vm.ova")
    said, memory = alone(lambda: ovf.read(str(path)))
    assert said.startswith(("InvalidInput", "UnsafeInput")) and memory < PEAK, said
    path.unlink()
