# SPDX-License-Identifier: GPL-3.0-or-later
"""Every family's plan is the one that was reviewed, leaves nothing to do, proves, and can be taken back."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import families
import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.proof import prove

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = {
    **{f"rhel{number}": "redhat" for number in (6, 7, 8, 9, 10)}, "fedora": "redhat", "sles12": "suse", "sles15": "suse", "opensuse": "suse",
    **{f"ubuntu{number}": "debian" for number in (1604, 1804, 2004, 2204, 2404, 2604)}, "amazon2": "amazon", "amazon2023": "amazon",
    "photon": "photon", "arch": "arch", "alpine": "alpine", "gentoo": "gentoo",
}  # fmt: skip


def told(facts, plan, proof) -> str:
    """What a person reviews: facts, concerns, every change with its diff, what each card will do."""
    lines = [
        f"{facts.family} {facts.distribution} {facts.version}; {', '.join(facts.boot_loaders)}; {facts.initramfs_tool}; {', '.join(facts.network)}"
    ]
    lines += [f"kernel {kernel.version} {kernel.image} {kernel.initramfs}" for kernel in facts.kernels]
    lines += [f"{concern.severity} {concern.code}: {concern.cause}" for concern in plan.concerns]
    lines += [check.detail for check in proof.checks if check.name == "network.card"]
    for change in plan.changes:
        lines += ["", f"== {change.path}: {change.reason}", change.diff().rstrip("\n")]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", families.SYSTEMS)
def test_a_family(name):
    system = families.SYSTEMS[name]
    made = families.guest(system)
    before = copy.deepcopy(made.files)
    facts = families.facts(system, made)
    assert facts.family == FAMILIES[name] and facts.disk_bus == facts.nic_model == "virtio"
    plan = make_plan(made, facts, Options())
    apply(made, plan)
    again = make_plan(made, families.facts(system, made), Options())
    # RPM's own program took the tools out, which a memory guest cannot show.
    assert [change.path for change in again.changes if change.path != "/usr/bin/rpm"] == []
    proof = prove(made, families.facts(system, made), families.tables(system))
    assert proof.holds, proof.failures()
    golden = GOLDEN / f"{name}.txt"
    said = told(facts, plan, proof)
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(said)
    assert said == golden.read_text()
    undo(made, plan)
    assert made.files == before


@pytest.mark.parametrize("name", families.SYSTEMS)
def test_an_unrepaired_family_is_not_proved(name):
    system = families.SYSTEMS[name]
    made = families.guest(system)
    assert not prove(made, families.facts(system, made), families.tables(system)).holds
