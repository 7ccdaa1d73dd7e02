# SPDX-License-Identifier: GPL-3.0-or-later
"""A migrated VM on its target: brought, and taken back, and no VM touched that is not of the collection."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..core import atomic, device, modes, names, spared
from ..disk import encrypted
from . import decision, placement
from .decision import Bringing, Image, Removal, Unwanted, Wanted
from .target import NOTHING, Described, Found, Target


@dataclass(frozen=True)
class Done:
    """What was done (in check mode: what would be), and the description before and after."""

    actions: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    before: str = ""
    after: str = ""

    def as_result(self) -> dict[str, Any]:
        return {"changed": bool(self.actions), "actions": list(self.actions), "disks": list(self.disks)}


def bring(target: Target, wanted: Wanted, check: bool) -> Done:
    """Make the VM what is wanted. Raises InvalidInput for a VM of that name that is not ours, or that runs on other images."""
    described = target.read(wanted.description)
    name = described.name
    spared.add((*wanted.source, *(described.vm.source if described.vm is not None else ())))
    images = tuple(_image(path, wanted) for path in dict.fromkeys(described.disks))
    found = target.describe(name, described.secret)
    if found is not None:
        decision.require_ours(name, found)
    if described.vm is not None and wanted.source:
        decision.require_source(f"The description of {name}", described.vm, wanted.source)
    if found is not None:
        # Only where it is needed: by hand a VM may have got disks that nobody can place, and keeps them.
        runs_on = target.read(found.text).disks if found.vm is None or described.vm is None else ()
        decision.require_same_vm(wanted, described, found, images, runs_on)
    if wanted.running and not (found or NOTHING).running:
        target.preflight(described)
    due = decision.placings(wanted, name, found, images)
    places = {one.path: one.place for one in images}
    fitted = target.fit(wanted.description, places, decision.versions(found, images, due))
    todo = decision.bringing(wanted, described, found, due, fitted)
    if todo.definition.secret:
        _require_passphrase(described, images, wanted.passphrase)
    if not check:
        _bring(target, todo)
    before = (found or NOTHING).text if todo.definition.text else ""
    return Done(todo.actions, tuple(places.values()), before, todo.definition.text)


def _bring(target: Target, todo: Bringing) -> None:
    for one in todo.placings:
        target.place(one)
    if not todo.definition.empty:
        target.define(todo.definition)
    if todo.start:
        target.start(todo.definition.name)


def _image(path: str, wanted: Wanted) -> Image:
    """An image as it is now; a block device stays where it is."""
    if wanted.kind == placement.IN_PLACE or device.is_device(path):
        there = device.exists(path)
        return Image(path, path, there, there)
    place, here = os.path.join(wanted.directory, os.path.basename(path)), os.path.exists(path)
    return Image(path, place, here, os.path.exists(place), placement.stamp(path) if here and place != path else "")


def _require_passphrase(described: Described, images: tuple[Image, ...], passphrase: str) -> None:
    """Raise InvalidInput for a passphrase that does not open the encrypted images."""
    locked = [(one.path if one.here else one.place, "qcow2") for one in images if one.path in described.encrypted]
    encrypted.require(locked, passphrase)


def take_back(target: Target, unwanted: Unwanted, check: bool) -> Done:
    """Shut the VM down and forget it.

    Raises InvalidInput for a VM that is not ours or is another one, ToolFailed when it does not shut down in time and must not be switched off.
    """
    name, found = unwanted.name, target.describe(unwanted.name)
    if found is None:
        return Done()
    decision.require_ours(name, found)
    disks = target.read(found.text).disks
    if unwanted.source and found.vm is not None:
        decision.require_source(f"The domain {name}", found.vm, unwanted.source)
    elif unwanted.source:
        described = target.read(unwanted.description).disks if unwanted.description else ()
        decision.require_images(name, found.images, disks, described)
    files = [path for path in (*disks, *found.files) if os.path.exists(path) and not device.is_device(path)] if unwanted.quarantine else []
    moves = tuple((path, os.path.join(unwanted.quarantine, os.path.basename(path))) for path in files)
    removal = Removal(name, found.running, moves, found.secret)
    if not check:
        _take_back(target, unwanted, removal, found)
    return Done(removal.actions, disks, before=found.text)


def _take_back(target: Target, unwanted: Unwanted, removal: Removal, found: Found) -> None:
    if removal.stop:
        target.stop(removal.name, unwanted.timeout, unwanted.power_off)
    if unwanted.quarantine:
        modes.make_directory(unwanted.quarantine, modes.with_disks(unwanted.mode))
        atomic.write_text(os.path.join(unwanted.quarantine, f"{names.safe(removal.name)}{found.suffix}"), found.text, unwanted.mode)
    for path, dummy in removal.moves:
        placement.take_away(path, unwanted.quarantine)
    target.remove(removal.name, removal.secret)
