# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks without guests: every kind of VMDK through staging and conversion, and results that equal their source."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

SIZE = 8 << 20


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture
def raw(tmp_path):
    """A small disk with a boot sector, data, holes, and a VMDK descriptor where a prober would look."""
    path = tmp_path / "raw"
    content = bytearray(SIZE)
    content[510:512] = b"\x55\xaa"
    content[0:40] = b"# Disk DescriptorFile\nversion=1\nCID=1\n\0\0\0"
    content[1 << 20 : (1 << 20) + 70000] = os.urandom(70000)
    content[SIZE - 4096 :] = os.urandom(4096)
    path.write_bytes(content)
    return path


def cowd(raw: bytes) -> bytes:
    """A vmfsSparse extent: header, grain directory, grain tables, grains of 512 bytes (VMware's COWD layout as qemu reads it)."""
    sectors = len(raw) // 512
    tables = -(-sectors // 4096)
    directory, position = [], 4 + -(-tables * 4 // 512)
    grains, out = b"", []
    data_at = position + tables * 32
    for table in range(tables):
        directory.append(position + table * 32)
        entries = []
        for sector in range(table * 4096, (table + 1) * 4096):
            block = raw[sector * 512 : (sector + 1) * 512]
            if block.strip(b"\0"):
                entries.append(data_at + len(grains) // 512)
                grains += block
            else:
                entries.append(0)
        out.append(struct.pack("<4096I", *entries))
    head = struct.pack("<4sIIIIIII", b"COWD", 1, 3, sectors, 1, 4, tables, 0).ljust(2048, b"\0")
    return head + struct.pack(f"<{tables}I", *directory).ljust((position - 4) * 512, b"\0") + b"".join(out) + grains


def sesparse(raw: bytes) -> bytes:
    """A seSparse extent: constant and volatile header, 64-bit grain directory and tables, grains of 4 KiB, as qemu's block/vmdk.c reads them."""
    sectors, grain, per_table = len(raw) // 512, 8, 4096
    tables = -(-sectors // (per_table * grain))
    at = {"volatile": 1, "journal_header": 2, "journal": 4, "directory": 2052, "tables": 2053}
    at["bitmap"] = at["tables"] + tables * 64
    at["backmap"] = at["bitmap"] + 8
    at["grains"] = at["backmap"] + 8
    grains, entries = b"", []
    for number in range(tables * per_table):
        block = raw[number * 4096 : (number + 1) * 4096]
        if block.strip(b"\0"):
            index = len(grains) // 4096
            entries.append(0x3 << 60 | (index & 0xFFF) << 48 | index >> 12)
            grains += block
        else:
            entries.append(0)
    directory = [0x1 << 60 | number for number in range(tables)]
    head = struct.pack("<QQQQQQ4Q", 0xCAFEBABE, 0x0000000200000001, sectors, grain, 64, 0, 0, 0, 0, 0)
    head += struct.pack("<16Q", at["volatile"], 1, at["journal_header"], 2, at["journal"], 2048, at["directory"], 1, at["tables"], tables * 64,
                        at["bitmap"], 8, at["backmap"], 8, at["grains"], len(grains) // 512)  # fmt: skip
    out = bytearray(at["grains"] * 512)
    out[: len(head)] = head
    out[512:544] = struct.pack("<QQQQ", 0xCAFECAFE, 0, 0, 0)
    out[at["directory"] * 512 : at["directory"] * 512 + 8 * tables] = struct.pack(f"<{tables}Q", *directory)
    out[at["tables"] * 512 : at["tables"] * 512 + 8 * len(entries)] = struct.pack(f"<{len(entries)}Q", *entries)
    return bytes(out) + grains


def make(kind: str, raw: Path, folder: Path) -> Path:
    path = folder / "disk.vmdk"
    if kind == "vmfs":
        (folder / "disk-flat.vmdk").write_bytes(raw.read_bytes())
        path.write_text(
            f'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="vmfs"\nRW {SIZE // 512} VMFS "disk-flat.vmdk"\n'
        )
    elif kind == "vmfsSparse":
        (folder / "disk-delta.vmdk").write_bytes(cowd(raw.read_bytes()))
        path.write_text(
            f'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="vmfsSparse"\nRW {SIZE // 512} VMFSSPARSE "disk-delta.vmdk"\n'
        )
    elif kind == "seSparse":
        (folder / "disk-sesparse.vmdk").write_bytes(sesparse(raw.read_bytes()))
        path.write_text(
            f'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="seSparse"\n'
            f'RW {SIZE // 512} SESPARSE "disk-sesparse.vmdk"\n'
        )
    elif kind == "split in two":
        data = raw.read_bytes()
        for number, part in enumerate((data[: 3 << 20], data[3 << 20 :])):
            (folder / f"disk-f00{number + 1}.vmdk").write_bytes(bytes(512) + part)
        extents = f'RW {(3 << 20) // 512} FLAT "disk-f001.vmdk" 1\nRW {(5 << 20) // 512} FLAT "disk-f002.vmdk" 1\n'
        path.write_text(f'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="twoGbMaxExtentFlat"\n{extents}')
    elif kind == "streamed by a host":
        # qemu writes its tables' place into the header; a host, which does not know it before, writes a footer (as exports and OVAs have).
        data = bytearray(make("streamOptimized", raw, folder).read_bytes())
        head = bytes(data[:512])
        data[56:64] = b"\xff" * 8
        data += bytes(-len(data) % 512) + struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + head + bytes(512)
        path.write_bytes(data)
    else:
        run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", raw, path)
    return path


KINDS = [
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "streamOptimized",
    "streamed by a host",
    "vmfs",
    "vmfsSparse",
    "seSparse",
    "split in two",
]


IMAGES = {"raw": "raw", "qcow2": "qcow2", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi"}


def image(kind: str, raw: Path, folder: Path) -> Path:
    """A disk that is no VMDK, packed where the kind has a second part."""
    kind, dummy, packing = kind.partition(" in ")
    if kind == "device":
        loop = run("losetup", "--find", "--show", "--read-only", raw.rename(folder / "raw")).strip()
        return Path(loop)
    path = folder / f"disk.{kind}"
    run("qemu-img", "convert", "-f", "raw", "-O", IMAGES[kind], *(["-o", "force_size=on"] if kind == "vhd" else []), raw, path)
    if packing == "xz":
        run("xz", path)
        return path.with_name(f"{path.name}.xz")
    if packing:
        run(sys.executable, "-m", {"tar": "tarfile", "zip": "zipfile"}[packing], "-c", f"vm.{packing}", path.name, cwd=folder)
        return folder / f"vm.{packing}"
    return path


@pytest.mark.parametrize("kind", [*KINDS, *IMAGES, "device", "vhdx in zip", "vhd in tar", "raw in xz"])
def test_every_kind_of_disk_arrives_byte_for_byte(kind, raw, tmp_path, request):
    (tmp_path / "src").mkdir()
    (tmp_path / "expected").write_bytes(raw.read_bytes())
    path = make(kind, raw, tmp_path / "src") if kind in KINDS else image(kind, raw, tmp_path / "src")
    if kind == "device":
        request.addfinalizer(lambda: run("losetup", "--detach", path))
    else:
        raw.unlink()
    work = str(tmp_path / "work")
    looked = [harness.module(name, check=True, source=[str(path)], work_dir=work) for name in ("vmdk_fetch", "disk_flatten")]
    looked.append(harness.module("qemu_convert", check=True, source=[str(path)], work_dir=work, name="vm", dest=str(tmp_path / "out")))
    assert all(answer["changed"] for answer in looked) and not Path(work).exists(), looked
    answer = harness.module("vmdk_fetch", source=[str(path)], work_dir=work)
    assert answer["changed"] and answer["vm"]["disks"][0]["virtual_size"] == SIZE, answer
    assert not harness.module("vmdk_fetch", source=[str(path)], work_dir=work)["changed"]
    assert harness.module("disk_flatten", work_dir=work)["changed"] and not harness.module("disk_flatten", work_dir=work)["changed"]
    convert = {"work_dir": work, "name": "vm", "dest": str(tmp_path / "out"), "format": "raw"}
    (disk,) = harness.module("qemu_convert", **convert)["disks"]
    assert Path(disk["path"]).read_bytes() == (tmp_path / "expected").read_bytes()
    assert disk["content_digest"] == harness.content_digest(tmp_path / "expected")
    assert not harness.module("qemu_convert", **convert)["changed"]


def staged(raw: Path, tmp_path: Path) -> str:
    (tmp_path / "src").mkdir()
    work = str(tmp_path / "work")
    harness.module("vmdk_fetch", source=[str(make("monolithicSparse", raw, tmp_path / "src"))], work_dir=work)
    harness.module("disk_flatten", work_dir=work)
    return work


def test_a_result_that_a_vm_has_run_on_is_not_replaced(raw, tmp_path):
    convert = {"work_dir": staged(raw, tmp_path), "name": "vm", "dest": str(tmp_path / "out")}
    (disk,) = harness.module("qemu_convert", **convert)["disks"]
    assert harness.module("qemu_convert", **convert, compression="zstd")["changed"]  # untouched since, so it may be made anew
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", disk["path"])
    used = Path(disk["path"]).read_bytes()
    for more in ({}, {"compression": "zstd"}):
        refused = harness.module("qemu_convert", **convert, **more)
        assert refused.get("failed") and "migrate_overwrite" in refused["hint"] and Path(disk["path"]).read_bytes() == used
    assert harness.module("qemu_convert", **convert, overwrite=True)["changed"] and Path(disk["path"]).read_bytes() != used


@pytest.mark.parametrize(
    ("fmt", "compression"), [("qcow2", "none"), ("qcow2", "zstd"), ("qcow2", "zlib"), ("raw", "none"), ("vdi", "none")]
)
def test_every_format_and_compression(fmt, compression, raw, tmp_path):
    work = staged(raw, tmp_path)
    (disk,) = harness.module(
        "qemu_convert", work_dir=work, name="vm", dest=str(tmp_path / "out"), format=fmt, compression=compression, resize=["+8M"]
    )["disks"]
    info = json.loads(run("qemu-img", "info", "--output=json", "-f", fmt, disk["path"]))
    assert info["virtual-size"] == 2 * SIZE == disk["virtual_size"]
    if fmt == "qcow2":
        assert info["format-specific"]["data"]["compression-type"] == ("zstd" if compression == "zstd" else "zlib")
    run("qemu-img", "convert", "-f", fmt, "-O", "raw", disk["path"], tmp_path / "back")
    assert (tmp_path / "back").read_bytes()[:SIZE] == raw.read_bytes()
    assert not list((tmp_path / "out").glob("*.partial")) and (tmp_path / "out" / f"vm-disk0.{fmt}.manifest.json").exists()


@pytest.mark.parametrize(("fmt", "preallocation"), [("qcow2", "metadata"), ("qcow2", "falloc"), ("raw", "falloc"), ("raw", "full")])
def test_space_is_there_before_it_is_needed(fmt, preallocation, raw, tmp_path):
    wishes = {"format": fmt, "preallocation": preallocation, **({"cluster_size": 1 << 20} if fmt == "qcow2" else {})}
    arguments = {"work_dir": staged(raw, tmp_path), "name": "vm", "dest": str(tmp_path / "out"), **wishes}
    (disk,) = harness.module("qemu_convert", **arguments)["disks"]
    if preallocation != "metadata":
        assert os.stat(disk["path"]).st_blocks * 512 >= SIZE
    if fmt == "qcow2":
        info = json.loads(run("qemu-img", "info", "--output=json", "-f", fmt, disk["path"]))
        assert info["cluster-size"] == 1 << 20
    run("qemu-img", "convert", "-f", fmt, "-O", "raw", disk["path"], tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == raw.read_bytes()
    assert not harness.module("qemu_convert", **arguments)["changed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "raw", "compression": "zstd"}, "cannot be compressed"),
        ({"format": "raw", "preallocation": "metadata"}, "cannot be preallocated"),
        ({"compression": "zstd", "preallocation": "full"}, "cannot be preallocated"),
        ({"format": "raw", "cluster_size": 65536}, "cannot have clusters"),
        ({"cluster_size": 100000}, "cannot have clusters"),
        ({"resize": ["big"]}, "is not a size"),
        ({"resize": ["1M"]}, "never shrunk"),
        ({"name": " \t"}, "is not a name"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_written(arguments, words, raw, tmp_path):
    work = staged(raw, tmp_path)
    answer = harness.module("qemu_convert", **{"work_dir": work, "name": "vm", "dest": str(tmp_path / "out"), **arguments})
    assert answer["failed"] and words in answer["msg"] and answer["hint"] and not list((tmp_path / "out").glob("vm*"))


def test_a_name_that_reaches_elsewhere_stays_in_its_directory(raw, tmp_path):
    answer = harness.module("qemu_convert", work_dir=staged(raw, tmp_path), name="../x", dest=str(tmp_path / "out"))
    assert os.path.dirname(answer["disks"][0]["path"]) == str(tmp_path / "out") and not list(tmp_path.glob("*x*"))


def test_what_a_repair_has_grown_is_not_cut_off(raw, tmp_path):
    work = staged(raw, tmp_path)
    arguments = {"work_dir": work, "name": "vm", "dest": str(tmp_path / "out")}
    run("qemu-img", "resize", "-q", "-f", "qcow2", Path(work) / "disk0-overlay.qcow2", str(3 * SIZE))
    refused = harness.module("qemu_convert", **arguments, resize=["+8M"])
    assert refused["failed"] and "never shrunk" in refused["msg"] and "grow" in refused["hint"] and not list((tmp_path / "out").glob("vm*"))
    for wishes in ({}, {"resize": [str(3 * SIZE)]}):
        assert harness.module("qemu_convert", **arguments, **wishes)["disks"][0]["virtual_size"] == 3 * SIZE


def test_a_full_file_system_is_noticed_before_anything_is_written(raw, tmp_path):
    work, out = staged(raw, tmp_path), tmp_path / "out"
    out.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", out)
    try:
        answer = harness.module("qemu_convert", work_dir=work, name="vm", dest=str(out))
        assert answer["error_code"] == "not_enough_space" and "MiB are free" in answer["msg"] and not list(out.iterdir())
    finally:
        run("umount", out)


def test_flatten_can_make_a_standalone_copy(raw, tmp_path):
    work = staged(raw, tmp_path)
    copy = {"work_dir": work, "mode": "copy", "dest": str(tmp_path / "flat"), "format": "raw"}
    answer = harness.module("disk_flatten", **copy)
    assert answer["changed"] and Path(answer["disks"][0]["path"]).read_bytes() == raw.read_bytes()
    assert not harness.module("disk_flatten", **copy)["changed"]


def test_a_changed_source_is_staged_again(raw, tmp_path):
    work = staged(raw, tmp_path)
    source = tmp_path / "src" / "disk.vmdk"
    run("qemu-io", "-f", "vmdk", "-c", "write -P 7 2M 4k", source)
    assert harness.module("vmdk_fetch", source=[str(source)], work_dir=work)["changed"]
    assert harness.module("disk_flatten", work_dir=work)["changed"]


def test_a_source_in_use_is_refused_unless_accepted(raw, tmp_path):
    (tmp_path / "src").mkdir()
    path = make("monolithicFlat", raw, tmp_path / "src")
    with open(tmp_path / "src" / "disk-flat.vmdk", "r+b"):
        answer = harness.module("vmdk_fetch", source=[str(path)], work_dir=str(tmp_path / "work"))
        assert answer["error_code"] == "busy" and "in use" in answer["msg"]
        assert harness.module("vmdk_fetch", source=[str(path)], work_dir=str(tmp_path / "work"), accept=["source.busy"])["changed"]


def test_check_mode_tells_and_writes_nothing(raw, tmp_path):
    (tmp_path / "src").mkdir()
    source, work = [str(make("streamOptimized", raw, tmp_path / "src"))], str(tmp_path / "work")
    assert harness.module("vmdk_fetch", check=True, source=source, work_dir=work)["changed"]
    assert harness.module("disk_flatten", check=True, source=source, work_dir=work)["disks"][0]["virtual_size"] == SIZE
    answer = harness.module("qemu_convert", check=True, source=source, work_dir=work, name="vm", dest=str(tmp_path / "out"))
    assert answer["changed"] and answer["disks"][0]["path"].endswith("vm-disk0.qcow2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "src"]


def test_disk_info_describes(raw, tmp_path):
    (tmp_path / "src").mkdir()
    answer = harness.module("disk_info", source=[str(make("twoGbMaxExtentSparse", raw, tmp_path / "src"))])
    assert not answer["changed"] and answer["vm"]["disks"][0]["virtual_size"] == SIZE and answer["vm"]["disks"][0]["allocated"] > 0


def test_a_blank_disk_does_not_boot_and_says_so(tmp_path):
    run("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "blank.qcow2", "64M")
    answer = harness.module("boot_test", disks=[{"path": str(tmp_path / "blank.qcow2"), "format": "qcow2"}], dest=str(tmp_path), timeout=60)
    assert answer["error_code"] == "boot_failed" and "no boot loader" in answer["msg"], answer
    assert harness.module("boot_test", disks=[{"path": "/nowhere", "format": "raw"}], dest=str(tmp_path))["error_code"] == "invalid_input"
