# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as Ansible's users see it: groups of modules, documented answers, when each option came."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Concern
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import SourceVm
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.model import Vm

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
GROUPS = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
SHARED = {
    "vsphere": {"hostname", "username", "password", "port", "validate_certs", "ca_file", "thumbprint", "proxy_host", "proxy_port"},
    "guest": {"source", "work_dir", "access", "accept", "firmware", "nics", "luks_keys", "root"},
}
RELEASED = json.loads((Path(__file__).parent / "released" / "0.1.0.json").read_text())


def documented(kind: str, names: list[str]) -> dict:
    """What ansible-doc knows, with the options of fragments."""
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "ansible-doc", "-t", kind, "-j", *(f"hyper2kvm.migration.{name}" for name in names)],
        capture_output=True, text=True, check=True, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections")},
    )  # fmt: skip
    return {name.rpartition(".")[2]: found for name, found in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def modules() -> dict:
    return documented("module", MODULES)


def test_the_group_all_has_every_module():
    assert GROUPS["all"] == MODULES


@pytest.mark.parametrize("group", SHARED)
def test_the_members_of_a_group_are_all_that_have_its_options_and_no_other(modules, group):
    has = {name for name, found in modules.items() if SHARED[group] <= set(found["doc"]["options"])}
    assert set(GROUPS[group]) == has and GROUPS[group] == sorted(has)


@pytest.mark.parametrize("group", SHARED)
def test_a_shared_option_means_the_same_to_every_member(modules, group):
    for option in SHARED[group]:
        meant = [
            {key: modules[name]["doc"]["options"][option].get(key) for key in ("type", "elements", "default", "choices")}
            for name in GROUPS[group]
        ]
        assert all(one == meant[0] for one in meant), option


@pytest.mark.parametrize("name", MODULES)
def test_every_answer_is_documented_with_what_it_contains_and_a_sample(modules, name):
    for key, found in (modules[name]["return"] or {}).items():
        assert "sample" in found, key
        assert "dict" not in (found["type"], found.get("elements")) or found["contains"], key


@pytest.mark.parametrize(
    ("key", "result"),
    [("facts", GuestFacts().as_result()), ("concerns", asdict(Concern("", "", "", ""))), ("vm", to_data(SourceVm("", "").said()))],
)
def test_what_is_documented_is_what_there_is(modules, key, result):
    having = [name for name in MODULES if key in (modules[name]["return"] or {})]
    assert having
    for name in having:
        missing = set(result) - set(modules[name]["return"][key]["contains"])
        assert not missing, (name, missing)


def test_a_vm_of_vsphere_is_documented_by_fields_that_it_has(modules):
    contains = set(modules["vsphere_vm_info"]["return"]["vms"]["contains"])
    assert contains - {"size", "concerns"} <= {field.name for field in fields(Vm)}


@pytest.mark.parametrize("name", MODULES)
def test_what_came_after_the_first_release_says_so(modules, name):
    now = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    doc, before = modules[name]["doc"], RELEASED["modules"].get(name)
    assert doc["version_added"] == ("0.1.0" if before is not None else now)
    if before is None:
        return
    for option, found in doc["options"].items():
        assert found.get("version_added", "0.1.0") == ("0.1.0" if option in before else now), f"{option}: write version_added: {now}"


def test_a_controller_needs_what_the_environment_says():
    found = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text())
    files = [ROOT / path for path in found["dependencies"].values()]
    assert found["version"] == 1 and all(path.read_text().strip() for path in files)
    assert any(line.startswith("pyvmomi") for line in files[0].read_text().splitlines())


TREATS_ONLY = {"source_cleanup", "source_restore"}  # these judge nothing of the VM


@pytest.mark.parametrize("name", [name for name in MODULES if name not in TREATS_ONLY])
def test_whoever_opens_a_source_knows_what_of_it_was_accepted(modules, name):
    options = modules[name]["doc"]["options"]
    assert "access" not in options or "accept" in options


def test_the_role_says_it_to_every_module_that_opens_a_source():
    for path in sorted((ROOT / "roles" / "migrate" / "tasks").glob("*.yml")):
        for task in _tasks(yaml.safe_load(path.read_text())):
            for module, arguments in task.items():
                if module.startswith("hyper2kvm.migration.") and "access" in arguments and module.rpartition(".")[2] not in TREATS_ONLY:
                    assert arguments["accept"] == "{{ migrate_accept }}", (path, task["name"])


def _tasks(found):
    for task in found:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _tasks(task.get(part, ()))


@pytest.mark.parametrize("role", ROLES)
def test_the_same_holds_of_roles_and_their_variables(role):
    now = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    for entry, found in yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())["argument_specs"].items():
        before = RELEASED["roles"].get(f"{role}/{entry}")
        assert found["version_added"] == ("0.1.0" if before is not None else now), entry
        for name, option in found["options"].items():
            if before is not None:
                assert option.get("version_added", "0.1.0") == ("0.1.0" if name in before else now), f"{name}: write version_added: {now}"
