# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the user wrote in migrate_source to a described, checked VM."""

from __future__ import annotations

import os
import re
import stat
from typing import Optional, Sequence

from ..core import choice, device, files, held, limits, rbd, spared
from ..core.errors import InvalidInput
from . import around, chain, image, ovf, vbox, vmdk, vmx
from .machine import BARE, Chain, SourceDisk, SourceVm


def open_source(paths: Sequence[str], verify: bool = True) -> SourceVm:
    """Describe the VM behind one .vmx, .vbox, .ova or .ovf, or behind disk images or block devices (the disk set, in order).

    Behind the name of a package may stand which of its VMs is meant, see core.choice. `verify` compares the digests of an OVF manifest. Nothing is written.
    """
    if not paths:
        raise InvalidInput("No source was given.", "Set migrate_source to a .vmx, .vbox, .ova, .ovf, or to one or more disks.")
    files_of = list(map(choice.file_of, paths))
    vm = _described(files_of, verify, choice.parted(paths[0])[1])
    spared.add(file for file in (*files_of, *(file for disk in vm.disks for file in disk.chain.files())) if not rbd.is_image(file))
    if len(vm.disks) > limits.VM_DISKS:
        raise InvalidInput(
            f"{vm.name} has {len(vm.disks)} disks, and no VM has more than {limits.VM_DISKS}.", "Name the disks of one VM.", path=paths[0]
        )
    _require_distinct(vm)
    return around.whole(vm)


def _described(paths: Sequence[str], verify: bool, chosen: choice.Choice) -> SourceVm:
    for path in paths:
        if os.path.isdir(path):
            raise InvalidInput(
                f"The source {path} is a directory.", "Name the .vmx, .vbox, .ovf, .ova or disk in it (migrate_source).", path=path
            )
        if not os.path.exists(path):
            raise InvalidInput(f"The source {path} does not exist.", "Check migrate_source; paths are on the conversion host.", path=path)
    suffixes = {os.path.splitext(path)[1].lower() for path in paths}
    if len(paths) == 1 and suffixes == {".vmx"}:
        return vmx.read(paths[0])
    if len(paths) == 1 and suffixes == {".vbox"}:
        return vbox.read(paths[0], lambda path: _disk(path, [path]))
    if len(paths) == 1 and suffixes <= {".ova", ".ovf"}:
        return ovf.read(paths[0], verify, chosen)
    name = re.sub(r"-\d{6}$", "", os.path.splitext(os.path.basename(paths[0]))[0])
    return SourceVm(name=name, kind=BARE, disks=tuple(SourceDisk(_disk(path, paths)) for path in paths))


def _require_distinct(vm: SourceVm) -> None:
    """Raise InvalidInput where a disk is there twice, by whatever names, or together with a state of it from before a snapshot.

    A parent that several disks share is none of them.
    """
    seen: list[tuple[str, set[object], set[object]]] = []
    for disk in vm.disks:
        found = disk.chain
        if not found.links:
            continue
        top = found.links[0]
        inside = getattr(found, "offset", None)
        own = {known_as(path, inside) for path in (top.extents or (top.path,) if isinstance(top, chain.Link) else (top.path,))}
        every = own | {known_as(path, inside) for path in found.files()}
        for other, others_own, others in seen:
            # Several disks lie in one archive, each at its offset.
            if own & others or others_own & every or (inside is None and device.meet(top.path, other)):
                raise InvalidInput(
                    f"{vm.name} has one disk twice: {other} and {top.path}.",
                    "Name each disk once, and of a disk with snapshots the newest; or export the VM again.",
                    path=top.path,
                )
        seen.append((top.path, own, every))


def known_as(path: str, offset: Optional[int] = None) -> object:
    """What is the same for all names of a file or a device."""
    if rbd.is_image(path):
        return path
    info = held.status(path)
    return ("device", info.st_rdev) if stat.S_ISBLK(info.st_mode) else (info.st_dev, info.st_ino, offset)


def _disk(path: str, paths: Sequence[str]) -> Chain:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".vmdk":
        if vmdk.PART.search(path):
            raise InvalidInput(
                f"{path} is a part of a disk, not its descriptor.", "Name the small .vmdk text file that lists it.", path=path
            )
        return chain.resolve(path)
    if suffix in image.READERS or device.is_device(path):
        return image.resolve(path)
    if not os.path.isfile(path):
        raise files.irregular(path, "The source", os.stat(path).st_mode)
    raise _unknown(paths)


def _unknown(paths: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"The source {', '.join(paths)} is of an unknown kind.",
        f"Give one .vmx, .vbox, .ova or .ovf, or the disks of one VM: block devices or files ending in .vmdk, {', '.join(sorted(image.READERS))}.",
        paths=list(paths),
    )
