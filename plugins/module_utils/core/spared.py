# SPDX-License-Identifier: GPL-3.0-or-later
"""What this process never writes to: the files that it has read as a source, or that a record says a VM was fetched from.

A description may call a disk's file what we call a record, and a source may lie where the results go. Whoever writes asks here, whatever it writes.
"""

from __future__ import annotations

import contextlib
import os
from typing import Iterable

from .errors import InvalidInput

_SPARED: dict[str, None] = {}


def add(paths: Iterable[str]) -> None:
    """These files are of a source."""
    _SPARED.update(dict.fromkeys(map(os.path.abspath, paths)))


def paths() -> tuple[str, ...]:
    """All that is spared."""
    return tuple(_SPARED)


def require(*names: str) -> None:
    """Raise InvalidInput where a file that is about to be written or removed is one of a source, by whatever name."""
    for name in names:
        with contextlib.suppress(OSError):  # nothing is there
            found = os.lstat(name)
            for path in _SPARED:
                if _is(found, path):
                    raise replaced(name, path)


def replaced(name: str, source: str) -> InvalidInput:
    """The error for a file that is about to be written and is one of a source."""
    return InvalidInput(
        f"{name} is {source}{'' if os.path.abspath(name) == source else ' by another name'}, which the VM comes from, and would be replaced.",
        "The source is never written. Name another directory for results and records (migrate_output_dir), give them another name (migrate_name), or move"
        " the source out of it.",
        path=name,
        source=source,
    )


def _is(found: os.stat_result, path: str) -> bool:
    try:
        return os.path.samestat(found, os.stat(path))
    except OSError:  # a source that is gone
        return False
