# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that a role knows, and what is wrong with those that it was given."""

from __future__ import annotations

import difflib
import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import macs, numbers
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concerns import CONCERNS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.names import safe
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.shape import (
    ANYTHING,
    NIC_MAC,
    TEXT,
    UUID,
    Kind,
    Shape,
    count,
    like,
    misfit,
    one_of,
)

HOME = Path(__file__).resolve().parents[2]
# What is more than its type says, so that no stage has begun when it is refused.
_SIZE = like("a size such as +10G or 50G", numbers.SIZE.pattern)
_SOME = count(1, 1 << 31)
_FORMS: Mapping[str, Shape] = {
    "migrate_source": [Kind("a path or a URL", TEXT.holds)],
    "migrate_resize": [(_SIZE, count(1), one_of(""), None)],
    "migrate_uuid": [(UUID, one_of(""), None)],
    "migrate_nics": [{"mac": (NIC_MAC, one_of(""), None), "": ANYTHING}],
    "migrate_mac_map": [NIC_MAC],
    **{f"migrate_{name}": [_SOME] for name in ("memory", "cpus", "boot_memory", "boot_cpus", "boot_timeout", "workers", "host_slots")},
    **{f"migrate_{name}": [count(0)] for name in ("shutdown_timeout", "bandwidth")},
}
_REMEDIES: Mapping[str, str] = {
    "migrate_source": (
        "Set it in the inventory to the path of the VM's .vmx, .ova or disk, or to a URL such as vsphere://vcenter/DC1/vm/web01 (docs/sources.md). "
        "A host that is no VM belongs in the group conversion_hosts, or in another inventory."
    ),
}
_UNSUPPORTED = re.compile(r"^(\S+)\. Supported parameters include: ")  # of Ansible, whose words before it are lost here
_ONE = {"str": "a text", "path": "a path", "int": "a whole number", "float": "a number"}
_MOST = 400  # characters of what is said about one value


