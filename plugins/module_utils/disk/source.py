# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the user wrote in migrate_source to a described, checked VM."""

from __future__ import annotations

import os
import re
from typing import Sequence

from ..core.errors import InvalidInput
from . import chain, ovf, vmx
from .machine import SourceDisk, SourceVm

_PART = re.compile(r"-(flat|delta|sesparse|ctk|s\d{3}|f\d{3})\.vmdk$", re.IGNORECASE)


def open_source(paths: Sequence[str], verify: bool = True) -> SourceVm:
    """Describe the VM behind one .vmx, .ova or .ovf, or behind one or more .vmdk files (the disk set, in order).

    `verify` compares the digests of an OVF manifest. Nothing is written.
    """
    if not paths:
        raise InvalidInput("No source was given.", "Set migrate_source to a .vmdk (or a list of them), .vmx, .ova or .ovf.")
    for path in paths:
        if not os.path.isfile(path):
            raise InvalidInput(
                f"The source {path} does not exist or is not a file.", "Check migrate_source; paths are on the conversion host.", path=path
            )
    suffixes = {os.path.splitext(path)[1].lower() for path in paths}
    if suffixes == {".vmdk"}:
        return _plain_disks(paths)
    if len(paths) == 1 and suffixes == {".vmx"}:
        return vmx.read(paths[0])
    if len(paths) == 1 and suffixes <= {".ova", ".ovf"}:
        return ovf.read(paths[0], verify)
    raise InvalidInput(
        f"The source {', '.join(paths)} is of no known kind.",
        "Give one .vmx, .ova or .ovf, or one or more .vmdk files of the same VM.",
        paths=list(paths),
    )


def _plain_disks(paths: Sequence[str]) -> SourceVm:
    for path in paths:
        if _PART.search(path):
            raise InvalidInput(
                f"{path} is a part of a disk, not its descriptor.", "Name the small .vmdk text file that lists it.", path=path
            )
    name = re.sub(r"-\d{6}$", "", os.path.splitext(os.path.basename(paths[0]))[0])
    return SourceVm(name, "vmdk", tuple(SourceDisk(chain.resolve(path)) for path in paths))
