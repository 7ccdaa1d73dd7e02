# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are no VMDK: raw files, block devices, qcow2 with its parents, VHD, VHDX, VDI; checked, and staged without a copy.

The suffix says what a file is. Nothing is probed: what a guest writes into its first sector must not decide how its disk is read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, Optional

from ..core import device, files, held
from ..core.concern import Concern
from ..core.errors import Busy, InvalidInput, UnsafeInput
from ..core.manifest import Identity
from . import chain, qcow2, qcow2_map, qemu_img, vdi, vhd, vhdx
from .header import Header

_SECTOR = 512
Reader = Callable[[BinaryIO, str], Header]


def _raw(file: BinaryIO, path: str) -> Header:
    size = file.seek(0, 2)
    if size < _SECTOR:
        raise InvalidInput(f"{path} is empty.", "Name the file that holds the disk.", path=path)
    if size % _SECTOR:
        raise InvalidInput(
            f"{path} ends within a sector: it has {size} bytes, which is not a multiple of {_SECTOR}.",
            "The copy is incomplete; copy it again. If it is whole, fill up its last sector: truncate -s %512 FILE.",
            path=path,
        )
    return Header("raw", size)


def _img(file: BinaryIO, path: str) -> Header:
    """Cloud images that are qcow2 have this suffix too; one that names a parent is not among them."""
    file.seek(0)
    if file.read(4) != qcow2.MAGIC:
        return _raw(file, path)
    found = qcow2.read(file, path)
    if found.parent is not None:
        raise UnsafeInput(
            f"{path} begins as a qcow2 image with a parent, which a guest may have written into a raw disk.",
            "Give the file the suffix .qcow2 if it is one, or .raw if it is not.",
            path=path,
        )
    return found


READERS: dict[str, Reader] = {
    **dict.fromkeys((".raw", ".dd", ".bin"), _raw),
    ".img": _img,
    **dict.fromkeys((".qcow2", ".qcow"), qcow2.read),
    **dict.fromkeys((".vhd", ".avhd", ".vpc"), vhd.read),
    **dict.fromkeys((".vhdx", ".avhdx"), vhdx.read),
    ".vdi": vdi.read,
}
_LAYERS: dict[str, Callable[[BinaryIO, str], qcow2_map.Layers]] = {"vpc": vhd.layers, "vhdx": vhdx.layers}
_BY_FORMAT: dict[str, Reader] = {"raw": _raw, "qcow2": qcow2.read, "vpc": vhd.read, "vhdx": vhdx.read, "vdi": vdi.read}


@dataclass(frozen=True)
class Image:
    """A file, or a block device, and what its header says."""

    path: str
    header: Header


@dataclass(frozen=True)
class ImageChain:
    """A disk, newest image first."""

    links: tuple[Image, ...]
    wwn: Optional[str] = None

    @property
    def virtual_size(self) -> int:
        """Bytes the guest sees."""
        return self.links[0].header.size

    @property
    def concerns(self) -> tuple[Concern, ...]:
        return tuple(concern for link in self.links for concern in link.header.concerns)

    def files(self) -> tuple[str, ...]:
        """Every file of the source that is read."""
        return tuple(link.path for link in self.links)

    def identities(self) -> tuple[Identity, ...]:
        return tuple(Identity.of(path, source=True) for path in self.files())

    def allocated(self) -> int:
        """An upper bound of the data in the source, in bytes."""
        return sum(link.header.size if device.is_device(link.path) else held.status(link.path).st_blocks * 512 for link in self.links)

    def check_idle(self) -> None:
        """Refuse a source that somebody has open for writing, as far as this host can see it; of a device, one that is mounted."""
        for path in self.files():
            if not device.is_device(path):
                chain.check_lease(path)
                continue
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))  # open(2): of block devices it is only this
            except OSError as error:
                raise Busy(f"{path} is in use: {error.strerror}.", "Unmount it, or shut the VM down; then run again.", path=path) from error

    def stage(self, directory: str, prefix: str) -> tuple[str, str]:
        """What qemu opens, and its format. Each parent is named by an empty image of ours, so that no header of the source is believed."""
        below: Optional[str] = None
        for depth, link in enumerate(reversed(self.links)):
            alias = os.path.join(directory, f"{prefix}-link{depth}")
            held.link(link.path, alias)
            node = _node(link, alias, below)
            top = "json:" + json.dumps(node)
            if depth + 1 < len(self.links):
                below = f"{alias}-pin.qcow2"
                qemu_img.create_overlay(below, top, node["driver"], link.header.size, opened=False)
        return top, node["driver"]


