# SPDX-License-Identifier: GPL-3.0-or-later
"""The source is never written, nor is a file of others: wherever it lies, whichever way a result or a copy would come to it, and whatever is allowed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))
from harness import module

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import device, made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import convert, earlier, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.request import Request
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import copied

MIB = 1 << 20


def disk(path: Path, size: int = MIB) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(4096) + bytes(size - 4096))
    return path


def packed(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image/disk.raw", os.urandom(4096) + bytes(MIB - 4096))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(module_name: str, /, *words: str, **arguments: object) -> None:
    """Refused with all these words, in check mode too, and nothing that was there is another one."""
    for check in (True, False):
        answer = module(module_name, check=check, **arguments)
        assert answer.get("failed") and answer["error_code"] == "invalid_input" and answer["hint"], answer
        assert all(word in answer["msg"] for word in words), answer["msg"]


def fetched(work: Path, source: Path) -> None:
    assert module("vmdk_fetch", source=[str(source)], work_dir=str(work))["changed"]


def test_what_the_repair_would_look_for_in_vain_is_refused_before_anything_is_copied(tmp_path):
    source, drivers = disk(tmp_path / "vm" / "vm.raw"), tmp_path / "virtio-win.iso"
    needs = {"source": [str(source)], "work_dir": str(tmp_path / "w"), "needs": [str(source), str(drivers)]}
    refused("vmdk_fetch", "virtio-win.iso does not exist", **needs)
    assert not (tmp_path / "w").exists()
    drivers.write_bytes(b"")
    assert module("vmdk_fetch", **needs)["changed"]


def test_a_download_of_files_of_this_host_is_refused_before_anything_is_made(tmp_path):
    source = disk(tmp_path / "vm" / "vm.raw")
    refused("source_download", "is of an unknown kind", source=str(source), dest=str(tmp_path / "out" / "x"))
    assert not (tmp_path / "out").exists()


# The place of the copy


def test_an_archive_in_the_place_of_its_copy_is_refused(tmp_path):
    place = tmp_path / "w" / "source"
    source = packed(place / "vm.zip")
    disk(place / "disk.raw")
    before = tree(place)
    refused("vmdk_fetch", str(source), "lies in the work directory", source=[str(source)], work_dir=str(tmp_path / "w"))
    assert tree(place) == before


@pytest.mark.parametrize("name", ["disk.raw", "image/disk.raw", "other/precious", "unpacked.json"])
def test_files_of_others_in_the_place_of_the_copy_are_named(tmp_path, name):
    source, mine = packed(tmp_path / "vm.zip"), tmp_path / "w" / "source" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    refused("vmdk_fetch", str(mine), source=[str(source)], work_dir=str(tmp_path / "w"))
    assert mine.read_text() == "mine"
    mine.unlink()
    fetched(tmp_path / "w", source)
    mine = tmp_path / "w" / "source" / "mine"  # and what comes to it afterwards
    mine.write_text("mine")
    packed(source)
    refused("vmdk_fetch", str(mine), source=[str(source)], work_dir=str(tmp_path / "w"))
    assert mine.read_text() == "mine"


def test_links_to_the_files_of_others_are_files_of_others(tmp_path):
    source, folder = packed(tmp_path / "vm.zip"), tmp_path / "data"
    disk(folder / "image" / "disk.raw")
    (tmp_path / "w" / "source").mkdir(parents=True)
    (tmp_path / "w" / "source" / "image").symlink_to(folder / "image")
    before = tree(folder)
    refused("vmdk_fetch", "image", source=[str(source)], work_dir=str(tmp_path / "w"))
    shutil.rmtree(tmp_path / "w" / "source")
    (tmp_path / "w" / "source").symlink_to(folder)
    refused("vmdk_fetch", "disk.raw", source=[str(source)], work_dir=str(tmp_path / "w"))
    assert tree(folder) == before


def test_a_run_that_was_killed_leaves_nothing_that_the_next_one_refuses(tmp_path):
    source, place = packed(tmp_path / "vm.zip"), tmp_path / "w" / "source"
    (place / "image").mkdir(parents=True)
    made.note(str(place), str(place / "image" / "half.raw"), str(place / "never.raw"))
    (place / "image" / "half.raw").write_text("half")
    (place / made.LIST).open("a").write('"cut o')
    fetched(tmp_path / "w", source)
    assert not (place / "image" / "half.raw").exists() and (place / "image" / "disk.raw").exists()
    packed(source)
    fetched(tmp_path / "w", source)


def test_what_an_earlier_version_unpacked_is_known_by_its_records(tmp_path):
    source, work = packed(tmp_path / "vm.zip"), tmp_path / "w"
    fetched(work, source)
    (work / "source" / made.LIST).unlink()
    packed(source)
    for check in (True, False):
        assert module("vmdk_fetch", check=check, source=[str(source)], work_dir=str(work))["changed"]
    (work / "source" / made.LIST).unlink()
    assert module("source_restore", check=True, work_dir=str(work), forget=True)["changed"]
    assert module("source_restore", work_dir=str(work), forget=True)["changed"] and not (work / "source").exists()
    assert not module("source_restore", work_dir=str(work), forget=True)["changed"] and not (work / "fetch.json").exists()


def test_a_download_of_an_earlier_version_goes_on(tmp_path):
    place = tmp_path / "source" / "disk0"
    place.mkdir(parents=True)
    for name, text in {"a.vmdk.partial": "", "a.vmdk.journal": json.dumps({"path": "", "size": 1, "stamp": "", "pieces": ""})}.items():
        (place / name).write_text(text)
    copied.require(str(tmp_path))
    copied.adopt(str(tmp_path))
    (place / "b.journal").write_text("what I have lived through")
    with pytest.raises(InvalidInput, match=r"b\.journal"):
        copied.require(str(tmp_path))
    assert copied.remove(str(tmp_path)) == ["disk0"] and os.listdir(place) == ["b.journal"]


def test_what_comes_while_something_fills_the_place_is_ours_and_no_more(tmp_path):
    place = tmp_path / "source"
    place.mkdir()
    with pytest.raises(ZeroDivisionError), made.filling(str(place)):
        (place / "disk0").mkdir()
        (place / "disk0" / "a.vmdk").write_text("half")
        copied.require(str(tmp_path))
        raise ZeroDivisionError
    copied.require(str(tmp_path))
    (place / "mine").write_text("mine")
    with pytest.raises(InvalidInput, match="mine"):
        copied.require(str(tmp_path))
    assert copied.remove(str(tmp_path)) == ["mine"] == os.listdir(place)


def test_a_list_names_nothing_beside_its_directory(tmp_path):
    (tmp_path / "victim").write_text("")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / made.LIST).write_text(f'"../victim"\n"{tmp_path}/victim"\n[1]\n')
    made.clear(str(tmp_path / "source"))
    assert (tmp_path / "victim").exists() and not os.listdir(tmp_path / "source")


def test_taking_back_leaves_what_is_not_ours(tmp_path):
    work, source = tmp_path / "w", packed(tmp_path / "vm.zip")
    fetched(work, source)
    (work / "source" / "mine").write_text("mine")
    answer = module("source_restore", work_dir=str(work), forget=True)
    assert answer["changed"] and "mine" in str(answer["warnings"]) and os.listdir(work / "source") == ["mine"]
    other = tmp_path / "other"
    before = disk(other / "source" / "disk.raw").read_bytes()
    assert module("source_restore", work_dir=str(other), forget=True)["changed"] is False
    assert (other / "source" / "disk.raw").read_bytes() == before


# The work directory


@pytest.mark.parametrize("name", ["disk0-overlay.qcow2", "sub/disk.raw", "source/disk.raw"])
def test_a_source_in_the_work_directory_is_refused(tmp_path, name):
    work = tmp_path / "w"
    source = work / name
    source.parent.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2" if name.endswith("qcow2") else "raw", source, "1M"], check=True)
    before = tree(work)
    refused("vmdk_fetch", str(source), source=[str(source)], work_dir=str(work))
    (tmp_path / "beside").symlink_to(work)
    refused("vmdk_fetch", str(source), source=[str(source)], work_dir=str(tmp_path / "beside"))
    by_link = tmp_path / "beside" / name
    refused("vmdk_fetch", str(by_link), source=[str(by_link)], work_dir=str(work))
    assert before.items() <= tree(work).items()


def test_a_part_of_the_source_in_the_work_directory_is_refused(tmp_path):
    work = tmp_path / "w"
    base = disk(work / "disk0-link0")
    base.rename(work / "disk0-link0.raw")
    top = tmp_path / "top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", work / "disk0-link0.raw", top], check=True)
    for check in (True, False):
        assert module("vmdk_fetch", check=check, source=[str(top)], work_dir=str(work))["failed"]
    descriptor = work / "disk0-link0.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", descriptor, "1M"], check=True)
    before = tree(work)
    refused("vmdk_fetch", str(descriptor), source=[str(descriptor)], work_dir=str(work))
    assert before.items() <= tree(work).items()


def test_a_source_with_another_name_in_the_work_directory_is_refused(tmp_path):
    source, work = disk(tmp_path / "disk.raw"), tmp_path / "w"
    work.mkdir()
    os.link(source, work / "disk0-overlay.qcow2")
    refused("vmdk_fetch", "disk0-overlay.qcow2", source=[str(source)], work_dir=str(work))


def test_an_overlay_never_takes_the_place_of_the_source(tmp_path):
    source, work = disk(tmp_path / "disk.raw"), tmp_path / "w"
    before = source.read_bytes()
    fetched(work, source)
    (work / "disk0-overlay.qcow2").symlink_to(source)
    refused("disk_flatten", str(source), work_dir=str(work))
    (work / "disk0-overlay.qcow2").unlink()
    (work / "disk0-overlay.qcow2").symlink_to(tmp_path / "canary")
    (tmp_path / "canary").write_text("mine")
    assert module("disk_flatten", work_dir=str(work))["changed"]
    assert source.read_bytes() == before and (tmp_path / "canary").read_text() == "mine"


# The results


@pytest.fixture
def vm(tmp_path) -> tuple[Path, Path]:
    """A VM whose disk is called as its result will be, with its work directory, as far as FLATTEN."""
    source, work = tmp_path / "x" / "vm-disk0.qcow2", tmp_path / "w"
    source.parent.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", source, "1M"], check=True)
    fetched(work, source)
    assert module("disk_flatten", work_dir=str(work))["changed"]
    return source, work


WAYS = {
    "itself": lambda source, there: source.parent,
    "a directory that is a link": lambda source, there: linked(there, source.parent),
    "a link": lambda source, there: named(there, source, os.symlink),
    "a hard link": lambda source, there: named(there, source, os.link),
}


def linked(there: Path, folder: Path) -> Path:
    there.symlink_to(folder)
    return there


def named(there: Path, source: Path, how: object, name: str = "vm-disk0.qcow2") -> Path:
    there.mkdir(exist_ok=True)
    how(source, there / name)
    return there


@pytest.mark.parametrize("way", WAYS)
def test_a_result_never_takes_the_place_of_the_source(tmp_path, vm, way):
    source, work = vm
    dest, before = WAYS[way](source, tmp_path / "there"), source.read_bytes()
    status = source.stat()
    for step in ("vmdk_fetch", "disk_flatten"):  # another link is another status
        assert not module(step, source=[str(source)], work_dir=str(work)).get("failed")
    for overwrite in (False, True):
        for arguments in ({"work_dir": str(work)}, {"source": [str(source)], "work_dir": str(work)}):
            refused("qemu_convert", "comes from", **arguments, name="vm", dest=str(dest), overwrite=overwrite)
    ahead = {"source": [str(source)], "work_dir": str(tmp_path / "none"), "name": "vm", "dest": str(dest), "overwrite": True}
    assert "comes from" in module("qemu_convert", check=True, **ahead)["msg"]
    assert source.read_bytes() == before and os.path.samestat(source.stat(), status)


@pytest.mark.parametrize("name", ["web-disk0.raw", "web-disk0.raw.partial", "web-disk0.raw.manifest.json"])
def test_no_name_that_is_written_is_one_of_the_source(tmp_path, name):
    source = disk(tmp_path / "web.raw")
    dest, work, before = named(tmp_path / "there", source, os.link, name), tmp_path / "w", source.read_bytes()
    ahead = {"source": [str(source)], "work_dir": str(work), "mode": "copy", "dest": str(dest), "format": "raw"}
    assert "comes from" in module("disk_flatten", check=True, **ahead)["msg"]
    fetched(work, source)
    refused("disk_flatten", "comes from", work_dir=str(work), mode="copy", dest=str(dest), format="raw")
    assert module("disk_flatten", work_dir=str(work))["changed"]
    refused("qemu_convert", "comes from", work_dir=str(work), name="web", dest=str(dest), format="raw", overwrite=True)
    assert (dest / name).samefile(source) and source.read_bytes() == before


def test_a_device_made_of_the_source_is_the_source(tmp_path, monkeypatch):
    file, other = disk(tmp_path / "disk.raw"), disk(tmp_path / "other.raw")
    numbers = {"/dev/a": (7, 0), "/dev/block/8:1": (8, 1), "/dev/mapper/b": (253, 0)}
    folders = {(7, 0): tmp_path / "loop0", (8, 1): tmp_path / "sda" / "sda1", (253, 0): tmp_path / "dm-0"}
    (tmp_path / "loop0" / "loop").mkdir(parents=True)
    (tmp_path / "loop0" / "loop" / "backing_file").write_text(f"{file}\n")
    (tmp_path / "dm-0" / "slaves" / "loop0").mkdir(parents=True)
    (tmp_path / "dm-0" / "slaves" / "loop0" / "dev").write_text("7:0\n")
    real = os.stat

    def status(path, **how):
        number = numbers.get(str(path).replace("/dev/block/7:0", "/dev/a"))
        return (
            real(path, **how) if number is None else os.stat_result((0o060600, 1, 1, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(*number)})
        )

    monkeypatch.setattr(os, "stat", status)
    monkeypatch.setattr(device, "_place", lambda number: str(folders[os.major(number), os.minor(number)]))
    assert device.meet("/dev/a", str(file)) and device.meet("/dev/mapper/b", str(file)) and device.meet("/dev/mapper/b", "/dev/a")
    assert not device.meet("/dev/a", str(other)) and not device.meet("/dev/a", "/dev/block/8:1")


def test_a_device_may_get_the_disk_of_a_source_that_is_called_as_its_image_would_be(tmp_path):
    source = disk(tmp_path / "vm-disk0.raw")
    inputs = (staging.Identity.of(str(source), source=True),)
    earlier.refuse_source(Request("", "raw", str(source), "raw", device="/dev/sdz"), inputs)
    with pytest.raises(InvalidInput, match="comes from"):
        convert.looked_at(Request("", "raw", str(source), "raw", overwrite=True), MIB, MIB, inputs)


# Results and descriptions of other VMs


def described(dest: Path, name: str, of: str, phase: str = "final", **more: object) -> dict:
    return {"dest": str(dest), "name": name, "phase": phase, "disks": [{"path": of, "format": "raw"}], **more}


@pytest.mark.parametrize("turn", [1, -1])
def test_no_description_takes_the_place_of_that_of_another_vm(tmp_path, turn):
    both = [described(tmp_path, "web", "/A", "bootstrap"), described(tmp_path, "web-bootstrap", "/B")][::turn]
    assert module("domain_describe", **both[0])["changed"]
    before = (tmp_path / "web-bootstrap.xml").read_text()
    refused("domain_describe", "web-bootstrap.xml", f"description of {both[0]['name']}", **both[1])
    assert (tmp_path / "web-bootstrap.xml").read_text() == before
    (tmp_path / "web-bootstrap.xml").unlink()  # so that it becomes the other one's
    assert module("domain_describe", **both[1])["changed"]
    refused("domain_describe", "web-bootstrap.xml", f"description of {both[1]['name']}", **both[0])
    (tmp_path / "web-bootstrap.xml").unlink()
    assert module("domain_describe", **both[0])["changed"]
    assert not module("domain_describe", **both[0])["changed"]
    assert module("domain_describe", **{**both[0], "disks": [{"path": "/C", "format": "raw"}]})["changed"]


@pytest.mark.parametrize("name", ["web.xml", "web.sh", "web-kubevirt.json", "web-openstack.json", "web-proxmox.json"])
def test_no_description_takes_the_place_of_a_file_of_others(tmp_path, name):
    arguments = described(tmp_path, "web", "/A", formats=["qemu", "kubevirt", "openstack", "proxmox"])
    for text in ("mine", '{"mine": 1}', "<mine/>", "[]", "<domain><name>web</name></domain>"):
        (tmp_path / name).write_text(text)
        refused("domain_describe", name, **arguments)
        assert (tmp_path / name).read_text() == text and not (tmp_path / "web-driver.qcow2").exists()
    (tmp_path / name).unlink()
    assert module("domain_describe", **arguments)["changed"]
    for change in ({"vm": {"memory": 512}}, {"vm": {"memory": 1024}}):  # by the list, and what an earlier version has written without one
        assert module("domain_describe", **{**arguments, **change})["changed"]
        (tmp_path / ".web.made").unlink(missing_ok=True)
    assert json.loads((tmp_path / "web-kubevirt.json").read_text())


def test_a_vm_that_is_called_as_a_disk_of_another_is_no_result_of_it(tmp_path):
    for number, name in enumerate(["web-disk1", "web"]):
        source, work = disk(tmp_path / f"{number}.raw"), tmp_path / f"w{number}"
        fetched(work, source)
        assert module("disk_flatten", work_dir=str(work))["changed"]
        assert module("qemu_convert", work_dir=str(work), name=name, dest=str(tmp_path / "o"))["changed"]
    (tmp_path / "o" / ".web.vm.json").unlink()
    other = disk(tmp_path / "2.raw")
    fetched(tmp_path / "w2", other)
    assert module("disk_flatten", work_dir=str(tmp_path / "w2"))["changed"]
    refused("qemu_convert", "earlier version", work_dir=str(tmp_path / "w2"), name="web", dest=str(tmp_path / "o"))
