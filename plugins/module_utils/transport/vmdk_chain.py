# SPDX-License-Identifier: GPL-3.0-or-later
"""From a disk's descriptor, wherever it is, to every file that holds the disk: extents and parents, as our own strict parser reads them."""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass
from typing import Any, BinaryIO, Optional, cast

from ..core.concern import Concern
from ..core.errors import InvalidInput
from ..disk import unused, vmdk
from ..disk.chain import MAX_DEPTH
from .download import Job
from .files import Files, RemoteFile, beside, patiently, read_piece


class RemoteReader(io.RawIOBase):
    """A file that is elsewhere, to be read a little of: a descriptor, a header, a footer."""

    def __init__(self, files: Files, path: str, found: RemoteFile) -> None:
        super().__init__()
        self._files, self._path, self._found, self._at = files, path, found, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._found.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._found.size - self._at)
        if wanted <= 0:
            return 0
        buffer[:wanted] = read_piece(self._files, self._path, self._at, wanted, self._found.stamp)
        self._at += wanted
        return wanted


@dataclass(frozen=True)
class Walked:
    """A disk's files, the newest descriptor first, and the bytes that the guest sees. `flat`: one flat file holds exactly that.

    `links`: of how many images it is a chain. `concerns`: what they say and is not migrated.
    """

    jobs: tuple[Job, ...]
    size: int
    flat: bool
    wwn: Optional[str]
    links: int = 1
    concerns: tuple[Concern, ...] = ()


def chain(files: Files, top: str) -> Walked:
    """Follow a disk through its extents and parents.

    Raises InvalidInput or UnsafeInput for what is missing, malformed, cyclic, or reaches out of its directory.
    """
    found: dict[str, Job] = {}
    links: list[tuple[vmdk.Descriptor, Optional[vmdk.SparseHeader]]] = []
    current: Optional[str] = top
    while current is not None:
        if current in found or len(links) == MAX_DEPTH:
            raise InvalidInput(
                f"The snapshot chain of {top} does not end.", "The descriptors are damaged; consolidate at the source.", path=top
            )
        remote = _stat(files, current)
        descriptor, header = read_descriptor(files, current, remote)
        links.append((descriptor, header))
        found[current] = _job(current, remote)
        for extent in descriptor.extents if header is None else ():
            path = beside(current, extent.name)
            found[path] = _job(path, _stat(files, path))
            _long_enough(found[path], extent)
        hint = descriptor.parent_hint
        current = beside(current, hint) if hint is not None else None
    first, header = links[0]
    sectors = header.sectors if header is not None else first.sectors
    flat = len(found) == 2 and header is None and first.extents[0].kind in vmdk.FLAT_KINDS and first.extents[0].offset == 0
    concerns = unused.unclean(top, any(said is not None and said.unclean for dummy, said in links))
    return Walked(tuple(found.values()), sectors * vmdk.SECTOR, flat, links[0][0].wwn or links[-1][0].wwn, len(links), concerns)


def _stat(files: Files, path: str) -> RemoteFile:
    return patiently(lambda: files.stat(path), path)


def read_descriptor(files: Files, path: str, found: RemoteFile) -> tuple[vmdk.Descriptor, Optional[vmdk.SparseHeader]]:
    """What a descriptor says, and the header of a file that holds its data itself; a few kilobytes cross the wire."""
    reader = io.BufferedReader(RemoteReader(files, path, found), 1 << 16)
    return vmdk.read_descriptor(cast(BinaryIO, reader), path, 0, found.size)


def descriptor(files: Files, path: str) -> vmdk.Descriptor:
    """What the descriptor of one image says."""
    return read_descriptor(files, path, _stat(files, path))[0]


def _long_enough(job: Job, extent: vmdk.Extent) -> None:
    needed = (extent.offset + extent.sectors) * vmdk.SECTOR
    if extent.kind in vmdk.FLAT_KINDS and job.size < needed:
        raise InvalidInput(
            f"{job.path} has {job.size} bytes, its descriptor needs {needed}.", "The disk is damaged at the source.", path=job.path
        )


def _job(path: str, found: RemoteFile) -> Job:
    return Job(path, posixpath.basename(path), found.size, found.stamp, ranged=found.ranged)
