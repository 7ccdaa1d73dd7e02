# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disk of the set a name of the old hardware may be: every reading that the hardware allows, until the guest's own use of its names leaves one.

Letters count what the kernel has found, over the controllers of SCSI, SATA and, since libata, IDE; in which order it meets controllers of different
kinds cannot be told from the outside. Before libata, IDE has letters of its own, one for each place on its channels, filled or not. VMware's NVMe disks are
name spaces of their controller, those of a cloud have a controller each.
Source: Documentation/admin-guide/devices.txt, drivers/nvme/host/core.c, drivers/block/xen-blkfront.c (xvde is the first disk of RHEL 6 on Xen).
"""

from __future__ import annotations

import itertools
from typing import Callable, Iterator, Mapping, Optional, Sequence, Union

from ..core.machine import Disk
from .device_names import Counted, NameSpace, Place

_MOST = 20000  # readings, or steps on the way to one
_COUNTED = (("sd", "hd"), ("vd",))  # those of xvd are places, which AWS lets anybody choose
_XVDE = 4
_MOST_PARTED = 10  # disks whose letters may be of two kinds
Name = Union[Counted, NameSpace]
Key = tuple[str, int, int]  # kind of name; index, or controller; name space
Reading = Mapping[Key, int]  # the number of the disk that each name is
Check = Callable[[int], bool]  # whether a disk is what the guest says of a name, in all its uses


class Orders:
    """Answers `disk`; `learn` first tells it every counted name that the guest uses."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        self._disks = tuple(disks)
        self._left: dict[str, list[Reading]] = {}

    def disk(self, name: Name) -> Optional[int]:
        """The number of the disk, where all readings that are left agree."""
        key = key_of(name)
        left = self._left.get(key[0])
        if left is None:
            left = self._readings({key})
        found = {reading.get(key) for reading in left}
        return found.pop() if len(found) == 1 else None

    def learn(self, checks: Mapping[Key, Check], rooted: Mapping[Key, Check]) -> None:
        """Drop the readings that the guest contradicts. `rooted` are the checks of names that are the root, which is known for certain.

        Where no reading fits, the disks were given in another order: one that fits alone is taken. Where none does, an entry of the guest is wrong,
        and says nothing about the others as long as the root is where its name says.
        """
        for kinds in (("sd", "hd"), ("vd",), ("xvd",), ("nvme",)):
            named = sorted(key for key in checks if key[0] in kinds)
            # What no disk can be, as a drive or a disk that is gone, says nothing of the others.
            used = [key for key in named if any(map(checks[key], self._candidates(kinds)))]
            readings = self._readings(set(used))
            if (
                kinds in _COUNTED
            ):  # a letter after the last disk's is of one that is not here, in whatever order these are; what the root is called is certain
                used = [key for key in used if key in rooted or any(key in reading for reading in readings)]
            wrong = set(named) - set(used)
            left = [reading for reading in readings if all(_holds(reading, key, checks) for key in used)]
            if used and not left:
                others = _choices([list(filter(checks[key], self._candidates(kinds))) for key in used])
                left = [dict(zip(used, choice)) for choice in others or ()]
                if others is not None and not others:
                    left = [
                        {key: reading[key] for key in used if _holds(reading, key, checks)}
                        for reading in readings
                        if all(_holds(reading, key, rooted) for key in used if key in rooted)
                    ]
            for kind in {key[0] for key in named}:
                self._left[kind] = [{key: disk for key, disk in reading.items() if key not in wrong} for reading in left]

    def _candidates(self, kinds: Sequence[str]) -> list[int]:
        if "nvme" in kinds:
            return [number for number, disk in enumerate(self._disks) if disk.bus in (None, "nvme")]
        return [number for number, disk in enumerate(self._disks) if disk.bus != "nvme"]

    def _readings(self, used: set[Key]) -> list[Reading]:
        """All readings of the kinds of name that are used."""
        kinds = {key[0] for key in used}
        if kinds == {"nvme"}:
            return self._name_spaces(used)
        if kinds == {"sd", "hd"}:
            return self._two_kinds()
        (kind,) = kinds or {"sd"}
        disks = self._candidates((kind,))
        if kind == "hd" and any(self._disks[number].bus == "ide" for number in disks):
            return [self._channels()]
        if kind == "xvd" and min(key[1] for key in used) == _XVDE:
            return [_letters(kind, disks, _XVDE)]
        return [_letters(kind, order) for order in (self._mixed(disks) if kind == "sd" else [disks])]

    def _mixed(self, disks: Sequence[int]) -> Iterator[list[int]]:
        """The disks in every order in which the kernel may meet their kinds of controllers."""
        buses = dict.fromkeys(self._disks[number].bus for number in disks)
        for order in itertools.permutations(buses):
            yield [number for bus in order for number in disks if self._disks[number].bus == bus]

    def _channels(self) -> Reading:
        """hda to hdd are places: master and slave of two channels."""
        ide = [(number, disk) for number, disk in enumerate(self._disks) if disk.bus == "ide"]
        return {("hd", ide_unit(disk, position), 0): number for position, (number, disk) in enumerate(ide)}

    def _two_kinds(self) -> list[Reading]:
        """A kernel that calls IDE disks hda and others sda."""
        disks = self._candidates(("sd",))
        if any(self._disks[number].bus is not None for number in disks):
            others = [number for number in disks if self._disks[number].bus != "ide"]
            return [{**self._channels(), **_letters("sd", order)} for order in self._mixed(others)]
        # Of bare disks nothing is known but their order, which the two kinds share.
        chosen = itertools.product((False, True), repeat=len(disks)) if len(disks) <= _MOST_PARTED else iter(())
        return [
            {
                **_letters("hd", list(itertools.compress(disks, ide))),
                **_letters("sd", [one for one, is_ide in zip(disks, ide) if not is_ide]),
            }
            for ide in chosen
        ]

    def _name_spaces(self, used: set[Key]) -> list[Reading]:
        known = [number for number, disk in enumerate(self._disks) if disk.bus == "nvme" and None not in (disk.controller, disk.unit)]
        if known:
            return _placed(self._disks, known)
        disks = self._candidates(("nvme",))
        readings: list[Reading] = [
            {("nvme", index, 1): number for index, number in enumerate(disks)},
            {("nvme", 0, index + 1): number for index, number in enumerate(disks)},
        ]
        # A name that both read alike, or one alone can read, settles nothing about the other names.
        return [reading for reading in readings if used <= reading.keys()] or readings


