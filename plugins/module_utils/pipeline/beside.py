# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies beside a VM in a drop folder and is none of its disks: known by its suffix, by its name, or by its first bytes.

What is not known here is told by its size: whatever may hold data of a VM is never taken for something beside it.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import AbstractSet

from ..core import files, limits
from ..core.errors import MigrationError
from ..disk import archive, image, qcow2

OF_VMS = (".vmdk", *image.READERS, ".vmx", ".vbox", ".ovf", ".ova")
_SUMS = (".md5", ".sha1", ".sha256", ".sha512", ".asc", ".sig")
# Manifests and sums, settings, states of its memory, CDs, logs, notes; of Hyper-V what is on its way to a replica; icons of a guest's programs.
_BESIDE = (
    ".mf", ".cert", *_SUMS, ".nvram", ".vmsd", ".vmxf", ".vmx~", ".vmsn", ".vmss", ".vmem", ".vswp", ".hlog", ".scoreboard", ".lck", ".vbox-prev",
    ".sav", ".vmcx", ".vmrs", ".vmgs", ".vsv", ".hrl", ".iso", ".log", ".txt", ".md", ".json", ".xml", ".png", ".appicon", ".appinfo",
)  # fmt: skip
_CHANGES = (".rct", ".mrt")  # of a .vhdx: which blocks have changed, not what they hold
_ENDING = re.compile(
    r"({})?(\.tar)?(\.(gz|xz|bz2|tgz|txz|tbz2|zip))*({})?$".format(
        *("|".join(map(re.escape, known)) for known in ((*OF_VMS, *_BESIDE), (*_SUMS, *_CHANGES)))
    ),
    re.IGNORECASE,
)
# Which blocks have changed; what VMware writes where its own program dies.
_NAMED = re.compile(r"(-ctk\.vmdk|\.a?vhdx?\.(rct|mrt)|(^|-)zdump\.\d{3}|^vmmcores(-\d+)?\.gz)$", re.IGNORECASE)
_VARIABLES = re.compile(r"[_-]VARS(\.(fd|raw|img|bin|qcow2))+$", re.IGNORECASE)  # of a UEFI firmware, as OVMF and libvirt name them
_SMALL = 64 * limits.MIB  # the largest firmware, and the largest disk with settings for a cloud's guest
_HEAD = 36 * limits.KIB
_SETTINGS = frozenset((b"cidata", b"config-2"))  # the labels that cloud-init looks for
_SAVED = (b"LibvirtQemudSave", b"LibvirtQemudPart")


def stem(path: str) -> str:
    """The name of a file without what is known to end one."""
    entry = os.path.basename(path)
    with contextlib.suppress(MigrationError, OSError):
        if _VARIABLES.search(entry) and _is_firmware(path):
            return _VARIABLES.sub("", entry)
    return _ENDING.sub("", entry)


def is_beside(path: str, found: AbstractSet[str]) -> bool:
    """Whether a file is known to be no disk; `found` are the paths of all files of its entry, in lower case."""
    name = os.path.basename(path)
    if name.lower().endswith(_BESIDE) or _NAMED.search(name):
        return True
    return _is_memory(path, found) or _is_firmware(path) or _has_settings(_head(path, _HEAD))


def may_be_a_disk(path: str, found: AbstractSet[str]) -> bool:
    """Whether a file may hold data of a VM: by its suffix, or one that is not known by its size."""
    of_vms = path.lower().endswith(OF_VMS) or archive.packed([path])
    return (of_vms or os.path.getsize(path) > limits.DESCRIPTION) and not is_beside(path, found)


def _is_memory(path: str, found: AbstractSet[str]) -> bool:
    """The memory of a VM: what libvirt has saved, or what Hyper-V has up to 2012 beside the state of the devices, below the settings."""
    name, suffix = os.path.splitext(path.lower())
    if suffix == ".save":
        return _head(path, 16, small=False) in _SAVED
    if suffix != ".bin":
        return False
    if f"{name}.vsv" in found or f"{name}.vmcx" in found:
        return True
    here, word = os.path.split(os.path.splitext(path)[0])
    places = (here, os.path.dirname(here)) if os.path.basename(here).lower() == word.lower() else (here,)
    settings = (os.path.join(place, word + ending) for place in places for ending in (".xml", ".XML"))
    return any(_describes(place) for place in settings if place.lower() in found and os.path.lexists(place))


def _describes(path: str) -> bool:
    """Whether this is a description of Hyper-V, and not one of libvirt, whose disks may be called .bin."""
    text = _head(path, limits.KIB, small=False).replace(b"\0", b"")  # it is UTF-16
    return b"<configuration" in text and b"<domain" not in text


def _is_firmware(path: str) -> bool:
    """A UEFI firmware or its variables. Source: UEFI PI, volume 3, EFI_FIRMWARE_VOLUME_HEADER.Signature."""
    head = _head(path, 44)
    if head[:4] == qcow2.MAGIC and _VARIABLES.search(path):  # what it holds is not looked for: no disk of a guest is as small, and named so
        with files.opened(path, "The entry", links=False) as file, contextlib.suppress(MigrationError):
            header = qcow2.read(file, path)
            return header.size <= _SMALL and header.parent is None
    return head[40:] == b"_FVH"


def _has_settings(head: bytes) -> bool:
    """A disk with settings for cloud-init: a CD or a FAT, of a label that says it. Sources: ECMA-119, 8.4; Microsoft's fatgen103."""
    if head[32769:32774] == b"CD001":
        return head[32808:32840].strip().lower() in _SETTINGS
    fat = head[510:512] == b"\x55\xaa"
    return fat and any(head[at : at + 11].strip().lower() in _SETTINGS and head[at + 11 : at + 14] == b"FAT" for at in (43, 71))


def _head(path: str, count: int, small: bool = True) -> bytes:
    """The first bytes of a file; with `small` nothing of one that is too large for what is looked for."""
    with files.opened(path, "The entry", links=False) as file:
        return b"" if small and os.fstat(file.fileno()).st_size > _SMALL else file.read(count)
