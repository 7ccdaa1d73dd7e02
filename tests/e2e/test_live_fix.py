# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that runs on VMware's hardware is repaired over SSH, moved to virtio, and taken back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import lab
from machine import running

# Without what a boot itself writes. Digests where repairs write, sizes everywhere.
STATE = (
    "find /etc /boot /usr /var/lib/dpkg /var/lib/initramfs-tools -xdev -not -path /etc/resolv.conf -not -path /etc/adjtime "
    r"-not -name '*.pyc' \( -type f -printf '%p %m %U %G %s\n' -o -type l -printf '%p -> %l\n' \) | sort; "
    "find /etc /boot /usr/bin /usr/sbin /usr/lib/systemd /var/lib/dpkg /var/lib/initramfs-tools -xdev -type f -not -path /etc/resolv.conf "
    "-not -path /etc/adjtime -print0 | sort -z | xargs -0 sha256sum"
)


def state(machine) -> list[str]:
    """Every file with its mode, owner, size and digest, and every link."""
    return machine.ssh(STATE, 300).splitlines()


@pytest.mark.rotates("hosts", 360)
def test_a_running_guest_is_repaired_moved_and_taken_back(tmp_path):
    sources, work = harness.guest("bios"), str(tmp_path / "work")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    harness.module("vmdk_fetch", source=sources, work_dir=work)
    disks = [disk["path"] for disk in harness.module("disk_flatten", work_dir=work)["disks"]]
    keys = {"root": (tmp_path / "key.pub").read_text().strip()}
    prepared = harness.module("guest_fix", work_dir=work, fixes=["customize"], customize={"ssh_keys": keys}, accept=["proof.failed"])
    assert [change["path"] for change in prepared["changes"]] == ["/root/.ssh/authorized_keys"], prepared

    with running(disks, "vmware", lab.MAC, tmp_path, key) as machine:
        machine.wait()
        hosts = harness.inventory(tmp_path / "hosts.json", web01=machine.inventory_line())
        assert "/dev/disk/by-path/pci-0000:03:00.0" in machine.ssh("cat /etc/fstab") and "vmxnet3" in machine.ssh(
            f"readlink /sys/class/net/{lab.NIC}/device/driver"
        )
        before = state(machine)
        checked = harness.playbook("live_fix", hosts, "--check", "--diff")
        assert checked.returncode == 0 and "+UUID=" in checked.stdout, checked.stdout
        assert state(machine) == before
        done = harness.playbook("live_fix", hosts)
        assert done.returncode == 0 and re.search(r"web01 .*changed=1", done.stdout), done.stdout
        assert "virtio" in done.stdout
        machine.power_off()

    with running(disks, "virtio", lab.MAC, tmp_path, key) as machine:
        machine.wait()
        hosts = harness.inventory(tmp_path / "hosts.json", web01=machine.inventory_line())
        again = harness.playbook("live_fix", hosts)
        assert again.returncode == 0 and re.search(r"web01 .*changed=0", again.stdout), again.stdout
        machine.expect(lab.GUESTS["bios"].report)
        made = set(machine.ssh("ls /var/lib/hyper2kvm").split()) - {prepared["id"]}
        assert len(made) == 1
        back = harness.playbook("live_rollback", hosts, "-e", f"live_fix_rollback_id={made.pop()}")
        assert back.returncode == 0 and re.search(r"web01 .*changed=1", back.stdout), back.stdout
        assert "web01: taken back " in back.stdout
        after = state(machine)
        assert after == before, list({*before} ^ {*after})[:20]
