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


FORMS = [
    ("migrate_resize", "20GB", "migrate_resize is not a size such"), ("migrate_resize", ["+1G", "+20X"], "migrate_resize[1] is not a size"),
    ("migrate_uuid", "xyz", "migrate_uuid is not a UUID"), ("migrate_nics", [{"mac": "00:11"}], "migrate_nics[0].mac is not the MAC address"),
    ("migrate_mac_map", {"00:50:56:00:00:01": "x"}, "migrate_mac_map is not the MAC address"),
    ("migrate_mac_map", {"eth0": "00:50:56:00:00:01"}, "migrate_mac_map is not the MAC address"),
    ("migrate_mac_map", '{"00:50:56:00:00:01": "x"}', "migrate_mac_map is not the MAC address"),
    ("migrate_mac_map", {"00:50:56:00:00:01": "01:00:5e:00:00:01"}, "migrate_mac_map is not the MAC address of a card"),
    ("migrate_mac_map", {f"00:50:56:00:00:0{n}": "52:54:00:00:00:01" for n in "12"}, "52:54:00:00:00:01 to two cards"),
    ("migrate_nics", [{"mac": "00:50:56:00:00:01"}, {"mac": "00-50-56-00-00-01"}], "00:50:56:00:00:01 to two cards"),
    ("migrate_nics", [{"mac": "00:00:00:00:00:00"}], "migrate_nics[0].mac is not the MAC address of a card"),
    ("migrate_cpus", -1, "migrate_cpus is not a number from 1"), ("migrate_memory", 0, "migrate_memory is not a number"),
    ("migrate_boot_timeout", "-5", "migrate_boot_timeout is not"), ("migrate_source", 5, "migrate_source is not a path or a URL"),
    ("migrate_source", ["/a.raw", {"b": 1}], "migrate_source[1] is not a path"), ("migrate_bandwidth", -1, "migrate_bandwidth is not"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "said"), FORMS, ids=str)
def test_what_no_stage_could_use_is_refused_before_any_begins(name, value, said):
    (sentence,) = variables.wrong_forms({name: value})
    assert said in sentence


def test_what_stages_use_is_taken():
    right = {
        "migrate_resize": ["+10G", "", "50G"],
        "migrate_uuid": "564D1D4A-1CB8-4FA8-A7E6-A4A4E1F4A1D2",
        "migrate_nics": [{"mac": "00-50-56-00-00-01", "network": "lan"}, {"mac": ""}],
        "migrate_mac_map": {"00:50:56:00:00:01": "00-50-56-00-00-02"},
        "migrate_memory": "2048",
        "migrate_cpus": 4,
        "migrate_bandwidth": 0,
        "migrate_source": ["/a.raw", "b.raw"],
    }
    assert not list(variables.wrong_forms({"migrate_resize": 53687091200, "migrate_mac_map": '{"00:50:56:00:00:01": "00-50-56-00-00-02"}'}))
    assert not list(variables.wrong_forms({"migrate_mac_map": "00:50:56:00:00:01=00:50:56:00:00:02", "migrate_source": "/a.raw"}))
    assert list(variables.wrong_forms(right)) == list(variables.wrong_forms({"migrate_resize": "50G", "migrate_uuid": ""})) == []


@pytest.mark.parametrize("name", ["migrate_output_dir", "migrate_work_dir", "migrate_report_dir"])
def test_no_place_is_nowhere(name):
    assert [f"{name} is empty, and must be a path."] == list(variables.wrong_values("migrate", {name: ""}))


def test_an_option_that_checks_do_not_have_is_not_supported():
    (sentence,) = variables.wrong_values("migrate", {"migrate_boot_checks": [{"prot": 22}]})
    assert "migrate_boot_checks.prot is not supported; supported are: " in sentence and ".." not in sentence
