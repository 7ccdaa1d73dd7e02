# SPDX-License-Identifier: GPL-3.0-or-later
"""What is recorded of disks and of the VM that they belong to: by FETCH, in its manifest and its answer, and by CONVERT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Mapping, Optional

from ..core.data import FLAT, REST, called, formerly
from ..core.machine import Disk, Machine
from ..core.shape import FILE, NUMBER, PATH, UUID, one_of
from ..core.vm import VmId

Path = Annotated[str, PATH]
File = Annotated[str, FILE]


@dataclass(frozen=True)
class DiskSaid:
    """A disk as its source describes it: its place in the VM, the size that a guest sees (bytes), the files at the source.

    `staged` is what qemu opens of it, in `staged_format`; empty for a source that was only looked at.
    """

    place: Disk = field(default=Disk(), metadata=FLAT)
    virtual_size: int = 0
    files: tuple[File, ...] = ()
    staged: str = ""
    staged_format: str = "vmdk"
    rest: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


@dataclass(frozen=True)
class ArrivedFile:
    """A file that a transfer has brought."""

    name: str = ""
    rest: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


@dataclass(frozen=True)
class Transfer:
    """Where the disks of a VM come from that was elsewhere: the URL that was named, how they are read, and the files that were brought.

    `stream`: they stay there until the result is written; what tells whether they are still the same, by disk.
    """

    source: str = ""
    transport: str = ""
    files: tuple[ArrivedFile, ...] = ()
    stream: Optional[tuple[tuple[Any, ...], ...]] = None


@dataclass(frozen=True)
class VmSaid:
    """A VM as FETCH has recorded it, or as whoever calls a module describes it. Nothing of it is needed.

    `uuid` is what the guest is to read as its system's, `tpm` whether it is to have one; `transfer` None for a VM that was here.
    """

    machine: Machine = field(default=Machine(), metadata=FLAT)
    disks: tuple[DiskSaid, ...] = ()
    identity: Optional[VmId] = None
    transfer: Optional[Transfer] = field(default=None, metadata={**called("origin"), **formerly("source")})
    uuid: Annotated[str, UUID] = ""
    tpm: bool = False
    seconds: Optional[float] = None
    rest: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


@dataclass(frozen=True)
class Converted:
    """A result of CONVERT: a file or, where `device`, a block device or an image of Ceph. Sizes in bytes; `luks`: the UUID of its encryption.

    `content_digest` is that of what a guest reads, `sha256` that of the file.
    """

    path: Path
    format: Annotated[str, one_of("qcow2", "raw", "vdi", "vmdk")]
    device: bool = False
    encrypted: bool = False
    luks: Annotated[str, UUID] = ""
    virtual_size: int = 0
    allocated: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: Optional[Annotated[float, NUMBER]] = None
    content_digest: str = ""
    sha256: str = ""
    rest: Mapping[str, Any] = field(default_factory=dict, metadata=REST)
