# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the source that is called as one of our files is never written to, whichever stage would write it, and check mode says the same."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))
from harness import module
from test_vmdk_chain import descriptor

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import device, made, spared
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.locks import exclusive
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.memory import recall
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import domains
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import placement

MIB = 1 << 20
HEADS = {
    "random": os.urandom(512),
    "an empty line": b"\n" + os.urandom(511),
    "zeros": bytes(512),
    "a record": b'{"name": "web"}\n' + bytes(496),
}
REPORTS = ["report.json", "report.md", "plan.json", "report.json.partial", "report.md.partial"]


def source(folder: Path, extent: str, head: str = "random") -> Path:
    """A VMware disk whose one part is called `extent`."""
    folder.mkdir(exist_ok=True)
    (folder / extent).write_bytes(HEADS[head] + bytes(MIB - 512))
    (folder / "web.vmdk").write_text(descriptor(f'RW {MIB // 512} FLAT "{extent}" 0'))
    return folder / "web.vmdk"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(stage: str, /, folder: Path, hint: str = "source is never written", **arguments: object) -> None:
    before = tree(folder)
    for check in (True, False):
        answer = module(stage, check=check, **arguments)
        assert answer.get("failed") and hint in answer["hint"], answer
        assert tree(folder) == before


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("extent", ["lock", "vm.json", "held", "fetch.json", "links.json", "flatten.json", "disk0-overlay.qcow2"])
def test_the_work_directory_is_that_of_the_source(tmp_path, extent, head):
    named = str(source(tmp_path / "d", extent, head))
    refused("vmdk_fetch", tmp_path / "d", source=[named], work_dir=str(tmp_path / "d"))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("extent", [*REPORTS, ".web.vm.json"])
def test_results_are_to_lie_beside_the_source(tmp_path, extent, head):
    named, there = (
        str(source(tmp_path / "d", extent, head)),
        {"dest": str(tmp_path / "d"), "report_dir": str(tmp_path / "d"), "name": "web"},
    )
    refused("vmdk_fetch", tmp_path / "d", source=[named], work_dir=str(tmp_path / "w"), **there)


@pytest.mark.parametrize("head", HEADS)
def test_stages_alone_know_the_source_by_its_record(tmp_path, head):
    extents = [
        *REPORTS,
        ".web.vm.json",
        ".web.made",
        "web.xml",
        "web.xml.partial",
        "web.sh",
        "web-openstack.json",
        "web-proxmox.json.partial",
    ]
    for number, extent in enumerate(extents):
        folder, work = tmp_path / f"d{number}", str(tmp_path / f"w{number}")
        named = str(source(folder, extent, head))
        assert module("vmdk_fetch", source=[named], work_dir=work)["changed"]
        if extent in REPORTS:
            refused("migration_report", folder, work_dir=work, dest=str(folder), name="web")
        else:
            what = {"name": "web", "disks": [{"path": "/srv/web.qcow2", "format": "qcow2"}], "formats": ["qemu", "openstack", "proxmox"]}
            refused("domain_describe", folder, work_dir=work, dest=str(folder), **what)


def test_what_was_read_is_known_by_each_of_its_names(tmp_path):
    spared.add([str(tmp_path / "a"), str(tmp_path / "gone")])
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_text("c")
    spared.require(str(tmp_path / "c"), str(tmp_path / "never"), str(tmp_path / "gone"))
    for name in ("a", "b"):
        with pytest.raises(InvalidInput, match="comes from"):
            spared.require(str(tmp_path / name))


@pytest.mark.parametrize("text", [b"\n", b"\0", b"a", b"12\n12\n", b"9" * 40])
def test_what_is_no_lock_stays(tmp_path, text):
    (tmp_path / "lock").write_bytes(text)
    with pytest.raises(InvalidInput, match="not a lock of this collection"), exclusive(str(tmp_path / "lock"), "a VM"):
        pass
    assert (tmp_path / "lock").read_bytes() == text


