# SPDX-License-Identifier: GPL-3.0-or-later
"""Every ansible-core that the collection claims, each in an environment of its own below build/versions."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "versions"
# With the Pythons that each takes on the controller, the best first (ansible-core support matrix).
CORES = {
    "2.16": ("3.12", "3.11", "3.10"),
    "2.17": ("3.12", "3.11", "3.10"),
    "2.18": ("3.12", "3.13", "3.11"),
    "2.19": ("3.12", "3.13", "3.11"),
    "2.20": ("3.12", "3.13", "3.14"),
    "2.21": ("3.12", "3.13", "3.14"),
}
ENDS = (min(CORES), max(CORES))
_MORE = ("pyvmomi>=8,<10",)  # of the inventory plugin


def python(core: str) -> str:
    """An interpreter for this core: on the PATH, or of pyenv."""
    for version in CORES[core]:
        of_pyenv = sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python3")))
        for found in filter(None, (shutil.which(f"python{version}"), *of_pyenv)):
            # A shim of pyenv is on the PATH even where its version is not chosen.
            if subprocess.run([found, "-c", "import ensurepip"], check=False, capture_output=True).returncode == 0:
                return found
    raise SystemExit(f"ansible-core {core} needs Python {' or '.join(CORES[core])}: install one with its venv module, or with pyenv.")


def environment(core: str) -> Path:
    """The directory with the programs of this core; it is built when it is missing, or was built of something else."""
    wanted = (f"ansible-core~={core}.0", *_MORE)
    home = HOME / core
    stamp = home / f".ready-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / f"{core}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            subprocess.run([python(core), "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted], check=True)
            stamp.touch()
    return home / "bin"
