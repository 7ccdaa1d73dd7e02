# SPDX-License-Identifier: GPL-3.0-or-later
"""A repair that the proof refuses: what was carried out can be read, and nothing of it is taken for a result."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness


@pytest.mark.rotates("guests", 130)
def test_what_was_carried_out_is_kept_where_the_proof_refuses(tmp_path):
    work = {"source": harness.guest("bios"), "work_dir": str(tmp_path / "work")}
    for step in ("vmdk_fetch", "disk_flatten"):
        assert harness.module(step, **work)["changed"]
    refused = harness.module("guest_fix", **work, fixes=["fstab"])
    kept = tmp_path / "work" / "plan-refused.json"
    assert refused["error_code"] == "proof_failed" and str(kept) in refused["hint"] and refused["details"]["plan_file"] == str(kept), (
        refused
    )
    assert "/etc/fstab" in [change["path"] for change in json.loads(kept.read_text())["changes"]] and kept.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "work" / "plan.json").exists() and "content" not in json.dumps(refused)
    report = harness.module("migration_report", work_dir=work["work_dir"], dest=str(tmp_path / "out"), disks=[])
    assert report["verdict"] and json.loads((tmp_path / "out" / "plan.json").read_text() or "{}") == {}
    ahead = harness.module("guest_fix", check=True, source=work["source"], work_dir=str(tmp_path / "other"), fixes=["fstab"])
    assert ahead["error_code"] == "proof_failed" and "plan-refused" not in ahead["msg"] and not (tmp_path / "other").exists()
    assert harness.module("guest_fix", **work)["changed"] and (tmp_path / "work" / "plan.json").exists() and not kept.exists()
