# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that is written to, or swapped, while it is read: refused by the name of the file, and never a byte of another file in the result."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_disks import make

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import held
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MigrationError, SourceChanged
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import convert, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.request import Request
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

SIZE = 8 << 20
SECRET = b"what only the host may read " * 4096


def run(*argv: object, cwd: Path | None = None) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, cwd=cwd).stdout


@pytest.fixture
def raw(tmp_path):
    """A disk, as `make` takes one."""
    return harness.sparse(tmp_path / "raw", SIZE, 0, 1 << 20, SIZE - 4096)


def single(kind: str):
    def built(raw: Path, folder: Path) -> tuple[Path, Path]:
        return (made := make(kind, raw, folder)), made

    return built


def extents(raw: Path, folder: Path) -> tuple[Path, Path]:
    return make("split in two", raw, folder), folder / "disk-f002.vmdk"


def flat(raw: Path, folder: Path) -> tuple[Path, Path]:
    return make("monolithicFlat", raw, folder), folder / "disk-flat.vmdk"


def image(fmt: str, suffix: str):
    def built(raw: Path, folder: Path) -> tuple[Path, Path]:
        path = folder / f"disk.{suffix}"
        run("qemu-img", "convert", "-f", "raw", "-O", fmt, *(["-o", "force_size=on"] if fmt == "vpc" else []), raw, path)
        return path, path

    return built


def snapshot(raw: Path, folder: Path) -> tuple[Path, Path]:
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, folder / "base.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "top.qcow2", cwd=folder)
    return folder / "top.qcow2", folder / "base.qcow2"


def vmdk_snapshot(raw: Path, folder: Path) -> tuple[Path, Path]:
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, folder / "base.vmdk")
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", "top.vmdk", cwd=folder)
    return folder / "top.vmdk", folder / "base.vmdk"


def package(raw: Path, folder: Path) -> tuple[Path, Path]:
    disk = make("streamOptimized", raw, folder)
    (folder / "vm.ovf").write_text(
        '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">'
        f'<References><File ovf:id="f" ovf:href="{disk.name}"/></References><DiskSection><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="{SIZE}"/>'
        '</DiskSection><VirtualSystem ovf:id="vm"><VirtualHardwareSection xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/'
        'CIM_ResourceAllocationSettingData"><Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item><Item>'
        "<rasd:InstanceID>2</rasd:InstanceID><rasd:Parent>1</rasd:Parent><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ResourceType>17"
        "</rasd:ResourceType><rasd:HostResource>ovf:/disk/d</rasd:HostResource></Item></VirtualHardwareSection></VirtualSystem></Envelope>"
    )
    run("tar", "--format=ustar", "-cf", "vm.ova", "vm.ovf", disk.name, cwd=folder)
    return folder / "vm.ova", folder / "vm.ova"


# Each makes a source from a raw disk, and says which of its files is the victim.
SOURCES = {
    "a sparse VMDK": single("monolithicSparse"),
    "a VMDK of a host": flat,
    "the second extent": extents,
    "a streamed VMDK": single("streamed by a host"),
    "a parent of a VMDK": vmdk_snapshot,
    "a disk in a package": package,
    "a raw disk": image("raw", "raw"),
    "a qcow2": image("qcow2", "qcow2"),
    "a parent of a qcow2": snapshot,
    "a VHD": image("vpc", "vhd"),
    "a VHDX": image("vhdx", "vhdx"),
    "a VDI": image("vdi", "vdi"),
}


def write(victim: Path) -> None:
    """Some bytes; the time of the data is put back, as their owner can."""
    before = victim.stat()
    with open(victim, "r+b") as file:
        file.seek(victim.stat().st_size // 2)
        file.write(b"torn")
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))


def grow(victim: Path) -> None:
    with open(victim, "ab") as file:
        file.write(bytes(512))


def swap(victim: Path) -> None:
    """A file of the host in its place."""
    new = victim.with_name("new")
    new.write_bytes(SECRET.ljust(victim.stat().st_size, b"s"))
    os.replace(new, victim)


def link(victim: Path) -> None:
    """A link to a file of the host in its place."""
    secret = victim.with_name("secret")
    secret.write_bytes(SECRET.ljust(victim.stat().st_size, b"s"))
    victim.unlink()
    victim.symlink_to(secret)


def pipe(victim: Path) -> None:
    victim.unlink()
    os.mkfifo(victim)


def remove(victim: Path) -> None:
    victim.unlink()


ACTS = (write, grow, swap, link, pipe, remove)


def staged(source: Path, folder: Path) -> tuple[staging.Staging, str, Request]:
    work = str(folder / "work")
    with held.sources():
        vm = open_source([str(source)])
        staging.fetch(vm, [str(source)], work, {}, time.monotonic())
    base = staging.require_fetched(work)
    with staging.holding(base, work):
        (disk,) = staging.flatten(base.vm, work, base.inputs)
    return base, work, Request(disk.overlay, "qcow2", str(folder / "out" / "vm-disk0.raw"), "raw")


