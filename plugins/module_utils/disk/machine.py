# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as its source describes it: what a disk file alone cannot say; and what is recorded of it, of its disks and of their copies."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Mapping, Optional, Protocol, Sequence, Union

from ..core.concern import BLOCKER, Concern, remedies
from ..core.data import FLAT, SPARE, Rest, called, kept
from ..core.errors import Blocked
from ..core.machine import Disk, Machine
from ..core.manifest import Form, Identity
from ..core.shape import FILE, NUMBER, PATH, UUID, one_of
from ..core.vm import VmId

Place = tuple[str, int, int]  # bus, number of its controller, unit on that
BARE = "disks"  # the kind of a source that says nothing of the hardware
Stamp = tuple[Union[str, int, None], ...]  # what tells whether a disk, or a file of it, is still the same


class Link(Protocol):
    """One image of a chain."""

    @property
    def path(self) -> str:
        """Where it is."""


class Chain(Protocol):
    """A disk as the files that hold it, newest image first, every one of them checked; without any where it is made empty."""

    @property
    def links(self) -> Sequence[Link]:
        """The images."""

    @property
    def virtual_size(self) -> int:
        """Bytes the guest sees."""

    @property
    def wwn(self) -> Optional[str]:
        """The disk's NAA identifier, where the source knows it."""

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """What its images say and a migration does not take with it."""

    def files(self) -> tuple[str, ...]:
        """Every file of the source that is read."""

    def identities(self) -> tuple[Identity, ...]:
        """These files as they are now."""

    def allocated(self) -> int:
        """An upper bound of the data in the source, in bytes."""

    def check_idle(self) -> None:
        """Raises Busy for a source that somebody writes to, as far as this host can see it."""

    def stage(self, directory: str, prefix: str) -> tuple[str, str]:
        """Make what qemu opens, without a copy of the data: its name, and its format."""


@dataclass(frozen=True)
class DiskSaid:
    """A disk as its source describes it: its place in the VM, the size that a guest sees (bytes), the files at the source.

    `path` is the first of them on this host, `links` the number of images that they are; `data` the bytes that are brought at most of a disk elsewhere.
    `staged` is what qemu opens of it, in `staged_format` (empty in records of earlier versions: vmdk); empty for a source that was only looked at.
    """

    place: Disk = field(default=Disk(), metadata=FLAT)
    virtual_size: int = 0
    files: tuple[Annotated[str, FILE], ...] = ()
    path: str = field(default="", metadata=SPARE)
    links: int = field(default=0, metadata=SPARE)
    data: Optional[int] = field(default=None, metadata={**called("bytes"), **SPARE})
    staged: str = field(default="", metadata=SPARE)
    staged_format: str = field(default="", metadata=SPARE)
    rest: Rest = kept()


@dataclass(frozen=True)
class SourceDisk:
    """A disk and its place. Of the place's identifier the chain knows."""

    chain: Chain
    place: Disk = Disk()

    def said(self) -> DiskSaid:
        """It as it is described and recorded."""
        chain = self.chain
        return DiskSaid(
            replace(self.place, wwn=chain.wwn),
            chain.virtual_size,
            chain.files(),
            chain.links[0].path if chain.links else "",
            len(chain.links),
        )


@dataclass(frozen=True)
class SourceVm(Machine):
    """A VM with its disk set in bus order. `suspended`: its memory is kept beside its disks.

    `uuid` is the half of which VM it is that does not depend on where it is, see core.vm.VmId; empty where the source has none. `part` tells it from other
    VMs of the same package. `starts`: where the disk is that its firmware tries first; None where its source does not say.
    `concerns`: what its source says and it has not.
    """

    disks: tuple[SourceDisk, ...] = ()
    uuid: str = ""
    suspended: bool = False
    part: str = ""
    starts: Optional[Place] = None
    concerns: tuple[Concern, ...] = ()

    def check_idle(self, accept: Sequence[str]) -> None:
        """Raise Blocked for a VM whose memory is kept beside its disks, and for what else must not be passed over; Busy for disks that somebody writes to.

        Unless the operator accepts it.
        """
        if self.suspended and "source.suspended" not in accept:
            raise Blocked(
                f"The VM {self.name} is suspended: the contents of its memory are not on its disks (source.suspended).",
                "Power it on, shut its guest down, and copy it then. Or migrate it as after a power failure (migrate_accept: [source.suspended]).",
                concerns=["source.suspended"],
            )
        blockers = [concern for concern in self.concerns if concern.severity == BLOCKER and concern.code not in accept]
        if blockers:
            raise Blocked(
                " ".join(f"{concern.cause} ({concern.code})" for concern in blockers),
                remedies(blockers),
                concerns=[concern.code for concern in blockers],
            )
        for disk in self.disks if "source.busy" not in accept else ():
            disk.chain.check_idle()

    def said(self) -> VmSaid:
        """The VM and its disks as they are described and recorded."""
        machine = Machine(**{part.name: getattr(self, part.name) for part in fields(Machine)})
        return VmSaid(machine, tuple(disk.said() for disk in self.disks), starts=self.starts, concerns=self.concerns)


