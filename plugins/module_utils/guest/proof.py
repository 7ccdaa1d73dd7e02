# SPDX-License-Identifier: GPL-3.0-or-later
"""A proof: the list of checks that show, from the bytes, that a guest will boot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One link of the chain from firmware to network."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Proof:
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def as_result(self) -> dict[str, Any]:
        return {"verdict": "passed" if self.holds else "failed", "checks": [asdict(check) for check in self.checks]}
