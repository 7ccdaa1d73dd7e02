# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of a disk image says, whatever its format, and the words for one that cannot be."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Optional

from ..core.concern import Concern
from ..core.errors import InvalidInput, UnsafeInput

_DAMAGED = "The file is truncated or damaged; copy it again."


@dataclass(frozen=True)
class Header:
    """An image. `format` is qemu's name of its driver, `size` what the guest sees in bytes.

    A raw disk lies at the beginning of its file. `parent`: the plain name, beside the image, of the one
    that holds what this one does not; `parent_format` is its format, as far as the image says. `id` changes with the image's content, and
    `parent_ids` are what the parent's may be, as this one was made; empty in formats without. `concerns`: what else it says, and is not migrated.
    """

    format: str
    size: int
    parent: Optional[str] = None
    parent_format: str = ""
    id: str = ""
    parent_ids: tuple[str, ...] = ()
    concerns: tuple[Concern, ...] = ()


def impossible(path: str, what: str) -> InvalidInput:
    """The error for a header whose `what` cannot be."""
    return InvalidInput(f"The header of {path} has an impossible {what}.", _DAMAGED, path=path)


def missing(path: str, what: str) -> InvalidInput:
    """The error for a file that is not `what`, or not all of it."""
    return InvalidInput(
        f"{path} is not a {what}, or not all of it.", f"{_DAMAGED} A disk of another kind needs the suffix of its kind.", path=path
    )


def read_at(file: BinaryIO, offset: int, length: int, path: str) -> bytes:
    """Exactly these bytes.

    Raises InvalidInput where the file ends before.
    """
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        raise InvalidInput(f"{path} ends before byte {offset + length}, which its header speaks of.", _DAMAGED, path=path)
    return data


def fields(layout: str, data: bytes, offset: int = 0) -> tuple[Any, ...]:
    """struct.unpack_from of what was read in full."""
    return struct.unpack_from(layout, data, offset)


def beside(name: str, directory: str, path: str) -> str:
    """The plain name of a parent that must lie in `directory`, where the image at `path` lies too.

    Raises UnsafeInput for every other place: a guest that has written its own header must not reach other disks of the host.
    """
    plain = name[len(directory) + 1 :] if name.startswith(directory + "/") else name
    if not plain or plain in (".", "..") or any(char in plain for char in "/\\:\0") or any(ord(char) < 32 for char in plain):
        raise UnsafeInput(
            f"{path} names the parent {name!r}, which does not lie beside it.",
            "Only files of the same directory are read. Copy or move the parent there and set its name (qemu-img rebase -u), or merge the chain.",
            path=path,
            parent=name,
        )
    return plain
