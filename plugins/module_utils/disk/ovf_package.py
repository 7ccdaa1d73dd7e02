# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an OVF package: those beside its .ovf, or those in an uncompressed tar, found by what the description calls them."""

from __future__ import annotations

import os
import re
import tarfile
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional
from urllib.parse import unquote

from ..core import files, held
from ..core.errors import InvalidInput, UnsafeInput
from . import below, chain, litter, tape

_MAX_MEMBERS = 1000
_HERE = re.compile(r"^(\./+)+")


@dataclass(frozen=True)
class Member:
    """A file of the package: which file it lies in, from which byte, how many."""

    name: str
    path: str
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        if self.size > limit:
            raise InvalidInput(
                f"{self.name} in {self.path} is larger than {limit >> 20} MiB.",
                "The package is damaged; export the VM again.",
                member=self.name,
            )
        with files.opened(self.path, "The package") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Package:
    """What is there, by plain names, in an archive with the folders before them. `path` is the .ova, or the .ovf.

    `base` is the folder of the .ovf in an archive: what a description or a manifest names is looked for from there.
    """

    path: str
    archive: bool
    members: Mapping[str, Member]
    base: str = ""

    def known_as(self, name: str) -> Optional[Member]:
        """The file that a manifest names so, if it is here."""
        names = [spelt for spelt in _spellings(_HERE.sub("", name)) if below.is_plain(spelt)]
        return next((found for found in map(self._member, names) if found is not None), None)

    def find(self, href: str) -> tuple[str, Optional[Member]]:
        """The file that a description names, and its plain name; None where it is not here.

        Source: DSP0243 7.1, which has a URI there; makers write the name as it is, which is therefore tried first. Raises UnsafeInput for a name that
        reaches elsewhere, in either spelling, and for what is here but is no file.
        """
        names = tuple(_spellings(_HERE.sub("", href)))
        for name in names:
            self._require_plain(name, href)
            member = self._member(name)
            if member is not None:
                return member.name, member
        if not self.archive:
            for place in map(self._place, names):
                if os.path.lexists(place):
                    chain.regular(place, "The disk")
        return next((name for name in map(self._named, names) if f"{name}.{0:09d}" in self.members), self._named(names[-1])), None

    def name_of(self, file: str) -> str:
        """How a file beside the .ovf, or in a folder below it, is named."""
        return os.path.relpath(file, self._folder)

    @property
    def _folder(self) -> str:
        return os.path.dirname(os.path.abspath(self.path))

    def _named(self, name: str) -> str:
        return f"{self.base}/{name}" if self.base else name

    def _place(self, name: str) -> str:
        return below.place(self._folder, name, self.path)

    def _member(self, name: str) -> Optional[Member]:
        if self.archive or "/" not in name:
            return self.members.get(self._named(name))
        place = self._place(name)
        plain = os.path.isfile(place) and not os.path.islink(place)
        return Member(name, place, 0, os.path.getsize(place)) if plain else None

    def _require_plain(self, name: str, href: str) -> None:
        if not below.is_plain(name) or name.count("/") > href.count("/"):  # RFC 3986, 2.2: %2F is a part of a name, which no file has
            raise UnsafeInput(
                f"{self.path} names the file {href[:200]!r}, which is no plain name of a file of the package.",
                "Only files of the package are read: those beside the .ovf, and in folders below it. Put it there (unpack an .ova first), correct its "
                "ovf:href in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                name=href,
            )


def _spellings(name: str) -> Iterator[str]:
    yield name
    if unquote(name) != name:
        yield unquote(name)


def index(path: str) -> Package:
    archive = path.lower().endswith(".ova")
    return Package(path, archive, _of_tar(path) if archive else _of_folder(path))


def _of_tar(path: str) -> dict[str, Member]:
    try:
        with files.opened(path, "The package") as file:
            members: dict[str, Member] = {}
            for number, (info, dummy) in enumerate(tape.members(file, path)):
                if number == _MAX_MEMBERS:
                    raise UnsafeInput(
                        f"{path} has more than {_MAX_MEMBERS} members.", "An OVA has a handful of files; export the VM again.", path=path
                    )
                if litter.is_litter(info.name) or info.isdir():
                    continue
                if not info.isreg() or info.sparse is not None:
                    raise UnsafeInput(
                        f"{path} holds {info.name!r}, which is not a plain file.",
                        "Links and devices are never followed; export the VM again.",
                        path=path,
                    )
                name = _member_name(info.name, path)
                if info.offset_data + info.size > held.status(path).st_size:
                    raise InvalidInput(f"{path} ends inside {name}.", "The copy is incomplete; copy the file again.", path=path)
                if name in members:
                    raise UnsafeInput(f"{path} holds {name} twice.", "Export the VM again.", path=path)
                members[name] = Member(name, path, info.offset_data, info.size)
            return members
    except (tarfile.TarError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path} is not an uncompressed tar archive: {error}.",
            "If it is compressed (gzip, xz), unpack it and name the .ovf.",
            path=path,
        ) from error


def _member_name(name: str, path: str) -> str:
    plain = _HERE.sub("", name)
    if not below.is_plain(plain):
        raise UnsafeInput(
            f"{path} holds {name[:200]!r}, which is no plain name of a file.",
            "Export the VM again; or unpack it, put its files into one folder, correct ovf:href in the .ovf, and name the .ovf.",
            path=path,
        )
    return plain


def _of_folder(path: str) -> dict[str, Member]:
    folder = os.path.dirname(os.path.abspath(path))
    found = (os.path.join(folder, name) for name in os.listdir(folder))
    return {
        os.path.basename(file): Member(os.path.basename(file), file, 0, os.path.getsize(file))
        for file in found
        if os.path.isfile(file) and not os.path.islink(file)
    }
