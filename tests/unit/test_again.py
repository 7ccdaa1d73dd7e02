# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that are tried again: what fails each time fails, what fails once passes with a warning, and no other error is taken for one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
calls = []

@pytest.mark.again(3)
@pytest.mark.parametrize("fails", [0, 1, 2, 3])
def test_assertion(fails, tmp_path):
    calls.append(fails)
    assert calls.count(fails) > fails

@pytest.mark.again(3)
def test_error():
    calls.append("error")
    if calls.count("error") < 2:
        raise ValueError("ours")

def test_unmarked():
    calls.append("once")
    assert calls.count("once") > 1
"""


def test_what_fails_each_time_fails(tmp_path):
    (tmp_path / "support").mkdir()
    for name in ("conftest.py", "support/rotation.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / name)
    (tmp_path / "test_tries.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1].startswith("3 failed, 3 passed, 5 warnings"), done.stdout
    assert "test_assertion[2] is tried again" in done.stdout
