# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs in archives: what arrives is what was packed, and nothing leaves the directory, whatever the archive says."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import os
import random
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import atomic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import (
    InvalidInput,
    MigrationError,
    NotEnoughSpace,
    UnsafeInput,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity, Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import archive
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import fetch
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access

MIB = 1 << 20
DISK = random.Random(1).randbytes(70_000).ljust(3 * MIB, b"\0") + b"end".rjust(512, b"\0")


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


MAKERS = {
    "vm.tar": lambda at: tarred(at, {"./image/disk.raw": DISK, "README": b"no"}),
    "vm.tar.gz": lambda at: tarred(at, {"disk.raw": DISK}, "w:gz"),
    "vm.tgz": lambda at: tarred(at, {"disk.raw": DISK}, "w:gz"),
    "vm.tar.xz": lambda at: tarred(at, {"disk.raw": DISK}, "w:xz"),
    "vm.tar.bz2": lambda at: tarred(at, {"disk.raw": DISK}, "w:bz2"),
    "vm.zip": lambda at: zipped(at, {"disk.raw": DISK, "notes.txt": b"no", "folder/": b""}),
    "disk.raw.gz": lambda at: written(at, gzip.compress(DISK)),
    "disk.raw.xz": lambda at: written(at, lzma.compress(DISK)),
    "disk.raw.bz2": lambda at: written(at, bz2.compress(DISK)),
    "outer.zip": lambda at: zipped(at, {"inner.tar.gz": tarred(at.with_suffix(".tmp"), {"disk.raw": DISK}, "w:gz").read_bytes()}),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_disk_arrives_with_holes_once(tmp_path, name):
    path = MAKERS[name](tmp_path / name)
    assert archive.packed([str(path)])
    found = archive.unpack(str(path), str(tmp_path / "w"), Silent())
    assert os.path.basename(found) == "disk.raw" and Path(found).read_bytes() == DISK
    assert os.stat(found).st_blocks * 512 < 2 * MIB
    stamp = os.stat(found).st_mtime_ns
    assert archive.unpack(str(path), str(tmp_path / "w"), Silent()) == found and os.stat(found).st_mtime_ns == stamp
    MAKERS[name](path)
    os.utime(path, ns=(1, 1))
    assert archive.unpack(str(path), str(tmp_path / "w"), Silent()) == found and os.stat(found).st_mtime_ns != stamp


def test_disks_may_be_packed_one_by_one(tmp_path):
    paths = [str(written(tmp_path / "plain.raw", DISK)), *(str(MAKERS[name](tmp_path / name)) for name in ("disk.raw.gz", "vm.tar.xz"))]
    assert archive.packed(paths) and not archive.packed(paths[:1])
    found = archive.unpacked(paths, str(tmp_path / "w"), Silent())
    assert found == [paths[0], *(str(tmp_path / "w" / number / "disk.raw") for number in "12")]
    assert all(Path(path).read_bytes() == DISK for path in found)


def test_a_stream_that_ends_in_its_header_is_damaged(tmp_path):
    path = written(tmp_path / "vm.tar.gz", MAKERS["vm.tar.gz"](tmp_path / "whole").read_bytes()[:3])
    with pytest.raises(InvalidInput, match="cannot be unpacked"):
        archive.unpack(str(path), str(tmp_path / "w"), Silent())


def test_a_description_comes_before_its_disks_and_a_child_before_its_parent(tmp_path):
    path = zipped(tmp_path / "vm.zip", {"web/web.vmx": b"x", "web/web.vmdk": b"x", "web/web-flat.vmdk": b"x", "web/web.nvram": b"x"})
    found = archive.unpack(str(path), str(tmp_path / "w"), Silent())
    assert found.endswith("web/web.vmx") and sorted(os.listdir(tmp_path / "w/web")) == ["web-flat.vmdk", "web.nvram", "web.vmdk", "web.vmx"]
    (tmp_path / "base.raw").write_bytes(DISK[:MIB])
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", "top.qcow2"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    path = zipped(tmp_path / "chain.zip", {name: (tmp_path / name).read_bytes() for name in ("base.raw", "top.qcow2")})
    found = archive.unpack(str(path), str(tmp_path / "c"), Silent())
    assert found.endswith("top.qcow2")


@pytest.mark.parametrize("name", ["/etc/disk.raw", "../disk.raw", "a/../../disk.raw", "a\\disk.raw", "a\ndisk.raw"])
@pytest.mark.parametrize("make", [tarred, zipped])
def test_names_that_reach_elsewhere_are_refused(tmp_path, make, name):
    path = make(tmp_path / ("vm.tar" if make is tarred else "vm.zip"), {name: DISK})
    with pytest.raises(UnsafeInput, match="reaches elsewhere"):
        archive.unpack(str(path), str(tmp_path / "w"), Silent())
    assert not [file for file in (tmp_path / "w").rglob("*") if file.is_file()]


def test_links_and_devices_of_an_archive_are_never_made(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "vm.tar", "w") as made:
            info = tarfile.TarInfo("disk.raw")
            info.type, info.linkname = kind, "/etc/passwd"
            made.addfile(info)
        with pytest.raises(UnsafeInput, match="not a plain file"):
            archive.unpack(str(tmp_path / "vm.tar"), str(tmp_path / "w"), Silent())
        assert os.listdir(tmp_path / "w") == []


def nested(folder: Path) -> Path:
    data, name = DISK, "disk.raw"
    for number in range(5):
        data, name = zipped(folder / "tmp", {name: data}).read_bytes(), f"{number}.zip"
    return written(folder / "vm.zip", data)


def encrypted(folder: Path) -> Path:
    data = bytearray(zipped(folder / "vm.zip", {"disk.raw": DISK}).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return written(folder / "vm.zip", bytes(data))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: tarred(at / "vm.tar", {"a.raw": DISK, "b.img": DISK}), "a.raw, b.img"),
        (lambda at: tarred(at / "vm.tar", {"notes.txt": b""}), "nothing that is a VM"),
        (lambda at: written(at / "vm.zip", b"PK nothing"), "cannot be unpacked"),
        (lambda at: written(at / "disk.raw.xz", lzma.compress(DISK)[:-30]), "cannot be unpacked"),
        (lambda at: written(at / "disk.raw.gz", gzip.compress(DISK)[:-30]), "cannot be unpacked"),
        (lambda at: written(at / "vm.tgz", tarred(at / "x", {"disk.raw": DISK}, "w:gz").read_bytes()[:-5000]), "cannot be unpacked"),
        (lambda at: tarred(at / "vm.tar", {"disk.raw": DISK, "disk.raw/disk.raw": DISK}), "cannot be unpacked"),
        (nested, "archives in archives"),
        (encrypted, "cannot be unpacked"),
    ],
)
def test_what_is_damaged_or_ambiguous_is_refused_with_a_remedy(tmp_path, make, words):
    path = make(tmp_path)
    with pytest.raises(InvalidInput, match=words) as caught:
        archive.unpack(str(path), str(tmp_path / "w"), Silent())
    assert caught.value.hint and not (tmp_path / "w" / "unpacked.json").exists()