@dataclass(frozen=True)
class ArrivedFile:
    """A file that a transfer has brought, see transport.download.Arrived."""

    name: str = ""
    size: int = 0
    transferred: int = 0
    digest: str = field(default="", metadata=called("tree_sha256"))
    rest: Rest = kept()


@dataclass(frozen=True)
class Transfer:
    """Where the disks of a VM come from that was elsewhere: the URL that was named, how they are read, and the files that were brought.

    `stream`: they stay there until the result is written; what tells whether they are still the same, by disk.
    """

    source: str
    transport: str = ""
    files: Optional[tuple[ArrivedFile, ...]] = field(default=None, metadata=SPARE)
    stream: Optional[tuple[Stamp, ...]] = field(default=None, metadata=SPARE)


@dataclass(frozen=True)
class Staged:
    """A disk as FETCH has staged it, see DiskSaid."""

    staged: Annotated[str, FILE]
    virtual_size: int
    place: Disk = field(default=Disk(), metadata=FLAT)
    staged_format: str = "vmdk"
    rest: Rest = kept()


@dataclass(frozen=True)
class Named:
    """The options of FETCH: what the operator has named."""

    source: tuple[str, ...] = ()
    rest: Rest = kept()


@dataclass(frozen=True)
class Fetched:
    """What FETCH must have recorded, so that later stages can work: each of them reads it as a VmSaid."""

    name: str
    disks: tuple[Staged, ...]
    nics: tuple[Mapping[str, Any], ...] = ()  # 0.1.0 recorded whatever the source said of one
    identity: Optional[VmId] = None
    transfer: Optional[Transfer] = field(default=None, metadata=called("origin"))
    rest: Rest = kept()


FETCH = Form(Fetched, Named)


@dataclass(frozen=True)
class VmSaid:
    """A VM as FETCH has recorded it, or as whoever calls a module describes it. Nothing of it is needed.

    `uuid` is what the guest is to read as its system's, `tpm` whether it is to have one; `transfer` None for a VM that was here, `transport` how the disks
    of one that is not would come. `starts` is where the disk is that its firmware tries first. `seconds` is what FETCH took.
    """

    machine: Machine = field(default=Machine(), metadata=FLAT)
    disks: tuple[DiskSaid, ...] = ()
    starts: Optional[Place] = field(default=None, metadata=SPARE)
    transport: str = field(default="", metadata=SPARE)
    identity: Optional[VmId] = field(default=None, metadata=SPARE)
    transfer: Optional[Transfer] = field(default=None, metadata={**called("origin"), **SPARE})
    uuid: Annotated[str, UUID] = field(default="", metadata=SPARE)
    tpm: bool = field(default=False, metadata=SPARE)
    seconds: Optional[float] = field(default=None, metadata=SPARE)
    concerns: tuple[Concern, ...] = field(default=(), metadata=SPARE)
    rest: Rest = kept()

    @property
    def seed(self) -> str:
        """What tells this VM from others, for what is made for it."""
        return f"{self.identity.uuid} {self.identity.place}" if self.identity is not None else self.machine.name


@dataclass(frozen=True)
class Converted:
    """A result of CONVERT: a file or, where `device`, a block device or an image of Ceph. Sizes in bytes; `luks`: the UUID of its encryption.

    `data` is what the source held, `content_digest` is of what a guest reads, `sha256` of the file.
    """

    path: Annotated[str, PATH]
    format: Annotated[str, one_of("qcow2", "raw", "vdi", "vmdk")]
    device: bool = False
    encrypted: bool = False
    luks: Annotated[str, UUID] = field(default="", metadata=SPARE)
    virtual_size: int = 0
    data: Optional[int] = field(default=None, metadata=SPARE)
    allocated: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: Optional[Annotated[float, NUMBER]] = None
    content_digest: str = ""
    sha256: str = field(default="", metadata=SPARE)
    rest: Rest = kept()
