# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry has imported: a new thing of a kind is a file of its own and its name among those imports.

Imports, and not names to be imported later: Ansible sends to a host what it sees imported.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Mapping


def entries(names: Mapping[str, Any], attribute: str) -> tuple[Any, ...]:
    """The `attribute` of each module among the names of a registry that has one, in the order of their names."""
    modules = {value.__name__: value for value in names.values() if isinstance(value, ModuleType)}
    return tuple(getattr(modules[name], attribute) for name in sorted(modules) if hasattr(modules[name], attribute))
