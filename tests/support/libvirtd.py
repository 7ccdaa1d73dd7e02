# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's daemons without systemd, shared by parallel test processes: the first starts them, the last ends them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

import harness

sys.path.insert(0, str(harness.BIN.parent / "collections"))
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.accel import accelerator

URI = "qemu:///system"
_LOCK = Path("/run/lock/hyper2kvm-libvirtd")
_PIDS = Path("/run/hyper2kvm-libvirtd.pids")


def virsh(*arguments: str) -> str:
    """What virsh says."""
    return subprocess.run(["virsh", "-c", URI, *arguments], check=True, capture_output=True, text=True).stdout


def answers() -> bool:
    return subprocess.run(["virsh", "-c", URI, "version"], check=False, capture_output=True).returncode == 0


def _start() -> None:
    # libvirt asks qemu what KVM can do, and where KVM hangs it waits for minutes; so it sees none there.
    hidden = [] if accelerator() == "kvm" else ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /dev/kvm && exec "$@"', "sh"]
    pids = []
    for name in ("virtlogd", "libvirtd"):
        with open(f"/tmp/hyper2kvm-{name}.log", "wb") as log:
            pids.append(subprocess.Popen([*hidden, name], stdout=log, stderr=log, start_new_session=True).pid)
    _PIDS.write_text(" ".join(map(str, pids)))
    deadline = time.monotonic() + 240
    while not answers():
        assert time.monotonic() < deadline, Path("/tmp/hyper2kvm-libvirtd.log").read_text()
        time.sleep(0.2)


def _end() -> None:
    for pid in map(int, reversed(_PIDS.read_text().split())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 15)
    _PIDS.unlink()


@contextlib.contextmanager
def running() -> Iterator[None]:
    """libvirt for the time of a block; one that runs already is used as it is."""
    with open(_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answers():
            _start()
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _PIDS.exists():
                    _end()


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory that the user of libvirt's qemu can reach."""
    folder = Path(tempfile.mkdtemp(prefix="hyper2kvm-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
