# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of tests/support that stand for one more thing of a kind, as modules of the collection: the same files that one_more drops into a copy of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

UTILS = "ansible_collections.hyper2kvm.migration.plugins.module_utils"


def module(file: str, place: str) -> ModuleType:
    """A file as the module `place` of the module_utils (sources.store), which is what its imports begin from."""
    name = f"{UTILS}.{place}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
        sys.modules[name] = made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
    return sys.modules[name]
