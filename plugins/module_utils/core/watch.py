# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another process still lives, told from a later one that has got its number. Source: proc_pid_stat(5)."""

from __future__ import annotations

import os

_DEAD = ("Z", "X", "x")


def mark(pid: int) -> str:
    """What a process is known by: its number, and when it began (empty where nobody tells)."""
    return f"{pid}:{_stat(pid)[1]}"


def lives(marked: str) -> bool:
    """Whether the process of a mark is still there. One that has ended, and that nobody has asked for how, is not."""
    number, dummy, began = marked.partition(":")
    pid = int(number)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, so it is there
        pass
    state, now = _stat(pid)
    return state not in _DEAD and (not began or not now or now == began)


def _stat(pid: int) -> tuple[str, str]:
    """State and start of a process; empty where they cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # its name may hold anything
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
