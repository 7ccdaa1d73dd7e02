# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters of a module to the dataclasses of what it does: an option reaches the field of its name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar, Mapping, Protocol, TypeVar


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Made = TypeVar("Made", bound=_Dataclass)


def made(kind: type[Made], params: Mapping[str, Any], **given: Any) -> Made:
    """A dataclass whose fields are the options of their names, and `given` those that are called otherwise or need more than that.

    An option without a value leaves its field's default, and a list becomes a tuple.
    """
    named = {field.name: params.get(field.name) for field in fields(kind) if field.init and field.name not in given}
    return kind(**given, **{name: tuple(value) if isinstance(value, list) else value for name, value in named.items() if value is not None})
