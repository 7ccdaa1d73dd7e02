# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's daemons without systemd, for one test process at a time."""

from __future__ import annotations

import contextlib
import fcntl
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
_NO_KVM = Path("/dev/hyper2kvm-no-kvm")
_LOCK = Path("/run/lock/hyper2kvm-libvirtd")


def virsh(*arguments: str) -> str:
    """What virsh says."""
    done = subprocess.run(["virsh", "-c", URI, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers() -> bool:
    return subprocess.run(["virsh", "-c", URI, "version"], check=False, capture_output=True).returncode == 0


def _started() -> list[subprocess.Popen]:
    # libvirt asks qemu what KVM can do, and where KVM hangs it waits for minutes. A device that qemu's user may not open is none to it; one
    # that can be opened and is no KVM would have it ask again for each domain.
    closed = "test -e $0 || mknod -m 0 $0 c 1 3; mount --bind $0 /dev/kvm && exec $1"
    hidden = [] if accelerator() == "kvm" else ["unshare", "--mount", "sh", "-c", closed, str(_NO_KVM)]
    daemons = []
    for name in ("virtlogd", "libvirtd"):
        with open(f"/tmp/hyper2kvm-{name}.log", "wb") as log:
            daemons.append(subprocess.Popen([*hidden, name], stdout=log, stderr=log, start_new_session=True))
    deadline = time.monotonic() + 600
    while not answers():
        assert time.monotonic() < deadline, Path("/tmp/hyper2kvm-libvirtd.log").read_text()
        time.sleep(0.2)
    return daemons


@contextlib.contextmanager
def running() -> Iterator[None]:
    """libvirt for the time of a block, which no other process has then; one that runs already is used as it is."""
    with open(_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        daemons = [] if answers() else _started()
        try:
            yield
        finally:
            for daemon in reversed(daemons):
                daemon.kill()  # asked to end it takes its time, answers meanwhile, and is in the way of the next
                daemon.wait()
            _NO_KVM.unlink(missing_ok=True)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory that the user of libvirt's qemu can reach."""
    folder = Path(tempfile.mkdtemp(prefix="hyper2kvm-", dir="/var/tmp"))
    folder.chmod(0o711)  # as /var/lib/libvirt/images is
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