@functools.cache
def specified(role: str) -> Mapping[str, Mapping[str, Any]]:
    """What the role's argument specs say of each variable."""
    specs = yaml_load((HOME / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry["options"].items()}


def options(role: str) -> frozenset[str]:
    """What the role's argument specs name."""
    return frozenset(specified(role))


@functools.cache
def own(role: str) -> frozenset[str]:
    """What the role and the playbooks set and register themselves."""
    files = [
        *(HOME / "roles" / role).glob("[!m]*/*.yml"),
        *(HOME / "playbooks").glob("**/*.yml"),
        *(HOME / "extensions").glob("eda/**/*.yml"),
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return frozenset(re.findall(rf"\b{role}_\w+", text))


@functools.cache
def worked_out(role: str) -> frozenset[str]:
    """What of that nobody may give: the variables that the role makes of its options, and those in which results are kept."""
    known = HOME / "roles" / role / "vars" / "main.yml"
    made = set(yaml_load(known.read_text(encoding="utf-8")) or ()) if known.exists() else set()
    for path in (*(HOME / "roles" / role / "tasks").glob("*.yml"), *(HOME / "playbooks").glob("**/*.yml")):
        made.update(_kept(yaml_load(path.read_text(encoding="utf-8"))))
    return frozenset(name for name in made if name.startswith(f"{role}_"))


def _kept(tasks: Any) -> Iterator[str]:
    if isinstance(tasks, list):
        for task in tasks:
            yield from _kept(task)
    elif isinstance(tasks, dict):
        yield from filter(None, [tasks.get("register")])
        yield from tasks.get("ansible.builtin.set_fact") or ()
        for value in tasks.values():
            yield from _kept(value)


def given_anyway(given: Iterable[str], roles: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that the inventory or the command line gives although one of the roles works it out."""
    given = sorted(given)
    for role in roles:
        for name in given:
            if name in worked_out(role):
                yield f"{name} is worked out by the role {role} and cannot be given{_instead(name, options(role), f'{role}_')}."


def unknown(given: Iterable[str], roles: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable with the prefix of one of the roles that means nothing to it."""
    given = sorted(given)
    for role in roles:
        known = options(role)
        for name in given:
            if name.startswith(f"{role}_") and name not in known and name not in own(role):
                instead = _instead(name, known, f"{role}_")
                yield f"{name} is not a variable of the role {role}{instead}." + (
                    "" if instead else f" Remove it, or correct its name: {_all_of(role)}."
                )


def missing(given: Mapping[str, Any], role: str, host: str) -> Iterator[str]:
    """A sentence for each variable that the role cannot do without and the host does not have. Ansible's own brings the role's whole specification."""
    for name, option in specified(role).items():
        if option.get("required") and given.get(name) in (None, "", []):
            yield f"{name} is not given for {host}. {_REMEDIES.get(name, f'Set it in the inventory: {_all_of(role)}.')}"


def wrong_values(role: str, values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each value that is not as the role's argument specs want it, without the specs, which are long."""
    known = specified(role)
    for name in sorted(values.keys() & known.keys()):
        mistaken = list(_mistaken(known[name], values[name], name))
        spec = {name: {**known[name], "required": False}}
        for said in mistaken or ArgumentSpecValidator(spec).validate({name: values[name]}).error_messages:
            said = _UNSUPPORTED.sub(r"\1 is not supported; supported are: ", said).rstrip(".")
            whole = said if name in said else f"{name}: {said}"
            yield f"{whole if len(whole) <= _MOST else whole[:_MOST] + '...'}."


def wrong_forms(values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each value that has the type of its variable, and is none of what that takes."""
    for name, shape in _FORMS.items():
        value = values.get(name)
        if name == "migrate_mac_map" and isinstance(value, str) and value:
            value = _mapping(value)
        if value in (None, ""):
            continue
        every = (
            [*value, *value.values()]
            if name == "migrate_mac_map" and isinstance(value, Mapping)
            else value
            if isinstance(value, list)
            else [value]
        )
        found = misfit(every, shape)
        if found is not None:
            at = found[0] if isinstance(value, list) else ""
            yield f"{name}{at} is not {found[1]}."
            continue
        given = [one.get("mac") for one in value] if name == "migrate_nics" else value.values() if name == "migrate_mac_map" else ()
        twice = [mac for mac, times in Counter(map(macs.canonical, filter(None, given))).items() if times > 1]
        if twice:
            yield f"{name} gives {twice[0]} to two cards."


def _mapping(text: str) -> Any:
    """What Ansible makes of a text where a dictionary is wanted; nothing of one that it refuses, which is said by `wrong_values`."""
    try:
        return check_type_dict(text)
    except (TypeError, ValueError):
        return None


def _mistaken(option: Mapping[str, Any], value: Any, name: str) -> Iterator[str]:
    """A sentence for each value that Ansible would make something else of: a list, spelt out as a text; true, as the number 1 or a path called True."""
    kind = option.get("type", "str")
    if isinstance(value, list):
        if kind == "list":
            element = {"type": option.get("elements", "raw"), "options": option.get("options")}
            for number, one in enumerate(value, 1):
                yield from _mistaken(element, one, f"{name}, number {number}")
            return
        what = "a list"
    elif isinstance(value, Mapping):
        leaves: Mapping[str, Any] = option.get("options") or {}
        for key in value.keys() & leaves.keys() if kind == "dict" else ():
            yield from _mistaken(leaves[key], value[key], f"{name}.{key}")
        what = "a dictionary"
    else:
        what = (
            str(value).lower()
            if isinstance(value, bool)
            else "empty"
            if kind == "path" and value == "" and option.get("default") != ""
            else ""
        )
    if what and kind in _ONE and not (isinstance(value, bool) and kind == "str"):
        yield f"{name} is {what}, and must be {_ONE[kind]}"


def wrong_codes(codes: Iterable[str]) -> Iterator[str]:
    """A sentence for each code that no concern has."""
    for code in codes:
        if code not in CONCERNS:
            yield f"No concern has the code {code!r}{_instead(code, CONCERNS)} (docs/concerns.md)."


def unsafe_places(name: str, places: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each path that was made of a name which leads elsewhere. Raises InvalidInput for what is no name at all."""
    shown = safe(name)
    if "/" in name or name in (".", "..") or not name.isprintable():
        for variable, path in places.items():
            if f"/{name}" in path:
                yield (
                    f"{variable} is made of the name {name!r}, which is not a file name. "
                    f"Write 'migrate_name | hyper2kvm.migration.safe_name' in it: that is {shown}."
                )


def _all_of(role: str) -> str:
    return f"'ansible-doc -t role hyper2kvm.migration.{role}' names all variables"


def _instead(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name[len(prefix) :], sorted(one[len(prefix) :] for one in known), 1, 0.6)
    return f"; {prefix}{near[0]} is" if near else ""
