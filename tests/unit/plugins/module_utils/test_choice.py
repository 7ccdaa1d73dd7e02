# SPDX-License-Identifier: GPL-3.0-or-later
"""One of several VMs of a package, and one of its configurations: how it is named, and that it stays that VM in all that remembers one."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest
from descriptions import MIB, folder_with_disks
from descriptions_ovf import BLANK, BOTH, CHOOSABLE, DISK, SECOND, TWO_DISKS, TWO_FILES, options, ovf, with_items
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils import api
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import spared
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.choice import Choice, file_of, parted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import places_of, same

DISK_OF_VMX = 'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "a.vmdk"\n'


def identified(path):
    return api.identified([str(path)], api.Access())


def carried_out(stage, options_):
    return api.carry_out(stage(options_), api.Run())


@pytest.fixture
def package(tmp_path):
    folder_with_disks(tmp_path)
    (tmp_path / "app.ovf").write_text(ovf(BOTH, TWO_FILES, TWO_DISKS))
    return tmp_path / "app.ovf"


@pytest.mark.parametrize(
    ("source", "file", "choice"),
    [
        ("a.ova#web01", "a.ova", Choice("web01")),
        ("/x/a.OVF#web 01", "/x/a.OVF", Choice("web 01")),
        ("a.ova#web01,config=large", "a.ova", Choice("web01", "large")),
        ("a.ova#config=large", "a.ova", Choice("", "large")),
        ("a.ova#a%2Cb,config=c%3Dd", "a.ova", Choice("a,b", "c=d")),
        ("a.ova#a#b.ova#c", "a.ova", Choice("a#b.ova#c")),
        ("/x.ova#y/a.ova#b", "/x.ova#y/a.ova", Choice("b")),
        ("/x.ova#y/a.vmx", "/x.ova#y/a.vmx", Choice()),
        ("a.ova#b%2Fc", "a.ova", Choice("b/c")),
        ("a.tar.gz#b", "a.tar.gz", Choice("b")),
        ("a.ova.XZ#b", "a.ova.XZ", Choice("b")),
        ("a.ova#", "a.ova", Choice()),
        ("a.ova", "a.ova", Choice()),
        ("a.vmx#b", "a.vmx#b", Choice()),
        ("#a.ova", "#a.ova", Choice()),
        ("ssh://root@esx/a.vmx", "ssh://root@esx/a.vmx", Choice()),
    ],
)
def test_a_choice_stands_behind_the_name_of_a_package(source, file, choice):
    assert parted(source) == (file, choice) and file_of(source) == file


@given(st.builds(Choice, st.text(), st.text()))
def test_what_is_written_is_read_again(choice):
    assert parted(f"a.ova{choice}")[1] == choice


def test_a_file_with_such_a_name_is_that_file(package):
    odd = package.with_name("app.ovf#web01")
    odd.write_text("x")
    assert parted(str(odd)) == (str(odd), Choice())


@pytest.mark.parametrize("fragment", ["#a,b", "#config=a,config=b", "#size=large", "#a,size=large"])
def test_what_cannot_be_read_is_refused(package, fragment):
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        identified(f"{package}{fragment}")
    assert "web01,config=large" in caught.value.hint


def test_the_refusal_says_what_to_write(package):
    with pytest.raises(InvalidInput, match="Web 01, Data base") as caught:
        identified(package)
    (written,) = [word for word in shlex.split(caught.value.hint) if "#" in word]
    assert written == "app.ovf#web01" and identified(package.with_name(written)).name == "Web 01"


def test_two_vms_of_a_package_are_two(package):
    web, db = identified(f"{package}#web01"), identified(f"{package}#db01")
    assert not same(web, db) and web.place == f"{package}#web01" and web.digest != db.digest
    assert same(web, identified(f"{package}#Web 01")), "by its name it is the same VM"
    assert places_of([f"{package}#web01"]) == {f"{package}#web01"} != places_of([f"{package}#db01"])


def test_two_vms_with_one_id_are_two_by_their_names(package):
    package.write_text(package.read_text().replace('"db01"', '"web01"'))
    web, db = identified(f"{package}#Web 01"), identified(f"{package}#Data base")
    assert not same(web, db) and (web.place, db.place) == (f"{package}#Web 01", f"{package}#Data base")


def test_the_configuration_is_no_part_of_which_vm_a_packed_one_is(package):
    made = str(package.with_name("app.zip"))
    with zipfile.ZipFile(made, "w") as archive:
        archive.write(package, "app.ovf")
    assert len({identified(f"{made}#web01{config}").place for config in ("", ",config=small", ",config=large")}) == 1


def test_a_vm_that_is_alone_is_the_same_with_and_without_its_name(package):
    package.write_text(ovf())
    assert same(identified(package), identified(f"{package}#web01")) and identified(f"{package}#web01").place == str(package)


def test_another_configuration_is_the_same_vm_and_another_migration(package):
    package.write_text(ovf(CHOOSABLE, before=options()))
    small, large = identified(package), identified(f"{package}#config=large")
    assert same(small, large) and small.digest != large.digest


def test_each_of_them_is_fetched_for_itself_and_never_into_the_place_of_the_other(package):
    work = str(package.parent / "work")
    fetched = carried_out(api.Fetch, api.FetchOptions((f"{package}#db01",), work))
    vm = fetched["vm"]
    assert [os.path.basename(disk["path"]) for disk in vm["disks"]] == ["my disk.vmdk"] and vm["identity"]["place"].endswith("#db01")
    assert [concern["code"] for concern in vm["concerns"]] == ["source.other-systems"]
    assert not carried_out(api.Fetch, api.FetchOptions((f"{package}#db01",), work)).get("changed")
    with pytest.raises(MigrationError, match="belongs to the VM Data base"):
        carried_out(api.Fetch, api.FetchOptions((f"{package}#web01",), work))


def test_a_vm_is_chosen_of_what_is_packed_once_more(package, monkeypatch):
    made, work = str(package.with_name("erp.zip")), str(package.parent / "work")
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("app.ovf", "c.vmdk", "my disk.vmdk"):
            archive.write(package.with_name(name), f"erp/{name}")
    for name in ("app.ovf", "c.vmdk", "my disk.vmdk"):
        package.with_name(name).unlink()
    with pytest.raises(InvalidInput, match="vApp of 2 VMs") as caught:
        carried_out(api.Fetch, api.FetchOptions((made,), work))
    assert "app.ovf#web01" in caught.value.hint

    def fetched(name):
        monkeypatch.setattr(spared, "_SPARED", {})  # each in a process of its own
        return carried_out(api.Fetch, api.FetchOptions((f"{made}#{name}",), work))

    vm = fetched("Data base")["vm"]
    assert [os.path.basename(disk["path"]) for disk in vm["disks"]] == ["my disk.vmdk"] and vm["identity"]["place"] == f"{made}#Data base"
    assert not fetched("Data base").get("changed")
    with pytest.raises(MigrationError, match="belongs to the VM"):
        fetched("web01")


def test_of_what_is_no_package_nothing_is_chosen(package):
    made = str(package.with_name("a.zip"))
    with zipfile.ZipFile(made, "w") as archive:
        archive.write(package.with_name("c.vmdk"), "c.vmdk")
    with pytest.raises(InvalidInput, match="nothing to choose"):
        carried_out(api.Fetch, api.FetchOptions((f"{made}#web01",), str(package.parent / "work")))


def test_a_package_in_the_work_directory_is_refused_with_a_choice_too(package):
    with pytest.raises(InvalidInput, match="lies in the work directory"):
        carried_out(api.Fetch, api.FetchOptions((f"{package}#web01",), str(package.parent)))


def test_an_empty_disk_becomes_an_empty_result(package):
    package.write_text(with_items(SECOND, DISK + BLANK))
    work, dest = str(package.parent / "work"), str(package.parent / "out")
    carried_out(api.Fetch, api.FetchOptions((str(package),), work))
    carried_out(api.Flatten, api.FlattenOptions(api.Subject(work)))
    made = carried_out(api.Convert, api.ConvertOptions(api.Subject(work), "a", dest))["disks"]
    assert [disk["virtual_size"] for disk in made] == [MIB, 8 << 30]
    found = subprocess.run(["qemu-img", "map", "--output=json", made[1]["path"]], capture_output=True, check=True)
    assert not any(area["data"] for area in json.loads(found.stdout))


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_an_empty_disk_is_not_made_through_a_name_that_was_there(package, link):
    package.write_text(with_items(SECOND, DISK + BLANK))
    work, other = package.parent / "work", package.with_name("other.img")
    other.write_bytes(b"precious")
    work.mkdir()
    link(other, work / "disk1-blank.qcow2")
    carried_out(api.Fetch, api.FetchOptions((str(package),), str(work)))
    assert other.read_bytes() == b"precious" and (work / "disk1-blank.qcow2").stat().st_size > 8


@pytest.mark.parametrize("hurt", [os.unlink, lambda path: os.truncate(path, 0), lambda path: Path(path).write_bytes(b"other")])
def test_an_empty_disk_that_is_not_as_it_was_made_is_made_again(package, hurt):
    """As after a run that was killed while it made it."""
    package.write_text(with_items(SECOND, DISK + BLANK))
    options, blank = api.FetchOptions((str(package),), str(package.parent / "work")), package.parent / "work" / "disk1-blank.qcow2"
    carried_out(api.Fetch, options)
    hurt(blank)
    assert carried_out(api.Fetch, options)["changed"] and blank.read_bytes()[:4] == b"QFI\xfb"
    assert not carried_out(api.Fetch, options)["changed"]


@pytest.mark.parametrize("wrong", [{"path": "/etc/passwd"}, {"format": "raw"}, {"encrypted": True}, {"device": True}, {"virtual_size": 0}])
def test_what_a_record_says_of_another_result_is_not_believed(package, wrong):
    package.write_text(with_items(SECOND, DISK + BLANK))
    subject, out = api.Subject(str(package.parent / "work")), package.parent / "out"
    carried_out(api.Fetch, api.FetchOptions((str(package),), subject.work_dir))
    carried_out(api.Flatten, api.FlattenOptions(subject))
    first = carried_out(api.Convert, api.ConvertOptions(subject, "a", str(out)))
    record = out / "a-disk1.qcow2.manifest.json"
    said = json.loads(record.read_text())
    record.write_text(json.dumps({**said, "result": {**said["result"], **wrong}}))
    again = carried_out(api.Convert, api.ConvertOptions(subject, "a", str(out)))
    same = ("path", "format", "device", "encrypted", "virtual_size")
    assert again["changed"] and [[one[key] for key in same] for one in again["disks"]] == [
        [one[key] for key in same] for one in first["disks"]
    ]


def test_a_copy_needs_its_overlays(package):
    package.write_text(with_items(SECOND, DISK + BLANK))
    subject = api.Subject(str(package.parent / "work"))
    carried_out(api.Fetch, api.FetchOptions((str(package),), subject.work_dir))
    with pytest.raises(InvalidInput, match="are not whole"):
        carried_out(api.Convert, api.ConvertOptions(subject, "a", str(package.parent / "out")))


def test_what_is_told_is_warned_of_recorded_and_in_the_report(tmp_path):
    folder_with_disks(tmp_path)
    text = f'{DISK_OF_VMX}pciPassthru0.present = "TRUE"\nserial0.present = "TRUE"\n'
    (tmp_path / "vm.vmx").write_text(text)
    warned, work, dest = [], str(tmp_path / "work"), str(tmp_path / "report")
    for check in (True, False):
        api.carry_out(api.Fetch(api.FetchOptions((str(tmp_path / "vm.vmx"),), work)), api.Run(check=check, warn=warned.append))
    assert [words.partition(" ")[0] for words in warned] == ["source.passthrough"] * 2, "what is but an information is not warned of"
    carried_out(api.Report, api.ReportOptions(dest, api.Subject(work)))
    with open(os.path.join(dest, "report.json"), encoding="utf-8") as file:
        report = json.load(file)
    assert [concern["code"] for concern in report["concerns"]] == ["source.passthrough", "source.device"]
    with open(os.path.join(dest, "report.md"), encoding="utf-8") as file:
        page = file.read()
    assert "pcipassthru0" in page and "serial0" in page


def test_what_is_told_changes_nothing_of_which_vm_it_is(tmp_path):
    folder_with_disks(tmp_path)
    (tmp_path / "vm.vmx").write_text(DISK_OF_VMX)
    before = identified(tmp_path / "vm.vmx")
    (tmp_path / "vm.vmx").write_text(f'{DISK_OF_VMX}serial0.present = "TRUE"\n')
    assert identified(tmp_path / "vm.vmx") == before
