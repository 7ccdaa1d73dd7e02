# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with a VM on its target, from what is wanted and what there is. Nothing is asked and nothing done here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Collection, Iterable, Optional, Sequence

from ..core import modes
from ..core.data import to_data
from ..core.errors import Busy, InvalidInput
from ..core.vm import VmId, places_of, require_same
from . import placement
from .target import NOTHING, Definition, Described, Fitted, Found, Placing


@dataclass(frozen=True)
class Wanted:
    """The VM that `description` describes, its images by `kind` of placement in `directory`; None for what shall stay as it is.

    `passphrase` opens images that are encrypted; the target keeps it as a secret. `source` is what the VM was migrated from, if that is to be made sure;
    `moved`: it may have come from another place before.
    """

    description: str
    kind: str = placement.IN_PLACE
    directory: str = ""
    overwrite: bool = False
    running: bool = False
    autostart: Optional[bool] = None
    passphrase: str = field(default="", repr=False)
    source: tuple[str, ...] = ()
    moved: bool = False


@dataclass(frozen=True)
class Unwanted:
    """The VM `name`, which is to be taken back. Its images, variables and description go to `quarantine`, if one is named, with `mode`; else they stay.

    `timeout`: seconds until it must have shut down; `power_off`: whether it may be switched off. `source`: what the VM was migrated from, and
    `description`: how it was described, if that is to be made sure.
    """

    name: str
    quarantine: str = ""
    timeout: float = 120.0
    power_off: bool = False
    mode: int = modes.FILE
    source: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Image:
    """An image where it was made, and where its target is to have it. `here` and `there`: whether it is.

    `stamp` tells it from a later one; empty where it stays in its place or is no longer here.
    """

    path: str
    place: str
    here: bool
    there: bool
    stamp: str = ""


@dataclass(frozen=True)
class Bringing:
    """What is to be done so that a VM is as it is wanted, in the order of the actions."""

    placings: tuple[Placing, ...]
    definition: Definition
    start: bool

    @property
    def actions(self) -> tuple[str, ...]:
        todo, name = self.definition, self.definition.name
        words = {
            f"keep the passphrase of {name}": bool(todo.secret),
            f"define {name}": bool(todo.text),
            f"forget the passphrase of {name}": bool(todo.forgotten),
            f"{'set' if todo.autostart else 'clear'} autostart of {name}": todo.autostart is not None,
            f"start {name}": self.start,
        }
        placed = (f"{one.kind} {one.path} to {one.place}" for one in self.placings)
        return (*placed, *(action for action, due in words.items() if due))


@dataclass(frozen=True)
class Removal:
    """What is to be done so that a VM is gone: `moves` are files, and where they go; `secret` is the id of a passphrase that is forgotten."""

    name: str
    stop: bool
    moves: tuple[tuple[str, str], ...] = ()
    secret: str = ""

    @property
    def actions(self) -> tuple[str, ...]:
        words = {
            f"shut down {self.name}": self.stop,
            **{f"move {path} to {to}": True for path, to in self.moves},
            f"forget the passphrase of {self.name}": bool(self.secret),
            f"undefine {self.name}": True,
        }
        return tuple(action for action, due in words.items() if due)


def require_ours(name: str, found: Found) -> None:
    """Raise InvalidInput for a VM that was not made from a migration."""
    if found.mark is None:
        raise InvalidInput(
            f"There is a domain {name} that was not made from a migration.", "Give the migrated VM another name (migrate_name).", name=name
        )


def require_source(what: str, vm: VmId, source: Sequence[str]) -> None:
    """Raise InvalidInput for what belongs to a VM that was named otherwise."""
    if places_of(vm.source) != places_of(source):
        raise InvalidInput(
            f"{what} belongs to {vm}, and not to the VM from {', '.join(source)}.",
            "Name the source as it was when it was migrated, or set migrate_name and migrate_output_dir to those of this VM.",
            belongs_to=to_data(vm),
        )