def test_too_many_members_and_a_full_disk_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MEMBERS", 5)
    path = tarred(tmp_path / "vm.tar", {f"{number}.txt": b"" for number in range(6)})
    with pytest.raises(InvalidInput, match="more than 5 members"):
        archive.unpack(str(path), str(tmp_path / "w"), Silent())

    def full(directory, size, what):
        raise NotEnoughSpace(f"{what} needs more", "Free space.")

    monkeypatch.setattr(atomic, "need_space", full)
    path = tarred(tmp_path / "vm.tar", {"disk.raw": DISK})
    with pytest.raises(NotEnoughSpace):
        archive.unpack(str(path), str(tmp_path / "w"), Silent())
    assert not list((tmp_path / "w").rglob("*.raw"))


@functools.cache
def packed(name: str) -> bytes:
    """An archive, which is made once."""
    with tempfile.TemporaryDirectory() as folder:
        return MAKERS[name](Path(folder) / name).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    name=st.sampled_from(["vm.tar", "vm.tar.gz", "vm.zip", "disk.raw.xz"]),
    at=st.integers(0, 80_000),
    value=st.binary(min_size=1, max_size=4),
    keep=st.integers(0, 80_000),
)
def test_damaged_bytes_are_an_error_or_a_disk(tmp_path_factory, name, at, value, keep):
    folder = tmp_path_factory.mktemp("damage")
    data = bytearray(packed(name))
    data[at % len(data) : at % len(data) + len(value)] = value
    (folder / name).write_bytes(bytes(data[: max(keep, 1)]))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(archive, "_LOOK", MIB)
        try:
            assert archive.unpack(str(folder / name), str(folder / "w"), Silent())
        except MigrationError as error:
            assert error.hint


