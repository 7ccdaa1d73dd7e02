# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused of the variables, the accepted codes and the names that a role was given."""

from __future__ import annotations

import ast

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concerns import CONCERNS
from ansible_collections.hyper2kvm.migration.plugins.plugin_utils import variables

ROLES = ("conversion_host", "drop_folder", "libvirt_import", "live_fix", "migrate")
MISSPELT = {
    "migrate_ouput_dir": "migrate_output_dir",
    "migrate_outputdir": "migrate_output_dir",
    "migrate_sorce": "migrate_source",
    "migrate_boot_tests": "migrate_boot_test",
    "migrate_fix": "migrate_fixes",
    "migrate_vsphere_username": "migrate_vsphere_user",
    "migrate_accepts": "migrate_accept",
    "migrate_windows_networks": "migrate_windows_network",
    "migrate_Name": "migrate_name",
    "libvirt_import_placements": "libvirt_import_placement",
    "live_fix_fstabmode": "live_fix_fstab_mode",
    "conversion_host_libvirtd": "conversion_host_libvirt",
    "drop_folder_paths": "drop_folder_path",
}
WRONG_CODES = {
    "windows.hibernate": "windows.hibernated",
    "proof": "",
    "proof_failed": "proof.failed",
    "network.unasigned": "network.unassigned",
    "*": "",
    "": "",
    "Windows.Hibernated": "windows.hibernated",
}


@pytest.mark.parametrize(("given", "meant"), MISSPELT.items())
def test_a_misspelt_variable_is_refused_with_the_right_one(given, meant):
    (said,) = variables.unknown([given, "ansible_user", "inventory_hostname"], ROLES)
    assert said.startswith(f"{given} is not a variable of the role ") and f"; {meant} is." in said


def test_what_is_nothing_like_any_variable_is_refused_too():
    (said,) = variables.unknown(["migrate_zzz"], ["migrate"])
    assert (
        said.startswith("migrate_zzz is not a variable of the role migrate. ") and "ansible-doc -t role hyper2kvm.migration.migrate" in said
    )


@pytest.mark.parametrize("given", [{}, {"migrate_source": ""}, {"migrate_source": None}, {"migrate_source": []}], ids=str)
def test_a_vm_without_a_source_is_told_so_in_a_sentence_with_a_remedy(given):
    (said,) = variables.missing({"migrate_name": "x", **given}, "migrate", "web01")
    assert (
        said.startswith("migrate_source is not given for web01. Set it in the inventory") and "conversion_hosts" in said and len(said) < 400
    )
    assert not list(variables.missing({"migrate_source": "/x.vmx"}, "migrate", "web01"))
    assert not [said for role in ROLES if role != "migrate" for said in variables.missing(given, role, "web01")]


@pytest.mark.parametrize("role", ROLES)
def test_what_the_role_knows_and_registers_is_taken(role):
    known = {*variables.options(role), *variables.own(role)}
    assert not list(variables.unknown(known, [role])) and len(variables.options(role)) > 3
    assert all(name.startswith(f"{role}_") for name in variables.options(role))


def test_what_a_role_works_out_is_not_given():
    given = {
        "migrate_customize": {"hostname": "x"}, "migrate_sizes": ["+1G"], "migrate_access": {}, "migrate_known": True, "migrate_vm": 1, "migrate_failed": "x",
        "migrate_fetched": {}, "migrate_source": "/x", "migrate_resize": "+1G", "migrate_customize_hostname": "x", "drop_folder_item": {},
    }  # fmt: skip
    said = list(variables.given_anyway(given, ROLES))
    assert [one.partition(" ")[0] for one in said] == sorted(set(given) - {*variables.options("migrate"), "drop_folder_item"})
    for role in ROLES:
        assert variables.worked_out(role) <= variables.own(role) and not variables.worked_out(role) & variables.options(role)


def test_other_roles_prefixes_are_their_own_affair():
    assert not list(variables.unknown(["drop_folder_x", "conversion_hosts", "live_fixes", "migrates"], ["migrate"]))


@pytest.mark.parametrize(("given", "meant"), WRONG_CODES.items())
def test_a_wrong_code_is_refused(given, meant):
    (said,) = variables.wrong_codes([given, "proof.failed"])
    assert repr(given) in said and (f"; {meant} is " in said if meant else "; " not in said)


def test_a_path_of_a_name_that_is_no_file_s_is_refused():
    places = {"migrate_work_dir": "/srv/../x/.work", "migrate_report_dir": "/srv/_.._x-d6b96a97"}
    (said,) = variables.unsafe_places("../x", places)
    assert said.startswith("migrate_work_dir ") and "safe_name" in said
    assert list(variables.unsafe_places("..", {"migrate_work_dir": "/srv/../.work"}))
    for name in ("web01", "all", "a,b", "localhost"):  # none of them leads elsewhere
        assert not list(variables.unsafe_places(name, {"migrate_work_dir": f"/srv/{name}", "migrate_report_dir": "/srv/all-vms"}))


def literals() -> tuple[set[tuple[str, str]], set[str]]:
    """Codes that concerns are made with and how severe they are, where both are written out; and all texts of the code."""
    made, texts = set(), set()
    for path in (variables.HOME / "plugins" / "module_utils").rglob("*.py"):
        if path.name == "concerns.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if not isinstance(node, ast.Call) or len(node.args) < 2 or not isinstance(node.args[0], ast.Constant):
                continue
            severity = getattr(node.args[1], "id", "")
            if severity in ("BLOCKER", "WARNING", "INFO") or getattr(node.func, "id", getattr(node.func, "attr", "")) == "Concern":
                made.add((node.args[0].value, severity.lower()))
    return made, texts


def test_every_concern_that_is_made_is_known_with_its_severity():
    made, texts = literals()
    assert len(made) > 80 and {code for code, dummy in made} <= CONCERNS.keys() <= texts
    for code, severity in made:
        known = CONCERNS[code]
        assert severity in ("blocker", "warning", "info") and (severity == known.severity or severity in known.otherwise), code