def require_images(name: str, known: Iterable[str], runs_on: Sequence[str], described: Collection[str]) -> None:
    """Raise InvalidInput for a VM of an earlier version, which does not say whose it is, unless it `runs_on`, or is `known` to be made from, images that
    are `described`.
    """
    if {*runs_on, *known}.isdisjoint(described):
        raise InvalidInput(
            f"The domain {name} does not say which VM it is, and runs on other images ({', '.join(sorted(set(runs_on))) or 'none'}).",
            "Give the migrated VM another name (migrate_name), or look at the domain and remove it by hand.",
            name=name,
        )


def require_same_vm(wanted: Wanted, described: Described, found: Found, images: Sequence[Image], runs_on: Sequence[str]) -> None:
    """Raise InvalidInput where the VM that is there is not the one that is described."""
    if found.vm is None or described.vm is None:
        require_images(described.name, found.images, runs_on, {*(one.path for one in images), *(one.place for one in images)})
    else:
        require_same(found.vm, described.vm, f"The domain {described.name}", wanted.moved)


def placings(wanted: Wanted, name: str, found: Optional[Found], images: Sequence[Image]) -> tuple[Placing, ...]:
    """The images that are to be placed: once, and again only where that is allowed. Raises InvalidInput for a missing one, Busy for a VM that runs."""
    there = found or NOTHING
    known = there.images
    later = [one.path for one in images if one.stamp and known.get(one.path, one.stamp) != one.stamp]
    if later and not wanted.overwrite:
        raise InvalidInput(
            f"{name} runs on a copy of what {later[0]} was before it was migrated again.",
            "Take the domain back first (state absent), or allow to overwrite its disks.",
            path=later[0],
        )
    if later and there.running:
        raise Busy(f"{name} runs, and its disks cannot be replaced.", "Shut it down first.", name=name)
    due = []
    for one in images:
        placed = one.place == one.path or (one.path in known and one.path not in later)
        if not one.there and (placed or not one.here):
            raise InvalidInput(f"{one.place}, a disk of {name}, does not exist.", "Convert the VM first.", path=one.place)
        if not placed:
            due.append(Placing(one.path, one.place, wanted.kind, one.path in later))
    return tuple(due)


def versions(found: Optional[Found], images: Sequence[Image], due: Sequence[Placing]) -> dict[str, str]:
    """Which version of each image the disks are made from, once those that are due are placed."""
    stamps = {one.path: one.stamp for one in images if one.stamp}
    replaced = {one.path for one in due if one.overwrite}
    return {**stamps, **{path: stamp for path, stamp in (found or NOTHING).images.items() if path not in replaced}}


def bringing(wanted: Wanted, described: Described, found: Optional[Found], due: tuple[Placing, ...], fitted: Fitted) -> Bringing:
    """What is to be done so that the VM is as it is wanted; `due` are its placings.

    A passphrase is kept once, and anew for other disks: a target tells nobody what it knows, so that it cannot be compared.
    """
    there = found or NOTHING
    define = there.mark != fitted.mark or _says_otherwise(there.vm, described.vm)
    secret = described.secret if not there.knows or any(one.overwrite for one in due) else ""
    definition = Definition(
        described.name,
        text=fitted.text if define else "",
        secret=secret,
        passphrase=wanted.passphrase if secret else "",
        forgotten=there.secret if define and there.secret != described.secret else "",
        autostart=None if found is not None and found.autostart == wanted.autostart else wanted.autostart,
    )
    return Bringing(due, definition, wanted.running and not there.running)


def _says_otherwise(known: Optional[VmId], described: Optional[VmId]) -> bool:
    """Whether what is known of the VM is to be replaced: what changes with each migration of it is no reason."""
    return described is not None and (known is None or replace(known, digest="", disks=()) != replace(described, digest="", disks=()))
