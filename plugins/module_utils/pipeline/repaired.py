# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a guest that was looked into or repaired, and the plan of a repair as it is kept in a file."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

from ..core import files, limits
from ..core.errors import InvalidInput
from ..guest.plan import Plan
from .kinds import KINDS
from .repair import GuestReport, masked
from .stage import Result, Run

_LONGEST_WARNING, _LONGEST_WARNINGS = 500, 2500  # characters of a concern, and of all, among the warnings


def answer(report: GuestReport, run: Run, plan_file: str = "", plan_too: bool = False) -> Result:
    """What every session answers. The plan is in it with `plan_too` alone, since it holds files of the guest; else only where it is kept."""
    result = of_record(report.as_result(), plan_file)
    if plan_too:
        result["plan"] = report.plan.shown().as_data()
    if run.diff:
        result["diff"] = [*({"prepared": f"grown: {line}\n"} for line in report.grown), *report.plan.diff()]
    said = 0
    for number, concern in enumerate(report.plan.concerns):
        text = masked(str(concern))[:_LONGEST_WARNING]
        said += len(text)
        if said > _LONGEST_WARNINGS:
            run.warn(f"There are {len(report.plan.concerns) - number} more concerns; the report of the migration has all of them.")
            break
        run.warn(text)
    return result


def of_record(record: Mapping[str, Any], plan_file: str) -> Result:
    """An answer from what a session found, or an earlier one has recorded."""
    changes = [{key: change[key] for key in ("kind", "path", "reason")} for change in record.get("changes") or ()]
    kept = {"plan_file": plan_file} if plan_file else {}
    return {**{key: value for key, value in record.items() if key != "plan"}, "changes": changes, **kept}


def load_plan(path: str, digest: str = "") -> Plan:
    """The plan in a file, whose SHA-256 digest is `digest` where one is given. Raises InvalidInput."""
    content = files.read(path, limits.PLAN, "The plan")
    if digest and hashlib.sha256(content).hexdigest() != digest.lower():
        raise InvalidInput(f"{path} is not the plan that was reviewed: its digest differs.", "Make a new plan, and review it.", path=path)
    try:
        return Plan.from_data(json.loads(content), KINDS)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not a plan: {error}.", "Make a new plan with guest_plan.", path=path) from error
