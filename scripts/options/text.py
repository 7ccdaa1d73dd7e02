# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as a person writes it: short lists and samples in one line, long texts in lines of a readable width."""

from __future__ import annotations

import functools
import json
import textwrap
from typing import Any, Iterator

import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # the same in ten times the time
    from yaml import SafeLoader as Loader

WIDTH = 155  # characters of a line
_LINES = frozenset(("description", "requirements"))  # lists with a line for each element
_ONE_LINE = frozenset(("sample",))


def parsed(text: str) -> Any:
    """What YAML means."""
    return yaml.load(text, Loader=Loader)


def block(data: dict[str, Any], indent: int = 0) -> str:
    """A mapping as the lines of YAML, each after `indent` blanks."""
    text = "".join(f"{' ' * indent}{line}".rstrip() + "\n" for line in _lines(data, indent))
    if parsed(text) != data and data:
        raise AssertionError(f"this would not be read as it is meant: {text}")
    return text


def _lines(data: dict[str, Any], indent: int) -> Iterator[str]:
    for key, value in data.items():
        name = scalar(key)
        if isinstance(value, dict) and value and key not in _ONE_LINE:
            yield f"{name}:"
            short = key == "contains"
            yield from (f"  {line}" for line in (_flow_lines(value, indent + 2) if short else _lines(value, indent + 2)))
        elif isinstance(value, list) and value and key in _LINES:
            yield f"{name}:"
            for one in value:
                yield from (f"  {line}" for line in _wrapped("- ", one, indent + 2))
        elif isinstance(value, str):
            yield from _wrapped(f"{name}: ", value, indent)
        else:
            yield f"{name}: {flow(value)}"


def _flow_lines(data: dict[str, Any], indent: int) -> Iterator[str]:
    """Each value in one line; as a block where that is too long, or has something inside."""
    for key, value in data.items():
        line = f"{scalar(key)}: {flow(value)}"
        if len(line) + indent <= WIDTH + 4 and "contains" not in value:
            yield line
        else:
            yield from _lines({key: value}, indent)


def _wrapped(head: str, value: str, indent: int) -> list[str]:
    plain = scalar(value)
    return textwrap.wrap(
        plain, WIDTH - indent, initial_indent=head, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    ) or [head + plain]  # fmt: skip


def flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key, True)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value, True) if isinstance(value, str) else json.dumps(value)


@functools.cache
def scalar(value: str, in_flow: bool = False) -> str:
    """A text as it is where YAML reads it so, else in quotes."""
    try:
        read = yaml.safe_load(f"[a: {value}]" if in_flow else f"a: {value}")
    except yaml.YAMLError:
        read = None
    same = read == ([{"a": value}] if in_flow else {"a": value}) and "\n" not in value
    return value if same and value.strip() == value and value else json.dumps(value, ensure_ascii=False)
