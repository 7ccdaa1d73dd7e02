# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the user wrote in migrate_source to a described, checked VM."""

from __future__ import annotations

import os
import re
from typing import Sequence

from ..core.errors import InvalidInput
from . import chain, image, ovf, vbox, vmdk, vmx
from .machine import BARE, Chain, SourceDisk, SourceVm


def open_source(paths: Sequence[str], verify: bool = True) -> SourceVm:
    """Describe the VM behind one .vmx, .vbox, .ova or .ovf, or behind disk images or block devices (the disk set, in order).

    `verify` compares the digests of an OVF manifest. Nothing is written.
    """
    if not paths:
        raise InvalidInput("No source was given.", "Set migrate_source to a .vmx, .vbox, .ova, .ovf, or to one or more disks.")
    for path in paths:
        if not os.path.exists(path) or os.path.isdir(path):
            raise InvalidInput(
                f"The source {path} does not exist or is not a file.", "Check migrate_source; paths are on the conversion host.", path=path
            )
    suffixes = {os.path.splitext(path)[1].lower() for path in paths}
    if len(paths) == 1 and suffixes == {".vmx"}:
        return vmx.read(paths[0])
    if len(paths) == 1 and suffixes == {".vbox"}:
        return vbox.read(paths[0], lambda path: _disk(path, [path]))
    if len(paths) == 1 and suffixes <= {".ova", ".ovf"}:
        return ovf.read(paths[0], verify)
    name = re.sub(r"-\d{6}$", "", os.path.splitext(os.path.basename(paths[0]))[0])
    return SourceVm(name, BARE, tuple(SourceDisk(_disk(path, paths)) for path in paths))


def _disk(path: str, paths: Sequence[str]) -> Chain:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".vmdk":
        if vmdk.PART.search(path):
            raise InvalidInput(
                f"{path} is a part of a disk, not its descriptor.", "Name the small .vmdk text file that lists it.", path=path
            )
        return chain.resolve(path)
    if suffix in image.READERS or not os.path.isfile(path):
        return image.resolve(path)
    raise _unknown(paths)


def _unknown(paths: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"The source {', '.join(paths)} is of no known kind.",
        f"Give one .vmx, .vbox, .ova or .ovf, or the disks of one VM: block devices or files ending in .vmdk, {', '.join(sorted(image.READERS))}.",
        paths=list(paths),
    )
