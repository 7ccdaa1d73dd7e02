# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier versions recorded of NICs, when they were called cards, is read."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import recorded

NICS = [{"name": "eth0", "mac": "00:50:56:00:00:01", "addresses": ["192.0.2.5/24"]}]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["facts", "options", "result", "cards", "nics", "x"]), inner)
    ),
    max_leaves=8,
)


def written(stage, options, result):
    return json.dumps({"format": 1, "stage": stage, "inputs": [], "outputs": [], "options": options, "result": result})


def test_records_of_earlier_versions_are_read(tmp_path):
    (tmp_path / "fixed.json").write_text(written("fix", {}, {"facts": {"os": "linux", "cards": NICS}}))
    assert Manifest.load(str(tmp_path / "fixed.json"), "fix").result["facts"] == {"os": "linux", "nics": NICS}
    (tmp_path / "boot.json").write_text(written("boot", {"cards": [{"mac": NICS[0]["mac"]}]}, {"verdict": "passed"}))
    earlier = Manifest.load(str(tmp_path / "boot.json"), "boot")
    assert earlier.current("boot", (), {"nics": [{"mac": NICS[0]["mac"]}]})  # so that a test that has passed is not run again
    (tmp_path / "report.json").write_text(
        json.dumps({"format": 1, "vm": "a", "source": {}, "facts": {"cards": NICS}, "disks": [{"path": "/a", "format": "raw"}]})
    )
    assert recorded.read(str(tmp_path / "report.json")).as_result()["facts"] == {"nics": NICS}


@given(JSON)
def test_any_record_is_taken_and_what_is_of_today_stays(data):
    once = manifest.of_today(data)
    assert manifest.of_today(once) == once
    if isinstance(data, dict) and "cards" not in str(data):
        assert once == data


def test_a_name_of_today_counts():
    assert manifest.renamed({"cards": [1], "nics": [2]}) == {"cards": [1], "nics": [2]}
