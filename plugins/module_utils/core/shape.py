# SPDX-License-Identifier: GPL-3.0-or-later
"""What a value from outside must be like before it is read: records that others may have written to, and what one module hands to another."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional

from . import macs
from .errors import InvalidInput
from .numbers import decimal
from .rbd import is_image


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of plain value: what it is for people, what holds of it, in which form it is read, and what JSON schema can say of it."""

    words: str
    holds: Callable[[Any], bool]
    read: Callable[[Any], Any] = _same
    schema: Mapping[str, Any] = field(default_factory=dict)


# A shape is a Kind, None, a tuple of alternatives, a list with the shape of its elements, or a dict with shapes of its values by their keys, of which
# "" stands for all that are not named. A key that is missing has the value None.
Shape = Any


def misfit(value: Any, shape: Shape, at: str = "") -> Optional[tuple[str, str]]:
    """The first part of a value that has not its shape, and what it should be; None where it has."""
    if shape is None or isinstance(shape, Kind):
        right = value is None if shape is None else shape.holds(value)
        return None if right else (at, "nothing" if shape is None else shape.words)
    if isinstance(shape, tuple):
        found = [misfit(value, one, at) for one in shape if one is not None or value is None]
        return None if None in found else found[0]
    if isinstance(shape, list):
        if not isinstance(value, (list, tuple)):
            return at, "a list"
        parts = [(inner, shape[0], f"{at}[{number}]") for number, inner in enumerate(value)]
    else:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            return at, "a mapping of names"
        keys = [key for key in shape if key] + [key for key in value if key not in shape and "" in shape]
        parts = [(value.get(key), shape.get(key, shape.get("")), f"{at}.{key}" if at else key) for key in keys]
    return next((wrong for inner, form, place in parts for wrong in [misfit(inner, form, place)] if wrong is not None), None)


def fits(value: Any, shape: Shape) -> bool:
    return misfit(value, shape) is None


def require(option: str, value: Any, shape: Shape, hint: str) -> None:
    """Raise InvalidInput, which names the part of an option that has not its shape."""
    wrong = misfit(value, shape, option) if writable(value) else (option, "text that can be written, and finite numbers")
    if wrong is not None:
        raise InvalidInput(f"{wrong[0]} is not {wrong[1]}.", hint, option=wrong[0])


def require_texts(**options: Any) -> None:
    """Raise InvalidInput for an option that is no list of texts: one text alone would be taken letter by letter."""
    for name, value in options.items():
        require(name, value, [TEXT], f"Give a list or a tuple of texts as {name}, around a single one too.")


def writable(value: Any) -> bool:
    """Whether all texts of a value can be names of files and written to them, and its numbers are finite."""
    if isinstance(value, dict):
        return all(writable(key) and writable(inner) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(writable, value))
    if isinstance(value, str):
        return _encodable(value)
    return not isinstance(value, float) or math.isfinite(value)


def _encodable(value: str) -> bool:
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def count(least: int, most: int = (1 << 63) - 1) -> Kind:
    """A number, also as text: some versions of Ansible make one of it."""

    def holds(value: Any) -> bool:
        number = decimal(value) if isinstance(value, str) else value
        return isinstance(number, int) and not isinstance(number, bool) and least <= number <= most

    return Kind(f"a number from {least} to {most}", holds, int, {"type": ["integer", "string"], "minimum": least, "maximum": most})


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def one_of(*words: str) -> Kind:
    return Kind(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words, schema={"enum": list(words)})


def like(words: str, pattern: str) -> Kind:
    return Kind(
        words, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, schema={"pattern": f"^({pattern})$"}
    )


def _absolute(value: Any) -> bool:
    return (
        isinstance(value, str)
        and (value.startswith("/") or is_image(value))
        and all(ord(letter) >= 32 for letter in value)
        and writable(value)
    )


TEXT = Kind("a text", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number", whole)
NUMBER = Kind("a number", lambda value: whole(value) or (isinstance(value, float) and math.isfinite(value)))
SECONDS = Kind("a finite number of seconds from 0", lambda value: NUMBER.holds(value) and 0 <= value <= 1e9)
PATH = Kind("an absolute path without control characters", _absolute)
FILE = Kind("the path of a file", lambda value: isinstance(value, str) and value != "" and "\0" not in value and _encodable(value))
MAC = Kind("a MAC address", lambda value: isinstance(value, str) and macs.canonical(value) is not None, macs.canonical)
NIC_MAC = Kind("the MAC address of a card", lambda value: isinstance(value, str) and macs.of_nic(value) is not None)
UUID = like("a UUID", "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
ANYTHING = Kind("anything", lambda value: True)
