# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers within a size, whatever was found: the longest lists lose what is of least use, and it is said how much.

A guest, an archive or a server decides how long lists are; who keeps answers, as AWX does, keeps them for years.
"""

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping, Union

LONGEST_TEXT = 1000  # characters of one string
_NEEDED = frozenset(("disks", "interfaces", "items", "nics", "phases", "vms"))  # what later stages go by: cut last
_DEAR = frozenset(("checks", "concerns"))
_END_FIRST = frozenset(("console", "log", "output"))  # what was said last is of most use

Container = Union[list[Any], dict[Any, Any]]


def bounded(answer: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """`answer` as JSON within about `limit` bytes. What was cut is named in its key `cut`, with how much there was."""
    result: dict[str, Any] = _short(answer)
    had: dict[str, int] = {}
    while size(result) > limit - sum(len(path) + 20 for path in had):
        found = max(_containers(result), key=lambda found: found[2] * size(found[1]), default=None)
        if found is None:
            break
        path, container, dummy = found
        had.setdefault(path, len(container))
        _halve(container, path.rpartition(".")[2] in _END_FIRST)
    return {**result, "cut": {path: f"{count} in all" for path, count in sorted(had.items())}} if had else result


def size(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(json.dumps(value, default=str))


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(inner) for inner in value]
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]} ... ({len(value)} characters)"
    return value


def _containers(value: Container, path: str = "") -> Iterator[tuple[str, Container, float]]:
    """Every list, and every long dictionary, with its path, and a weight: how willingly it loses something. What lists hold goes by their name."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, (list, dict)):
            name = path if isinstance(value, list) else f"{path}.{key}".lstrip(".")
            if len(inner) > (0 if isinstance(inner, list) else 40):
                yield name, inner, _weight(key)
            yield from _containers(inner, name)


def _weight(key: Any) -> float:
    return 1e-9 if key in _NEEDED else 1.0 if key in _DEAR else 4.0


def _halve(container: Container, end: bool) -> None:
    keep = len(container) // 2
    if isinstance(container, dict):
        for key in list(container)[keep:]:
            del container[key]
    elif end:
        del container[: len(container) - keep]
    else:
        del container[keep:]
