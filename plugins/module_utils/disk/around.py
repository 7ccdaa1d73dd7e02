# SPDX-License-Identifier: GPL-3.0-or-later
"""What the disks of a VM say beside their data, and what lies beside them: later images that go on from one, descriptions, memory of a saved VM.

Names as their makers give them: VMware's NAME-000001.vmdk, Hyper-V's NAME_GUID.avhdx, libvirt's and people's NAME.snap.qcow2. A file is believed to go on
from a disk only where its own header names it as the parent.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import BinaryIO, Callable, Iterable, Iterator, Mapping, Sequence

from ..core import device, files
from ..core.concern import Concern
from ..core.errors import MigrationError
from . import below, chain, image, nvram, qcow2, unused, vhd, vhdx, vmdk
from .machine import BARE, Chain, SourceVm

_LAST = re.compile(r"(-[0-9]{6}|_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.IGNORECASE)
MANY = 256  # images of one disk that are looked into
_READ, _UNREAD = (".vmx", ".vbox", ".ovf"), ".vmcx"
_MEMORY = (".vmss", ".vsv", ".sav")
_RUNTIME, _SMALL = ".vmrs", 16 << 20  # Hyper-V keeps one for every VM; only that of a saved one holds its memory
_BESIDE = "Virtual Machines"  # where Hyper-V has descriptions, beside "Virtual Hard Disks"


def whole(vm: SourceVm) -> SourceVm:
    """The VM with the concerns about its disks."""
    found = (*vm.concerns, *(concern for disk in vm.disks for concern in disk.chain.concerns), *_beside(vm))
    return replace(vm, concerns=tuple(dict.fromkeys(found)))


def boot_entries(vm: SourceVm, folder: str, name: str) -> tuple[Concern, ...]:
    """What the variables of its firmware say, in a file beside its description; nothing where there is none, as in many copies."""
    if vm.firmware != "uefi" or not below.is_plain(name):
        return ()
    try:
        with files.aside(os.path.join(folder, name)) as file:
            return nvram.concerns(vm.name, file.read(nvram.LIMIT))
    except MigrationError:
        return ()


def _beside(vm: SourceVm) -> Iterator[Concern]:
    chains = [disk.chain for disk in vm.disks if disk.chain.links]
    yield from unused.snapshots(vm.name, [_name(found) for found in chains if len(found.links) > 1])
    # Disks in archives, and devices, lie beside nothing.
    here = [found for found in chains if vm.kind == BARE or getattr(found, "offset", None) is None]
    alone = [found for found in here if not device.is_device(found.links[0].path)]
    listed = {folder: _names(folder) for folder in dict.fromkeys(os.path.dirname(found.links[0].path) for found in alone)}
    images = {folder: [name for name in names if name.lower().endswith(_IMAGES)] for folder, names in listed.items()}
    yield from unused.newer(vm.name, [name for found in alone for name in _newer(found, images)])
    yield from unused.unread(vm.name, [_name(found) for found in alone if len(_beyond(found, images)) > MANY])
    if vm.kind == BARE:
        yield from _descriptions(vm.name, listed)


def _descriptions(name: str, listed: Mapping[str, Sequence[str]]) -> Iterator[Concern]:
    folders = dict(listed)
    for folder in listed:
        other = os.path.join(os.path.dirname(folder), _BESIDE)
        folders[other] = _names(other)
    found = {suffix: [one for names in folders.values() for one in names if one.lower().endswith(suffix)] for suffix in (*_READ, _UNREAD)}
    readable = [one for suffix in _READ for one in found[suffix]]
    yield from unused.descriptions(name, readable, found[_UNREAD])
    states = [one for names in folders.values() for one in names if one.lower().endswith(_MEMORY)]
    states += [one for folder, names in folders.items() for one in names if one.lower().endswith(_RUNTIME) and _is_large(folder, one)]
    yield from unused.states(name, states)


def _is_large(folder: str, name: str) -> bool:
    try:
        return os.lstat(os.path.join(folder, name)).st_size > _SMALL
    except OSError:
        return False


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _name(found: Chain) -> str:
    return os.path.basename(found.links[0].path)


def _beyond(found: Chain, listed: Mapping[str, Sequence[str]]) -> list[str]:
    """Names beside a disk that an image has which goes on from it."""
    folder, name = os.path.split(found.links[0].path)
    own = set(map(os.path.basename, found.files()))
    suffixes = _GOES_ON.get(os.path.splitext(name)[1].lower(), ((),))[0]
    return likely(name, (one for one in listed[folder] if one not in own), suffixes)


def _newer(found: Chain, listed: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Images that name the disk's newest one as their parent, and have its id where the format has one."""
    folder, name = os.path.split(found.links[0].path)
    for one in _beyond(found, listed)[:MANY]:
        try:
            with files.aside(os.path.join(folder, one)) as file:
                child = _GOES_ON[os.path.splitext(name)[1].lower()][1](file, os.path.join(folder, one), found)
        except MigrationError:  # whatever it is, it is nothing that goes on from this disk
            continue
        if child:
            yield one


def likely(top: str, names: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    """Those of the names that an image has which goes on from the one called `top`; parts of images are none."""
    stem = _LAST.sub("", os.path.splitext(top)[0])
    pattern = re.compile(re.escape(stem) + r"[-_. ].*", re.IGNORECASE)
    return [
        name for name in names if name.lower().endswith(suffixes) and name != top and pattern.fullmatch(name) and not vmdk.PART.search(name)
    ]


def _of_vmdk(file: BinaryIO, path: str, parent: Chain) -> bool:
    if not isinstance(parent, chain.Chain):
        return False
    return is_over(vmdk.read_descriptor(file, path)[0], _name(parent), parent.links[0].descriptor)


def is_over(child: vmdk.Descriptor, name: str, parent: vmdk.Descriptor) -> bool:
    """Whether it goes on from the disk of this name as that is now."""
    return child.parent_hint == name and child.parent_cid == parent.cid


def _of_image(read: image.Reader) -> Callable[[BinaryIO, str, Chain], bool]:
    def is_child(file: BinaryIO, path: str, parent: Chain) -> bool:
        header = read(file, path)
        ids = parent.links[0].header.id if isinstance(parent, image.ImageChain) else ""
        return header.parent == _name(parent) and (not header.parent_ids or ids in header.parent_ids)

    return is_child


_VHDS = (".avhd", ".vhd"), _of_image(vhd.read)
_VHDXS = (".avhdx", ".vhdx"), _of_image(vhdx.read)
_QCOW2S = (".qcow2", ".qcow"), _of_image(qcow2.read)
_GOES_ON: Mapping[str, tuple[tuple[str, ...], Callable[[BinaryIO, str, Chain], bool]]] = {
    ".vmdk": ((".vmdk",), _of_vmdk),
    **dict.fromkeys((".vhd", ".avhd", ".vpc"), _VHDS),
    **dict.fromkeys((".vhdx", ".avhdx"), _VHDXS),
    **dict.fromkeys((".qcow2", ".qcow", ".img", ".raw"), _QCOW2S),
}
_IMAGES = tuple(dict.fromkeys(suffix for suffixes, dummy in _GOES_ON.values() for suffix in suffixes))
