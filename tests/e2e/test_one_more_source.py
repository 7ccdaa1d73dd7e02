# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM from a kind of source that is one new file and one line is migrated and booted like any other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from one_more import Copy

NAME = "bios"


@pytest.mark.rotates("boots", 100)
def test_a_vm_of_one_more_kind_of_source_boots(tmp_path):
    collection = Copy(tmp_path)
    collection.add(
        "one_more_source.py", "sources/store.py", "pipeline/sources.py",
        "from ..sources import aws, azure, esxi, local, vsphere\n", "from ..sources import aws, azure, esxi, local, store, vsphere\n",
    )  # fmt: skip
    home = Path(harness.guest(NAME)[0]).parent
    variables = {
        **harness.variables(NAME),
        "migrate_source": f"store://{home}",
        "migrate_output_dir": str(tmp_path / "out"),
        "migrate_boot_expect": [harness.lab.GUESTS[NAME].report],
    }
    before = harness.digests(harness.guest(NAME))
    collection.playbook("migrate", harness.inventory(tmp_path / "vms.json", web01=variables))
    report = json.loads((tmp_path / "out" / "web01" / "report.json").read_text())
    assert report["boot"]["verdict"] == "passed" and report["proof"]["verdict"] == "passed"
    assert report["source"]["origin"]["transport"] == "copy" and harness.digests(harness.guest(NAME)) == before
