# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers in texts from outside.

`str.isdigit` and `\\d` believe in more digits than `int` reads, and `int` refuses a text of more than 4300 (sys.set_int_max_str_digits). So: ASCII alone,
and no more digits than 63 bits have.
"""

from __future__ import annotations

import re
from typing import Optional

from .errors import InvalidInput

SIZE = re.compile(r"(\+?)([0-9]{1,15})([KMGT]?)")  # of a disk, in bytes or powers of 1024: as a whole, or with + what is added
_DECIMAL = re.compile(r"[0-9]{1,18}")


def decimal(text: Optional[str]) -> Optional[int]:
    """The number that a text is; None for what is none, or for more than 18 digits."""
    return int(text) if text and _DECIMAL.fullmatch(text) else None


def said(text: Optional[str], what: str, path: str) -> Optional[int]:
    """A number that a description gives; None where it gives none. Raises InvalidInput for what is no number."""
    plain = (text or "").strip()
    if not plain:
        return None
    number = decimal(plain)
    if number is None:
        shown = plain if len(plain) <= 40 else f"{plain[:40]}..."
        raise InvalidInput(f"{path} says {shown!r} for {what}, which is not a number.", f"Correct it in {path}.", path=path)
    return number
