# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host's hardware virtualisation really runs a kernel.

A /dev/kvm that opens proves nothing: nested hosts exist where the firmware starts under it and the kernel then hangs. So a real
kernel is started once per host boot, with a deadline of seconds, and the answer is remembered.
"""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Optional

from . import atomic, cache, modes
from .errors import MigrationError
from .process import Limits, run

_DEADLINE = 8.0  # seconds; a kernel that runs gets to its missing root in about one
_ALIVE = re.compile(r"not syncing: VFS|Run /init as init|Freeing unused kernel|No working init found")


def accelerator() -> str:
    """ "kvm" where it runs a kernel, else "tcg". The environment variable HYPER2KVM_ACCEL decides when it is set."""
    forced = os.environ.get("HYPER2KVM_ACCEL")
    if forced in ("kvm", "tcg"):
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    path, key = _memory(), _boot_id()
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        if known["boot"] == key:
            return str(known["accelerator"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    answer = "kvm" if _runs_a_kernel() else "tcg"
    try:
        modes.make_directory(os.path.dirname(path), above=modes.PRIVATE)
        atomic.write_json(path, {"boot": key, "accelerator": answer})
    except OSError:
        pass  # not remembered: the next process probes again
    return answer


def _runs_a_kernel() -> bool:
    kernel = _kernel()
    if kernel is None:
        return False
    argv = [
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
        "-kernel",
        kernel,
        "-append",
        "console=ttyS0 panic=-1",
    ]
    said = bytearray()
    try:
        run(argv, Limits(timeout=_DEADLINE), check=False, on_output=said.extend)
    except MigrationError:
        pass
    return bool(_ALIVE.search(said.decode("ascii", "replace")))


def _kernel() -> Optional[str]:
    found = glob.glob(f"/var/tmp/.guestfs-{os.getuid()}/appliance.d/kernel") + sorted(glob.glob("/boot/vmlinuz-*"), reverse=True)
    return next((path for path in found if os.access(path, os.R_OK)), None)


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _memory() -> str:
    return os.path.join(cache.base(), "accelerator.json")
