# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration has left in its report for the steps after it: the record of report.json, read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Mapping

from ..core import files
from ..core.data import from_data
from ..core.errors import InvalidInput, UnsafeInput
from ..core.manifest import of_today
from .record import FORMAT, Migration

_AGAIN = "Run migrate.yml for this VM first; if it has run, let it run again, which writes the report anew."


@dataclass(frozen=True)
class Recorded:
    """A report, and the same as it was written."""

    done: Migration
    data: Mapping[str, Any]

    def as_result(self) -> dict[str, Any]:
        """The VM's name, its source as described, what inspection found out, and its disks (path, format, ...)."""
        return {name: self.data[name] for name in ("vm", "source", "facts", "disks")}


def read(path: str) -> Recorded:
    """The record in a report.json. Raises InvalidInput for a file that is missing, or is no report of this version."""
    try:
        text = files.record(path)
    except UnsafeInput as error:
        raise _refused(path, "it is not a regular file") from error
    except InvalidInput as error:
        raise _refused(path, error.msg) from error
    if text is None:
        raise _refused(path, "it is not there")
    try:
        data = of_today(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"it is not JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _refused(path, f"its format is not {FORMAT}")
    try:
        done = from_data(Migration, data, "", _AGAIN)
    except InvalidInput as error:
        raise _refused(path, error.msg) from error
    if not done.disks:
        raise _refused(path, "it records no converted disk")
    return Recorded(done, data)


def _refused(path: str, why: str) -> InvalidInput:
    return InvalidInput(f"The report {path} cannot be used: {why.rstrip('.')}.", _AGAIN, path=path)
