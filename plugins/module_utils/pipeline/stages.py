# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages before have recorded in a VM's work directory, for a stage that runs alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ..core.errors import InvalidInput
from ..core.manifest import Identity, Manifest
from ..disk import staging
from .record import BOOT, CONVERT, FIX

BOOTED = "boot.manifest.json"  # in the directory of the results
_CONVERTED = "convert.json"


@dataclass(frozen=True)
class Known:
    """The VM as its source describes it, and what was found out of its guest; nothing of what was not done."""

    vm: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class SoFar(Known):
    """With its results."""

    disks: tuple[dict[str, Any], ...]


def known(work_dir: str) -> Known:
    """What FETCH and FIX have left that still holds."""
    base, fixed = staging.fetched(work_dir), Manifest.load(os.path.join(work_dir, staging.FIXED), "fix", staging.REPAIRING, form=FIX)
    facts = fixed.result.get("facts") if base is not None and fixed is not None and fixed.holds() else None
    return Known(base.result if base is not None else {}, facts or {})


def converted(work_dir: str, overlays: Sequence[Identity], disks: Sequence[dict[str, Any]]) -> None:
    """Record the results, and the overlays that they were made from."""
    record, path = Manifest("convert", tuple(overlays), {}, (), {"disks": list(disks)}), os.path.join(work_dir, _CONVERTED)
    if Manifest.load(path, "convert", form=CONVERT) != record:
        record.save(path)


def so_far(work_dir: str) -> SoFar:
    """Raises InvalidInput for a VM that has not come as far as CONVERT, or whose repair is newer than its results."""
    staging.require_fetched(work_dir)
    made = _made(work_dir)
    if made is None:
        raise InvalidInput(f"{work_dir} tells of no results.", "Run CONVERT first (--tags convert).", path=work_dir)
    if not all(overlay.holds() for overlay in made.inputs):
        raise InvalidInput(
            "The disks have been repaired again since the results were written.", "Run CONVERT again (--tags convert).", path=work_dir
        )
    before = known(work_dir)
    return SoFar(before.vm, before.facts, tuple(made.result["disks"]))


def results(work_dir: str) -> list[dict[str, Any]]:
    """The results that were made from the disks as they are repaired now; none where there are no such."""
    made = _made(work_dir)
    return list(made.result["disks"]) if made is not None and all(overlay.holds() for overlay in made.inputs) else []


def booted(directory: str) -> dict[str, Any]:
    """What the boot test there said, if its disks are still as they were then."""
    test = Manifest.load(os.path.join(directory, BOOTED), "boot", form=BOOT)
    return test.result if test is not None and all(disk.holds() for disk in test.inputs) else {}


def _made(work_dir: str) -> Optional[Manifest]:
    return Manifest.load(os.path.join(work_dir, _CONVERTED), "convert", form=CONVERT)
