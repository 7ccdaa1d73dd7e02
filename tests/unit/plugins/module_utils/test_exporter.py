# SPDX-License-Identifier: GPL-3.0-or-later
"""The package that govc writes is called by us: a VM's name is no path, and no pattern of its inventory."""

from __future__ import annotations

import os

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.tls import Trust
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import exporter

# As govc's export/ovf.go: DIR/NAME/NAME.ovf, and the name is that of the VM unless -name says another.
GOVC = """#!/bin/sh
while [ $# -gt 1 ]; do
  case $1 in -vm) name=${name:-${2##*/}}; shift ;; -name) name=$2; shift ;; esac
  shift
done
mkdir -p "$1/$name" && echo '<Envelope/>' > "$1/$name/$name.ovf"
"""


def export(path: str) -> exporter.Export:
    return exporter.Export("vc.example", 443, "user", "secret", Trust(), "", "vm-1", path, "")


@pytest.fixture
def govc(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "govc"
    program.parent.mkdir()
    program.write_text(GOVC)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("name", ["web01", "..", ".", "-rf", "a b", "$HOME", "x" * 250, "web\n01", "é", "fetch.json"])
def test_a_package_lies_in_its_directory_whatever_the_vm_is_called(tmp_path, govc, name):
    work = tmp_path / "work"
    found = exporter.govc(export(f"/DC0/vm/{name}"), str(work / "package"), Silent())
    assert found == str(work / "package" / "vm" / "vm.ovf")
    assert {path.relative_to(work).parts[0] for path in work.rglob("*")} == {"package"}


@pytest.mark.parametrize(
    "path", ["/DC0/vm/..", "/DC0/vm/.", "/DC0/../vm", "/DC0/vm/web*", "/DC0/vm/web0?", "/DC0/vm/web[1]", "/DC*/vm/a", "/DC0/vm/a\\b", "/./vm/a"]
)  # fmt: skip
def test_a_path_that_may_be_that_of_another_vm_is_refused(path):
    with pytest.raises(InvalidInput, match=r"one VM.*migrate_transport: nfc"):
        exporter.require_one(export(path))


@pytest.mark.parametrize(
    "path", ["/DC0/vm/web01", "/DC0/vm/.hidden", "/DC0/vm/a..b", "/DC0/vm/...", "/DC0/vm/a%2fb", "/DC0/vm/{a}", "/DC0/vm/-rf"]
)
def test_a_path_of_one_vm_is_taken(path):
    exporter.require_one(export(path))
