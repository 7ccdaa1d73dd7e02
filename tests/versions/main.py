# SPDX-License-Identifier: GPL-3.0-or-later
"""Sanity and the tests beside this file with every ansible-core that the collection claims; what held for these files is not done again.

With --ends only the oldest and the newest, and of sanity the tests whose verdicts differ from core to core.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import cores

# What reads documentation and argument specifications, and imports, with the core's own code, and the rules of style that changed between cores.
DIFFERING = ("action-plugin-docs", "ansible-doc", "import", "pep8", "runtime-metadata", "validate-modules")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ends", action="store_true", help="only the oldest and the newest, for CI")
    parser.add_argument("--only", choices=("sanity", "tests"), help="one of the two")
    parser.add_argument("core", nargs="*", choices=[*cores.CORES, []], help="these instead of all")
    asked = parser.parse_args()
    lines = []
    for core in asked.core or (cores.ENDS if asked.ends else cores.CORES):
        programs = cores.environment(core)
        steps = {
            "sanity": ["tests/run-sanity", *(f"--test={name}" for name in DIFFERING if asked.ends)],
            "tests": [sys.executable, "-m", "pytest", "-n", "2", "tests/versions"],
        }
        for name, command in steps.items():
            if asked.only in (None, name):
                mark = cores.HOME / f"{core}-{name}{'-short' if asked.ends and name == 'sanity' else ''}"
                lines.append(f"ansible-core {core}: {name} {_step(command, core, str(programs), mark)}")
    print("\n".join(lines))
    return any(" failed" in line for line in lines)


def _step(command: list[str], core: str, programs: str, mark: Path) -> str:
    state = _state()
    if mark.exists() and mark.read_text() == state:
        return "held before"
    began = time.monotonic()
    print(f"ansible-core {core}: {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=cores.ROOT, env={**os.environ, "ANSIBLE_CORE": core, "ANSIBLE_PROGRAMS": programs}, check=False)
    if done.returncode == 0 and state == _state():
        mark.write_text(state)
    return f"{'failed' if done.returncode else 'holds'} after {time.monotonic() - began:.0f} s"


def _state() -> str:
    """A digest of every file of the collection, with what git does not know yet."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=cores.ROOT, check=True, capture_output=True
    ).stdout.split(b"\0")
    digest = hashlib.sha256()
    for name in sorted(set(filter(None, names))):
        path = os.path.join(os.fsencode(cores.ROOT), name)
        digest.update(name + b"\0")
        if os.path.isfile(path):
            with open(path, "rb") as file:
                digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
