# SPDX-License-Identifier: GPL-3.0-or-later
"""A wrong value is refused in a sentence."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.plugin_utils import variables

WRONG = {
    "a choice": ("migrate_compression", "gzip", "none, zstd, zlib"),
    "a choice in a list": ("migrate_fixes", ["fstab", "everything"], "everything"),
    "a number": ("migrate_boot_timeout", "soon", "soon"),
    "a number of another script": ("migrate_boot_memory", "²", "int"),
    "a truth": ("migrate_grow", "perhaps", "perhaps"),
    "a list for a choice": ("migrate_output_format", ["qcow2", "raw"], "is a list, and must be a text"),
    "a list for a path": ("migrate_output_dir", ["/x"], "is a list, and must be a path"),
    "a dictionary for a path": ("migrate_work_dir", {"path": "/x"}, "is a dictionary, and must be a path"),
    "a truth for a path": ("migrate_report_dir", False, "is false, and must be a path"),
    "a list for a name": ("migrate_name", ["web01"], "is a list, and must be a text"),
    "a truth for a number": ("migrate_boot_timeout", True, "is true, and must be a whole number"),
    "a list in a list of texts": ("migrate_accept", [["source.busy"]], "migrate_accept, number 1 is a list, and must be a text"),
    "a list in a leaf": ("migrate_nics", [{"mac": ["00:50:56:00:00:01"]}], "migrate_nics, number 1.mac is a list"),
    "a text for a dictionary": ("migrate_mac_map", "00:50:56:3a:bb:cc", "dict"),
    "a dictionary for a list": ("migrate_boot_checks", {"port": 22}, "list"),
    "a long text for a choice": ("migrate_engine", "x" * 100_000, "own"),
    "another role's choice": ("libvirt_import_state", "here", "defined"),
    "a list for a truth": ("conversion_host_install", ["yes"], "bool"),
}
RIGHT = {
    "migrate_boot_timeout": "300", "migrate_grow": "yes", "migrate_compression": "zstd", "migrate_fixes": "fstab,network", "migrate_mac_map": {},
    "migrate_source": ["/x"], "ansible_host": 7, "migrate_boot_checks": [{"port": 22}],
}  # fmt: skip


def role_of(name: str) -> str:
    return next(role for role in ("libvirt_import", "conversion_host", "migrate") if name.startswith(role))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_in_a_sentence(name):
    variable, value, said = WRONG[name]
    (sentence,) = variables.wrong_values(role_of(variable), {variable: value})
    assert variable in sentence and said in sentence[:600] and len(sentence) < 600


def test_right_values_are_taken_as_ansible_takes_them():
    assert list(variables.wrong_values("migrate", RIGHT)) == []


def test_every_wrong_value_is_named_at_once():
    assert len(list(variables.wrong_values("migrate", {"migrate_compression": "gzip", "migrate_grow": "perhaps"}))) == 2
