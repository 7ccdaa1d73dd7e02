# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of NICs by their position, for MACs that nobody has foretold: a rule of udev that gives way to every pin by MAC.

No .link file can do this. One that matches a driver applies to each card of that driver; of two that want one name at the same time the kernel
refuses one, whichever it is, and udev then leaves that card without a record, so that nothing brings it up.
Source: udev(7), systemd.link(5); systemd issues 16665, 29957 (File exists, "Failed to process device").
"""

from __future__ import annotations

import re
from typing import Sequence

from ...core.macs import Mac
from ...guest.protocol import Guest, text
from . import rules

# After the rules by MAC (60-net of Red Hat's initscripts, 70-persistent-net) and biosdevname's, before what makes names up (75-persistent-net-generator,
# 80-net-setup-link).
PATH = f"{rules.DIRECTORY}/72-hyper2kvm-position.rules"
_HEAD = (
    "# A card whose MAC is none of those pinned has the name of its position, unless another card has the MAC of that name.\n"
    "# The position is the number of cards that the kernel found before it. udev names cards at the same time, and one that is renamed while they\n"
    "# are counted may be missed, so they are counted until it comes to the same twice.\n"
)
_RULE = (
    'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{type}}=="1", ATTR{{address}}!="{known}", NAME=="", '
    'PROGRAM=="/bin/sh -c \'{program}\'", NAME="{name}"\n'
)
# An index is never given twice, and no renaming changes it: a card's number is that of the cards with a lower one.
_PROGRAM = (
    "p=; while n=0 a=0 i=0; do for c in /sys/class/net/*; do [ -e $$c/device ] || continue; read a <$$c/address; read i <$$c/ifindex; "
    "[ x$$a != x{mac} ] || exit 1; [ $$i -ge $attr{{ifindex}} ] || n=$$((n+1)); done; [ x$$p != x$$n ] || break; p=$$n; done; [ $$n = {number} ]"
)

_NUMBER = re.compile(r"\[ \$\$n = (\d{1,4}) \]")
# udev reads more than a name out of some characters that the kernel takes.
_PLAIN = re.compile(r"^[\w.@-]+$", re.ASCII)


def rule(cards: Sequence[tuple[str, Mac]], left_out: Sequence[str] = ()) -> str:
    """The file for cards (name, MAC) in their order, but for names that need none or can have none; empty if none is left."""
    known = "|".join(mac for dummy, mac in cards)
    lines = [
        _RULE.format(known=known, name=name, program=_PROGRAM.format(mac=mac, number=number))
        for number, (name, mac) in enumerate(cards)
        if name not in left_out and _PLAIN.match(name)
    ]
    return _HEAD + "".join(lines) if lines else ""


def names(guest: Guest) -> frozenset[str]:
    """The names that go by position too."""
    return frozenset(numbers(guest).values())


def numbers(guest: Guest) -> dict[int, str]:
    """The names that the guest's own file gives, by the position of their NIC."""
    lines = ((_NUMBER.search(line), line) for line in (text(guest, PATH) or "").splitlines())
    return {int(number[1]): naming.name for number, line in lines if number is not None for naming in rules.parse(PATH, line)}
