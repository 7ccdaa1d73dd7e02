# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration has left in its report for the steps after it: the record of report.json, read strictly."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from typing import Any, Mapping

from ..core.errors import InvalidInput
from .report import FORMAT

MOST = 64 << 20  # bytes
_NEEDED: Mapping[str, type] = {"vm": str, "source": dict, "facts": dict, "disks": list}
_AGAIN = "Run migrate.yml for this VM first; if it has run, let it run again, which writes the report anew."


@dataclass(frozen=True)
class Recorded:
    """The VM's name, its source as described, what inspection found out, and its disks (path, format, ...)."""

    vm: str
    source: dict[str, Any]
    facts: dict[str, Any]
    disks: list[dict[str, Any]]

    def as_result(self) -> dict[str, Any]:
        return asdict(self)


def read(path: str) -> Recorded:
    """The record in a report.json. Raises InvalidInput for a file that is missing, or is no report of this version."""
    try:
        # A pipe in its place would be waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _refused(path, "it is no regular file")
            text = file.read(MOST + 1)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    if len(text) > MOST:
        raise _refused(path, f"it is larger than {MOST >> 20} MiB")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"it is no JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _refused(path, f"it has not the format {FORMAT}")
    for name, kind in _NEEDED.items():
        if not isinstance(data.get(name), kind):
            raise _refused(path, f"{name} is missing or is not what it should be")
    disks = data["disks"]
    if not all(isinstance(disk, dict) and isinstance(disk.get("path"), str) and isinstance(disk.get("format"), str) for disk in disks):
        raise _refused(path, "its disks have no path or no format")
    if not disks:
        raise _refused(path, "it tells of no converted disk")
    return Recorded(data["vm"], data["source"], data["facts"], disks)


def _refused(path: str, why: str) -> InvalidInput:
    return InvalidInput(f"The report {path} cannot be used: {why}.", _AGAIN, path=path)
