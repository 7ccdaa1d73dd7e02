# SPDX-License-Identifier: GPL-3.0-or-later
"""A repaired guest boots with MACs that its target has made up, and with a second card, and has its network as ever."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import lab
from parts import MAC, NIC

FOREIGN, OTHER = "52:54:00:12:34:56", "52:54:00:12:34:57"
# The second card has no profile, so only the kernel tells its name.
SECOND = r"virtio\d+ (?!ens192)\w+: renamed from eth"
# ifupdown, networkd, netplan by MAC with the card named in the initramfs, and NetworkManager with two cards, one by MAC: the guest's cards, and what they
# are on the target.
BOOTS = {
    "bios": [(FOREIGN,), (MAC, FOREIGN), (FOREIGN, MAC)],
    "usr-split": [(FOREIGN,)],
    "luks-lvm": [(FOREIGN,)],
    "nm-two": [(FOREIGN, OTHER)],
}
SECONDS = {"bios": 330, "usr-split": 150, "luks-lvm": 230, "nm-two": 190}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.rotates("boots", SECONDS[name])) for name in BOOTS])
def test_a_guest_boots_under_any_mac(name, tmp_path):
    guest, variables, work = lab.GUESTS[name], harness.variables(name), str(tmp_path / "work")
    keys = variables.get("migrate_luks_keys", {})
    assert harness.module("vmdk_fetch", source=variables["migrate_source"], work_dir=work)["changed"]
    done = harness.module("guest_fix", work_dir=work, luks_keys=keys, pin="mac_or_position" if len(guest.interfaces) > 1 else "auto")
    assert done["proof"]["verdict"] == "passed" and all("or by position" in line for line in cards(done["proof"])), done
    facts = done["facts"]
    disks = [{"path": disk["path"], "format": disk["format"]} for disk in harness.module("disk_flatten", work_dir=work)["disks"]]
    for number, macs in enumerate(BOOTS[name]):
        # The test makes the network around the address of the card that has one in the guest.
        nics = [{**facts["nics"][min(index, len(facts["nics"]) - 1)], "mac": mac} for index, mac in enumerate(macs)]
        seen = harness.module(
            "boot_test", disks=disks, firmware=guest.firmware, boot_disk=facts["boot_disk"], nics=nics, luks_keys=keys, timeout=600,
            expect=[guest.report, *([SECOND] if len(macs) > len(facts["nics"]) else [])], dest=str(tmp_path / f"boot{number}"),
        )  # fmt: skip
        console = (tmp_path / f"boot{number}" / "console.log").read_text(errors="replace")
        assert not seen.get("failed") and seen["boot"]["verdict"] == "passed", (macs, seen.get("msg"), console[-3000:])
        assert f"{NIC}: renamed from eth" in console and "File exists" not in console


def cards(proof: dict) -> list[str]:
    return [check["detail"] for check in proof["checks"] if check["name"] == "network.card"]
