# SPDX-License-Identifier: GPL-3.0-or-later
"""Every play takes all VMs of the inventory in its order, whatever they are called, and no conversion host."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
VMS = ["web01", "all", "ungrouped", "vms", "conversion_hosts_2", "a.b", "zz", "aa", "!x", "&y", "~z", "web 01", "-rf"]
PATTERNS = sorted(
    {
        str(play["hosts"])
        for path in PLAYBOOKS.glob("*.yml")
        for play in yaml.safe_load(path.read_text(encoding="utf-8"))
        if "!conversion_hosts" in str(play.get("hosts"))
    }
)


@pytest.mark.parametrize("workers", [[], ["conv01", "conv02"]], ids=["alone", "with conversion hosts"])
@pytest.mark.parametrize("first", ["web01", "all"])
def test_every_vm_is_in_every_play(workers, first, tmp_path):
    names = [first, *(name for name in VMS if name != first)]
    groups = {"vms": {"hosts": dict.fromkeys(names)}, **({"conversion_hosts": {"hosts": dict.fromkeys(workers)}} if workers else {})}
    (tmp_path / "hosts.json").write_text(json.dumps(groups))
    inventory = InventoryManager(loader=DataLoader(), sources=[str(tmp_path / "hosts.json")])
    assert PATTERNS
    for pattern in PATTERNS:
        chosen = jinja2.Template(pattern).render(groups=inventory.get_groups_dict())
        assert [host.name for host in inventory.get_hosts(chosen, order="inventory")] == names, pattern
