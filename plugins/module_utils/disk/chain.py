# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of VMDKs: a VMDK with its extents and parents, checked to the last file, and staged for qemu as canonical descriptors.

Staging copies nothing: a fresh descriptor per link, which names symbolic links that we made, to files that we checked.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat as st
from dataclasses import dataclass, replace
from typing import Optional

from ..core import atomic, files, held
from ..core.concern import Concern
from ..core.errors import Busy, InvalidInput, UnsafeInput
from ..core.manifest import Identity
from . import unused, vmdk

MAX_DEPTH = 256
_CREATE_TYPES = {"SPARSE": "twoGbMaxExtentSparse", "VMFSSPARSE": "vmfsSparse", "SESPARSE": "seSparse"}


@dataclass(frozen=True)
class Link:
    """One image of a chain: its descriptor's path, what it says, and the checked path of every extent, in order."""

    path: str
    descriptor: vmdk.Descriptor
    extents: tuple[str, ...]
    streamed: bool = False
    unclean: bool = False


@dataclass(frozen=True)
class Chain:
    """A disk, newest image first. A disk inside an archive has one link, and `offset`/`length` (bytes) say where it lies.

    So has a disk that a host streamed: qemu looks for its footer only in a file that it opens as the disk itself.
    """

    links: tuple[Link, ...]
    offset: Optional[int] = None
    length: Optional[int] = None

    @property
    def virtual_size(self) -> int:
        """Bytes the guest sees."""
        return self.links[0].descriptor.sectors * vmdk.SECTOR

    @property
    def wwn(self) -> Optional[str]:
        return self.links[0].descriptor.wwn or self.links[-1].descriptor.wwn

    @property
    def concerns(self) -> tuple[Concern, ...]:
        return tuple(concern for link in self.links for concern in unused.unclean(link.path, link.unclean))

    def files(self) -> tuple[str, ...]:
        """Every file of the source that is read."""
        seen: dict[str, None] = {}
        for link in self.links:
            seen.update(dict.fromkeys((link.path, *link.extents)))
        return tuple(seen)

    def identities(self) -> tuple[Identity, ...]:
        return tuple(Identity.of(path, source=True) for path in self.files())

    def allocated(self) -> int:
        """An upper bound of the data in the source, in bytes: what its files occupy."""
        if self.length is not None:
            return self.length
        return sum(held.status(path).st_blocks * 512 for path in self.files())

    def check_idle(self) -> None:
        """Refuse a source that somebody has open for writing (a running VM), as far as this host can see it."""
        for path in self.files():
            lock = f"{path}.lck"
            if os.path.isdir(lock) and os.listdir(lock):
                raise _in_use(path, f"VMware's lock {lock} is present")
            check_lease(path)

    def stage(self, directory: str, prefix: str) -> tuple[str, str]:
        """Write canonical descriptors and links into `directory`; returns what qemu opens (a path, or json: for archives), and its format."""
        if self.offset is not None and self.length is not None:
            link = os.path.join(directory, f"{prefix}.archive")
            held.link(self.links[0].path, link)
            window = {"driver": "raw", "offset": self.offset, "size": self.length, "file": {"driver": "file", "filename": link}}
            return "json:" + json.dumps({"driver": "vmdk", "backing": None, "file": window}), "vmdk"
        parent: Optional[str] = None
        name = ""
        for depth, link_ in enumerate(reversed(self.links)):
            name = f"{prefix}-link{depth}.vmdk"
            extents = []
            for index, (extent, target) in enumerate(zip(link_.descriptor.extents, link_.extents)):
                alias = f"{prefix}-link{depth}-extent{index}"
                held.link(target, os.path.join(directory, alias))
                extents.append(replace(extent, name=alias))
            kind = next((_CREATE_TYPES[extent.kind] for extent in extents if extent.kind in _CREATE_TYPES), "twoGbMaxExtentFlat")
            text = vmdk.canonical(kind, link_.descriptor.cid, link_.descriptor.parent_cid, parent, tuple(extents))
            atomic.write_text(os.path.join(directory, name), text)
            parent = name
        return os.path.join(directory, name), "vmdk"


def resolve(path: str) -> Chain:
    """Follow a VMDK through its extents and parents.

    Raises InvalidInput or UnsafeInput, naming the file, for anything missing, short, linked, cyclic or mismatched.
    """
    links: list[Link] = []
    seen: set[tuple[int, int]] = set()
    current: Optional[str] = os.path.abspath(path)
    while current is not None:
        file_id = regular(current, "The disk" if not links else "The parent")
        if file_id in seen:
            raise InvalidInput(
                f"The snapshot chain of {path} comes back to {current}.", "The descriptors are damaged; export the VM again.", path=path
            )
        if len(links) == MAX_DEPTH:
            raise InvalidInput(
                f"The snapshot chain of {path} is deeper than {MAX_DEPTH}.", "Consolidate the snapshots at the source.", path=path
            )
        seen.add(file_id)
        links.append(_link(current))
        hint = links[-1].descriptor.parent_hint
        current = os.path.join(os.path.dirname(current), hint) if hint is not None else None
    for child, parent in zip(links, links[1:]):
        _check_pair(child, parent)
    if links[0].streamed and len(links) == 1:
        return Chain(tuple(links), 0, held.status(path).st_size)
    for link in links:
        if link.streamed:
            raise InvalidInput(
                f"{link.path} is stream-optimized and part of a snapshot chain, which qemu cannot read.",
                "Convert it to a plain sparse disk first (qemu-img convert -f vmdk -O vmdk), or export the VM again.",
                path=link.path,
            )
    return Chain(tuple(links))


