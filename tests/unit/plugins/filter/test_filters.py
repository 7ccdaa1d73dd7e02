# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters that the roles make names and paths with."""

from __future__ import annotations

import os

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.hyper2kvm.migration.plugins.filter.from_here import from_here
from ansible_collections.hyper2kvm.migration.plugins.filter.safe_name import safe_name

STAY = [
    "/srv/out",
    "~/out",
    "~backup/out",
    "rbd:vms/web01",
    "vsphere://vc/DC/vm/web01",
    "ssh://root@esx1/web01",
    "VSPHERE://vc/DC/vm/web01",
    "",
]
RELATIVE = {
    "out": "out",
    "./out": "out",
    "../out": "../out",
    "a b": "a b",
    "$HOME": "$HOME",
    "http:": "http:",
    "C:disk.vmdk": "C:disk.vmdk",
}


@pytest.mark.parametrize("path", STAY)
def test_what_needs_no_directory_stays(path):
    assert from_here(path) == from_here(path, False) == path


@pytest.mark.parametrize(("path", "means"), RELATIVE.items())
def test_a_relative_path_is_that_of_the_caller(path, means, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert from_here(path) == os.path.normpath(tmp_path / "below" / means)


@pytest.mark.parametrize("path", RELATIVE)
def test_on_another_machine_a_relative_path_is_refused(path):
    with pytest.raises(AnsibleFilterError, match="Write an absolute path"):
        from_here(path, False)


@pytest.mark.parametrize("path", [{"a": 1}, ["/srv/a"], None, True], ids=str)
def test_what_is_no_text_is_no_path(path):
    with pytest.raises(AnsibleFilterError, match="A path is one text"):
        from_here(path)


@pytest.mark.parametrize("path", ["http:u:pass-4711@h", "root:pass-4711@h:/x"])
def test_a_login_is_no_path_and_is_not_shown(path):
    for here in (True, False):
        with pytest.raises(AnsibleFilterError, match="login") as refused:
            from_here(path, here)
        assert "4711" not in str(refused.value)
    assert from_here("./a:b@c.raw").endswith("/a:b@c.raw")


def test_names():
    assert safe_name("web01") == "web01" and safe_name(7) == "7" and "/" not in safe_name("../x")
    with pytest.raises(AnsibleFilterError, match="migrate_name"):
        safe_name(" ")