def test_one_archive_twice_is_refused_before_it_is_unpacked(tmp_path):
    path = MAKERS["disk.raw.gz"](tmp_path / "disk.raw.gz")
    (tmp_path / "link.raw.gz").symlink_to(path)
    os.link(path, tmp_path / "hard.raw.gz")
    plain = written(tmp_path / "plain.raw", DISK)
    for other in (path, tmp_path / "link.raw.gz", tmp_path / "hard.raw.gz"):
        paths = [str(plain), str(path), str(other)]
        with pytest.raises(InvalidInput, match="one disk twice"):
            archive.unpacked(paths, str(tmp_path / "w"), Silent())
        for check in (True, False):
            with pytest.raises(InvalidInput, match="one disk twice"):
                more = {"check": check, "stay": False, "expected": VmId("", ""), "admit": lambda dummy: None}
                fetch.fetch(paths, Access(verify=True), str(tmp_path / "work"), {"source": paths, "verify": True}, Silent(), **more)
    with pytest.raises(InvalidInput, match="one disk twice"):
        archive.unpacked([str(path), str(plain), str(plain)], str(tmp_path / "w"), Silent())
    assert not (tmp_path / "w").exists() and not (tmp_path / "work").exists()


def test_two_archives_with_one_content_are_two_disks(tmp_path):
    paths = [str(MAKERS["disk.raw.gz"](tmp_path / f"{name}.raw.gz")) for name in "ab"]
    assert len(set(archive.unpacked(paths, str(tmp_path / "w"), Silent()))) == 2


@pytest.mark.parametrize("way", ["path", "all", "dots", "symbolic", "hard", "directory", "unlisted"])
def test_a_record_that_leads_elsewhere_counts_for_nothing(tmp_path, way):
    path = tarred(tmp_path / "vm.tar", {"a/disk.raw": DISK})
    work = str(tmp_path / "w")
    found = archive.unpack(str(path), work, Silent())
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    other = written(tmp_path / "elsewhere" / "a" / "disk.raw", b"another".ljust(512, b"x"))
    record = Manifest.load(f"{work}/{archive.RECORD}", "unpack")
    named = {"dots": f"{work}/../elsewhere/a/disk.raw", "path": str(other), "all": str(other), "unlisted": f"{work}/made.list"}.get(
        way, found
    )
    if way in ("symbolic", "hard"):
        os.unlink(found)
        (os.symlink if way == "symbolic" else os.link)(other, found)
    if way == "directory":
        os.unlink(found)
        os.rmdir(os.path.dirname(found))
        os.symlink(other.parent, os.path.dirname(found))
    outputs = record.outputs if way in ("path", "unlisted") else (replace(Identity.of(named), path=named),)
    replace(record, outputs=outputs, result={"path": named}).save(f"{work}/{archive.RECORD}")
    if way == "directory":  # nothing of ours is there to be cleared, and nothing goes through it
        with pytest.raises(InvalidInput):
            archive.unpack(str(path), work, Silent())
    else:
        assert archive.unpack(str(path), work, Silent()) == found and Path(found).read_bytes() == DISK
    assert other.read_bytes().startswith(b"another")