@pytest.mark.parametrize("text", [b"\n", b"\n{}", bytes(4)])
def test_what_remembers_nothing_is_no_memory(tmp_path, text):
    (tmp_path / "vm.json").write_bytes(text)
    with pytest.raises(InvalidInput, match="does not say"):
        recall(str(tmp_path / "vm.json"))


def test_what_is_no_list_is_not_added_to(tmp_path):
    (tmp_path / ".web.made").write_bytes(b"a\n\0\n")
    with pytest.raises(InvalidInput, match="not a list that"):
        made.note(str(tmp_path), str(tmp_path / "a"), name=".web.made")


def loop(path: Path, *options: str) -> str:
    return subprocess.run(["losetup", "-f", "--show", *options, path], check=True, capture_output=True, text=True).stdout.strip()


def test_two_loop_devices_of_one_file_are_one_disk_where_they_meet(tmp_path):
    file, devices = tmp_path / "a.raw", []
    file.write_bytes(bytes(4 * MIB))
    try:
        for options in ((), (), ("-o", str(MIB), "--sizelimit", str(MIB)), ("-o", str(2 * MIB))):
            devices.append(loop(file, *options))
        whole, again, middle, end = devices
        for one, other, meets in (
            (whole, again, True),
            (whole, middle, True),
            (end, again, True),
            (middle, end, False),
            (middle, middle, True),
        ):
            assert {device.meet(*pair) for pair in ((one, other), (other, one))} == {meets}
        assert all(device.meet(one, str(file)) and device.meet(str(file), one) for one in devices)
        refused(
            "vmdk_fetch",
            tmp_path,
            source=[whole, again],
            work_dir=str(tmp_path / "never"),
            hint="Name each disk once",
            accept=["source.busy"],
        )
    finally:
        for one in devices:
            subprocess.run(["losetup", "-d", one], check=True)


@pytest.mark.parametrize(
    "links",
    [
        {"/etc/mine": "SOURCE"}, {"../a.raw": "SOURCE"}, {"fetch.json": "SOURCE"}, {"disk\0": "SOURCE"}, {"disk\ud800": "SOURCE"},
        {"disk0": "/etc/hostname"}, {"disk0": 5}, {"disk0": None}, {"disk0": ["a"]}, [[1, 2]],
    ],
    ids=str,
)  # fmt: skip
def test_links_lead_from_names_of_ours_to_the_source(tmp_path, links):
    source(tmp_path / "d", "a-flat.vmdk")
    work = tmp_path / "w"
    assert module("vmdk_fetch", source=[str(tmp_path / "d" / "web.vmdk")], work_dir=str(work))["changed"]
    if isinstance(links, dict):
        links = {name: str(tmp_path / "d" / "a-flat.vmdk") if path == "SOURCE" else path for name, path in links.items()}
    (work / "links.json").write_text(json.dumps(links))
    before = tree(tmp_path / "d")
    answer = module("disk_flatten", work_dir=str(work))
    assert answer.get("changed") or answer.get("hint"), answer
    assert tree(tmp_path / "d") == before and not (tmp_path / "a.raw").is_symlink() and not os.path.islink("/etc/mine")


def test_a_record_without_an_identity_is_one_of_an_earlier_version(tmp_path):
    named, work = str(source(tmp_path / "d", "a-flat.vmdk")), tmp_path / "w"
    assert module("vmdk_fetch", source=[named], work_dir=str(work))["changed"]
    data = json.loads((work / "fetch.json").read_text())
    data["result"]["identity"] = None
    (work / "fetch.json").write_text(json.dumps(data))
    assert module("disk_flatten", work_dir=str(work))["changed"]


@pytest.mark.parametrize("given", ["disks", "records"])
@pytest.mark.parametrize("extent", ["console.log", "console.png", "boot.manifest.json", "boot.manifest.json.partial"])
def test_what_a_boot_test_leaves_is_to_lie_beside_the_source(tmp_path, extent, given):
    named, work, result = str(source(tmp_path / "d", extent)), str(tmp_path / "w"), tmp_path / "d" / "web-disk0.raw"
    there = {"source": [named], "work_dir": work, "dest": str(tmp_path / "d")}
    assert module("vmdk_fetch", **there, name="web")["changed"]
    result.write_bytes(bytes(MIB))
    disks = {"disks": [{"path": str(result), "format": "raw"}]} if given == "disks" else {}
    refused("boot_test", tmp_path / "d", **there, **disks)


