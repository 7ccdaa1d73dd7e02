# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of an OVF package: the digest of each file. One that is there counts; none is needed.

Source: DSP0243 9.1; spellings that tools write as in virt-v2v (RHBZ#1570407).
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import Iterable, Optional

from ..core import files
from ..core.errors import InvalidInput
from . import chain, litter, xmlfile
from .ovf_package import Member, Package

# openssl 3 calls them SHA2-256 and SHA2-512.
_LINE = re.compile(r"^\s*SHA-?(?:2-(?=[25]))?(1|256|512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$", re.IGNORECASE)
_WITHOUT = "To go without digests, remove the manifest"


@dataclass(frozen=True)
class Manifest:
    """`lines`: the file, which digest, and what it is to be, for each line of a file that is here."""

    name: str
    path: str
    lines: tuple[tuple[Member, str, str], ...]

    def require(self, names: Iterable[str]) -> None:
        """Raise InvalidInput where it leaves out one of the files that are read."""
        listed = {member.name for member, dummy, digest in self.lines}
        lacking = sorted(set(names) - listed)
        if lacking:
            raise InvalidInput(
                f"The manifest {self.name} of {self.path} has no digest of {', '.join(lacking)[:200]}, which the VM has for a disk.",
                f"It may be another package's, or cut off: copy the package again. {_WITHOUT} ({self.name}).",
                path=self.path,
                manifest=self.name,
            )

    def verify(self, only: Optional[str] = None) -> None:
        """Compare the digests; of one file, or of all."""
        for member, kind, digest in self.lines:
            if only in (None, member.name) and _digest(member, kind) != digest:
                raise InvalidInput(
                    f"{member.name} does not have the {kind} digest that the manifest of {self.path} gives.",
                    "The file was changed or damaged on the way; copy it again.",
                    path=self.path,
                    member=member.name,
                )


def find(package: Package, descriptor: str) -> Optional[Manifest]:
    """The manifest that belongs to an .ovf; None where there is none.

    Raises InvalidInput for two of them and for what is none, UnsafeInput for what is no file.
    """
    name = _name(package, os.path.splitext(descriptor)[0] + ".mf")
    if name is None:
        return None
    if name not in package.members:
        chain.regular(os.path.join(os.path.dirname(os.path.abspath(package.path)), name), "The manifest")
        raise InvalidInput(f"The manifest {name} of {package.path} cannot be read.", "Check its permissions.", path=package.path)
    lines: dict[tuple[str, str], tuple[Member, str, str]] = {}
    for line in package.members[name].read(xmlfile.LIMIT).decode("utf-8-sig", "replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            if line.strip():
                raise InvalidInput(
                    f"{name} has a line that gives no SHA1, SHA256 or SHA512 digest of a file of {package.path}: {line[:80]!r}.",
                    f"Copy the package again. {_WITHOUT} ({name}).",
                    path=package.path,
                )
            continue
        member = package.known_as(match[2])
        if member is None:
            continue
        if member.name == name:
            raise InvalidInput(
                f"The manifest {name} of {package.path} lists itself; no file can hold the digest that it has with it.",
                f"Remove that line, the other digests count then. {_WITHOUT} ({name}).",
                path=package.path,
                manifest=name,
            )
        found = member, f"SHA{match[1]}", match[3].lower()
        if lines.setdefault((member.name, found[1]), found) != found:
            raise InvalidInput(
                f"{name} of {package.path} gives two {found[1]} digests of {member.name}.",
                f"Copy the package again. {_WITHOUT} ({name}).",
                path=package.path,
            )
    return Manifest(name, package.path, tuple(lines.values()))


def _name(package: Package, usual: str) -> Optional[str]:
    """Makers write the suffix in capitals too. In an archive there is but one description that a manifest can belong to, whatever its name."""
    there = list(package.members) if package.archive else os.listdir(os.path.dirname(os.path.abspath(package.path)))
    if usual in there:
        return usual
    stems = {name: os.path.splitext(name)[0] for name in there if name.lower() == usual.lower()}
    found = [name for name, stem in stems.items() if stem == os.path.splitext(usual)[0]]
    found = found or [name for name, stem in stems.items() if f"{stem}.ovf" not in there]  # which is that of another VM
    if package.archive and not found:
        found = [name for name in there if name.lower().endswith(".mf") and not litter.is_hidden(name)]
    if len(found) > 1:
        raise InvalidInput(
            f"{package.path} has {len(found)} manifests: {', '.join(sorted(found))[:200]}.",
            "Leave the one that was exported with it, and remove the others.",
            path=package.path,
        )
    return found[0] if found else None


def _digest(member: Member, kind: str) -> str:
    digest = hashlib.new(kind.lower())
    with files.opened(member.path, "The package") as file:
        file.seek(member.offset)
        left = member.size
        while left:
            block = file.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
            if not block:
                break
    return digest.hexdigest()
