# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as data: what JSON or Ansible's parameters hold becomes a frozen dataclass, and back, by the types that its fields say.

A field is a text, a number, true or false, `Annotated` with a `shape.Kind`, Optional, a Union or Literal, a tuple, a Mapping of texts, another record,
or Any. What is not there, null, or an empty mapping, and an empty text where none can be, is the field's default: nothing is said. Other keys are left
out, unless the record keeps them (`REST`) or refuses them (`closed = True` in its class).
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
from typing import Annotated, Any, Literal, Mapping, TypeVar, Union, get_args, get_origin, get_type_hints

from . import shape
from .errors import InvalidInput
from .macs import Mac
from .shape import Kind

T = TypeVar("T")
_AGAIN = "Run the stage that has written it again; or correct what you gave."
_PLAIN: Mapping[Any, Kind] = {str: shape.TEXT, int: shape.WHOLE, float: shape.NUMBER, bool: shape.FLAG, Mac: shape.MAC}
_NONE = type(None)

# What `dataclasses.field(metadata=...)` takes. FLAT: the keys of this record stand among those of the outer one. REST: it holds all keys that are not known.
# SPARE: it is written only where it is not its default.
FLAT: Mapping[str, Any] = {"flat": True}
REST: Mapping[str, Any] = {"rest": True}
SPARE: Mapping[str, Any] = {"spare": True}
Rest = Mapping[str, Any]


def kept() -> Any:
    """A field for all keys that are not known, of type Rest: they are written again as they were."""
    return dataclasses.field(default_factory=dict, metadata=REST)  # pylint: disable=invalid-field-call


def called(name: str) -> Mapping[str, Any]:
    """Metadata of a field that is written by another name than it has."""
    return {"key": name}


def formerly(*names: str) -> Mapping[str, Any]:
    """Metadata of a field that earlier versions wrote under other names; the present one counts before them."""
    return {"formerly": names}


class _Misfit(Exception):
    """A part that is not what it should be."""

    def __init__(self, at: str, words: str) -> None:
        super().__init__(f"{at} is not {words}.")
        self.at = at


def from_data(cls: type[T], data: Any, where: str, hint: str = _AGAIN) -> T:
    """The record that `data` is. Raises InvalidInput, which names the part that is not what it should be, from `where` on."""
    found: T = _from_data(cls, data, where, hint)
    return found


def each_from_data(cls: type[T], data: Any, where: str, hint: str = _AGAIN) -> tuple[T, ...]:
    """The same for a list of records."""
    found: tuple[T, ...] = _from_data(tuple[cls, ...], data, where, hint)  # type: ignore[valid-type]
    return found


def _from_data(kind: Any, data: Any, where: str, hint: str) -> Any:
    try:
        if not shape.writable(data):
            raise _Misfit(where, "text that can be written, and finite numbers")
        return _read(data, kind, where)
    except _Misfit as error:
        raise InvalidInput(str(error), hint, option=error.at) from None
    except RecursionError as error:
        raise InvalidInput(f"{where} is nested too deeply.", hint, option=where) from error


def to_data(value: Any) -> Any:
    """The inverse: what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for part in dataclasses.fields(value):
            held = getattr(value, part.name)
            if part.metadata.get("spare") and held == part.default:
                continue
            inner = to_data(held)
            if part.metadata.get("rest"):
                found = {**inner, **found}
            elif part.metadata.get("flat"):
                found.update(inner)
            else:
                found[part.metadata.get("key", part.name)] = inner
        return found
    if isinstance(value, collections.abc.Mapping):
        return {key: to_data(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_data(inner) for inner in value]
    return value


@functools.cache
def hints(cls: Any) -> Mapping[str, Any]:
    """The types of a record's fields."""
    return get_type_hints(cls, include_extras=True)


def _read(value: Any, kind: Any, at: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if kind in _PLAIN or origin is Annotated:
        return _plain(value, _PLAIN[kind] if kind in _PLAIN else next(one for one in inner if isinstance(one, Kind)), at)
    if origin is Union:
        return _one_of(value, inner, at)
    if origin is Literal:
        return _plain(value, _literal(inner), at)
    if origin is tuple:
        return _tuple(value, inner, at)
    if origin in (dict, collections.abc.Mapping):
        return {key: _read(one, inner[1], f"{at}.{key}") for key, one in _mapping(value, at).items()}
    return _record(value, kind, at)


def _plain(value: Any, kind: Kind, at: str) -> Any:
    if not kind.holds(value):
        raise _Misfit(at, kind.words)
    return kind.read(value)


def _literal(words: tuple[Any, ...]) -> Kind:
    holds = {(type(word), word) for word in words}
    return Kind(f"one of {', '.join(map(str, words))}", lambda value: isinstance(value, (str, int)) and (type(value), value) in holds)


def _one_of(value: Any, kinds: tuple[Any, ...], at: str) -> Any:
    """The first that it can be. Otherwise what is wrong with it as the first of them is told."""
    if value is None and _NONE in kinds:
        return None
    wrong = []
    for kind in kinds:
        try:
            if kind is not _NONE:
                return _read(value, kind, at)
        except _Misfit as error:
            wrong.append(error)
    raise wrong[0]


def _tuple(value: Any, kinds: tuple[Any, ...], at: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _Misfit(at, "a list")
    if kinds[-1] is Ellipsis:
        return tuple(_read(one, kinds[0], f"{at}[{number}]") for number, one in enumerate(value))
    if len(value) != len(kinds):
        raise _Misfit(at, f"a list of {len(kinds)}")
    return tuple(_read(one, kind, f"{at}[{number}]") for number, (one, kind) in enumerate(zip(value, kinds)))


def _mapping(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, collections.abc.Mapping) or not all(isinstance(key, str) for key in value):
        raise _Misfit(at, "a mapping of names")
    return value


def _record(value: Any, cls: Any, at: str) -> Any:
    data, known = _mapping(value, at), names(cls)
    others = {key: one for key, one in data.items() if key not in known}
    if getattr(cls, "closed", False) and others:
        raise _Misfit(f"{at}.{next(iter(others))}", f"one of {', '.join(sorted(known))}")
    parts: dict[str, Any] = {}
    for part in dataclasses.fields(cls):
        kind = hints(cls)[part.name]
        if part.metadata.get("rest"):
            parts[part.name] = others
        elif part.metadata.get("flat"):
            parts[part.name] = _record(data, kind, at)
        else:
            keys = _keys(part)
            key = next((name for name in keys if data.get(name) is not None), keys[0])
            parts.update(_field(data.get(key), part, kind, f"{at}.{key}" if at else key))
    return cls(**parts)


def needed(part: dataclasses.Field[Any]) -> bool:
    """Whether a field has no default."""
    return part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING


def _field(value: Any, part: dataclasses.Field[Any], kind: Any, at: str) -> dict[str, Any]:
    """The field by its name; nothing where its default counts."""
    optional = not needed(part)
    if value in (None, {}) and optional:
        return {}
    try:
        return {part.name: _read(value, kind, at)}
    except _Misfit:
        if value == "" and optional:
            return {}
        raise


@functools.cache
def names(cls: Any) -> frozenset[str]:
    """The keys that a record knows, those of earlier versions among them."""
    found: set[str] = set()
    for part in dataclasses.fields(cls):
        if part.metadata.get("flat"):
            found |= names(hints(cls)[part.name])
        elif not part.metadata.get("rest"):
            found.update(_keys(part))
    return frozenset(found)


def _keys(part: dataclasses.Field[Any]) -> tuple[str, ...]:
    return (part.metadata.get("key", part.name), *part.metadata.get("formerly", ()))
