# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that describe a VM, beside those of others: NAME-bootstrap.xml may be the first start of one VM, or what another one is called."""

from __future__ import annotations

import json
import os
from typing import Iterable, Mapping, Optional

from ..core import atomic, made, spared
from ..core.errors import InvalidInput
from ..targets import domain_xml

_SCRIPT = ("#!/bin/sh\nset -eu\n", "\nexec qemu-system-x86_64 ")


def require_ours(texts: Mapping[str, str], name: str) -> None:
    """Raise InvalidInput where something that is no description of the VM `name` would be replaced by one of these texts, which are given by their paths.

    What was written here is known by a list, and what an earlier version has written by what it says. Nothing is written.
    """
    for directory in {os.path.dirname(path) for path in texts}:
        spared.require(os.path.join(directory, _list(name)))
    for path, text in texts.items():
        whose = _whose(atomic.read_text(path), text, name) if os.path.lexists(path) else name
        if whose != name and (whose or path not in made.noted(os.path.dirname(path), _list(name))):
            raise InvalidInput(
                f"{path} is {f'the description of {whose}' if whose else 'no description that was written here'},"
                f" and would be replaced by one of {name}.",
                "Give this VM another name (migrate_name) or another directory, or move away what is there.",
                path=path,
            )


def note(directory: str, paths: Iterable[str], name: str) -> None:
    """These files, which are about to be written, describe the VM `name`."""
    new = sorted(set(paths) - made.noted(directory, _list(name)))
    if new:
        made.note(directory, *new, name=_list(name))


def _list(name: str) -> str:
    return f".{name}.made"


def _whose(before: Optional[str], after: str, name: str) -> str:
    """The VM that a description is of; empty for what is none. Only a domain says it: the files in other formats have endings of their own."""
    if before is None:
        return ""
    if after.lstrip().startswith("<"):
        try:
            return domain_xml.parse(before).findtext("name") or ""
        except InvalidInput:
            return ""
    if after.startswith(_SCRIPT[0]):
        return name if before.startswith(_SCRIPT[0]) and _SCRIPT[1] in before else ""
    try:
        known, new = json.loads(before), json.loads(after)
    except (RecursionError, ValueError):
        return ""
    return name if isinstance(known, dict) and not known.keys().isdisjoint(new) else ""
