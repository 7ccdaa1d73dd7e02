# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of an inventory do the work for others."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError

from ansible_collections.hyper2kvm.migration.plugins.filter import conversion_hosts as plugin


class Undefined(dict):
    """Variables that hang on what is not defined."""

    def get(self, key, default=None):
        raise AnsibleError(key)


AT_CONV1 = {"migrate_source": "/x.raw", "migrate_conversion_host": "conv1"}
INVENTORIES = {
    "named by a VM": ({"web01": AT_CONV1, "conv1": {}}, ["conv1"]),
    "named by all, itself too": ({"web01": AT_CONV1, "conv1": AT_CONV1}, ["conv1"]),
    "two": ({"web01": AT_CONV1, "web02": {"migrate_conversion_host": "conv,2"}, "conv1": {}, "conv,2": {}}, ["conv,2", "conv1"]),
    "not of the inventory": ({"web01": {"migrate_conversion_host": "localhost"}}, []),
    "localhost as the VM": ({"localhost": {"migrate_source": "/x.raw", "migrate_conversion_host": "localhost"}}, []),
    "localhost for others": ({"localhost": {}, "web01": {"migrate_conversion_host": "localhost"}}, ["localhost"]),
    "none": ({"web01": {}, "web02": {}}, []),
    "one that hangs on the role": ({"web01": Undefined(), "web02": AT_CONV1, "conv1": {}}, ["conv1"]),
}


@pytest.mark.parametrize(("hostvars", "found"), INVENTORIES.values(), ids=INVENTORIES)
def test_conversion_hosts(hostvars, found, monkeypatch):
    monkeypatch.setattr(plugin, "_known", {})
    assert plugin.conversion_hosts(hostvars) == found


def test_one_with_a_source_is_named(monkeypatch):
    said = []
    monkeypatch.setattr(plugin, "_known", {})
    monkeypatch.setattr(plugin.display, "warning", said.append)
    hostvars = {"web01": AT_CONV1, "conv1": AT_CONV1}
    plugin.conversion_hosts(hostvars), plugin.conversion_hosts(hostvars)
    assert len(said) == 1 and said[0].startswith("conv1 ") and "migrate_source" in said[0]


def test_a_member_of_the_group_with_a_source_is_named(monkeypatch):
    """The plays leave it out without asking."""
    said = []
    monkeypatch.setattr(plugin, "_known", {})
    monkeypatch.setattr(plugin.display, "warning", said.append)
    member = {"group_names": ["conversion_hosts"]}
    hostvars = {
        "web01": {"migrate_source": "/x.raw", "group_names": ["vms"]},
        "conv1": {**member, "migrate_source": "/y.raw"},
        "conv2": member,
    }
    assert plugin.conversion_hosts(hostvars) == []
    assert len(said) == 1 and said[0].startswith("conv1 ") and "the group conversion_hosts" in said[0]


def test_hosts_that_came_later_are_looked_at(monkeypatch):
    monkeypatch.setattr(plugin, "_known", {})
    assert plugin.conversion_hosts({"web01": {}}) == []
    assert plugin.conversion_hosts({"web01": {}, "web02": AT_CONV1, "conv1": {}}) == ["conv1"]
