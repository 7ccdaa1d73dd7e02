# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML of a guest: read by PyYAML, which takes an alias for what it stands for without copying it, so that a few lines become gigabytes once
somebody writes them out. So what a file becomes with every alias spelt out is counted first. Source: YAML 1.2, "Anchors and Aliases".
"""

from __future__ import annotations

import contextlib
import importlib
import re
from typing import Any

from ..core import limits
from ..core.errors import MissingTool

_DEEPEST = 200

try:
    yaml: Any = importlib.import_module("yaml")
except ImportError:  # reported when a guest has such a file
    yaml = None


def load(text: str, what: str) -> Any:
    """The one document of a file. Raises ValueError, with a reason, for what is none or becomes too much; MissingTool, which says `what` needs it."""
    if yaml is None:
        raise MissingTool(f"{what}, and the Python module yaml is missing.", "Install python3-yaml.")
    if len(text) > limits.YAML:
        raise ValueError(f"it has more than {limits.YAML >> 10} KiB")
    _require_shallow(text)
    try:
        loader = yaml.SafeLoader(text)
        with contextlib.ExitStack() as stack:
            stack.callback(loader.dispose)
            node = loader.get_single_node()
            if node is None:
                return None
            _spelt(node, {})
            return loader.construct_document(node)
    except (yaml.YAMLError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _require_shallow(text: str) -> None:
    """Raise ValueError for brackets that nobody nests so: PyYAML takes seconds to find that out."""
    depth = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > _DEEPEST:
            raise ValueError(f"its brackets are nested deeper than {_DEEPEST}")


def _spelt(node: Any, known: dict[int, int]) -> int:
    """Nodes and characters of a node with all below it. Raises ValueError for too many, and for a node that is below itself."""
    size = known.get(id(node))
    if size is not None:
        if size < 0:
            raise ValueError("a part of it contains itself")
        return size
    known[id(node)] = -1
    size = 1
    if isinstance(node, yaml.ScalarNode):
        size += len(node.value)
    else:
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                size += _spelt(part, known)
    if size > limits.YAML_SPELT:
        raise ValueError("its aliases stand for too much")
    known[id(node)] = size
    return size
