# SPDX-License-Identifier: GPL-3.0-or-later
"""Every lab guest through the playbook to a booted system with its disks, swap and network; and what happens without the repair."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from azure_peer import Azure
from ceph_peer import Ceph
from harness import lab
from parts import NIC, NIC2

FORMATS = {
    "bios": {"migrate_resize": "+512M", "migrate_grow": True, "migrate_preallocation": "metadata", "migrate_cluster_size": 131072},
    "uefi-lvm": {"migrate_output_format": "raw", "migrate_resize": "+512M", "migrate_grow": True},
    "btrfs": {"migrate_compression": "zstd", "migrate_resize": "+512M", "migrate_grow": True},
    "luks-lvm": {"migrate_resize": "+512M", "migrate_grow": True},
    "systemd-boot": {"migrate_output_format": "vdi"},
    "usr-split": {"migrate_output_passphrase": "only this opens it"},
}
# Guests that are on Azure.
AZURE = ("dracut",)
# Guests whose disk goes to a block device of so many bytes, and to an image of Ceph.
DEVICES = {"dracut": 3 << 30}
CEPH = {"nm-two": 3 << 30}
# Guests whose disks come as images of other kinds than VMware's, and those that come as a VM of VirtualBox.
IMAGES = {"uefi-lvm": ("vhdx", "vhd"), "luks-lvm": ("qcow2",), "nm-two": ("raw.tar.xz",)}
VIRTUALBOX = ("usr-split",)
# Where nothing tells the slots of the cards, one that its profile knows by its MAC has the name that the kernel gives it.
UNNAMED = ("nm-two",)
# One is booted for every commit; the others by turns, with the seconds that they take.
ALWAYS = ("bios",)
TURNS = {
    "uefi-lvm": 240,
    "dracut": 190,
    "btrfs": 240,
    "systemd-boot": 240,
    "luks-lvm": 290,
    "raid1": 420,
    "usr-split": 220,
    "nm-two": 220,
    "slots": 250,
    "twins": 230,
    "fips": 260,
}


@pytest.fixture
def attach():
    with harness.loop_devices() as attached:
        yield attached


@pytest.fixture
def azure(tmp_path):
    (tmp_path / "azure").mkdir()
    peer = Azure(tmp_path / "azure")
    yield peer
    peer.close()


@pytest.fixture
def ceph(tmp_path):
    (tmp_path / "ceph").mkdir()
    cluster = Ceph(tmp_path / "ceph")
    yield cluster
    cluster.close()


@pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.rotates("boots", seconds)) for name, seconds in TURNS.items())]
)
def test_a_guest_is_migrated_and_boots(name, attach, request, tmp_path):
    guest, sources = lab.GUESTS[name], harness.guest(name)
    cards = [mac for dummy, mac in guest.interfaces]
    expected = [[name if name == NIC or guest.name not in UNNAMED else "", mac] for name, mac in guest.interfaces]
    (tmp_path / "images").mkdir()
    if name in IMAGES:
        sources = harness.as_images(sources, IMAGES[name], tmp_path / "images")
    elif name in VIRTUALBOX:
        sources = harness.as_vbox(sources, cards, tmp_path / "images")
    env: dict[str, str] = {}
    before, source = harness.digests(sources), sources
    if name in AZURE:
        azure = request.getfixturevalue("azure")
        raw = [Path(path) for path in harness.as_images(sources, ("raw", "raw"), tmp_path / "images")]
        env, source = azure.env, azure.place(name, raw, mac=cards[0].replace(":", "-").upper())
    variables = {
        "migrate_output_dir": str(tmp_path / "out"),
        "migrate_boot_expect": [guest.report.replace(NIC2, r"\w+") if name in UNNAMED else guest.report],
        "migrate_boot_timeout": 600,
        **harness.variables(name),
        "migrate_source": source,
        **({"migrate_nics": [{"mac": mac} for mac in cards]} if name in IMAGES and len(cards) > 1 else {}),
        **FORMATS.get(name, {}),
    }
    if name in DEVICES:
        with open(tmp_path / "volume", "wb") as volume:
            volume.truncate(DEVICES[name])
        variables["migrate_output_devices"] = [attach(tmp_path / "volume")]
    elif name in CEPH:
        variables["migrate_output_devices"] = [request.getfixturevalue("ceph").image(name, CEPH[name])]
    hosts = harness.inventory(tmp_path / "vms.json", **{name: variables})
    done = harness.playbook("migrate", hosts, env=env)
    assert done.returncode == 0, done.stdout
    result = tmp_path / "out" / name
    report = json.loads((result / "report.json").read_text())
    assert (
        report["proof"]["verdict"] == "passed"
        and report["boot"]["verdict"] == "passed"
        and ("agent" if guest.agent else "ssh") in report["boot"]["signals"]
    )
    assert report["facts"]["firmware"] == guest.firmware and report["facts"]["interfaces"] == expected
    assert bool(report["grown"]) == ("migrate_grow" in FORMATS.get(name, {})) and all(" of /: " in line for line in report["grown"][-1:])
    assert len(report["disks"]) == 1 + bool(guest.second_disk) and all(
        (name in CEPH or Path(disk["path"]).exists()) and disk["content_digest"] for disk in report["disks"]
    )
    assert (result / "console.png").read_bytes().startswith(b"\x89PNG") and not list(result.glob("*.partial"))
    for phase in ("start the appliance", "apply", "prove", "convert", "boot"):
        assert phase in done.stdout
    # A second run finds everything done; an appliance or a boot could not even start.
    again = harness.playbook("migrate", hosts, env={"LIBGUESTFS_HV": "/bin/false", **env})
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout
    assert harness.digests(sources) == before


@pytest.mark.rotates("boots", 240)
def test_a_guest_that_ostree_deploys_is_copied_and_starts(tmp_path):
    """It is not repaired, which is said, and so not started by the run. It does start on SATA; what becomes of its network is not looked at."""
    sources, out = harness.guest("ostree"), tmp_path / "out"
    before = harness.digests(sources)
    hosts = harness.inventory(tmp_path / "vms.json", ostree={"migrate_source": sources, "migrate_output_dir": str(out)})
    done = harness.playbook("migrate", hosts)
    assert done.returncode == 0, done.stdout
    report = json.loads((out / "ostree" / "report.json").read_text())
    assert {"guest.ostree", "guest.unknown"} <= {concern["code"] for concern in report["concerns"]} and not report["changes"]
    seen = harness.module(
        "boot_test", disks=[{"path": disk["path"], "format": "qcow2"} for disk in report["disks"]], disk_bus=report["facts"]["disk_bus"],
        nic_model=report["facts"]["nic_model"], nics=report["facts"]["nics"], network="none", timeout=600, dest=str(tmp_path / "boot"),
        expect=[r"Command line: .* ostree=/ostree/boot\.1/debian/", r"Finished .* OSTree Prepare OS/"],
    )  # fmt: skip
    assert not seen.get("failed") and seen["boot"]["verdict"] == "passed", seen
    assert harness.digests(sources) == before


def test_every_guest_of_the_lab_has_its_turn():
    assert {*ALWAYS, *TURNS} == {*lab.GUESTS}


def test_an_unrepaired_guest_fails_and_the_cause_is_named(tmp_path):
    """The same disks on virtio without the repair; so a passed boot test above means something."""
    sources, work = harness.guest("bios"), str(tmp_path / "work")
    assert harness.module("vmdk_fetch", source=sources, work_dir=work)["changed"]
    disks = harness.module("disk_flatten", work_dir=work)["disks"]
    answer = harness.module(
        "boot_test", disks=[{"path": disk["path"], "format": disk["format"]} for disk in disks], dest=str(tmp_path / "out")
    )
    assert answer["failed"] and answer["error_code"] == "boot_failed" and "initramfs did not find the root" in answer["msg"]
    assert "initramfs_shell" in answer["details"]["boot"]["signals"] and (tmp_path / "out" / "console.png").exists()
    assert "ALERT!" in answer["msg"] and not (tmp_path / "out" / "boot.manifest.json").exists()
