# SPDX-License-Identifier: GPL-3.0-or-later
"""The drop folder: what is a VM, when it has arrived, and where it goes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import replace

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from test_vmdk_chain import flat

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, SourceChanged
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import drop
from ansible_collections.hyper2kvm.migration.plugins.modules import drop_folder

NONE = {"settle": 0.0, "wait": 0.0}


def found(folder, **how):
    return {item.name: item for item in drop.arrived(str(folder), **{**NONE, **how})}


def test_what_is_a_vm_and_what_belongs_to_it(tmp_path):
    for name in (
        "web01.vmdk",
        "web01-flat.vmdk",
        "db 01.img",
        "app.tar.gz",
        "old.v2.raw",
        ".hidden.raw",
        "half.ova.part",
        "note.ova.done",
    ):
        (tmp_path / name).write_bytes((name.encode() * 100).ljust(1536))
    (tmp_path / "erp").mkdir()
    for name in ("erp.vmx", "erp.vmdk", "erp-000001-delta.vmdk"):
        (tmp_path / "erp" / name).write_bytes(b"x")
    (tmp_path / "link.raw").symlink_to("/etc/passwd")
    for name in ("processed", "failed", "duplicates"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.raw").write_bytes(b"x")
    items = found(tmp_path)
    assert {name: item.entries for name, item in items.items()} == {
        "web01": ("web01.vmdk", "web01-flat.vmdk"),
        "db 01": ("db 01.img",),
        "app": ("app.tar.gz",),
        "old.v2": ("old.v2.raw",),
        "erp": ("erp",),
    }
    assert items["erp"].source == str(tmp_path / "erp" / "erp.vmx") and items["web01"].source == str(tmp_path / "web01.vmdk")
    assert not any(item.fault for item in items.values())


@pytest.mark.parametrize("files", [["a-flat.vmdk"], ["a/notes.txt"], ["a/x.raw", "a/y.raw"], ["a.raw", "a.img"], ["a"]])
def test_what_is_no_vm_or_several_is_said(tmp_path, files):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(512))
    item = found(tmp_path)["a"]
    assert item.source == "" and "it must hold one VM" in item.fault


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (["web.vmdk", "web.other.raw"], ["web", "web.other"]),
        (["web.prod/", "web.test/"], ["web.prod", "web.test"]),
        (["web.vmdk/", "web.raw"], ["web", "web.vmdk"]),
        (["app.raw", "app.qcow2.raw"], ["app", "app.qcow2"]),
        (["db.a.org.ova", "db.b.org.ova"], ["db.a.org", "db.b.org"]),
        (["db.a.raw.gz", "db.b.tar.xz", "db.c.zip", "db.d.VHDX", "db.e.ova.gz"], ["db.a", "db.b", "db.c", "db.d", "db.e"]),
        (["web.ova", "web.ova.sha256", "web.mf", "web.nvram", "web.log"], ["web"]),
        (["web.unknown", "web.raw"], ["web", "web.unknown"]),
    ],
)
def test_only_known_endings_are_taken_off_a_name(tmp_path, entries, names):
    for entry in entries:
        (tmp_path / entry).mkdir() if entry.endswith("/") else (tmp_path / entry).write_bytes(bytes(512))
    assert sorted(found(tmp_path)) == names


def machine(folder, *disks, name="web"):
    for disk in disks:
        flat(folder, disk)
    lines = [f'scsi0:{number}.fileName = "{disk}.vmdk"' for number, disk in enumerate(disks)]
    (folder / f"{name}.vmx").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "more",
    ["other.raw", "web.raw", "web.raw.gz", "web.qcow2", "web.zip", "more/old.vmdk", "other-flat.vmdk", "WEB.VHD", "web.dat"],
)
@pytest.mark.parametrize("top", [True, False], ids=["at the top", "in a directory"])
def test_a_disk_that_the_vm_does_not_read_is_never_put_away_with_it(tmp_path, more, top):
    folder = tmp_path if top else tmp_path / "web"
    folder.mkdir(exist_ok=True)
    machine(folder, "web")
    (folder / more).parent.mkdir(exist_ok=True)
    (folder / more).write_bytes(bytes(5 << 20))
    items = found(tmp_path)
    if "web" in items and len(items) == 1:
        assert more.rsplit("/")[-1] in items["web"].fault and items["web"].source == ""
    else:  # it is an entry of its own
        assert top and items["web"].entries == ("web.vmdk", "web.vmx", "web-flat.vmdk") and not items["web"].fault


def test_what_lies_beside_a_vm_belongs_to_it(tmp_path):
    (tmp_path / "web").mkdir()
    machine(tmp_path / "web", "web", "data")
    flat(tmp_path / "web", "web-000001", parent="00000001", extra='parentFileNameHint="web.vmdk"')  # of a snapshot, not what runs now
    for name in ("web.nvram", "web.vmsd", "web.vmxf", "vmware.log", "web.vmem", "cd.iso", "web-ctk.vmdk", "web.ova.sha256", "README"):
        (tmp_path / "web" / name).write_bytes(bytes(4096))
    (tmp_path / "web" / "web.vswp").write_bytes(bytes(5 << 20))
    (tmp_path / "db.raw.gz").write_bytes(b"x" * 100)
    (tmp_path / "db.raw.gz.sha256").write_bytes(b"x" * 100)
    items = found(tmp_path)
    assert items["web"].fault == items["db"].fault == "" and items["web"].source.endswith("web.vmx")
    assert items["db"].source.endswith("db.raw.gz") and len(items["db"].entries) == 2


@pytest.mark.parametrize("more", ["web.raw.xz", "web.raw"])
def test_a_disk_beside_its_archive_is_one_too_many(tmp_path, more):
    for name in ("web.raw.gz", more):
        (tmp_path / name).write_bytes(bytes(512))
    assert "web.raw.gz" in found(tmp_path)["web"].fault


def test_a_disk_of_another_entry_is_no_vm_and_its_vm_is_not_whole(tmp_path):
    machine(tmp_path, "web", "web_1")
    flat(tmp_path, "db")
    flat(tmp_path, "db-000001", parent="00000001", extra='parentFileNameHint="db.vmdk"')
    items = found(tmp_path)
    assert "web_1-flat.vmdk, web_1.vmdk" in items["web"].fault and "db-flat.vmdk, db.vmdk" in items["db-000001"].fault
    assert "web reads it" in items["web_1"].fault and "db-000001 reads it" in items["db"].fault
    assert not any(item.source for item in items.values())


def test_one_that_grows_is_waited_for(tmp_path):
    (tmp_path / "small.raw").write_bytes(b"whole")

    def grow():
        for dummy in range(6):
            with open(tmp_path / "big.raw", "ab") as file:
                file.write(b"more")
            time.sleep(0.4)

    growing = threading.Thread(target=grow)
    growing.start()
    items = found(tmp_path, settle=1.5, wait=20.0)
    growing.join()
    assert (tmp_path / "big.raw").read_bytes() == b"more" * 6 and set(items) == {"small", "big"}
    (tmp_path / "same.raw").write_bytes(b"more" * 6)
    assert found(tmp_path)["same"].digest == items["big"].digest != items["small"].digest


def test_one_that_changes_while_others_are_waited_for_is_given_out_as_it_is_then(tmp_path, monkeypatch):
    for name in ("gone.raw", "later.raw", "busy.raw", "gone.raw.done", "later.raw.done"):
        (tmp_path / name).write_bytes(b"first")
    steps = iter(
        [(tmp_path / "gone.raw").unlink, lambda: (tmp_path / "later.raw").write_bytes(b"second"), (tmp_path / "busy.raw.done").touch]
    )
    monkeypatch.setattr(drop.time, "sleep", lambda dummy: next(steps)())
    items = found(tmp_path, settle=3600.0, wait=60.0)
    (tmp_path / "whole.raw").write_bytes(b"second")
    assert set(items) == {"later", "busy"} and items["later"].digest == found(tmp_path)["whole"].digest


def test_a_marker_says_it_at_once_and_nothing_else_is_taken_early(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"a")
    (tmp_path / "b.raw").write_bytes(b"b")
    (tmp_path / "a.raw.done").touch()
    assert set(found(tmp_path, settle=60.0)) == {"a"}
    with pytest.raises(InvalidInput, match="does not exist"):
        found(tmp_path / "none")


def test_what_was_put_away_is_known_and_nothing_is_lost(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.raw").write_bytes(b"same")
    (tmp_path / "a.raw.done").touch()
    report = tmp_path / "out"
    report.mkdir()
    (report / "report.md").write_text("# fine")
    items = found(tmp_path)
    assert not drop.known(str(tmp_path))
    first = drop.put_away(str(tmp_path), items["a"], drop.PROCESSED, str(report), "processed")
    assert drop.known(str(tmp_path)) == {items["b"].digest: "a"} and first == str(tmp_path / "processed" / "a")
    assert {path.name for path in (tmp_path / "processed" / "a").iterdir()} == {"a.raw", "a.raw.done", "report.md", "result.txt"}
    (tmp_path / "a.raw").write_bytes(b"another")
    again = drop.put_away(str(tmp_path), found(tmp_path)["a"], drop.PROCESSED, str(report), "processed")
    assert again.startswith(f"{first}-") and (tmp_path / "processed" / "a" / "a.raw").read_bytes() == b"same"
    assert set(found(tmp_path)) == {"b", "out"}


def test_an_image_in_an_archive_is_one_vm(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(4096))
    subprocess.run(["tar", "-czf", "vm.tgz", "x.raw"], cwd=tmp_path, check=True)
    (tmp_path / "x.raw").unlink()
    assert found(tmp_path)["vm"].source == str(tmp_path / "vm.tgz")


def rewritten(path):
    """Other content in the same file, of the same size and the same time of change."""
    had = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(had.st_atime_ns, had.st_mtime_ns))


def exchanged(path):
    path.with_suffix(".new").write_bytes(b"x" * path.stat().st_size)
    os.replace(path.with_suffix(".new"), path)


CHANGES = {
    "a second disk": lambda web: (web / "second.raw").write_bytes(bytes(512)),
    "a directory with a disk": lambda web: ((web / "more").mkdir(), (web / "more" / "second.raw").write_bytes(bytes(512))),
    "a note": lambda web: (web / "notes.txt").write_text("x"),
    "other content": lambda web: rewritten(web / "web.raw"),
    "another file": lambda web: exchanged(web / "web.raw"),
    "more of it": lambda web: os.truncate(web / "web.raw", 4096),
    "less of it": lambda web: (web / "web.log").unlink(),
    "another name": lambda web: (web / "web.raw").rename(web / "db.raw"),
    "a link": lambda web: ((web / "web.raw").unlink(), (web / "web.raw").symlink_to("web.log")),
    "no directory any more": lambda web: web.rename(web.parent / "other"),
}


@pytest.mark.parametrize("old", [False, True], ids=["sealed", "of an older version"])
@pytest.mark.parametrize("place", [drop.PROCESSED, drop.DUPLICATES])
@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_since_it_arrived_is_not_put_away(tmp_path, change, place, old):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "web.raw").write_bytes(b"ab" * 512)
    (tmp_path / "web" / "web.log").write_text("x")
    item = found(tmp_path)["web"]
    item = replace(item, seal="") if old else item
    CHANGES[change](tmp_path / "web")
    before = sorted(path for path in tmp_path.rglob("*"))
    if old and change == "another name":  # its content is the same
        return
    for refused in (drop.require_same, lambda *given: drop.put_away(*given, "", "words")):
        with pytest.raises(SourceChanged, match="no longer what has arrived") as caught:
            refused(str(tmp_path), item, place)
        assert caught.value.hint
    assert sorted(path for path in tmp_path.rglob("*")) == before and not drop.known(str(tmp_path))
    if (tmp_path / "web").exists():
        again = found(tmp_path)["web"]
        assert drop.put_away(str(tmp_path), again, drop.FAILED if again.fault else place, "", "words")


def test_what_changes_while_it_is_read_is_not_put_away(tmp_path, monkeypatch):
    (tmp_path / "web.raw").write_bytes(bytes(512))
    real = drop._content
    monkeypatch.setattr(
        drop, "_content", lambda paths: (real(paths), rewritten(tmp_path / "web.raw"), os.truncate(tmp_path / "web.raw", 1024))[0]
    )
    item = found(tmp_path)["web"]
    with pytest.raises(SourceChanged):
        drop.put_away(str(tmp_path), item, drop.PROCESSED, "", "words")


def test_what_was_only_read_is_put_away_whichever_way_the_folder_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.raw").write_bytes(bytes(512))
        (tmp_path / f"{name}.raw").read_bytes()
        item = found(tmp_path)[name]
        item = item if name == "a" else replace(item, seal="")
        assert drop.put_away(f"{tmp_path}/./", item, drop.PROCESSED, "", "words").endswith(name)


def answered(capsys, **given):
    with patch_module_args({"settle": 0, "wait": 0, **given}), pytest.raises(SystemExit):
        drop_folder.main()
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize("check", [False, True], ids=["really", "check mode"])
def test_the_module_refuses_what_has_changed_and_goes_on_after_a_duplicate_that_has(tmp_path, capsys, check, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.raw").write_bytes(bytes(512 if name < "c" else 1024))
    (tmp_path / "link.raw").symlink_to("/etc/passwd")
    real, warnings = drop.arrived, []
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, said: warnings.append(said))  # Ansible says the same only once in a process
    monkeypatch.setattr(drop, "arrived", lambda *given: [*real(*given), (tmp_path / "b.raw").write_bytes(bytes(1536))][:-1])
    said = answered(capsys, path=str(tmp_path), _ansible_check_mode=check)
    assert [item["name"] for item in said["vms"]] == ["a", "c"] and said["duplicates"] == [] and (tmp_path / "b.raw").exists()
    assert any("Symbolic links are not followed: 'link.raw' in" in warning for warning in warnings)
    rewritten(tmp_path / "c.raw")
    (tmp_path / "c.raw").write_bytes(bytes(2048))
    said = answered(capsys, path=str(tmp_path), item=said["vms"][1], _ansible_check_mode=check)
    assert said["failed"] and said["error_code"] == "source_changed" and (tmp_path / "c.raw").exists()


def fat(label, at=43):
    head = bytearray(1 << 20)
    head[at : at + 19] = label.ljust(11) + b"FAT     "
    head[510:512] = b"\x55\xaa"
    return bytes(head)


def cd(label):
    return bytes(32769) + b"CD001" + bytes(34) + label.ljust(32) + bytes(1 << 20)


FIRMWARE = bytes(40) + b"_FVH" + bytes(5 << 20)
SETTINGS = ('<?xml version="1.0" encoding="UTF-16" standalone="yes"?><configuration>' + " " * 100).encode("utf-16")
BESIDE = {
    "tracked by Hyper-V": {"web.vhdx.rct": bytes(5 << 20), "web.vhdx.mrt": bytes(5 << 20), "WEB.AVHDX.RCT": bytes(5 << 20)},
    "replicated": {"web_1.hrl": bytes(5 << 20)},
    "VMware died": {
        "vmmcores.gz": b"x",
        "vmmcores-1.gz": b"x",
        "vmx-zdump.000": bytes(5 << 20),
        "vmware-vmx-debug-zdump.001": bytes(5 << 20),
    },
    "kept by VMware": {"web-1234.scoreboard": bytes(5 << 20), "caches/GuestAppsCache/appData/a.appicon": bytes(5 << 20)},
    "variables": {"web_VARS.fd": FIRMWARE, "OVMF_VARS.ms.fd": FIRMWARE, "efi.img": FIRMWARE, "code.rom": FIRMWARE},
    "a seed": {"seed.img": cd(b"cidata"), "cidata.raw": fat(b"CIDATA"), "config.img": fat(b"config-2", 71), "seed.iso": bytes(5 << 20)},
    "memory of Hyper-V": {"AB/AB.bin": bytes(5 << 20), "AB/AB.vsv": bytes(5 << 20)},
    "memory of Hyper-V, by its settings": {"AB/AB.bin": bytes(5 << 20), "AB.xml": SETTINGS},
    "memory of Hyper-V, by its settings beside it": {"AB.bin": bytes(5 << 20), "AB.vmcx": b"x"},
    "memory of libvirt": {"web.save": b"LibvirtQemudSave" + bytes(5 << 20)},
}


def bare(folder, files):
    """A VM that is one raw disk, and these files."""
    for name, content in {"web.raw": bytes(512), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("described", [False, True], ids=["a disk", "a description"])
@pytest.mark.parametrize("files", BESIDE.values(), ids=list(BESIDE))
def test_what_programs_leave_beside_a_vm_is_no_disk(tmp_path, files, described):
    bare(tmp_path / "web", files)
    if described:
        (tmp_path / "web" / "web.raw").unlink()
        machine(tmp_path / "web", "web")
    item = found(tmp_path)["web"]
    assert not item.fault and item.source == str(tmp_path / "web" / ("web.vmx" if described else "web.raw"))


NO_SEEDS = {
    "settings of another label": {"seed.img": cd(b"ubuntu")},
    "a disk that is called a seed": {"seed.img": bytes(1 << 20)},
    "variables that are none": {"web_VARS.fd": bytes(5 << 20)},
    "a disk that is called variables": {"web_VARS.raw": bytes(1 << 20)},
    "a large firmware": {"web_VARS.fd": bytes(40) + b"_FVH" + bytes(65 << 20)},
    "a disk .bin": {"data.bin": bytes(1 << 20)},
    "a disk .bin of libvirt": {"data.bin": bytes(1 << 20), "data.xml": b"<domain><name>configuration</name></domain>"},
    "a disk beside another's memory": {"data.bin": bytes(1 << 20), "AB.vsv": b"x"},
    "another core": {"cores.gz": b"x"},
    "tracked, of no disk": {"web.rct": bytes(5 << 20)},
    "no memory": {"web.save": bytes(5 << 20)},
    "unknown": {"web.data": bytes(5 << 20)},
}


@pytest.mark.parametrize("described", [False, True], ids=["a disk", "a description"])
@pytest.mark.parametrize("files", NO_SEEDS.values(), ids=list(NO_SEEDS))
def test_what_may_be_a_disk_is_not_taken_for_what_lies_beside_one(tmp_path, files, described):
    bare(tmp_path / "web", files)
    if described:
        (tmp_path / "web" / "web.raw").unlink()
        machine(tmp_path / "web", "web")
    item = found(tmp_path)["web"]
    assert next(iter(files)) in item.fault and not item.source


@pytest.mark.parametrize(("size", "fits"), [("528K", True), ("64M", True), ("1G", False)])
def test_variables_may_be_a_qcow2_as_small_as_they_are(tmp_path, size, fits):
    bare(tmp_path / "web", {})
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "web" / "web_VARS.qcow2", size], check=True)
    assert bool(found(tmp_path)["web"].source) == fits


def test_what_belongs_to_a_vm_at_the_top_has_its_name(tmp_path):
    for name, content in {"web.vhdx": b"x", "web.vhdx.rct": b"x", "web_VARS.fd": FIRMWARE, "db_VARS.raw": bytes(512)}.items():
        (tmp_path / name).write_bytes(content)
    assert {name: item.entries for name, item in found(tmp_path).items()} == {
        "web": ("web.vhdx", "web.vhdx.rct", "web_VARS.fd"),
        "db_VARS": ("db_VARS.raw",),
    }


def ovf(folder, *disks, name="web"):
    numbered = list(enumerate(disks))
    references = "".join(f'<File id="f{number}" href="{disk}.vmdk"/>' for number, disk in numbered)
    section = "".join(f'<Disk diskId="d{number}" fileRef="f{number}" capacity="{SIZE}"/>' for number, disk in numbered)
    items = "".join(
        f"<Item><ResourceType>17</ResourceType><HostResource>ovf:/disk/d{number}</HostResource></Item>" for number, disk in numbered
    )
    (folder / f"{name}.ovf").write_text(
        f'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><References>{references}</References><DiskSection>{section}</DiskSection>'
        f'<VirtualSystem id="v"><VirtualHardwareSection>{items}</VirtualHardwareSection></VirtualSystem></Envelope>'
    )


def streamed(folder, *disks):
    """Disks that both a .vmx and an .ovf may name."""
    machine(folder, *disks)
    for disk in disks:
        for path in folder.glob(f"{disk}*.vmdk"):
            path.unlink()
        made = ["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", folder / f"{disk}.vmdk", str(SIZE)]
        subprocess.run(made, check=True)


SIZE = 1 << 20


@pytest.mark.parametrize("name", ["web", "other"])
def test_two_descriptions_of_the_same_disks_are_one_vm(tmp_path, name):
    (tmp_path / "web").mkdir()
    streamed(tmp_path / "web", "web")
    ovf(tmp_path / "web", "web", name=name)
    item = found(tmp_path)["web"]
    assert not item.fault and item.source == str(tmp_path / "web" / "web.vmx")


def of_others(web):
    streamed(web, "web", "data")
    ovf(web, "web")


def of_the_same_kind(web):
    streamed(web, "web")
    ovf(web, "web")
    (web / "old.vmx").write_text((web / "web.vmx").read_text())


def of_an_archive(web):
    streamed(web, "web")
    (web / "web.ova").write_bytes(bytes(10240))


def that_cannot_be_read(web):
    streamed(web, "web")
    (web / "web.ovf").write_text("<")


@pytest.mark.parametrize("make", [of_others, of_the_same_kind, of_an_archive, that_cannot_be_read])
def test_two_descriptions_that_are_not_known_to_be_of_one_vm_are_refused_in_true_words(tmp_path, make):
    (tmp_path / "web").mkdir()
    make(tmp_path / "web")
    item = found(tmp_path)["web"]
    assert "it must hold one VM" in item.fault and "Leave one description" in item.fault and "Unpack" not in item.fault and not item.source


@pytest.mark.parametrize("file", ["web.ova", "web.vmx", "web.ovf", "web.vbox", "web.vmdk", "web.tar.gz"])
@pytest.mark.parametrize("inside", ["web.raw", "web.vmdk", "web.vhdx", "web.vdi", "web.vmx", "more/web.qcow2", "web.zip", "data"])
def test_a_directory_and_a_file_that_cannot_be_read_are_not_one_vm(tmp_path, file, inside):
    (tmp_path / file).write_bytes(b"damaged" * 100)
    (tmp_path / "web" / inside).parent.mkdir(parents=True)
    (tmp_path / "web" / inside).write_bytes(bytes(5 << 20))
    item = found(tmp_path)["web"]
    assert item.fault and not item.source  # or the one that is chosen is damaged, which is told first


@pytest.mark.parametrize("files", [("web.ova", "web.qcow2"), ("web.vmx", "web.raw"), ("web.vmdk", "web.dat"), ("web.ova", "web-flat.dat")])
def test_a_disk_that_the_vm_cannot_mean_is_not_its_own_where_it_cannot_be_read(tmp_path, files):
    (tmp_path / "web").mkdir()
    for name in files:
        (tmp_path / "web" / name).write_bytes(b"damaged" * (1 << 20))
    item = found(tmp_path)["web"]
    assert files[1] in item.fault and "as far as it can be read" in item.fault


def test_a_directory_and_what_lies_beside_its_vm_are_one(tmp_path):
    (tmp_path / "web").mkdir()
    machine(tmp_path / "web", "web")
    (tmp_path / "web.log").write_text("x")
    (tmp_path / "web.nvram").write_bytes(bytes(5 << 20))
    assert not found(tmp_path)["web"].fault


LITTER = (
    "._a.vmx",
    "._a.vmdk",
    ".DS_Store",
    ".old.vmx",
    ".Trash-1000/files/b.vmdk",
    ".snapshot/hourly.0/a.vmx",
    "__MACOSX/._a.vmx",
    "__MACOSX/b.vmdk",
    "@eaDir/a.vmdk/SYNOINDEX_MEDIA_INFO",
    "@eaDir/b.vmx",
    "#recycle/b.raw",
    "lost+found/b.raw",
    "Thumbs.db",
    "desktop.ini",
    "$RECYCLE.BIN/S-1-5/b.vhdx",
    "a.vmdk:Zone.Identifier",
)


def with_litter(folder):
    for name in LITTER:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7".ljust(17 << 20 if name.endswith(("raw", "vhdx")) else 4096))


def a_vm(folder):
    folder.mkdir(exist_ok=True)
    flat(folder, "a")
    (folder / "a.vmx").write_text('scsi0:0.present = "TRUE"\nscsi0:0.fileName = "a.vmdk"\n')


def test_what_systems_leave_beside_a_vm_goes_with_it_and_is_no_vm(tmp_path):
    a_vm(tmp_path / "web01")
    with_litter(tmp_path / "web01")
    with_litter(tmp_path)
    for link in (tmp_path / "web01" / ".lock", tmp_path / "web01" / "@eaDir" / "link"):
        link.symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "web01" / "._pipe")
    (item,) = drop.arrived(str(tmp_path), 0, 0)
    assert (item.name, item.source, item.fault) == ("web01", str(tmp_path / "web01" / "a.vmx"), "")
    (tmp_path / "web01" / ".DS_Store").write_bytes(b"Finder has looked at it")
    (tmp_path / "web01" / "@eaDir" / "new").write_bytes(b"so has the index of the NAS")
    gone = drop.put_away(str(tmp_path), item, drop.PROCESSED, "", "done")
    assert (tmp_path / gone / "web01" / "@eaDir" / "new").exists() and (tmp_path / "lost+found").exists()
    assert sorted(os.listdir(gone)) == ["result.txt", "web01"]


def test_the_same_vm_is_the_same_whatever_a_system_has_left_in_it(tmp_path):
    for name in ("one", "two"):
        a_vm(tmp_path / name)
    with_litter(tmp_path / "two")
    one, two = found(tmp_path).values()
    assert one.digest == two.digest and not two.fault


def test_a_hidden_directory_with_more_files_than_a_vm_is_not_looked_at(tmp_path, monkeypatch):
    a_vm(tmp_path / "web01")
    (tmp_path / "web01" / ".git").mkdir()
    for number in range(9):
        (tmp_path / "web01" / ".git" / str(number)).write_bytes(b"x")
    monkeypatch.setattr(drop.limits, "ENTRY_FILES", 8)
    assert found(tmp_path)["web01"].fault == ""


def test_a_hidden_file_that_grows_is_waited_for(tmp_path):
    a_vm(tmp_path / "web01")
    part = tmp_path / "web01" / ".b.vmdk.Xy12zz"
    part.write_bytes(b"x")
    timer = threading.Timer(0.7, lambda: part.write_bytes(b"xx"))
    timer.start()
    assert not found(tmp_path, settle=1.5, wait=1.6)
    timer.join()


def test_a_vm_that_reads_a_hidden_file_is_told(tmp_path):
    a_vm(tmp_path / "web01")
    flat(tmp_path / "web01", ".b")
    with (tmp_path / "web01" / "a.vmx").open("a") as file:
        file.write('scsi0:1.present = "TRUE"\nscsi0:1.fileName = ".b.vmdk"\n')
    assert ".b-flat.vmdk, .b.vmdk in" in found(tmp_path)["web01"].fault
