# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the formats that describe VMs, each with where it is written, and what is to come of a description that follows it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Union

import pytest
from test_vmdk_chain import flat, sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concerns import CONCERNS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

MIB = 1 << 20


class Got(dict):
    """What the machine has: attributes of it, and `disks`, `nics` and `codes` as `seen` shows them."""


@dataclass(frozen=True)
class Refused:
    """The error, and words of its message, by a pattern."""

    words: str
    kind: type[Exception] = InvalidInput


@dataclass(frozen=True)
class Told:
    """The code of a concern, and words of its cause; the machine has its disk."""

    code: str
    words: str = ""


@dataclass(frozen=True)
class Rule:
    """`source`: where it is written. `text`: a description that the rule is about."""

    rule: str
    source: str
    text: Union[str, bytes]
    want: Union[Got, Refused, Told]
    chosen: str = ""


def seen(vm: Any, name: str) -> Any:
    """What of a machine is compared, in a form that is easily written by hand."""
    if name == "disks":
        return [(os.path.basename(next(iter(disk.chain.files()), "blank")), *disk.place.at) for disk in vm.disks]
    if name == "sizes":
        return [disk.chain.virtual_size for disk in vm.disks]
    if name == "nics":
        return [(nic.mac, nic.network, nic.model) for nic in vm.nics]
    if name == "codes":
        return sorted(concern.code for concern in vm.concerns)
    return getattr(vm, name)


def folder_with_disks(folder: Any) -> Any:
    """Disks of 1 MiB: a and b flat, c and what has an odd name or lies in a folder sparse."""
    for name in "ab":
        flat(folder, name)
    (folder / "disks").mkdir()
    for name in ("c.vmdk", "my disk.vmdk", "disks/d.vmdk", "disks/my e.vmdk"):
        (folder / name).write_bytes(sparse())
    (folder / "tools.iso").write_bytes(bytes(2048))
    return folder


def holds(folder: Any, rule: Rule, name: str) -> None:
    """Read the description as a file of this name, and compare."""
    (folder / name).write_bytes(rule.text if isinstance(rule.text, bytes) else rule.text.encode())
    source = [f"{folder / name}{rule.chosen}"]
    if isinstance(rule.want, Refused):
        with pytest.raises(rule.want.kind, match=rule.want.words) as caught:
            open_source(source)
        assert caught.value.hint
        return
    vm = open_source(source)
    if isinstance(rule.want, Told):
        found = [concern for concern in vm.concerns if concern.code == rule.want.code]
        assert found and rule.want.words in found[0].cause and found[0].remedy and rule.want.code in CONCERNS
        assert vm.disks
        return
    assert {key: seen(vm, key) for key in rule.want} == dict(rule.want)
