# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the collection, with one more thing of a kind in it: one new file, one changed line, as git sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import harness

PARTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")
UTILS = Path("plugins", "module_utils")
_COMMIT = ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "as it is")


class Copy:
    """The collection below `folder`, as Ansible finds it there; nothing else is changed of it than by `add`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "ansible_collections" / "hyper2kvm" / "migration"
        self.root.mkdir(parents=True)
        for name in PARTS:
            if (harness.ROOT / name).is_dir():
                shutil.copytree(harness.ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(harness.ROOT / name, self.root)
        self._git("init", "-q")
        self._git("add", ".")
        self._git(*_COMMIT)

    def add(self, new: str, to: str, registry: str, line: str, with_it: str) -> None:
        """Drop a file of tests/support among the module_utils, and change one line of a registry."""
        shutil.copy(harness.ROOT / "tests" / "support" / new, self.root / UTILS / to)
        path = self.root / UTILS / registry
        before = path.read_text()
        assert before.count(line) == 1
        path.write_text(before.replace(line, with_it))
        self._git("add", "-N", ".")
        changed = self._git("diff", "--numstat", "--diff-filter=M").splitlines()
        added = self._git("diff", "--name-only", "--diff-filter=A").splitlines()
        assert changed == [f"1\t1\t{UTILS / registry}"] and added == [str(UTILS / to)], (changed, added)

    def module(self, called: str, *flags: str, **arguments: object) -> dict:
        """What a module answers, sent as Ansible sends it: with what it sees imported."""
        done = self._run("ansible", "localhost", "-m", f"hyper2kvm.migration.{called}", "-a", json.dumps(arguments), *flags)
        assert "localhost | " in done.stdout and "=> " in done.stdout, done.stdout + done.stderr
        how, dummy, answer = done.stdout.partition("=> ")
        return {"failed": "FAILED" in how, **json.loads(answer)}

    def playbook(self, name: str, hosts: Path, *arguments: str) -> str:
        """What a playbook prints that ends well."""
        done = self._run("ansible-playbook", f"hyper2kvm.migration.{name}", "-i", str(hosts), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        found = {"ANSIBLE_COLLECTIONS_PATH": str(self.folder), "PYTHONPATH": str(self.folder), "ANSIBLE_NOCOLOR": "1"}
        argv = [harness.BIN / "python", harness.BIN / program, *arguments]
        return subprocess.run(argv, cwd=self.folder, text=True, capture_output=True, check=False, env={**os.environ, **found})

    def _git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.root, text=True, capture_output=True, check=True).stdout
