# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that records of earlier versions have, read as those of today."""

from __future__ import annotations

from typing import Any, Mapping

_NAMES = {"cards": "nics"}  # of facts and of what a boot test was given


def names(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded of a guest or asked of a boot test; a name of today counts before that of earlier."""
    return {_NAMES[key] if _NAMES.get(key, key) not in data else key: value for key, value in data.items()}


def record(data: Any) -> Any:
    """A whole manifest or report, whatever it is."""
    if not isinstance(data, dict):
        return data
    parts = {key: names(data[key]) for key in ("options", "facts") if isinstance(data.get(key), dict)}
    result = data.get("result")
    inner = (
        {"result": {**result, "facts": names(result["facts"])}}
        if isinstance(result, dict) and isinstance(result.get("facts"), dict)
        else {}
    )
    return {**data, **parts, **inner}
