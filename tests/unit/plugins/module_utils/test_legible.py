# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible hides what is secret wherever it stands in a result. A path of asterisks must not become a disk of a VM."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import module_for, run

SPEC = {
    "dest": {"type": "path"},
    "source": {"type": "list", "elements": "str"},
    "password": {"type": "str", "no_log": True},
    "keys": {"type": "dict", "no_log": True},
}
RESULTS = {
    "a path": {"disks": [{"path": "/srv/images/a.qcow2"}]},
    "a name": {"vm": {"name": "images"}},
    "a number": {"disks": [{"virtual_size": 4711}]},
    "a tuple": {"facts": {"mounts": ("/images", "/")}},
}


def answered(capsys, result, **params) -> dict:
    with patch_module_args(params), pytest.raises(SystemExit):
        run(module_for(SPEC), lambda dummy: result)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("params", [{"dest": "/srv/images"}, {"source": ["/x/images.vmdk"]}])
@pytest.mark.parametrize("secret", [{"password": "images"}, {"keys": {"disk0p1": "images"}}])
def test_a_secret_in_a_path_is_refused_before_anything_is_done(capsys, params, secret):
    def work(dummy):
        pytest.fail("it began")

    with patch_module_args({**params, **secret}), pytest.raises(SystemExit):
        run(module_for(SPEC), work)
    said = json.loads(capsys.readouterr().out)
    assert said["failed"] and said["error_code"] == "invalid_input" and "images" not in said["msg"] and next(iter(params)) in said["msg"]


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_a_secret_in_what_later_stages_read_is_an_error(capsys, result):
    secret = "4711" if "4711" in str(result) else "images"
    said = answered(capsys, {"changed": True, **result}, password=secret)
    assert said["failed"] and next(iter(result)) in said["msg"] and said["hint"]


def test_other_results_and_other_texts_are_left_alone(capsys):
    said = answered(
        capsys, {"changed": True, "msg": "images", "disks": [{"path": "/srv/image", "there": True}]}, password="images", dest="/srv"
    )
    assert not said.get("failed") and said["msg"] != "images" and said["disks"] == [{"path": "/srv/image", "there": True}]
    assert not answered(capsys, {"changed": False, "vm": {"name": "True"}}, password="", dest="/srv").get("failed")
