# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of options: what options/*.yml say, as options with everything that they take from elsewhere filled in. See docs/options.md."""

from __future__ import annotations

import functools
import importlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Mapping

from . import text

MODULE_UTILS = "ansible_collections.hyper2kvm.migration.plugins.module_utils"
# The order in which a reader of a role's variables meets them.
TOPICS = ("source", "result", "repair", "boot", "target", "access", "vsphere", "hosts")
OTHERS = ("answers", "single_fixes")  # which are no options
_OF_BOTH = ("description", "type", "elements", "required", "default", "choices", "version_added")
_OF_OPTIONS = frozenset(
    (*_OF_BOTH, "aliases", "choices_from", "no_log", "environment", "apply_defaults", "like", "suboptions", "variables")
)
_OF_VARIABLES = frozenset((*_OF_BOTH, "no_log", "argument", "computed"))


@dataclass(frozen=True)
class Variable:
    """A variable of a role. `says` is what its argument specs say of it; `argument` the Jinja expression that tasks give to modules.

    `computed` stands in the role's defaults where its default is not a plain value.
    """

    name: str
    says: Mapping[str, Any]
    argument: str
    computed: Any = None


@dataclass(frozen=True)
class Option:
    """An option of a module, a fragment or another option. `says` is what the table says of it.

    `variables` are declared with it; `given_by` are those, and the ones of the option that it is like: each gives it to a module.
    """

    name: str
    says: Mapping[str, Any]
    suboptions: tuple[Option, ...] = ()
    variables: tuple[Variable, ...] = ()
    given_by: tuple[Variable, ...] = ()

    def documentation(self) -> dict[str, Any]:
        """As DOCUMENTATION has it."""
        said = {key: self.says[key] for key in (*_OF_BOTH, "aliases") if key in self.says}
        return {**said, **({"suboptions": documentation(self.suboptions)} if self.suboptions else {})}

    def variable(self, role: str) -> Variable | None:
        """The variable of a role that gives the option."""
        return next((variable for variable in self.given_by if variable.name.startswith(f"{role}_")), None)

    def within(self) -> Iterator[Option]:
        """The option, and those inside of it."""
        yield self
        for option in self.suboptions:
            yield from option.within()


def documentation(options: tuple[Option, ...]) -> dict[str, Any]:
    return {option.name: option.documentation() for option in options}


@dataclass(frozen=True)
class Table:
    """Options by section, which is a module or a documentation fragment, and the variables of roles in their order."""

    sections: Mapping[str, tuple[Option, ...]]
    variables: tuple[Variable, ...]

    def of_role(self, role: str) -> list[Variable]:
        return [variable for variable in self.variables if variable.name.startswith(f"{role}_")]

    def of_module(self, module: str, fragments: tuple[str, ...]) -> tuple[Option, ...]:
        """Every option of a module: those of its fragments, with what its own section says otherwise, and its own."""
        found = {option.name: option for name in fragments for option in self.sections.get(name, ())}
        for option in self.sections.get(module, ()):
            known = found.get(option.name)
            found[option.name] = replace(known, says={**known.says, **option.says}) if known is not None else option
        return tuple(found.values())


def load(directory: Path) -> Table:
    """The table in a directory. Raises ValueError for what it cannot mean."""
    _refuse(str(directory), {path.stem for path in directory.glob("*.yml")} - {*TOPICS, *OTHERS})
    topics = [text.parsed((directory / f"{topic}.yml").read_text(encoding="utf-8")) for topic in TOPICS]
    entries = {section: options for topic in topics for section, options in topic.items() if section != "variables"}
    sections = {section: tuple(_option(entries, name, f"{section}.{name}", "") for name in said) for section, said in entries.items()}
    variables: list[Variable] = []
    for topic in topics:
        variables += [_variable(name, given, {}) for name, given in topic.get("variables", {}).items()]
        options = (option for section in topic if section != "variables" for outer in sections[section] for option in outer.within())
        variables += [variable for option in options for variable in option.variables]
    twice = [name for name, times in Counter(variable.name for variable in variables).items() if times > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)}: declared twice")
    return Table(sections, tuple(variables))


def _option(entries: Mapping[str, Any], name: str, place: str, since: str) -> Option:
    """The option at `place`, section and names with dots between; `since`: the version that what it is part of came with."""
    given = _entry(entries, place)
    _refuse(place, given.keys() - _OF_OPTIONS)
    like = _option(entries, name, given["like"], "") if "like" in given else Option(name, {})
    said = {key: value for key, value in given.items() if key not in ("like", "suboptions", "variables", "choices_from")}
    if "choices_from" in given:
        said["choices"] = [*said.get("choices", ()), *registered(given["choices_from"])]
    says = {key: value for key, value in {**like.says, **said}.items() if value is not None}
    since = says.get("version_added", since)
    suboptions = tuple(_option(entries, inner, f"{place}.{inner}", since) for inner in given.get("suboptions", ())) or like.suboptions
    to_roles = {**says, **({"version_added": since} if since else {}), **({"options": _for_roles(suboptions)} if suboptions else {})}
    own = tuple(_variable(variable, more, to_roles) for variable, more in given.get("variables", {}).items())
    return Option(name, says, suboptions, own, (*own, *like.given_by))


def _entry(entries: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    section = max((name for name in entries if place.startswith(f"{name}.")), key=len, default="")
    found: Mapping[str, Any] = {"suboptions": entries.get(section, {})}
    for name in place[len(section) + 1 :].split("."):
        if name not in found.get("suboptions", {}):
            raise ValueError(f"{place}: the table has no such option")
        found = found["suboptions"][name]
    return found


def _for_roles(options: tuple[Option, ...]) -> dict[str, Any]:
    said = ("description", "type", "elements", "required", "default", "choices")
    return {
        option.name: {
            **{key: option.says[key] for key in said if key in option.says},
            **({"options": _for_roles(option.suboptions)} if option.suboptions else {}),
        }
        for option in options
    }


def _variable(name: str, given: Mapping[str, Any], option: Mapping[str, Any]) -> Variable:
    """A variable, which is what its option is where it does not say otherwise; null leaves out what the option says."""
    _refuse(name, given.keys() - _OF_VARIABLES)
    says = {**option, **given}
    if says.get("type") != "list":
        says.pop("elements", None)
    keys = (*_OF_BOTH, *(("no_log",) if says.get("no_log") else ()), "options")
    kept = {key: says[key] for key in keys if says.get(key) is not None}
    return Variable(name, kept, given.get("argument", name), given.get("computed"))


def _refuse(place: str, unknown: set[str]) -> None:
    if unknown:
        raise ValueError(f"{place}: the table knows no {', '.join(sorted(unknown))}")


@functools.cache
def registered(place: str) -> tuple[str, ...]:
    """What a registry below module_utils knows, which is a collection of names or gives one; a mapping has no order of its own."""
    module, dummy, name = place.rpartition(".")
    found = getattr(importlib.import_module(f"{MODULE_UTILS}.{module}"), name)
    names = found() if callable(found) else found
    return tuple(sorted(names) if isinstance(names, Mapping) else names)
