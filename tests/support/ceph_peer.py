# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph on the loopback: one monitor, and one daemon that keeps objects in memory. Without keys, since the monitor is nobody else's."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import peers

POOL = "vms"
NOTED = 1  # seconds in which further writes to an image are not noted; Ceph's default is 60


class Ceph:
    """A cluster in `folder`, which others can read, with a pool of images."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "ceph.conf"
        address = f"[v2:127.0.0.1:{peers.free_port()}]"
        id_, disk = str(uuid.uuid4()), str(uuid.uuid4())
        for name in ("mon", "osd"):
            (folder / name).mkdir()
        none = "".join(f"auth {kind} required = none\n" for kind in ("cluster", "service", "client"))
        self.conf.write_text(
            f"[global]\nfsid = {id_}\nmon host = {address}\npublic network = 127.0.0.0/8\n{none}run dir = {folder}\nlog file = {folder}/$name.log\n"
            f"mon data = {folder}/mon\nosd data = {folder}/osd\nosd objectstore = memstore\nmemstore device bytes = {16 << 30}\n"
            "osd pool default size = 1\nosd pool default min size = 1\nmon allow pool size one = true\nosd pool default pg autoscale mode = off\n"
            f"mon data avail warn = 1\nmon data avail crit = 0\n[client]\nadmin socket =\nlog file =\nrbd mtime update interval = {NOTED}\n"
        )
        self.env = {**os.environ, "CEPH_CONF": str(self.conf)}
        self.daemons: list[subprocess.Popen] = []
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", id_, str(folder / "map"))
        root = ["--setuser", "root", "--setgroup", "root"]
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", str(folder / "map"), *root)
        self._start(folder, "ceph-mon", "-i", "a", "-f", *root)
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk, *root)
        self._start(folder, "ceph-osd", "-i", "0", "-f", *root)
        self._run("ceph", "osd", "pool", "create", POOL, "8")
        self._run("rbd", "pool", "init", POOL)

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, env=self.env, timeout=120)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def _start(self, folder: Path, *argv: str) -> None:
        with open(folder / f"{argv[0]}.out", "wb") as log:
            self.daemons.append(subprocess.Popen(argv, stdout=log, stderr=log, env=self.env))

    def rbd(self, *argv: str) -> str:
        return self._run("rbd", *argv)

    def image(self, name: str, size: int) -> str:
        """A new image of so many bytes. Gives its name for qemu."""
        self.rbd("create", "--size", f"{size}B", f"{POOL}/{name}")
        return f"rbd:{POOL}/{name}:conf={self.conf}"

    def content(self, name: str) -> bytes:
        return subprocess.run(
            ["rbd", "export", "--no-progress", f"{POOL}/{name}", "-"], check=True, capture_output=True, env=self.env, timeout=120
        ).stdout

    def close(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.kill()
            daemon.wait()