def key_of(name: Name) -> Key:
    """What a name is looked up by."""
    return ("nvme", name.controller, name.number) if isinstance(name, NameSpace) else (name.kind, name.index, 0)


def _choices(options: Sequence[Sequence[int]]) -> Optional[list[tuple[int, ...]]]:
    """Every way to take one of each of the options, none of them twice; None where there are too many to try."""
    found: list[tuple[int, ...]] = [()]
    for one in options:
        found = [(*chosen, number) for chosen in found for number in one if number not in chosen]
        if len(found) > _MOST:
            return None
    return found


def _letters(kind: str, disks: Sequence[int], first: int = 0) -> Reading:
    return {(kind, first + index, 0): number for index, number in enumerate(disks)}


def _placed(disks: Sequence[Disk], known: Sequence[int]) -> list[Reading]:
    """Controllers are counted as they are found; name spaces by their own numbers, which are units from 1, or as they are found, which differs after a gap."""
    controllers = sorted({disks[number].controller or 0 for number in known})
    units = {one: sorted(disks[number].unit or 0 for number in known if disks[number].controller == one) for one in controllers}

    def reading(space: Callable[[Disk], int]) -> Reading:
        return {("nvme", controllers.index(disks[number].controller or 0), space(disks[number]) + 1): number for number in known}

    return [reading(lambda disk: disk.unit or 0), reading(lambda disk: units[disk.controller or 0].index(disk.unit or 0))]


def _holds(reading: Reading, key: Key, checks: Mapping[Key, Check]) -> bool:
    return key in reading and checks[key](reading[key])


def ide_unit(disk: Disk, otherwise: int = 0) -> int:
    """The place of an IDE disk over both channels."""
    return otherwise if disk.controller is None or disk.unit is None else disk.controller * 2 + disk.unit


def at_place(disk: Disk, place: Place) -> bool:
    """Whether a disk may be where a by-path name says, by what its source says of its bus and unit."""
    if disk.bus is None or disk.unit is None:
        return not (place.kind == "vmbus" and disk.controller is not None) or disk.unit == place.unit
    if place.kind == "ata" and disk.bus == "ide":
        return ide_unit(disk) // 2 == place.unit
    if place.kind == "ide":
        return disk.bus == "ide" and ide_unit(disk) == place.unit
    if place.kind in ("ata", "nvme"):
        return disk.bus == {"ata": "sata"}.get(place.kind, place.kind) and disk.unit == place.unit
    if place.kind in ("scsi", "phy", "sas"):  # before RHEL 7, disks of ATA have names of SCSI
        return disk.bus != "nvme" and (disk.bus != "scsi" or place.kind == "sas" or disk.unit == place.unit)
    return True


def located(disks: Sequence[Disk], places: Sequence[Place], fits: Callable[[Place, int], bool]) -> list[tuple[int, ...]]:
    """Every way to put disks in `places`, which are sorted: those on one bus keep their order, and a controller has one address.

    Empty, so that nothing is settled, where there are too many to try.
    """
    found: list[tuple[int, ...]] = []
    steps = 0

    def extend(chosen: tuple[int, ...]) -> bool:
        nonlocal steps
        if len(chosen) == len(places):
            found.append(chosen)
            return True
        for number in range(len(disks)):
            steps += 1
            if steps > _MOST:
                return False
            if _next(disks, places, chosen, number) and fits(places[len(chosen)], number) and not extend((*chosen, number)):
                return False
        return True

    return found if extend(()) else []


def _next(disks: Sequence[Disk], places: Sequence[Place], chosen: Sequence[int], number: int) -> bool:
    """Whether a disk can be in the next place, beside those that were chosen before."""
    place = places[len(chosen)]
    for other, before in zip(places, chosen):
        if before == number:
            return False
        if disks[before].bus == disks[number].bus and other.kind == place.kind and before > number:
            return False
        controllers = [_controller(disks[one]) for one in (before, number)]
        if None not in controllers and (controllers[0] == controllers[1]) != (other.address == place.address):
            return False
    return True


def _controller(disk: Disk) -> Optional[tuple[Optional[str], int]]:
    """Both channels of IDE are one device of PCI."""
    return None if disk.controller is None else (disk.bus, 0 if disk.bus == "ide" else disk.controller)
