# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration has left in its report for the steps after it: the record of report.json, read strictly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Mapping

from ..core import files, formerly
from ..core.errors import InvalidInput, UnsafeInput
from .report import FORMAT

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
        text = files.record(path)
    except UnsafeInput as error:
        raise _refused(path, "it is no regular file") from error
    except InvalidInput as error:
        raise _refused(path, error.msg) from error
    if text is None:
        raise _refused(path, "it is not there")
    try:
        data = formerly.record(json.loads(text))
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