def test_a_record_below_a_link_to_the_work_directory_counts(tmp_path):
    path = tarred(tmp_path / "vm.tar", {"a/disk.raw": DISK})
    (tmp_path / "real").mkdir()
    (tmp_path / "w").symlink_to(tmp_path / "real")
    found = archive.unpack(str(path), str(tmp_path / "w"), Silent())
    stamp = os.stat(found).st_mtime_ns
    assert archive.unpack(str(path), str(tmp_path / "w"), Silent()) == found and os.stat(found).st_mtime_ns == stamp


@pytest.mark.parametrize("make", [tarred, zipped])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/".join(["d"] * 990 + ["disk.raw"]), "directories deep"),
        ("/".join(["d"] * 64 + ["disk.raw"]), "directories deep"),
        ("n" * 252 + ".raw", "longer name"),
        ("/".join(["n" * 200] * 22 + ["disk.raw"]), "longer name"),
        *((f"{place}{name}/x.raw", "record") for place in ("", "a/") for name in ("unpacked.json", "unpacked.json.partial", "made.list", "made.list.partial")),
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_there_is_refused_with_true_words(tmp_path, make, name, words):
    path = make(tmp_path / ("vm.tar" if make is tarred else "vm.zip"), {name: DISK})
    with pytest.raises(InvalidInput, match=words) as caught:
        archive.unpack(str(path), str(tmp_path / "w"), Silent())
    assert "Unpack it" in caught.value.hint and len(caught.value.msg) < 600
    assert not [file for file in (tmp_path / "w").rglob("*") if file.is_file()]


def test_a_member_that_is_deep_enough_is_taken(tmp_path):
    path = tarred(tmp_path / "vm.tar", {"/".join(["d"] * 63 + ["disk.raw"]): DISK})
    assert Path(archive.unpack(str(path), str(tmp_path / "w"), Silent())).read_bytes() == DISK


LITTER = (
    "._a.vmdk",
    "./._a.vmx",
    "__MACOSX/._a.vmx",
    "__MACOSX/vm/a.vmdk",
    "vm/.a.vmx",
    "@eaDir/a.vmdk/a.vmdk",
    "#recycle/old.vmx",
    "lost+found/old.raw",
    "$RECYCLE.BIN/old.zip",
    "System Volume Information/a.vmdk",
    "..._/../__macosx/a.vmx",
)


@pytest.mark.parametrize("make", [tarred, zipped])
def test_what_systems_leave_beside_files_is_no_part_of_a_vm(tmp_path, make):
    members = {**dict.fromkeys(LITTER, b"AppleDouble"), "a.vmdk": b"disk", ".vms/vm/a.vmx": b"a dot on the way to a VM hides nothing of it"}
    archive.unpack(
        str(make(tmp_path / "vm", members).rename(tmp_path / f"vm{'.zip' if make is zipped else '.tar'}")), str(tmp_path / "to"), Silent()
    )
    found = {str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert found - {archive.RECORD, archive.made.LIST} == {"a.vmdk", ".vms/vm/a.vmx"}


def test_a_link_among_the_litter_makes_no_archive_hostile(tmp_path):
    with tarfile.open(tarred(tmp_path / "vm.tar", {"disk.raw": DISK}), "a") as made:
        info = tarfile.TarInfo("._disk.raw")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(info)
    assert archive.unpack(str(tmp_path / "vm.tar"), str(tmp_path / "to"), Silent()).endswith("/disk.raw")


def test_litter_counts_as_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MEMBERS", 3)
    with pytest.raises(InvalidInput, match="more than 3 members"):
        archive.unpack(
            str(tarred(tmp_path / "vm.tar", dict.fromkeys(("._a", "._b", "._c", "a.raw"), b"x"))), str(tmp_path / "to"), Silent()
        )


def test_a_compressed_disk_may_be_hidden_itself(tmp_path):
    path = written(tmp_path / ".disk.raw.gz", gzip.compress(DISK))
    assert Path(archive.unpack(str(path), str(tmp_path / "to"), Silent())).read_bytes() == DISK
