# SPDX-License-Identifier: GPL-3.0-or-later
"""A format: how a VM is written down for one of those who run VMs. Each is a file of its own, and one of the imports of `formats`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Protocol

from ..core import device, rbd
from ..core.errors import InvalidInput, MigrationError
from .domain import Domain


@dataclass(frozen=True)
class Said:
    """What a description, when it is read again, says of the disks and NICs of its VM, in their order; None where its format says nothing of them.

    `disks` are where they are, `starts` the number of the one that is tried first, `macs` empty where the target makes one. `networks` are as Nic has
    them; empty for one that cannot be told from the description.
    """

    disks: Optional[tuple[str, ...]] = None
    starts: Optional[int] = None
    macs: Optional[tuple[str, ...]] = None
    networks: Optional[tuple[str, ...]] = None


class Format(Protocol):
    """A way to write a VM down, found by its name."""

    @property
    def name(self) -> str:
        """What the operator calls it."""

    @property
    def ending(self) -> str:
        """What its file's name has behind that of the VM. No two formats have the same one."""

    @property
    def program(self) -> bool:
        """Whether who reads it may run it."""

    def text(self, domain: Domain) -> str:
        """The VM, in the same words each time; its disks are not looked at. Raises InvalidInput, which names the VM, for one that cannot be had so."""

    def said(self, text: str, domain: Domain) -> Said:
        """What a text of this format, which `text` has given of `domain`, says of disks and NICs."""

    def whose(self, found: str, domain: Domain) -> str:
        """The name of the VM that a file which holds `found`, and would be replaced by one of `domain`, is of. Empty for what is not of this format."""


@dataclass(frozen=True)
class AsJson:
    """A format whose text is one object of JSON. A file of it is known by its keys, and says no name: its ending is one that no other format has."""

    name: str
    data: Callable[[Domain], Mapping[str, Any]]
    read: Callable[[Mapping[str, Any], Domain], Said]
    program: bool = False

    @property
    def ending(self) -> str:
        return f"-{self.name}.json"

    def text(self, domain: Domain) -> str:
        return json.dumps(self.data(domain), indent=2) + "\n"

    def said(self, text: str, domain: Domain) -> Said:
        return self.read(json.loads(text), domain)

    def whose(self, found: str, domain: Domain) -> str:
        try:
            known = json.loads(found)
        except (RecursionError, ValueError):
            return ""
        return domain.name if isinstance(known, dict) and not known.keys().isdisjoint(self.data(domain)) else ""


def place_of(path: str) -> str:
    """A path as Said has it: an image of Ceph without how it is reached."""
    return rbd.parse(path).name if rbd.is_image(path) else path


def require_said(domain: Domain, fmt: Format, text: str) -> None:
    """Raise MigrationError for a text that says anything else of the VM's disks and NICs than what the VM has."""
    said = fmt.said(text, domain)
    disks = tuple(place_of(device.absolute(path)) for path, dummy in domain.disks)
    networks = tuple(nic.network if one else "" for one, nic in zip(said.networks or (), domain.nics))
    for what, found, wanted in (
        ("disks", said.disks, disks),
        ("disk to start from", said.starts, domain.boot_disk),
        ("MACs", said.macs, tuple(nic.mac or "" for nic in domain.nics)),
        ("networks", said.networks, networks),
    ):
        if found is not None and found != wanted:
            raise MigrationError(
                f"The description of {domain.name} for {fmt.name} has other {what} than the VM: {found}, and not {wanted}.",
                "Nothing was written. Leave this format out, and report the defect with this message.",
                name=domain.name,
            )


def require_open(domain: Domain, where: str) -> None:
    """Raise InvalidInput for encrypted disks, which `where` cannot import."""
    if domain.encrypted:
        raise InvalidInput(
            f"{where} cannot import the disks of {domain.name}, which are encrypted.",
            "Leave it out of the formats, or convert without a passphrase and encrypt its storage.",
        )


def label(name: str) -> str:
    """A name as Kubernetes and DNS take it (RFC 1123)."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "vm"
