# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/architecture.md names is there, and what it says of registries is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
UTILS = ROOT / "plugins" / "module_utils"
LONGEST = 60  # lines
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = sorted(path.name for path in UTILS.iterdir() if path.is_dir() and not path.name.startswith("_"))
NAMED = sorted(set(re.findall(rf"\b(?:{'|'.join(PACKAGES)})/\w+(?:\.\w+)*", PAGE)))
ROWS = re.findall(r"^\| [\w ]+ \| `([A-Z]+)` \| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("named", NAMED)
def test_what_the_page_names_is_there(named):
    place, *names = named.split(".")
    found = ast.parse((UTILS / f"{place}.py").read_text()).body
    for name in names:
        defined = {one.name: one for one in found if isinstance(one, (ast.FunctionDef, ast.ClassDef))}
        assigned = {ast.unparse(one.target): one for one in found if isinstance(one, ast.AnnAssign)}
        there = {
            **assigned,
            **{ast.unparse(target): one for one in found if isinstance(one, ast.Assign) for target in one.targets},
            **defined,
        }
        assert name in there, named
        found = getattr(there[name], "body", [])


def test_the_page_names_every_package():
    assert all(re.search(rf"^\|.*`{package}`", PAGE, re.MULTILINE) for package in PACKAGES)


@pytest.mark.parametrize(("attribute", "asked", "registries"), ROWS)
def test_a_registry_has_what_the_page_says(attribute, asked, registries):
    """Each asks its imports for this attribute, itself or by what it calls."""
    for registry in re.findall(r"`(\S+)`", registries):
        text = (UTILS / f"{registry}.py").read_text()
        assert f'"{attribute}")' in text or ("collected(globals())" in text and attribute == "KINDS")


def test_every_registry_is_on_the_page():
    used = {
        str(path.relative_to(UTILS).with_suffix(""))
        for path in UTILS.rglob("*.py")
        if re.search(r"registry\.entries\(globals\(\)|collected\(globals\(\)", path.read_text())
    }
    assert used == {registry for dummy, dummy, registries in ROWS for registry in re.findall(r"`(\S+)`", registries)}


def test_no_function_is_longer_than_a_screen():
    trees = {path: ast.parse(path.read_text()) for path in (ROOT / "plugins").rglob("*.py")}
    functions = (
        (path, one) for path, tree in trees.items() for one in ast.walk(tree) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    assert [(str(path), one.name) for path, one in functions if (one.end_lineno or 0) - one.lineno >= LONGEST] == []