def content(folder: Path) -> bytes:
    """All that lies where results go."""
    return b"".join(path.read_bytes() for path in sorted((folder / "out").rglob("*")) if path.is_file())


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_changes_meanwhile_is_never_published(name, act, raw, tmp_path):
    (tmp_path / "src").mkdir()
    source, victim = SOURCES[name](raw, tmp_path / "src")
    base, work, request = staged(source, tmp_path)
    with pytest.raises(MigrationError) as failure, staging.holding(base, work) as unchanged:
        act(victim)
        convert.convert(request, base.inputs, Silent(), unchanged)
    # What was made unreadable on the way may be found by qemu itself; the rest is found when the files are compared.
    assert isinstance(failure.value, SourceChanged) or act in (write, grow), failure.value
    if isinstance(failure.value, SourceChanged):
        assert str(victim) in failure.value.msg
    assert content(tmp_path) == b"" and not os.path.exists(request.dest)


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_read_is_what_was_checked_though_the_directory_is_another_one_meanwhile(name, raw, tmp_path):
    folder, other = tmp_path / "src", tmp_path / "other"
    folder.mkdir()
    source, dummy = SOURCES[name](raw, folder)
    base, work, request = staged(source, tmp_path)
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(SECRET.ljust(path.stat().st_size, b"s"))
    with staging.holding(base, work) as unchanged:
        folder.rename(tmp_path / "away")
        other.rename(folder)

        def back() -> None:
            folder.rename(other)
            (tmp_path / "away").rename(folder)
            unchanged()

        done = convert.convert(request, base.inputs, Silent(), back)
    assert Path(request.dest).read_bytes() == raw.read_bytes() and done.content_digest == harness.content_digest(raw)


@pytest.mark.parametrize("act", [swap, link, write, grow, pipe, remove])
def test_a_source_that_changes_between_the_stages_is_refused(act, raw, tmp_path):
    (tmp_path / "src").mkdir()
    source, victim = extents(raw, tmp_path / "src")
    base, work, dummy = staged(source, tmp_path)
    time.sleep(0.01)
    act(victim)
    assert staging.fetched(work) is None
    with pytest.raises(MigrationError, match="disk-f002"), staging.holding(base, work):
        pass


@pytest.mark.parametrize("act", [swap, link, write])
def test_a_source_that_changes_while_it_is_checked_is_not_staged(act, raw, tmp_path):
    (tmp_path / "src").mkdir()
    source, victim = extents(raw, tmp_path / "src")
    with held.sources():
        vm = open_source([str(source)])
        act(victim)
        with pytest.raises(SourceChanged, match="disk-f002"):
            staging.fetch(vm, [str(source)], str(tmp_path / "work"), {}, time.monotonic())
    assert not (tmp_path / "work" / staging.FETCHED).exists()


def test_a_block_device_that_is_written_to_meanwhile_is_noticed(raw, tmp_path):
    with harness.loop_devices() as attached:
        device = attached(raw)
        base, work, request = staged(Path(device), tmp_path)
        with pytest.raises(SourceChanged, match=device), staging.holding(base, work) as unchanged:
            run("qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 7 4M 64k", device)
            convert.convert(request, base.inputs, Silent(), unchanged)
        assert content(tmp_path) == b""


def test_a_result_on_a_device_is_not_taken_for_whole_when_its_source_changed(raw, tmp_path):
    (tmp_path / "src").mkdir()
    source, victim = flat(raw, tmp_path / "src")
    base, work, request = staged(source, tmp_path)
    with harness.loop_devices() as attached:
        device = attached(harness.sparse(tmp_path / "room", SIZE))
        wish = Request(request.source, "qcow2", request.dest, "raw", device=device)
        with pytest.raises(SourceChanged), staging.holding(base, work) as unchanged:
            write(victim)
            convert.convert(wish, base.inputs, Silent(), unchanged)
        os.utime(victim)
        base, work, dummy = staged(source, tmp_path / "again")
        with staging.holding(base, work) as unchanged:
            convert.convert(wish, base.inputs, Silent(), unchanged)


def test_links_lead_to_names_again_and_a_killed_stage_leaves_none_that_matter(raw, tmp_path):
    (tmp_path / "src").mkdir()
    source, dummy = extents(raw, tmp_path / "src")
    base, work, request = staged(source, tmp_path)
    links = [path for path in Path(work).iterdir() if path.is_symlink()]
    assert links and all(os.readlink(path).startswith(str(tmp_path / "src")) for path in links)
    with staging.holding(base, work):
        assert all(os.readlink(path).startswith(f"/proc/{os.getpid()}/fd/") for path in links)
    for path in links:  # as after kill -9
        path.unlink()
        path.symlink_to("/proc/1/fd/0")
    with staging.holding(base, work) as unchanged:
        convert.convert(request, base.inputs, Silent(), unchanged)
    assert Path(request.dest).read_bytes() == raw.read_bytes()


def test_a_staging_of_an_earlier_version_is_taken_as_it_is(raw, tmp_path):
    (tmp_path / "src").mkdir()
    base, work, request = staged(extents(raw, tmp_path / "src")[0], tmp_path)
    os.unlink(os.path.join(work, staging.LINKS))
    with staging.holding(base, work) as unchanged:
        convert.convert(request, base.inputs, Silent(), unchanged)
    assert Path(request.dest).read_bytes() == raw.read_bytes()


def test_nothing_stays_open(raw, tmp_path):
    (tmp_path / "src").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    base, work, dummy = staged(extents(raw, tmp_path / "src")[0], tmp_path)
    with staging.holding(base, work):
        assert len(os.listdir("/proc/self/fd")) >= before + len(base.inputs)
    assert len(os.listdir("/proc/self/fd")) == before
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(work)
    assert Identity.of(str(raw)).holds()
