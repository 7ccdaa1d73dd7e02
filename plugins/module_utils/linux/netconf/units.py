# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd that are made from a template for an interface or a profile, NAME@INSTANCE.service, and started at boot.

Source: systemd.unit(5), STRING ESCAPING FOR INCLUSION IN UNIT NAMES; systemd-escape(1).
"""

from __future__ import annotations

import re

from ...guest.protocol import Guest, glob

_DIRECTORY = "/etc/systemd/system"
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|-")


def started(guest: Guest, template: str) -> dict[str, str]:
    """The instances of a template that anything wants, as their units know them, and the path of what says so."""
    units = [unit for wants in glob(guest, _DIRECTORY, ".wants") for unit in glob(guest, wants, ".service", f"{template}@")]
    return {_unescaped(unit.rsplit("/", 1)[1][len(template) + 1 : -len(".service")]): unit for unit in units}


def _unescaped(instance: str) -> str:
    """A slash is written as a dash, and what a unit's name cannot have, a dash of its own too, as the bytes of UTF-8 in hexadecimal digits."""
    raw = instance.encode("utf-8", "surrogateescape").decode("latin-1")  # a character for each byte
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else "/", raw)
    return plain.encode("latin-1").decode("utf-8", "surrogateescape")
