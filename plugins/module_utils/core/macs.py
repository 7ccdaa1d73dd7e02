# SPDX-License-Identifier: GPL-3.0-or-later
"""MAC addresses, in one form everywhere: six pairs of digits in lower case with colons between them."""

from __future__ import annotations

import re
from typing import Optional

IN_TEXT = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")  # as the files of Linux guests have them
_SPELT = re.compile(r"[0-9a-f]{12}|[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}")


def canonical(text: Optional[str]) -> Optional[str]:
    """From any spelling (colons, the dashes of Windows, Cisco's dots, none); None for what is not a MAC address."""
    plain = (text or "").strip().lower()
    if _SPELT.fullmatch(plain) is None:
        return None
    digits = re.sub(r"[:.-]", "", plain)
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def of_card(text: Optional[str]) -> Optional[str]:
    """The same of what a card can have: neither zeros, which say that none was given, nor the address of a group (IEEE 802, the first bit)."""
    mac = canonical(text)
    return None if mac is None or mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1 else mac
