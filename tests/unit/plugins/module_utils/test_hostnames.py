# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of an inventory: safe, distinct in any spelling, nobody else's, the same every time."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.names import is_safe
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.hostnames import distinct

CASES = {
    "alone": ([("web01", "vm-1"), ("Web Server 02", "vm-2")], (), ["web01", "Web Server 02"]),
    "one name": ([("web01", "vm-1"), ("db01", "vm-2"), ("web01", "vm-3")], (), ["web01_vm-1", "db01", "web01_vm-3"]),
    "capitals": ([("web01", "vm-1"), ("WEB01", "vm-2")], (), ["web01_vm-1", "WEB01_vm-2"]),
    "capitals of other scripts": ([("straße", "vm-1"), ("STRASSE", "vm-2")], (), ["straße_vm-1", "STRASSE_vm-2"]),
    "a group's": ([("ready", "vm-1")], ("ready",), ["ready_vm-1"]),
    "a group's in capitals": ([("Ready", "vm-1")], ("ready",), ["Ready_vm-1"]),
    "another's name and id": (
        [("web01", "vm-1"), ("web01", "vm-2"), ("web01_vm-1", "vm-3")],
        (),
        ["web01_vm-1_2", "web01_vm-2", "web01_vm-1"],
    ),
    "one id": ([("web01", "vm-1"), ("web01", "vm-1")], (), ["web01_vm-1", "web01_vm-1_2"]),
}


@pytest.mark.parametrize(("vms", "taken", "names"), CASES.values(), ids=CASES)
def test_names(vms, taken, names):
    assert distinct(vms, taken) == names


@pytest.mark.parametrize(
    "name", ["{{ 7*7 }}", "a,b", "../x", "-rf", "a\nb", "x" * 300, "all", "localhost", "a:b[1]", "!a", "&a", "a/b", "[x]", "@a", "~a"]
)
def test_what_an_inventory_cannot_hold_is_made_safe_and_stays_distinct(name):
    found = distinct([(name, "vm-1"), (name + "\t", "vm-2"), (name, "vm-3")])
    assert len({one.casefold() for one in found}) == 3 and all(map(is_safe, found)) and name not in found


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u00a0", "\u200b\u200b", "\0"])
def test_a_name_in_which_nothing_can_be_seen_is_the_id(name):
    assert distinct([(name, "vm-7"), (name, "vm-8")]) == ["vm_vm-7", "vm_vm-8"]


@given(
    st.lists(st.tuples(st.one_of(st.text(max_size=6), st.sampled_from(["a", "A", "a_1", "a_2", "a_1_2", "all"])), st.sampled_from("123"))),
    st.sets(st.sampled_from([*string.ascii_letters, "a_1"])),
)
def test_whatever_they_are_called(vms, taken):
    found = distinct(vms, taken)
    assert len(found) == len(vms) == len({name.casefold() for name in found}) and all(map(is_safe, found))
    assert not {name.casefold() for name in found} & {name.casefold() for name in taken}
    assert found == distinct(vms, taken)