def embedded(path: str, offset: int, length: int, name: str) -> Chain:
    """A disk inside an uncompressed archive, read in place; it must be a hosted sparse VMDK without a parent."""
    with files.opened(path, "The disk") as file:
        descriptor, header = vmdk.read_descriptor(file, f"{path}:{name}", offset, length)
    if header is None or descriptor.parent_cid != vmdk.NO_PARENT or len(descriptor.extents) != 1:
        raise InvalidInput(
            f"The disk {name} in {path} is not a self-contained sparse VMDK.",
            "Unpack the archive and name its .ovf instead.",
            path=path,
            member=name,
        )
    sized = replace(descriptor, extents=(replace(descriptor.extents[0], sectors=header.sectors),))
    return Chain((Link(path, sized, (path,), unclean=header.unclean),), offset, length)


def check_lease(path: str) -> None:
    """Refuse a file that somebody has open for writing, as far as this host can see it.

    Source: fcntl(2), F_SETLEASE: a read lease is granted only when no writer has the file open.
    """
    fd = files.descriptor(path, "The disk", links=False)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        raise _in_use(path, "another process has it open for writing") from None
    except OSError:
        pass  # file systems without leases, or files of another owner: nothing can be said
    finally:
        os.close(fd)


def _link(path: str) -> Link:
    with files.opened(path, "The disk", links=False) as file:
        descriptor, header = vmdk.read_descriptor(file, path)
    if header is not None:
        if len(descriptor.extents) != 1:
            raise InvalidInput(
                f"{path} holds its data itself but names {len(descriptor.extents)} extents.",
                "The file is damaged; copy it again.",
                path=path,
            )
        # The extent line of an embedded descriptor keeps the name the file had when it was made; the data are in this file.
        extent = replace(descriptor.extents[0], kind=header.kind, sectors=header.sectors)
        return Link(path, replace(descriptor, extents=(extent,)), (path,), header.streamed, header.unclean)
    paths, unclean = [], False
    for extent in descriptor.extents:
        target = os.path.join(os.path.dirname(path), extent.name)
        regular(target, f"An extent of {path}")
        unclean = _check_extent(extent, target) or unclean
        paths.append(target)
    return Link(path, descriptor, tuple(paths), unclean=unclean)


def _check_extent(extent: vmdk.Extent, path: str) -> bool:
    """Whether it was not closed, as far as such an extent says it."""
    with files.opened(path, "The disk", links=False) as file:
        size = os.fstat(file.fileno()).st_size
        if extent.kind in vmdk.FLAT_KINDS:
            needed = (extent.offset + extent.sectors) * vmdk.SECTOR
            if size < needed:
                raise InvalidInput(
                    f"{path} has {size} bytes, its descriptor needs {needed}.", "The copy is incomplete; copy the file again.", path=path
                )
            return False
        header = vmdk.read_header(file, path)
    if header is None or header.kind != extent.kind:
        raise InvalidInput(
            f"{path} is not the {extent.kind} extent that its descriptor says.",
            "The files do not belong together; copy the VM again.",
            path=path,
        )
    if header.sectors < extent.sectors:
        raise InvalidInput(
            f"{path} holds {header.sectors} sectors, its descriptor needs {extent.sectors}.",
            "The files do not belong together; copy the VM again.",
            path=path,
        )
    return header.unclean


def _check_pair(child: Link, parent: Link) -> None:
    if child.descriptor.parent_cid != parent.descriptor.cid:
        raise InvalidInput(
            f"{parent.path} has changed since the snapshot {child.path} was taken (CID {parent.descriptor.cid:08x}, "
            f"expected {child.descriptor.parent_cid:08x}).",
            "The chain is broken: take the parent from the same backup as the snapshot, or repair the CIDs only if you know that the data are unchanged.",
            child=child.path,
            parent=parent.path,
        )
    if child.descriptor.sectors < parent.descriptor.sectors:
        raise InvalidInput(
            f"The snapshot {child.path} is smaller than its parent {parent.path}.",
            "The files do not belong together; copy the VM again.",
            path=child.path,
        )


def regular(path: str, what: str) -> tuple[int, int]:
    """Device and inode of a file. Raises InvalidInput where there is none, UnsafeInput for links, devices and pipes; `what` begins the message."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        raise InvalidInput(
            f"{what} {path} does not exist.", "Copy the whole VM directory, with every file the descriptor names.", path=path
        ) from None
    except OSError as error:
        raise InvalidInput(f"{what} {path} cannot be read: {error.strerror}.", "Check the path and its permissions.", path=path) from error
    if not st.S_ISREG(info.st_mode):
        raise UnsafeInput(
            f"{what} {path} is not a regular file.",
            "Symbolic links, devices and pipes are never followed; put the file itself there.",
            path=path,
        )
    fd = files.descriptor(path, what, links=False)
    try:
        info = os.fstat(fd)
    finally:
        os.close(fd)
    return info.st_dev, info.st_ino


def _in_use(path: str, why: str) -> Busy:
    return Busy(
        f"The source {path} is in use: {why}.", "Shut the VM down (or migrate from a snapshot or a copy), then run again.", path=path
    )
