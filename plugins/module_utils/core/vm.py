# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM something is, or belongs to: its UUID and where it comes from, never its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional, Sequence

from .choice import parted
from .data import to_data
from .errors import InvalidInput
from .urls import split

MIB = 1 << 20
_LONGEST = 200
_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PORTS = {"vsphere": 443, "ssh": 22}


@dataclass(frozen=True)
class Mark:
    """What a disk without a UUID is known by: the bytes that a guest sees, and digests of the first and the last MiB of its files.

    Digests are empty where they were not read.
    """

    size: int
    head: str = ""
    tail: str = ""


@dataclass(frozen=True)
class VmId:
    """A VM. `uuid` is empty where the source has none, `place` is where it comes from, without a login and without what may be renamed there.

    `source` is what the operator named, for people. `digest` is that of its configuration; another one is the same VM, of which a new migration is due.
    `disks` tell VMs without a UUID apart. A packed source has neither before it is unpacked.
    """

    uuid: str
    place: str
    source: tuple[str, ...] = ()
    name: str = ""
    digest: str = ""
    disks: tuple[Mark, ...] = field(default=())

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> VmId:
        """What was noted of one; its names may hold bytes that are no text, as those of files may. Raises InvalidInput for what is none."""
        try:
            disks = tuple(Mark(int(disk["size"]), str(disk["head"]), str(disk["tail"])) for disk in data["disks"])
            source = tuple(str(one) for one in data["source"])
            return cls(str(data["uuid"]), str(data["place"]), source, str(data["name"]), str(data["digest"]), disks)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise InvalidInput("This is not the identity of a VM.", "Give what vmdk_fetch returned as vm.identity.") from error

    def __str__(self) -> str:
        """For people: which VM, and where it comes from."""
        said = ", ".join(self.source) or self.place
        known = f"UUID {self.uuid}, " if self.uuid else ""
        where = f" at {self.place}" if self.place not in said else ""
        return f"the VM {self.name or 'without a name'} ({known}from {said}{where})"


def same(known: VmId, found: VmId, moved: bool = False) -> bool:
    """Whether both are one VM. `moved`: the operator says that it may come from another place than before.

    A UUID counts only together with its place, since whoever copies a folder copies it. VMs without one are the same where they come from the same
    place and their first disk has kept its size or its beginning; so are those whose id is but a name, as the ids of OVF often are.
    """
    here, alike = known.place == found.place, _alike(known.disks, found.disks)
    if known.uuid and found.uuid:
        as_ever = _UUID.match(known.uuid) or alike is not False
        return known.uuid == found.uuid and bool((here and as_ever) or moved)
    if here:
        return moved or alike is not False
    return moved and alike is not False


def _alike(known: Sequence[Mark], found: Sequence[Mark]) -> Optional[bool]:
    """Whether the first disks may be the same one; None where nothing is known of one of them."""
    if not known or not found:
        return None
    one, other = known[0], found[0]
    return one.size == other.size or (one.head != "" and one.head == other.head)


def require_same(known: VmId, found: VmId, what: str, moved: bool = False) -> None:
    """Raise InvalidInput where `what`, which belongs to the VM `known`, is to be used for the VM `found`, and that is another one."""
    if same(known, found, moved):
        return
    why, moved_there = "", ""
    if known.place != found.place and same(known, found, moved=True):
        why = f" {'It has the UUID of the VM' if found.uuid else 'Its disks may be the same'}, but it comes from another place: it may be a copy."
        moved_there = " If it is the same VM, which was moved there, set migrate_moved: true."
    elif known.place == found.place and same(known, found, moved=True):
        why = " It comes from the same place, but both the size and the beginning of its first disk are others."
        moved_there = " If it is the same VM, with other disks, set migrate_moved: true."
    raise InvalidInput(
        f"{what} belongs to {known}, and not to {found}.{why}",
        "Give this VM a name of its own (migrate_name) or another migrate_output_dir, or move away what is there." + moved_there,
        belongs_to=to_data(known),
        vm=to_data(found),
    )


def uuid_of(text: Optional[str]) -> str:
    """A UUID as RFC 9562 writes it, from any spelling (VMware's in bytes, Microsoft's and VirtualBox's in braces); another id as it is.

    Empty for none, and for those that say nothing (all zeros, all ones).
    """
    plain = "".join(char for char in (text or "").strip() if char.isprintable())[:_LONGEST]
    digits = re.sub(r"[\s{}-]", "", plain.lower().removeprefix("urn:uuid:"))
    if re.fullmatch(r"[0-9a-f]{32}", digits) is None:
        return plain
    return "" if set(digits) in ({"0"}, {"f"}) else "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def place_of(url: str) -> str:
    """A URL without its login, with its host in lower case and its port only where that is not the usual one."""
    parts = split(url)
    port = parts.port
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    where = host if port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"
    rest = "".join(mark + text for mark, text in (("", parts.path), ("?", parts.query), ("#", parts.fragment)) if text)
    return f"{parts.scheme.lower()}://{where}{rest}"  # urlunsplit leaves out the slashes where there is no host


def places_of(source: Iterable[str]) -> set[str]:
    """What an operator has named, in one spelling: URLs, or files of this host. Nobody is asked."""
    return {place_of(one) if _URL.match(one) else _file_of(one) for one in source}


def _file_of(source: str) -> str:
    path, chosen = parted(source)
    return f"{os.path.realpath(path)}{chosen}"


def digest_of(configuration: Any) -> str:
    """A digest of what a source says of a VM's hardware."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True, default=str).encode("utf-8", "surrogateescape")).hexdigest()
