# SPDX-License-Identifier: GPL-3.0-or-later
"""A format: how a VM is written down for one of those who run VMs. Each is a file of its own, and one of the imports of `formats`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Protocol

from ..core.errors import InvalidInput
from .domain import Domain


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

    def whose(self, found: str, domain: Domain) -> str:
        """The name of the VM that a file which holds `found`, and would be replaced by one of `domain`, is of. Empty for what is not of this format."""


@dataclass(frozen=True)
class AsJson:
    """A format whose text is one object of JSON. A file of it is known by its keys, and says no name: its ending is one that no other format has."""

    name: str
    data: Callable[[Domain], Mapping[str, Any]]
    program: bool = False

    @property
    def ending(self) -> str:
        return f"-{self.name}.json"

    def text(self, domain: Domain) -> str:
        return json.dumps(self.data(domain), indent=2) + "\n"

    def whose(self, found: str, domain: Domain) -> str:
        try:
            known = json.loads(found)
        except (RecursionError, ValueError):
            return ""
        return domain.name if isinstance(known, dict) and not known.keys().isdisjoint(self.data(domain)) else ""


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
