# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM of a package is meant, and in which of its configurations: what stands behind a # after the name of an .ova or .ovf, or of what it is packed in.

`app.ova#web01`, `app.ova#web01,config=large`, `app.zip#config=large`. A comma, an equals sign, a slash, # and % within a name are written as in a URL (%2C).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from .errors import InvalidInput

_CHOSEN = re.compile(r"(.+?\.(?:ova|ovf|zip|tar|tgz|txz|tbz2|gz|xz|bz2))#([^/]*)", re.IGNORECASE)
_CONFIGURATION = "config="


@dataclass(frozen=True)
class Choice:
    """The VM by its id or its name, and the configuration by its id; empty where nothing is chosen."""

    system: str = ""
    configuration: str = ""

    def __str__(self) -> str:
        """As it is written behind a name, the # with it; empty for no choice."""
        configuration = f"{_CONFIGURATION}{plain(self.configuration)}" if self.configuration else ""
        parts = [part for part in (plain(self.system), configuration) if part]
        return f"#{','.join(parts)}" if parts else ""


def plain(name: str) -> str:
    """A name as it is written in a choice: people's letters and blanks as they are."""
    return "".join(quote(char, safe="") if char in "%,=#/" or ord(char) < 32 else char for char in name)


def parted(source: str) -> tuple[str, Choice]:
    """The file that a source names, and what is chosen of it. A file that has such a name itself is that file.

    Raises InvalidInput for a choice that cannot be read.
    """
    found = _CHOSEN.fullmatch(source)
    if found is None or os.path.lexists(source):
        return source, Choice()
    said: dict[str, str] = {}
    for part in filter(None, found[2].split(",")):
        kind, name = ("configuration", part[len(_CONFIGURATION) :]) if part.startswith(_CONFIGURATION) else ("system", part)
        if kind in said or (kind == "system" and "=" in part):
            raise InvalidInput(
                f"What {source} chooses of its package cannot be read: {part[:80]!r}.",
                "Write the name of one VM, and one configuration where there are several: app.ova#web01,config=large (a comma in a name as %2C, = as %3D).",
                source=source,
            )
        said[kind] = unquote(name)
    return found[1], Choice(said.get("system", ""), said.get("configuration", ""))


def file_of(source: str) -> str:
    """The file that a source names."""
    return parted(source)[0]
