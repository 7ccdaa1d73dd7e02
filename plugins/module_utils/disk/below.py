# SPDX-License-Identifier: GPL-3.0-or-later
"""Files beside a description, or in folders below its own: nothing else is reached by what it calls them."""

from __future__ import annotations

import os

from ..core import limits
from ..core.errors import UnsafeInput
from . import vmdk


def is_plain(name: str) -> bool:
    """Whether it names a file, by way of folders or not, and cannot reach anything else."""
    try:
        return all(vmdk.plain_name(part, "") for part in name.split("/")) and name.count("/") < limits.MEMBER_DEPTH
    except UnsafeInput:
        return False


def place(folder: str, name: str, by: str) -> str:
    """Where the file of a plain name lies, which is named `by` a description. Raises UnsafeInput where a link leads to it."""
    found = folder
    for part in name.split("/")[:-1]:
        found = os.path.join(found, part)
        if os.path.islink(found):
            raise UnsafeInput(
                f"{by} names the file {name[:200]!r}, and {part} on the way to it is a link.",
                "Links are never followed; put the folder itself there.",
                path=found,
            )
    return os.path.join(found, os.path.basename(name))