def resolve(path: str, suffix: str = "") -> ImageChain:
    """Follow an image through its parents. `suffix`: what it would be called by, where it has another name.

    Raises InvalidInput or UnsafeInput, naming the file, for anything missing, damaged, linked, cyclic, or outside its directory.
    """
    if device.is_device(path):
        place = os.path.realpath(path)
        with files.opened(place, "The disk", devices=True) as file:
            return ImageChain((Image(place, _raw(file, path)),))
    links: list[Image] = []
    seen: set[tuple[int, int]] = set()
    current, reader = os.path.abspath(path), READERS[suffix or os.path.splitext(path)[1].lower()]
    while True:
        found = chain.regular(current, "The disk" if not links else "The parent")
        if found in seen or len(links) == chain.MAX_DEPTH:
            raise InvalidInput(f"The chain of {path} does not end.", "Merge it (qemu-img convert), or copy the files again.", path=path)
        seen.add(found)
        with files.opened(current, "The disk", links=False) as file:
            header = reader(file, current)
        if links and links[-1].header.parent_ids and header.id not in links[-1].header.parent_ids:
            raise InvalidInput(
                f"{current} has changed since the snapshot {links[-1].path} was taken.",
                "The chain is broken: take the parent from the same copy as the snapshot.",
                path=current,
            )
        links.append(Image(current, header))
        if header.parent is None:
            return ImageChain(tuple(links))
        current = os.path.join(os.path.dirname(current), header.parent)
        reader = _parent(current, header.parent_format)


def _parent(path: str, fmt: str) -> Reader:
    """How a parent is read: as its child says, else as its suffix does."""
    suffix = os.path.splitext(path)[1].lower()
    reader = _BY_FORMAT.get(fmt) if fmt else READERS.get(suffix)
    if reader is None:
        raise InvalidInput(
            f"The parent {path} is of a format that cannot be told ({fmt or suffix or 'no suffix'}).",
            "State the format in the child (qemu-img rebase -u -F), or merge the chain.",
            path=path,
        )
    return reader


def _node(link: Image, alias: str, below: Optional[str]) -> dict[str, Any]:
    """Source: qemu's block drivers and their options; vpc otherwise takes a size from the geometry, which is smaller than the disk."""
    header = link.header
    if header.format in _LAYERS and below is not None:
        return _laid(link, alias, below)
    node: dict[str, Any] = {"driver": header.format}
    if header.format == "raw" and not device.is_device(link.path):  # after a fixed VHD stands its footer
        node["size"] = header.size
    if header.format == "vpc":
        node["force_size_calc"] = "current_size"
    if header.format == "qcow2":
        node["backing"] = None if below is None else _pin(below)
    return {**node, "file": {"driver": "host_device" if device.is_device(link.path) else "file", "filename": alias}}


def _laid(link: Image, alias: str, below: str) -> dict[str, Any]:
    """A snapshot that qemu does not know, by tables of ours around it; what they leave out is read from `below`."""
    node: dict[str, Any] = {}
    with files.opened(link.path, "The disk", links=False) as file:
        for number, (shift, pieces) in enumerate(_LAYERS[link.header.format](file, link.path)):
            made = f"{alias}-map{number}"
            if node:
                below = f"{made}-pin.qcow2"
                qemu_img.create_overlay(below, "json:" + json.dumps(node), "qcow2", link.header.size, opened=False)
            qcow2_map.write(made, link.header.size, pieces, os.fstat(file.fileno()).st_size - shift)
            plain = {"driver": "raw", "offset": shift, "file": {"driver": "file", "filename": alias}}
            qemu_img.lay_over(f"{made}.qcow2", made, "json:" + json.dumps(plain), qcow2_map.CLUSTER)
            os.unlink(made)
            node = {"driver": "qcow2", "file": _pin(f"{made}.qcow2"), "backing": _pin(below)}
    return node


def _pin(path: str) -> dict[str, Any]:
    """An image that we have made, whose header is to be believed."""
    return {"driver": "qcow2", "file": {"driver": "file", "filename": path}}
