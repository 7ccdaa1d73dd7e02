# SPDX-License-Identifier: GPL-3.0-or-later
"""What the table says, in Python: documentation fragments, argument specs, and the parts of modules that are made of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from . import text
from .table import MODULE_UTILS, Option, Table, documentation

FRAGMENT = "hyper2kvm.migration."
SPECS = f"{MODULE_UTILS}.module.specs"
_STRING = r'(?ms)^( *){name} = r"""\n(.*?)^"""'
_OPTIONS = re.compile(r"(?ms)^options:[^\n]*\n.*?(?=^\w|\Z)")
_INNER = r"(?:^_\w+_OPTIONS: dict\[str, Any\] = \{\n(?: {4}.*\n)*\}\n\n*)*"
_SPEC = re.compile(rf"(?m){_INNER}^def argument_spec\(\) -> dict\[str, Any\]:\n(?:(?: {{4}}.*)?\n)*")
_MANY = 6  # options of an option, which have a constant of their own
_SINGLE_FIX = "#!/usr/bin/python\n" + (Path(__file__).parent / "single_fix.txt").read_text(encoding="utf-8")


class _Code(str):
    """Python that stands in a spec as it is."""

    def __repr__(self) -> str:
        return str(self)


def pages(root: Path, table: Table) -> Iterator[tuple[Path, str]]:
    """Every file below plugins with what it has to be."""
    plugins = root / "plugins"
    for path in sorted((plugins / "doc_fragments").glob("*.py")):
        yield path, _fragments(path, table)
        yield plugins / "module_utils" / "module" / "specs" / path.name, _specs(path.stem, table)
    for path in sorted((plugins / "inventory").glob("*.py")):
        documented = _for_inventory(table.sections[f"inventory.{path.stem}"])
        yield path, _with_options(path.read_text(encoding="utf-8"), "DOCUMENTATION", documented, path)
    for path in sorted((plugins / "action").glob("*.py")):
        yield path, _with_spec(path.read_text(encoding="utf-8"), path.stem, (), table)
    shared = text.parsed((root / "options" / "answers.yml").read_text(encoding="utf-8"))
    fixes = text.parsed((root / "options" / "single_fixes.yml").read_text(encoding="utf-8"))
    for name, fix in fixes.items():
        path = plugins / "modules" / f"{name}.py"
        yield path, _module(_single_fix(name, fix), name, table, shared)
    for path in sorted((plugins / "modules").glob("*.py")):
        if path.stem not in fixes:
            yield path, _module(path.read_text(encoding="utf-8"), path.stem, table, shared)


def _fragments(path: Path, table: Table) -> str:
    """The file of a group of fragments, whose options are those of the sections that are called after it and them."""
    content = path.read_text(encoding="utf-8")
    for section in (name for name in table.sections if name.partition(".")[0] == path.stem):
        constant = section.partition(".")[2].upper() or "DOCUMENTATION"
        content = _with_options(content, constant, documentation(table.sections[section]), path)
    return content


def _with_options(content: str, constant: str, documented: dict[str, Any], path: Path) -> str:
    """The same file with these options in one of its strings of documentation."""
    found = re.search(_STRING.format(name=constant), content)
    if found is None or not _OPTIONS.search(found[2]):
        raise ValueError(f"{path}: write the string {constant} with a line `options:`, for what the table says of it")
    made = "options:  # written by make options\n" + text.block(documented, 2)
    said = _OPTIONS.sub(lambda dummy: made, found[2])
    return content[: found.start(2)] + said + content[found.end(2) :]


def _for_inventory(options: tuple[Option, ...]) -> dict[str, Any]:
    """As the documentation of an inventory plugin has them, which is its spec too."""
    return {
        option.name: {**option.documentation(), **({"env": [{"name": option.says["environment"]}]} if "environment" in option.says else {})}
        for option in options
    }


def _specs(stem: str, table: Table) -> str:
    """The argument specs of a group of fragments."""
    sections = {name: options for name, options in table.sections.items() if name.partition(".")[0] == stem}
    code = "\n".join(f"{_constant(name)}: dict[str, Any] = {spec(options)!r}" for name, options in sections.items())
    head = [
        "# SPDX-License-Identifier: GPL-3.0-or-later",
        f'"""Argument specs of the options that doc_fragments/{stem}.py documents, written by make options."""',
        "from __future__ import annotations",
        "from typing import Any",
        *(["from ansible.module_utils.basic import env_fallback"] if "env_fallback" in code else []),
        code,
    ]
    return formatted("\n\n".join(head).replace("\n\n", "\n", 1))


def _constant(section: str) -> str:
    return section.partition(".")[2].upper() or "MAIN"


def spec(options: tuple[Option, ...]) -> dict[str, Any]:
    """As AnsibleModule wants it, for `repr`."""
    return {option.name: _spec(option) for option in options}


def _spec(option: Option) -> dict[str, Any]:
    said = {key: option.says[key] for key in ("type", "elements", "required", "default") if key in option.says}
    if "environment" in option.says:
        said["fallback"] = (_Code("env_fallback"), [option.says["environment"]])
    said.update({key: option.says[key] for key in ("choices", "aliases", "no_log", "apply_defaults") if key in option.says})
    return {**said, **({"options": spec(option.suboptions)} if option.suboptions else {})}


def _module(content: str, name: str, table: Table, shared: Sequence[Mapping[str, Any]]) -> str:
    """A module with its own options in DOCUMENTATION, all of them in argument_spec, and the answers that it shares in RETURN."""
    if name in table.sections:
        content = _with_options(content, "DOCUMENTATION", documentation(table.sections[name]), Path(f"plugins/modules/{name}.py"))
    content = _with_answers(content, name, shared)
    return _with_spec(content, name, extended(content), table)


def _with_spec(content: str, name: str, fragments: tuple[str, ...], table: Table) -> str:
    """The same file with the options of a module in its function argument_spec, if it has one."""
    found = _SPEC.search(content)
    if found is None:
        return content
    own = {option.name for option in table.sections.get(name, ())}
    parts = [f"**{section.partition('.')[0]}.{_constant(section)}" for section in fragments if section in table.sections]
    options = [option for option in table.of_module(name, fragments) if option.name in own]
    many = {option.name: f"_{option.name.upper()}_OPTIONS" for option in options if len(option.suboptions) >= _MANY}
    inner = [f"{many[option.name]}: dict[str, Any] = {spec(option.suboptions)!r}\n\n" for option in options if option.name in many]
    for option in options:
        said = {**_spec(option), **({"options": _Code(many[option.name])} if option.name in many else {})}
        parts.append(f"{option.name!r}: {said!r}")
    between = "\n" if inner else ""
    made = (
        "".join(inner)
        + f"{between}def argument_spec() -> dict[str, Any]:\n    # Written by make options.\n    return {{{', '.join(parts)}}}\n"
    )
    taken = sorted({section.partition(".")[0] for section in fragments if section in table.sections})
    head = _importing(content[: found.start()], taken).rstrip("\n") + "\n\n" + ("" if inner else "\n")
    return formatted(head + made + "\n\n" + content[found.end() :])


def _importing(head: str, taken: list[str]) -> str:
    """The head of a file with an import of the specs that it takes, in its place among the others, and of no others."""
    lines = [line for line in head.splitlines(keepends=True) if not line.startswith(f"from {SPECS} import ")]
    if taken:
        behind = (number for number, line in enumerate(lines) if line.startswith("from ansible_collections.") and line.split()[1] > SPECS)
        lines.insert(next(behind, len("".join(lines).rstrip("\n").splitlines())), f"from {SPECS} import {', '.join(taken)}\n")
    return "".join(lines)


def extended(content: str) -> tuple[str, ...]:
    """The documentation fragments that a module names, without the collection."""
    found = re.search(_STRING.format(name="DOCUMENTATION"), content)
    named = text.parsed(found[2]).get("extends_documentation_fragment", []) if found is not None else []
    return tuple(name[len(FRAGMENT) :] for name in ([named] if isinstance(named, str) else named))


def _with_answers(content: str, name: str, shared: Sequence[Mapping[str, Any]]) -> str:
    """The same module with what it shares of RETURN. Keys that only it has stay where they are."""
    given = {key: says for group in shared if name in group["modules"] for key, says in group["returns"].items()}
    found = re.search(_STRING.format(name="RETURN"), content)
    if not given or found is None:
        return content
    kept = {part.partition(":")[0]: part for part in re.split(r"(?m)^(?=\w)", found[2]) if part.strip()}
    made = {key: text.block({key: says}) for key, says in given.items()}
    return content[: found.start(2)] + "".join({**kept, **made}.values()) + content[found.end(2) :]


def _single_fix(name: str, fix: Mapping[str, Any]) -> str:
    """A module that carries out one kind of fix, before its options and answers are filled in."""
    more = "".join(f"    {key}: {text.flow(value)}\n" for key, value in fix.get("example", {}).items())
    return _SINGLE_FIX.format(
        name=name,
        short=fix["short_description"],
        description=text.block({"description": fix["description"]}),
        version=fix["version_added"],
        example=more,
        fixes=json.dumps(fix["fixes"]),
    )


def formatted(code: str) -> str:
    """Python as ruff writes it."""
    ruff = Path(sys.executable).parent / "ruff"
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [ruff, "format", "--stdin-filename", "module.py", "-"], input=code, capture_output=True, text=True, check=True, cwd=root
    ).stdout
