# SPDX-License-Identifier: GPL-3.0-or-later
"""What the table says, for roles: argument specs, defaults, and what their tasks give to modules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

from . import text
from .plugin_pages import FRAGMENT, extended
from .table import Option, Table, Variable

MARK = "# From here on written by make options."
_ENTRY = re.compile(
    r"(?m)^  (?P<name>\w+):\n(?P<about>(?:    (?!options:).*\n)*)    options:(?P<anchor> &\w+)?\n(?P<options>(?: {6}.*\n)*)"
)
_TASK = re.compile(
    rf"(?m)^(?P<indent> +){FRAGMENT}(?P<module>\w+):\n(?P<given>(?:(?P=indent) +.*\n)*?)(?P<inner> +){MARK}\n(?P<made>(?:(?P=inner)\S.*\n)*)"
)


def pages(root: Path, table: Table) -> Iterator[tuple[Path, str]]:
    """Every file below roles with what it has to be."""
    for specs in sorted((root / "roles").glob("*/meta/argument_specs.yml")):
        role = specs.parents[1]
        variables = table.of_role(role.name)
        yield specs, _argument_specs(specs.read_text(encoding="utf-8"), role.name, variables)
        if any(_default(variable) is not None for variable in variables):
            yield role / "defaults" / "main.yml", _defaults(variables)
        for path in sorted((role / "tasks").glob("*.yml")):
            content = path.read_text(encoding="utf-8")
            if MARK in content:
                yield path, _tasks(content, role.name, root, table)
        path = role / "vars" / "main.yml"
        if path.exists() and MARK in path.read_text(encoding="utf-8"):
            yield path, _vars(path.read_text(encoding="utf-8"), role.name, table)


def _argument_specs(content: str, role: str, variables: list[Variable]) -> str:
    """What stands in the file about each entry stays; the variables are those that are called after the entry, or all others for main."""
    others = [found["name"] for found in _ENTRY.finditer(content) if found["name"] != "main"]
    since = {name: entry["version_added"] for name, entry in text.parsed(content)["argument_specs"].items()}

    def entry(found: re.Match[str]) -> str:
        said = {
            variable.name: {key: value for key, value in variable.says.items() if (key, value) != ("version_added", since[found["name"]])}
            for variable in variables
            if found["name"] == next((name for name in others if variable.name.startswith(f"{role}_{name}_")), "main")
        }
        about = f"  {found['name']}:\n{found['about']}    options:{found['anchor'] or ''}\n"
        return about + text.block(said, 6)

    return _ENTRY.sub(entry, content)


def _default(variable: Variable) -> Any:
    return variable.computed if variable.computed is not None else variable.says.get("default")


def _defaults(variables: list[Variable]) -> str:
    given = {variable.name: _default(variable) for variable in variables}
    lines = (
        f"{name}: {text.scalar(value) if isinstance(value, str) else text.flow(value)}\n"
        for name, value in given.items()
        if value is not None
    )
    return "---\n# Written by make options.\n" + "".join(lines)


def _tasks(content: str, role: str, root: Path, table: Table) -> str:
    """What the options of a role give to the modules of its tasks. What a task says by itself comes before the mark, and stays."""

    def task(found: re.Match[str]) -> str:
        module = found["module"]
        fragments = extended((root / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8"))
        said = set(re.findall(rf"(?m)^{found['inner']}(\w+):", found["given"]))
        made = "".join(
            f'{found["inner"]}{option.name}: "{{{{ {argument} }}}}"\n'
            for option in table.of_module(module, fragments)
            if option.name not in said
            for argument in _arguments(option, role)
        )
        return f"{found['indent']}{FRAGMENT}{module}:\n{found['given']}{found['inner']}{MARK}\n{made}"

    return _TASK.sub(task, content)


def _arguments(option: Option, role: str) -> Iterator[str]:
    """The expression for an option: that of its variable, or the variable that _vars makes of those of its suboptions."""
    variable = option.variable(role)
    if variable is not None:
        yield variable.argument
    elif any(inner.variable(role) for inner in option.within()):
        yield f"{role}_{option.name}"


def _vars(content: str, role: str, table: Table) -> str:
    """For each option of which a role gives the suboptions one by one, a variable that has them together."""
    head = content.partition(f"{MARK}\n")[0]
    together = {
        f"{role}_{option.name}": made
        for options in table.sections.values()
        for option in options
        if option.suboptions and option.variable(role) is None
        for made in [_together(option, role)]
        if made
    }
    return head + f"{MARK}\n" + "".join(_nested(together, ""))


def _together(option: Option, role: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for inner in option.suboptions:
        variable = inner.variable(role)
        if variable is not None:
            made[inner.name] = f"{{{{ {variable.argument} }}}}"
        elif inner.suboptions and (deeper := _together(inner, role)):
            made[inner.name] = deeper
    return made


def _nested(data: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:\n"
            yield from _nested(value, f"{indent}  ")
        else:
            yield f'{indent}{name}: "{value}"\n'
