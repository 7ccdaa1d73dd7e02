# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that multipath gives to disks, by their World Wide Identifiers.

Source: multipath.conf(5) (alias, user_friendly_names), multipath(8) (the files bindings and wwids).
"""

from __future__ import annotations

import re
from typing import Iterator

_BLOCK = re.compile(r"(?<![\w-])multipath\s*\{([^{}]*)\}")
_SETTING = re.compile(r"^[ \t]*(wwid|alias)[ \t]+\"?([^\s\"#!]+)", re.MULTILINE)


def names(bindings: str, wwids: str, configuration: str) -> Iterator[tuple[str, str]]:
    """(name, WWID) of every disk that these texts speak of: the administrator's alias, a friendly name, and the WWID itself."""
    for block in _BLOCK.findall(configuration):
        values = dict(_SETTING.findall(block))
        if len(values) == 2:
            yield values["alias"], values["wwid"]
    for line in bindings.splitlines():
        fields = line.split()
        if len(fields) >= 2 and not line.startswith("#"):
            yield fields[0], fields[1]
    for line in wwids.splitlines():
        if line.startswith("/"):
            yield line.strip().strip("/"), line.strip().strip("/")
