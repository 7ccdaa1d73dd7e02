# SPDX-License-Identifier: GPL-3.0-or-later
"""What `core.data` writes, as JSON schema (draft 2020-12): for those who read our records with tools of their own. What it reads is more."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
from typing import Annotated, Any, Literal, Mapping, Union, get_args, get_origin

from . import data
from .macs import Mac
from .shape import MAC, Kind

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Mac: {"type": "string", **MAC.schema},
    type(None): {"type": "null"},
}


def schema(cls: Any) -> dict[str, Any]:
    """The schema of a record; of each record within, under $defs, once."""
    defined: dict[str, Any] = {}
    _of(cls, defined)
    return {"$schema": DRAFT, **defined.pop(cls.__name__), "$defs": dict(sorted(defined.items()))}


def text(cls: Any, name: str, version: int) -> str:
    """A file with the schema of a record, which is known by this name and version."""
    return json.dumps({"title": name, "$id": f"urn:hyper2kvm:{name}:{version}", **schema(cls)}, indent=1) + "\n"


def _of(kind: Any, defined: dict[str, Any]) -> dict[str, Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if origin is Annotated:
        form = next(one for one in inner if isinstance(one, Kind))
        return {**_of(inner[0], defined), "description": form.words, **form.schema}
    if origin is Union:
        return {"anyOf": [_of(one, defined) for one in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple and inner[-1] is not Ellipsis:
        return {"type": "array", "prefixItems": [_of(one, defined) for one in inner], "minItems": len(inner), "maxItems": len(inner)}
    if origin is tuple:
        return {"type": "array", "items": _of(inner[0], defined)}
    if origin in (dict, collections.abc.Mapping):
        return {"type": "object", "additionalProperties": _of(inner[1], defined)}
    if kind.__name__ not in defined:
        defined[kind.__name__] = {}  # a record may lie in itself
        defined[kind.__name__] = _record(kind, defined)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _record(cls: Any, defined: dict[str, Any]) -> dict[str, Any]:
    properties, required = _properties(cls, defined)
    about = " ".join((cls.__doc__ or "").split())
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": not getattr(cls, "closed", False),
    }


def _properties(cls: Any, defined: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    required: list[str] = []
    for part in dataclasses.fields(cls):
        kind, name = data.hints(cls)[part.name], part.metadata.get("key", part.name)
        if part.metadata.get("flat"):
            inner, needed = _properties(kind, defined)
            found.update(inner)
            required += needed
        elif not part.metadata.get("rest"):
            found[name] = _of(kind, defined)
            required += [name] if data.needed(part) else []
            if get_origin(kind) is Annotated and not data.needed(part):  # the default need not be of the kind: no UUID is an empty text
                found[name] = {"anyOf": [found[name], {"const": part.default}]}
    return found, required