def test_a_copy_of_the_source_is_ours_whichever_way_the_work_directory_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(spared, "_SPARED", {})
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    disk, work = tmp_path / "web.raw.gz", tmp_path / "real" / "w"
    disk.write_bytes(gzip.compress(bytes(MIB)))
    assert module("vmdk_fetch", source=[str(disk)], work_dir=str(work))["changed"]
    for way in (work, tmp_path / "link" / "w"):
        assert staging.noted(str(way)) is not None
        assert spared.paths() == (str(disk),)


@pytest.mark.parametrize("way", ["symbolic", "hard"])
def test_a_link_in_the_place_of_an_unfinished_copy_is_not_written_through(tmp_path, way):
    image, victim, target = tmp_path / "web-disk0.raw", tmp_path / "victim", tmp_path / "pool" / "web-disk0.raw"
    image.write_bytes(b"image" * 1000)
    victim.write_bytes(b"victim")
    target.parent.mkdir()
    (os.symlink if way == "symbolic" else os.link)(victim, f"{target}.partial")
    placement.place(str(image), str(target), placement.COPY)
    assert target.read_bytes() == image.read_bytes() and victim.read_bytes() == b"victim"


def test_an_image_never_takes_the_place_of_the_source(tmp_path, monkeypatch):
    monkeypatch.setattr(spared, "_SPARED", {})
    image, victim = tmp_path / "web-disk0.raw", tmp_path / "pool" / "web-disk0.raw"
    victim.parent.mkdir()
    image.write_bytes(b"image")
    victim.write_bytes(b"victim")
    spared.add([str(victim)])
    for kind in (placement.COPY, placement.MOVE):
        with pytest.raises(InvalidInput, match="which the VM comes from"):
            placement.place(str(image), str(victim), kind, overwrite=True)
    assert victim.read_bytes() == b"victim" and image.read_bytes() == b"image"


@pytest.mark.parametrize("kind", ["extent", "link", "other size", "overlay"])
def test_what_is_called_as_the_small_disk_of_windows_is_not_taken_for_it(tmp_path, kind):
    out, there, other = tmp_path / "out", tmp_path / "out" / "web-driver.qcow2", tmp_path / "other.qcow2"
    out.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", other, "64M"], check=True)
    if kind == "extent":
        there.write_bytes(os.urandom(4096))
    elif kind == "link":
        there.symlink_to(other)
    else:
        more = ["-b", other, "-F", "qcow2", there] if kind == "overlay" else [there, "1G"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more], check=True)
    disks = [{"path": str(tmp_path / "web.raw"), "format": "raw", "virtual_size": MIB}]
    refused("domain_describe", out, "migrate_name", dest=str(out), name="web", disks=disks, phase="bootstrap", facts={"windows": {}})
    there.unlink()
    given = {"dest": str(out), "name": "web", "disks": disks, "phase": "bootstrap"}
    assert module("domain_describe", **given)["changed"] and not module("domain_describe", **given)["changed"]


def test_a_card_on_a_network_that_the_map_leaves_out_is_told(tmp_path):
    vm = {"nics": [{"mac": "00:50:56:00:00:01", "network": "DMZ"}, {"mac": "00:50:56:00:00:02", "network": "lan"}]}
    told = domains.unmapped(from_data(VmSaid, vm, "vm"), "default", {"lan": "bridge:br0"})
    assert [concern.code for concern in told] == ["network.unmapped"] and "DMZ" in told[0].cause and "goes to default" in told[0].cause
    assert not domains.unmapped(from_data(VmSaid, vm, "vm"), "default", {}) and not domains.unmapped(
        VmSaid(Machine(nics=(Nic(),))), "default", {"lan": "x"}
    )
