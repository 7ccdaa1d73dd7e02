# SPDX-License-Identifier: GPL-3.0-or-later
"""What CONVERT is asked for: one disk, and what its result is to be."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Optional

from ..core import ahead, limits, modes
from ..core.data import Rest, kept
from ..core.errors import InvalidInput
from ..core.manifest import Form
from ..core.shape import one_of

STAGE, WRITING = "convert", "writing"  # of the manifest beside a result
# What each format can do beside leaving out what is not used.
PREALLOCATIONS = {"qcow2": ("off", "metadata", "falloc", "full"), "raw": ("off", "falloc", "full"), "vdi": ("off",)}
_USUAL_CLUSTER = 64 << 10  # of qemu
_CLUSTERS = tuple(1 << bits for bits in range(9, 22))
# What does not make another result.
_SAME_RESULT = ("source", "dest", "overwrite", "passphrase", "mode", "file_digest")


@dataclass(frozen=True)
class Wanted:
    """The options of a result that are looked at one by one."""

    device: str = ""
    format: Annotated[str, one_of("", *PREALLOCATIONS)] = ""
    encrypted: bool = False
    rest: Rest = kept()


@dataclass(frozen=True)
class Written:
    """What is said of a result, or of one that is being written; `head` is the digest of what its device had first."""

    head: str = ""
    virtual_size: int = 0
    content_digest: str = ""
    sha256: str = ""
    rest: Rest = kept()


RECORD = Form(Written, Wanted)


@dataclass(frozen=True)
class Request:
    """One disk to convert. `size` is what the result is to have, in bytes; None to keep the size.

    `cluster_size` is that of a qcow2 in bytes, 0 for qemu's choice.
    `overwrite`: a result may be replaced although it is no longer as it was made, as after a VM has run on it.
    `device`: the block device that gets the result, as raw and as large as it is; `dest` is then where the manifest is.
    `passphrase`: opens the result, a qcow2 that is encrypted by it; empty for one that is not. `mode` is the mode of the file.
    `file_digest`: whether the SHA-256 of the file or device is wanted too, which costs another pass.
    """

    source: str
    source_format: str
    dest: str
    format: str = "qcow2"
    compression: str = "none"
    size: Optional[int] = None
    overwrite: bool = False
    preallocation: str = "off"
    cluster_size: int = 0
    device: str = ""
    passphrase: str = field(default="", repr=False)
    mode: int = modes.FILE
    file_digest: bool = False

    def __post_init__(self) -> None:
        if self.compression != "none" and self.format != "qcow2":
            raise InvalidInput(
                f"{self.format} images cannot be compressed.", "Use qcow2, or set the compression to none.", format=self.format
            )
        if self.preallocation not in PREALLOCATIONS[self.format] or (self.preallocation != "off" and self.compression != "none"):
            raise InvalidInput(
                f"{'Compressed' if self.compression != 'none' else self.format} images cannot be preallocated ({self.preallocation}).",
                "Set the preallocation to off; full and falloc are for raw and for qcow2 without compression.",
                preallocation=self.preallocation,
            )
        if self.cluster_size and (self.format != "qcow2" or self.cluster_size not in _CLUSTERS):
            raise InvalidInput(
                f"{self.format} images cannot have clusters of {self.cluster_size} bytes.",
                "qcow2 has clusters of a power of two from 512 bytes to 2 MiB.",
                cluster_size=self.cluster_size,
            )

        if self.passphrase and (self.format != "qcow2" or self.compression != "none"):
            raise InvalidInput(
                f"{'Compressed qcow2' if self.format == 'qcow2' else self.format} images cannot be encrypted.",
                "Encrypted results are qcow2 without compression. What lies below a block device can be (cryptsetup).",
                format=self.format,
            )

    def options(self) -> dict[str, Any]:
        known = {key: value for key, value in asdict(self).items() if key not in _SAME_RESULT}
        return {**known, "encrypted": bool(self.passphrase)}

    @property
    def output(self) -> str:
        """Where the result is read."""
        return self.device or self.dest

    def virtual_size(self, had: int, room: int) -> int:
        """The size of the result of a disk that has `had` bytes, on a device of `room`.

        Raises InvalidInput for less than it has, and for more than the format, the device or the file system of the result can have.
        """
        size = self.size or had
        if size < had:
            raise InvalidInput(
                f"{self.source} has {had} bytes already and is never shrunk to {size}.",
                "Give the sizes that guest_fix had (grow).",
                path=self.source,
            )
        if self.device and size > room:
            raise InvalidInput(
                f"{self.device} has {room} bytes, and the disk needs {size}.", "Make the device larger (LVM: lvextend).", path=self.device
            )
        most = largest(self.format, self.cluster_size)
        if most and size > most:
            raise InvalidInput(
                f"{self.dest} would have {size} bytes, and {self.format} has {most} at most{' with clusters of this size' if self.cluster_size else ''}.",
                "Choose larger clusters (cluster_size), or another format."
                if self.cluster_size
                else "Choose a smaller size, or another format.",
                path=self.dest,
            )
        if not self.device and self.format == "raw":
            ahead.length(os.path.dirname(os.path.abspath(self.dest)), size, self.dest)
        return room if self.device else size


def largest(fmt: str, cluster: int) -> int:
    """The bytes that an image can have; 0 where the format does not limit them. `cluster`: that of a qcow2, 0 for qemu's choice.

    Source: qemu's docs/interop/qcow2.txt. Each entry of the first table is for a table of one cluster, with 8 bytes for each cluster of data.
    """
    size = cluster or _USUAL_CLUSTER
    return {"qcow2": limits.QCOW2_TABLE // 8 * (size // 8) * size, "vdi": limits.VDI_SIZE}.get(fmt, 0)
