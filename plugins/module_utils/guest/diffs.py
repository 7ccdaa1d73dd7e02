# SPDX-License-Identifier: GPL-3.0-or-later
"""How changes are shown to people, within limits."""

from __future__ import annotations

import difflib
import json
from typing import Sequence

LONGEST, LONGEST_TOGETHER = 16 << 10, 128 << 10  # characters of the diff of one change, and of those of a plan
LONGEST_FILE = 16 << 20  # of a file before and after
_REG_TEXTS, _REG_NUMBERS = (1, 2, 7), (4, 11)


def registry(kind: int, content: str) -> str:
    data = bytes.fromhex(content)
    if kind in _REG_TEXTS:
        return json.dumps("|".join(part for part in data.decode("utf-16-le", "replace").split("\0") if part))
    return str(int.from_bytes(data, "little")) if kind in _REG_NUMBERS else f"hex({kind}):{content[:256]}"


def unified(before: str, after: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), old, new)
    return (
        "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)
        .encode("utf-8", "replace")
        .decode("utf-8")
    )


def cut(diffs: Sequence[str]) -> list[str]:
    """Diffs, each cut at LONGEST and all at LONGEST_TOGETHER; what is left out is in the plan."""
    kept, left = [], LONGEST_TOGETHER
    for diff in diffs:
        room = max(min(LONGEST, left), 200)
        if len(diff) > room:
            head = diff[:room]
            diff = (
                f"{head[: head.rfind(chr(10)) + 1] or head[:100] + chr(10)}({diff.count(chr(10))} lines in all; the rest is in the plan)\n"
            )
        kept.append(diff if left > 0 else "")
        left -= len(diff)
    return kept
