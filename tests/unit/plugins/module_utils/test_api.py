# SPDX-License-Identifier: GPL-3.0-or-later
"""The public library: what it has is documented, it needs no Ansible, and the example does with it what the role does."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils import api
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootOutcome
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import boot_test, fix
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import GuestReport

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_every_public_name_is_documented_and_no_other():
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "library.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(api.__all__) == sorted(set(api.__all__))
    assert [name for name in api.__all__ if not inspect.getdoc(getattr(api, name))] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_use_what_is_public_alone(path):
    tree = ast.parse(path.read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "hyper2kvm" in (node.module or "")]
    assert {(node.module.rpartition(".")[2], alias.name) for node in imported for alias in node.names} <= {("module_utils", "api")}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "api"}
    assert used <= set(api.__all__)


def test_the_library_needs_no_ansible_and_none_of_what_it_may_ask():
    without = ("ansible", "guestfs", "pyVmomi", "libvirt", "boto3")
    code = f"import sys; sys.modules.update(dict.fromkeys({without})); import {api.__name__}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WRONG_CALLS = {
    "nothing": ([], {}, "usage: VMWARE_USER="),
    "one word": (["vsphere://vc.invalid/DC1/vm/web01"], {}, "usage: "),
    "a path for the URL": (["/srv/web01.vmx", "/o"], {}, "Write vsphere://"),
    "no login": (["vsphere://vc.invalid/DC1/vm/web01", "/o"], {}, "VMWARE_USER"),
    "no password": (["vsphere://vc.invalid/DC1/vm/web01", "/o"], {"VMWARE_USER": "u"}, "VMWARE_PASSWORD"),
    "no such file": (
        ["vsphere://vc.invalid/DC1/vm/web01", "/o"],
        {"VMWARE_USER": "u", "VMWARE_PASSWORD": "p", "VMWARE_CA_FILE": "/nowhere/ca.pem"},
        "/nowhere/ca.pem does not exist",
    ),
    "no path to the library": ([], {"PYTHONPATH": ""}, "PYTHONPATH"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_the_example_says_what_is_wrong_with_a_call(name):
    arguments, more, said = WRONG_CALLS[name]
    env = {key: value for key, value in os.environ.items() if not key.startswith("VMWARE_")}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "library.py", *arguments], capture_output=True, text=True, check=False, env={**env, **more}
    )
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_the_example_migrates_and_a_second_run_has_nothing_to_do(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("library", ROOT / "examples" / "library.py")
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    source, made, work = tmp_path / "web01.raw", guest(), []
    source.write_bytes(b"\x33" * 512 + bytes(1 << 20))
    monkeypatch.setattr(fix, "repair", lambda *dummy: work.append("fix") or GuestReport(facts(made), api.Plan((), ())))
    monkeypatch.setattr(boot_test, "boot", lambda *dummy: work.append("boot") or BootOutcome("passed", ""))
    for dummy in range(2):
        subject = api.Subject(str(tmp_path / "out" / ".work"), (str(source),))
        assert library.migrate(subject, str(tmp_path / "out")) == "passed"
    assert work == ["fix", "boot"] and capsys.readouterr().out.count("report.md") == 2
    assert {"web01-disk0.qcow2", "web01.xml", "report.md"} <= {path.name for path in (tmp_path / "out").iterdir()}


SEVERAL = {
    "the source of a VM": lambda given: api.Subject("/w", given),
    "the source that is fetched": lambda given: api.FetchOptions(given, "/w"),
    "what is needed later": lambda given: api.FetchOptions(("/x.raw",), "/w", needs=given),
    "codes": lambda given: api.Access(accept=given),
    "sizes": lambda given: api.ConvertOptions(api.Subject(), "web01", "/o", resize=given),
    "devices": lambda given: api.ConvertOptions(api.Subject(), "web01", "/o", devices=given),
    "what grows": lambda given: api.FixOptions(api.Subject(), grow=given),
    "formats": lambda given: api.DescribeOptions("web01", "/o", formats=given),
    "which VM": lambda given: api.identified(given, api.Access()),
    "a source for a while": lambda given: api.opened(given, api.Access()),
}


@pytest.mark.parametrize("given", ["/srv/web01.vmx", Path("/srv/web01.vmx"), (Path("/srv/web01.vmx"),), None], ids=repr)
@pytest.mark.parametrize("name", SEVERAL)
def test_one_text_where_there_are_several_is_refused_and_not_taken_letter_by_letter(name, given):
    with pytest.raises(api.MigrationError, match=r"is not a (list|text)") as met:
        SEVERAL[name](given)
    assert met.value.code == "invalid_input" and "list or a tuple" in met.value.hint


def test_what_must_be_fetched_first_is_said_in_words_of_the_library_too(tmp_path):
    subject = api.Subject(str(tmp_path / "work"), ("/srv/web01.vmx",))
    with pytest.raises(api.MigrationError) as met:
        api.carry_out(api.Convert(api.ConvertOptions(subject, "web01", str(tmp_path / "out"))), api.Run())
    assert "FETCH" in met.value.hint and "Fetch of the library" in met.value.hint


@pytest.mark.parametrize("source", [(), ("",)], ids=str)
def test_no_source_is_refused(source, tmp_path):
    with pytest.raises(api.MigrationError):
        api.carry_out(api.Fetch(api.FetchOptions(source, str(tmp_path / "work"))), api.Run())
