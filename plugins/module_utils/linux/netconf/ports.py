# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of a bridge of ifupdown: names, expressions of egrep, and VLANs that bridge-utils makes by their names.

Source: bridge-utils-interfaces(5), bridge_ports; create_vlan_port in bridge-utils.sh; grep(1), REGULAR EXPRESSIONS.
"""

from __future__ import annotations

import re
from typing import Iterator, Mapping

from .model import Profile

DOTTED = re.compile(r"^(.+)\.\d+$")
_WILD = re.compile(r"[*?\[]")
_CHOICE = re.compile(r"\(([^()]*)\)(?![*+?{])")
_ATOM = re.compile(r"(?P<atom>\[(?:\[:\w+:\]|[^\]])*\]|\\.|\([^()]*\)|.)(?P<many>[*+?]|\{[^}]*\})?")
_LONGEST = 100  # characters of an expression
_MOST_GROUPS, _MOST_CHOICES = 5, 20


def of(values: Mapping[str, str]) -> Iterator[str]:
    """The names of bridge_ports, and patterns of names; behind `regex`, up to `noregex`, each word is an expression. `all` is short for one."""
    expressions = False
    for word in values.get("bridge-ports", "").split():
        if word in ("regex", "noregex"):
            expressions = word == "regex"
        elif expressions:
            yield from _patterns(word)
        elif word != "none":
            yield "eth*" if word == "all" else word


def made(path: str, ports: Iterator[str], known: Mapping[str, object], active: bool) -> Iterator[Profile]:
    """The profiles of ports that no stanza is for: NICs by a pattern, and VLANs."""
    for word in ports:
        dotted = DOTTED.match(word)
        if _WILD.search(word):
            yield Profile("ifupdown", path, word, active=active)
        elif dotted is not None and word not in known:
            yield Profile("ifupdown", path, word, kind="vlan", parent=dotted[1], active=active)


def _patterns(expression: str) -> list[str]:
    """The patterns of names, as a shell has them, for an expression: one for each alternative, as long as these are few."""
    if len(expression) > _LONGEST:  # which no name of a NIC needs
        return ["*"]
    forms = [expression]
    for dummy in range(_MOST_GROUPS):
        more = list(dict.fromkeys(one for form in forms for one in _alternatives(form)))
        if len(more) > _MOST_CHOICES:
            break
        forms = more
    return list(dict.fromkeys(map(_pattern, forms)))


def _alternatives(form: str) -> list[str]:
    group = _CHOICE.search(form)
    if group is None:
        return [form] if "(" in form else form.split("|")
    return [form[: group.start()] + one + form[group.end() :] for one in group[1].split("|")]


def _pattern(form: str) -> str:
    """One alternative; what a shell has no sign for is any number of characters."""
    parts = ["*" if match["many"] else _one(match["atom"]) for match in _ATOM.finditer(form)]
    return re.sub(r"\*{2,}", "*", "".join(parts))


def _one(atom: str) -> str:
    if atom in ("^", "$"):  # the expression is for whole names
        return ""
    if atom.startswith("["):
        return "?" if "[:" in atom else atom.replace("[^", "[!", 1)
    if atom.startswith("\\"):
        return atom[1:]
    return "?" if atom == "." else "*" if atom[0] in "(){}|*+?" else atom
