# SPDX-License-Identifier: GPL-3.0-or-later
"""A target: what runs migrated VMs, and what is asked of it. What is to be done there is decided in `decision`, for every kind alike."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Mapping, Optional, Protocol

from ..core.vm import VmId


@dataclass(frozen=True)
class Described:
    """What a description says of a VM: its name, its images in order, the networks it is on, and which VM it was at its source.

    `secret` is the id by which the target knows the passphrase of the `encrypted` images; empty where there are none.
    """

    name: str
    disks: tuple[str, ...]
    networks: tuple[str, ...] = ()
    vm: Optional[VmId] = None
    secret: str = ""
    encrypted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A VM as its target has it, and how it is described there. Whoever changes it by hand leaves its mark.

    `mark` tells one definition of ours from another; None for a VM that was not made from a migration. `images`: by path, which version of each image
    its disks were made from. `secret`: the id of its passphrase, where that was kept by us; `knows`: whether the target knows the one that was asked for.
    `files` are its own beside its images. `suffix`: the end of the name of a file that holds `text`.
    """

    text: str
    mark: Optional[Mapping[str, str]] = None
    images: Mapping[str, str] = field(default_factory=dict)
    vm: Optional[VmId] = None
    running: bool = False
    autostart: bool = False
    secret: str = ""
    knows: bool = False
    files: tuple[str, ...] = ()
    suffix: str = ".xml"


NOTHING = Found("")  # for who asks what is so of a VM that is not there


@dataclass(frozen=True)
class Fitted:
    """A description that can be defined, and the mark that tells it from others."""

    text: str
    mark: Mapping[str, str]


@dataclass(frozen=True)
class Placing:
    """An image that is put to `place`, see placement.place."""

    path: str
    place: str
    kind: str
    overwrite: bool = False


@dataclass(frozen=True)
class Definition:
    """What is to last of a VM on its target; empty, or None, for what stays as it is.

    `secret` is the id by which its `passphrase` is kept, `forgotten` that of one which opens nothing any more. `autostart`: it starts with its host.
    """

    name: str
    text: str = ""
    secret: str = ""
    passphrase: str = field(default="", repr=False)
    forgotten: str = ""
    autostart: Optional[bool] = None

    @property
    def empty(self) -> bool:
        """Whether all stays as it is."""
        return self == Definition(self.name)


class Target(Protocol):
    """What runs VMs. A VM is known there by its name; nothing is asked of one that is not ours but what it is."""

    def read(self, text: str) -> Described:
        """What a description says. Raises InvalidInput for what is none, and for disks that cannot be placed."""

    def fit(self, text: str, places: Mapping[str, str], images: Mapping[str, str]) -> Fitted:
        """The description with its images at `places`, and a mark that holds `images`, see Found. The same each time; nothing is changed."""

    def describe(self, name: str, secret: str = "") -> Optional[Found]:
        """The VM of this name as it is now; None where there is none. Raises InvalidInput for a mark of ours that cannot be read."""

    def preflight(self, described: Described) -> None:
        """Raise InvalidInput for what the target lacks to start such a VM now."""

    def place(self, placing: Placing) -> None:
        """Put an image where the VM has it. Raises InvalidInput, NotEnoughSpace."""

    def define(self, definition: Definition) -> None:
        """Make what lasts so, of a VM that is new or is there."""

    def start(self, name: str) -> None:
        """Start the VM, unless it runs."""

    def stop(self, name: str, timeout: float, power_off: bool) -> None:
        """Let the VM shut down. After `timeout` seconds it is switched off, if it may be. Raises ToolFailed for one that still runs."""

    def remove(self, name: str, secret: str = "") -> None:
        """Forget the VM, and the passphrase with this id. Its images stay where they are."""

    def directory(self) -> str:
        """Where its pool has its images. Raises InvalidInput for a pool whose images are no files, and where there are no pools."""


@dataclass(frozen=True)
class Settings:
    """What a user says of a target beside its URI: the `pool` that images go to, empty for none; `accelerator`: kvm, tcg, or auto for the one that works."""

    pool: str = ""
    accelerator: str = "auto"


class Kind(Protocol):
    """A kind of target, found by the scheme of a URI."""

    @property
    def scheme(self) -> str:
        """What its URIs begin with; empty for the one that has all those which are of no other kind."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries of Python that reach it."""

    def opened(self, uri: str, settings: Settings) -> contextlib.AbstractContextManager[Target]:
        """The target, for the time of a block. Raises MissingTool without its libraries, Unreachable where it does not answer."""
