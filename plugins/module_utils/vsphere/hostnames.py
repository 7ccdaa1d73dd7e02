# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VMs of an inventory are called there: names that are safe, and that no two of them share."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Collection, Sequence

from ..core import names
from ..core.errors import InvalidInput


def distinct(vms: Sequence[tuple[str, str]], taken: Collection[str] = ()) -> list[str]:
    """A host name for each VM, given as (name, id), in their order.

    The VM's name made safe (core/names); with the id behind it where that is somebody else's as well, in capitals or not, or is `taken`.
    """
    plain = [_safe(name, vm_id) for name, vm_id in vms]
    wanted = Counter(map(str.casefold, plain))
    used = {name.casefold() for name in taken}
    alone = [wanted[name.casefold()] == 1 and name.casefold() not in used for name in plain]
    used.update(name.casefold() for name, is_alone in zip(plain, alone) if is_alone)
    found = []
    for name, is_alone, (dummy, vm_id) in zip(plain, alone, vms):
        if not is_alone:
            name = _free(f"{name}_{vm_id}", used)
            used.add(name.casefold())
        found.append(name)
    return found


def _safe(name: str, vm_id: str) -> str:
    try:
        return names.safe(name)
    except InvalidInput:  # nothing in it can be seen
        return names.safe(f"vm_{vm_id}")


def _free(text: str, used: Collection[str]) -> str:
    tries = (names.safe(f"{text}_{number}" if number > 1 else text) for number in count(1))
    return next(name for name in tries if name.casefold() not in used)
