# SPDX-License-Identifier: GPL-3.0-or-later
"""What says how a source is reached: wrong values of it are not echoed, files of it are not waited for, and a host that is not there is said at once."""

from __future__ import annotations

import json
import os
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from promptly import within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import tls
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, Unreachable
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.files import Interrupted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.ssh import Login, SshFiles
from ansible_collections.hyper2kvm.migration.plugins.modules import guest_fix, vmdk_fetch

SECRET = "pass-Word-4711"
WRONG = [
    (vmdk_fetch, {"access": SECRET}), (vmdk_fetch, {"access": {"ssh": SECRET}}), (vmdk_fetch, {"access": {"vsphere": {"pasword": SECRET}}}),
    (vmdk_fetch, {"access": {"vsphere": [SECRET]}}), (vmdk_fetch, {"source": [f"ssh://u:{SECRET}@h/a"], "nothing": 1}), (guest_fix, {"customize": SECRET}),
    (guest_fix, {"customize": {"cloud_init": SECRET}}), (guest_fix, {"customize": {"cloud_init": [SECRET]}}),
]  # fmt: skip


@pytest.mark.parametrize(("module", "given"), WRONG, ids=str)
def test_arguments_of_the_wrong_type_are_not_echoed(module, given, tmp_path, capsys):
    with patch_module_args({"work_dir": str(tmp_path / "w"), "source": ["/srv/a.raw"], **given}), pytest.raises(SystemExit):
        module.main()
    answer = capsys.readouterr().out
    assert json.loads(answer.strip().splitlines()[-1])["failed"] and SECRET not in answer


def test_arguments_that_are_right_are_echoed(tmp_path, capsys):
    with patch_module_args({"work_dir": str(tmp_path / "w"), "source": ["/srv/none.raw"]}), pytest.raises(SystemExit):
        vmdk_fetch.main()
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["invocation"]["module_args"]["source"] == ["/srv/none.raw"]


def test_a_pipe_is_no_file_of_authorities(tmp_path):
    os.mkfifo(tmp_path / "ca")
    with within(5), pytest.raises(InvalidInput, match="a pipe"):
        tls.Trust(ca_file=str(tmp_path / "ca")).context("localhost", 1)


def test_a_host_that_takes_no_connection_is_said_at_once_unless_it_was_there_before():
    said = b"ssh: connect to host esx1 port 22: Connection refused"
    files = SshFiles(Login("esx1"))
    assert isinstance(files._failed(255, "esx1", "no connection", said), Unreachable)
    files._reached = True
    assert isinstance(files._failed(255, "esx1", "no connection", said), Interrupted)
    assert isinstance(SshFiles(Login("esx1"))._failed(255, "esx1", "no connection", b"Connection reset by peer"), Interrupted)


def test_a_host_is_never_an_option_of_ssh(tmp_path, monkeypatch):
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/said\necho "ssh: connect: Connection refused" >&2\nexit 255\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    begin, files = time.monotonic(), SshFiles(Login("-oProxyCommand=id"))
    with pytest.raises(Unreachable):
        files.stat("/a.vmx")
    files.close()
    assert (tmp_path / "said").read_text().splitlines()[-2:] == ["--", "-oProxyCommand=id"] and time.monotonic() - begin < 10
