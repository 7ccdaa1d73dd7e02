# SPDX-License-Identifier: GPL-3.0-or-later
"""What az says that is no answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import azure


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "Welcome to Azure", "\0", '{"id": "a"} {'])
def test_what_is_no_json_is_said_to_be_none(monkeypatch, text):
    monkeypatch.setattr(azure, "run", lambda argv, limits, check: SimpleNamespace(rc=0, stdout=text, stderr=""))
    with pytest.raises(ToolFailed, match="az vm show gave no JSON") as found:
        azure.Azure("s", "g", "web01").find()
    assert found.value.hint
