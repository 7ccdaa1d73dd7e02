# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths in options, and names of files from elsewhere: nothing in them is expanded, and none reaches out of its directory."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.names import of_file
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import module_for
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import source_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import disk_set, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.download import Job

UNSAFE_FILES = {
    "parent": "..",
    "here": ".",
    "empty": "",
    "below": "a/b.vmdk",
    "absolute": "/etc/passwd",
    "up": "../x.vmdk",
    "windows": "..\\x.vmdk",
    "drive": "C:x.vmdk",
    "protocol": "nbd:host:1",
    "json": 'json:{"driver":"file"}',
    "nul": "a\0.vmdk",
    "newline": "a\n.vmdk",
    "escape": "a\x1b[2J.vmdk",
    "delete": "a\x7f.vmdk",
    "quote": 'a".vmdk',
    "long": "a" * 250 + ".vmdk",
    "long-wide": "サ" * 90,
}
FILES = [
    "web01.vmdk",
    "web 01-flat.vmdk",
    "$HOME.vmdk",
    "~root.vmdk",
    "-rf.vmdk",
    ".hidden",
    "a,b.vmdk",
    "{{ x }}.vmdk",
    "серверы.vmdk",
    "a%2fb.vmdk",
]


@pytest.mark.parametrize("name", UNSAFE_FILES.values(), ids=UNSAFE_FILES)
def test_a_file_that_cannot_be_here_is_refused_before_anything_moves(name):
    with pytest.raises(UnsafeInput, match="Rename the file at its source"):
        of_file(name)
    with pytest.raises(UnsafeInput):
        Job("/vmfs/volumes/ds1/x", name, 1, "")


@pytest.mark.parametrize("name", FILES)
def test_other_files_keep_the_name_that_they_are_known_by(name):
    assert Job(f"/vmfs/volumes/ds1/{name}", name, 1, "").name == name


@pytest.fixture
def params(monkeypatch):
    monkeypatch.setenv("HOME", "/home/admin")
    monkeypatch.setenv("SECRET", "/etc")

    def read(**arguments):
        with patch_module_args(json.loads(json.dumps(arguments))):
            return module_for(
                {**disk_set.MAIN, **vsphere.SOURCE, **disk_set.GUEST, "packages": {"type": "list", "elements": "path", "default": []}}
            ).params

    return read


def test_variables_of_the_environment_are_expanded_in_no_path(params):
    given = params(
        source=["$SECRET/passwd", "/exports/${SECRET}.raw"],
        work_dir="/srv/$SECRET",
        disks=[{"path": "/srv/$SECRET.qcow2", "format": "qcow2"}],
        packages=["${SECRET}/x.deb"],
        access={"vddk": {"libdir": "/opt/$SECRET"}},
    )
    assert given["work_dir"] == "/srv/$SECRET" and given["disks"][0]["path"] == "/srv/$SECRET.qcow2"
    assert given["packages"] == ["${SECRET}/x.deb"] and given["access"]["vddk"]["libdir"] == "/opt/$SECRET"
    assert source_of({"source": ["/exports/${SECRET}.raw"]}) == ["/exports/${SECRET}.raw"]


def test_a_home_directory_is_expanded_at_the_start_of_a_path_only(params):
    given = params(work_dir="~/out", disks=[{"path": "/srv/~root", "format": "raw"}])
    assert given["work_dir"] == "/home/admin/out" and given["disks"][0]["path"] == "/srv/~root"
    assert source_of({"source": ["~/a.raw", "/srv/~root.raw"]}) == ["/home/admin/a.raw", "/srv/~root.raw"]


@pytest.mark.parametrize("path", ["/srv/a\nb", "/srv/a\0b", "/srv/\x1b[2J"])
def test_control_characters_are_in_no_path(params, path, capsys):
    with pytest.raises(SystemExit):
        params(work_dir=path)
    assert "control characters" in json.loads(capsys.readouterr().out)["msg"]
    with pytest.raises(UnsafeInput, match="control characters"):
        source_of({"source": [path]})
