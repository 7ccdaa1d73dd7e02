# SPDX-License-Identifier: GPL-3.0-or-later
"""Named points between the steps of the work, at which a test can end, stop or starve a process. They do nothing otherwise.

HYPER2KVM_POINT=NAME=WHAT[:COUNT] names one, which acts when it is met for the COUNTth time. WHAT is `kill` (as kill -9 does), `stop` (until
SIGCONT comes), `wait` (for a minute), or `full` (there is no space left). HYPER2KVM_POINTS names a file that gets the name of every point that is met.
"""

from __future__ import annotations

import errno
import os
import signal
import time

_ONE, _ALL = "HYPER2KVM_POINT", "HYPER2KVM_POINTS"
_met: dict[str, int] = {}


def point(name: str) -> None:
    """A place between two steps. Raises OSError (ENOSPC) where a test wants it."""
    if _ALL in os.environ:
        with open(os.environ[_ALL], "a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    wanted, dummy, what = os.environ.get(_ONE, "").rpartition("=")
    if wanted != name:
        return
    _met[name] = _met.get(name, 0) + 1
    what, dummy, count = what.partition(":")
    if _met[name] != int(count or 1):
        return
    if what == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    if what == "wait":
        time.sleep(60)
        return
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[what])
