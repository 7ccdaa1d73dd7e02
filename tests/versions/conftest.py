# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of this directory run with the ansible-core that tests/versions/main.py names, else with the oldest and the newest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "support")]
import cores
import harness
import peers
from expressions import Marked

Run = Callable[..., "subprocess.CompletedProcess[str]"]
CORE = os.environ.get("ANSIBLE_CORE")


@pytest.fixture(scope="session", params=[CORE] if CORE else cores.ENDS)
def run(request) -> Run:
    """What runs a program of this ansible-core, as a user of the checkout would; its errors are part of its output."""
    programs = cores.environment(request.param)
    base = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(harness.ROOT / ".venv" / "collections"),
        "VMWARE_USER": peers.USER,
        "VMWARE_PASSWORD": peers.PASSWORD,
    }

    def started(program: str, *arguments: object, apart: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / program, *map(str, arguments)], cwd=harness.ROOT, text=True, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE if apart else subprocess.STDOUT, env={**os.environ, **base, **env},
        )  # fmt: skip

    return started


@pytest.fixture
def marked(tmp_path, monkeypatch) -> Iterator[Marked]:
    """Expressions for the fields of this test; none may have been carried out at its end."""
    made = Marked(tmp_path / "carried-out")
    monkeypatch.setenv("MARKS", str(tmp_path / "carried-out"))
    yield made
    assert made.carried_out() == []
