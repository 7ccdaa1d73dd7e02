# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are no VMDK: what is read is what qemu wrote, what is damaged or reaches elsewhere is refused, and nothing else is touched."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imagelab import KINDS, MIB, SIZE, run, seen, sum_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, InvalidInput, MigrationError, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import image, qemu_img, vhdx
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source


@pytest.mark.parametrize("name", KINDS)
def test_every_format_shows_the_guests_bytes_to_the_last(images, content, tmp_path, name):
    before = (images / name).read_bytes()
    vm = open_source([str(images / name)])
    assert vm.disks[0].chain.virtual_size == SIZE and vm.disks[0].chain.files() == (str(images / name),)
    assert seen(images / name, tmp_path / "w") == content.read_bytes()
    assert (images / name).read_bytes() == before


def test_a_vhd_whose_maker_counts_by_geometry_keeps_its_end(images, content, tmp_path):
    """qemu takes the size of some makers' disks from cylinders, heads and sectors, and so cuts off what is after them."""
    for name in ("dynamic.vhd", "fixed.vhd"):
        data = bytearray((images / name).read_bytes())
        for at in (len(data) - 512, 0) if name.startswith("dynamic") else (len(data) - 512,):
            foot = data[at : at + 512]
            foot[28:32] = b"vbox"
            foot[56:60] = struct.pack(">HBB", 10, 4, 17)
            foot[64:68] = bytes(4)
            foot[64:68] = struct.pack(">I", ~sum(foot) & 0xFFFFFFFF)
            data[at : at + 512] = foot
        (tmp_path / name).write_bytes(data)
        assert seen(tmp_path / name, tmp_path / "w") == content.read_bytes()


@pytest.mark.parametrize("absolute", [False, True])
def test_a_chain_of_qcow2_is_followed_and_only_names_of_ours_are_opened(content, tmp_path, absolute):
    run("convert", "-f", "raw", "-O", "qcow2", content, tmp_path / "base.qcow2")
    expected = bytearray(content.read_bytes())
    last = tmp_path / "base.qcow2"
    for number in range(1, 6):
        top = tmp_path / f"snapshot-{number}.qcow2"
        run("create", "-f", "qcow2", "-F", "qcow2", "-b", last if absolute else last.name, top)
        subprocess.run(["qemu-io", "-c", f"write -P {number} {number}M 64k", top], check=True, capture_output=True)
        expected[number * MIB : number * MIB + 65536] = bytes([number]) * 65536
        last = top
    found = image.resolve(str(last))
    assert [os.path.basename(path) for path in found.files()] == [f"snapshot-{n}.qcow2" for n in range(5, 0, -1)] + ["base.qcow2"]
    assert seen(last, tmp_path / "w") == expected
    work = tmp_path / "w"
    assert len(list(work.glob("*-pin.qcow2"))) == 5
    for layer in (work / "overlay.qcow2", *work.glob("*-pin.qcow2")):
        node = json.loads(qemu_img.info(str(layer), "qcow2").backing.removeprefix("json:"))
        below = node["backing"]
        assert Path(node["file"]["filename"]).parent == work and (below is None or Path(below["file"]["filename"]).parent == work)


def test_a_chain_may_stand_on_a_raw_disk(content, tmp_path):
    (tmp_path / "base.img").write_bytes(content.read_bytes())
    run("create", "-f", "qcow2", "-F", "raw", "-b", "base.img", tmp_path / "top.qcow2")
    assert seen(tmp_path / "top.qcow2", tmp_path / "w") == content.read_bytes()


def qcow2_with(folder: Path, name: str, fmt: str = "raw") -> Path:
    """A qcow2 that names a parent, which need not be there."""
    run("create", "-f", "qcow2", "-u", "-F", fmt, "-b", name, folder / "top.qcow2", "1M")
    return folder / "top.qcow2"


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.qcow2", "a/b.qcow2", "nbd://localhost/x", "json:{}", "C:x", ".", ".."])
def test_a_parent_that_reaches_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(UnsafeInput, match="does not lie beside it") as caught:
        image.resolve(str(qcow2_with(tmp_path, name)))
    assert caught.value.hint


def test_a_raw_disk_on_which_a_guest_wrote_a_header_stays_a_raw_disk(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret" * 1000)
    header = qcow2_with(tmp_path, "secret").read_bytes()
    header += bytes(-len(header) % 512)
    (tmp_path / "disk.raw").write_bytes(header)
    assert image.resolve(str(tmp_path / "disk.raw")).links[0].header.format == "raw"
    (tmp_path / "disk.img").write_bytes(header)
    with pytest.raises(UnsafeInput, match="a guest may have written"):
        image.resolve(str(tmp_path / "disk.img"))


@pytest.mark.parametrize("name", ["disk.raw", "disk.img", "disk.dd", "disk.bin"])
def test_a_raw_disk_that_ends_within_a_sector_is_no_whole_copy(tmp_path, name):
    """qemu would fill up the last sector, and what was cut off the copy would be missed by the guest alone."""
    (tmp_path / name).write_bytes(bytes(MIB + 300))
    with pytest.raises(InvalidInput, match="not a multiple of 512") as caught:
        open_source([str(tmp_path / name)])
    assert "truncate" in caught.value.hint
    os.truncate(tmp_path / name, MIB + 512)
    assert open_source([str(tmp_path / name)]).disks[0].chain.virtual_size == MIB + 512


def test_links_and_cycles_are_refused(images, tmp_path):
    (tmp_path / "linked.qcow2").symlink_to(images / "disk.qcow2")
    with pytest.raises(UnsafeInput, match="not a regular file"):
        image.resolve(str(tmp_path / "linked.qcow2"))
    with pytest.raises(InvalidInput, match="does not end"):
        image.resolve(str(qcow2_with(tmp_path, "top.qcow2", "qcow2")))
    with pytest.raises(InvalidInput, match="does not exist"):
        image.resolve(str(qcow2_with(tmp_path, "gone.raw")))


def patched(source: Path, target: Path, *patches: tuple[int, bytes]) -> str:
    data = bytearray(source.read_bytes())
    for at, value in patches:
        at += len(data) if at < 0 else 0
        data[at : at + len(value)] = value
    target.write_bytes(data)
    return str(target)


QCOW2 = [
    ((4, struct.pack(">I", 1)), "qcow image of version 1"),
    ((32, struct.pack(">I", 2)), "encrypted"),
    ((20, struct.pack(">I", 40)), "impossible cluster size"),
    ((24, struct.pack(">Q", 0)), "impossible size"),
    ((24, struct.pack(">Q", 1 << 50)), "impossible table size"),
    ((40, struct.pack(">Q", 1 << 50)), "impossible table offset"),
    ((48, struct.pack(">Q", 1)), "impossible reference count"),
    ((8, struct.pack(">QI", 1 << 40, 8)), "parent's name"),
    ((72, struct.pack(">Q", 2)), "corrupt"),
    ((72, struct.pack(">Q", 4)), "another file"),
    ((72, struct.pack(">Q", 1 << 40)), "not known"),
    ((0, b"QFI\0"), "is not a qcow2 image"),
]


@pytest.mark.parametrize(("patch", "words"), QCOW2)
def test_a_qcow2_that_cannot_be_is_refused(images, tmp_path, patch, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        image.resolve(patched(images / "disk.qcow2", tmp_path / "bad.qcow2", patch))
    assert caught.value.hint


VDI = [
    ((64, bytes(4)), "is not a VDI"),
    ((68, struct.pack("<I", 2 << 16)), "version 2"),
    ((76, struct.pack("<I", 4)), "snapshot of another VDI"),
    ((440, b"\1" * 16), "snapshot of another VDI"),
    ((340, struct.pack("<I", 1 << 31)), "table offset"),
    ((368, struct.pack("<Q", 1 << 60)), "impossible size"),
    ((376, struct.pack("<I", 4096)), "block size"),
    ((388, struct.pack("<I", 1 << 30)), "number of blocks"),
    ((512, struct.pack("<I", 1 << 30)), "impossible table"),
]


@pytest.mark.parametrize(("patch", "words"), VDI)
def test_a_vdi_that_cannot_be_is_refused(images, tmp_path, patch, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        image.resolve(patched(images / "dynamic.vdi", tmp_path / "bad.vdi", patch))
    assert caught.value.hint


def with_footer(source: Path, target: Path, at: int, value: bytes) -> str:
    foot = bytearray(source.read_bytes()[-512:])
    foot[at : at + len(value)] = value
    foot[64:68] = sum_of(foot, 64)
    return patched(source, target, (-512, bytes(foot)))


def with_header(source: Path, target: Path, at: int, value: bytes) -> str:
    head = bytearray(source.read_bytes()[512:1536])
    head[at : at + len(value)] = value
    head[36:40] = sum_of(head, 36)
    return patched(source, target, (512, bytes(head)))


VHD = [
    (with_footer, 0, b"conectxx", "is not a VHD"),
    (with_footer, 48, struct.pack(">Q", 0), "impossible size"),
    (with_footer, 48, struct.pack(">Q", 1 << 45), "impossible size"),
    (with_footer, 60, struct.pack(">I", 4), "parent's name"),
    (with_footer, 60, struct.pack(">I", 9), "impossible type"),
    (with_footer, 84, b"\1", "saved state"),
    (with_footer, 12, struct.pack(">I", 2 << 16), "impossible version"),
    (with_header, 0, b"cxsparsx", "dynamic disk header"),
    (with_header, 16, struct.pack(">Q", 1 << 40), "table offset"),
    (with_header, 28, struct.pack(">I", 1), "table size"),
    (with_header, 32, struct.pack(">I", 12345), "block size"),
]


@pytest.mark.parametrize(("change", "at", "value", "words"), VHD)
def test_a_vhd_that_cannot_be_is_refused(images, tmp_path, change, at, value, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        image.resolve(change(images / "dynamic.vhd", tmp_path / "bad.vhd", at, value))
    assert caught.value.hint


def test_a_vhd_whose_sums_or_blocks_are_wrong_is_refused(images, tmp_path):
    with pytest.raises(InvalidInput, match="checksum"):
        image.resolve(patched(images / "dynamic.vhd", tmp_path / "bad.vhd", (-512 + 24, b"\1")))
    table = struct.unpack_from(">Q", (images / "dynamic.vhd").read_bytes(), 512 + 16)[0]
    with pytest.raises(InvalidInput, match="block allocation table"):
        image.resolve(patched(images / "dynamic.vhd", tmp_path / "bad.vhd", (table, struct.pack(">I", 1 << 30))))
    with pytest.raises(InvalidInput, match="impossible size"):
        image.resolve(with_footer(images / "fixed.vhd", tmp_path / "bad.vhd", 48, struct.pack(">Q", SIZE + 512)))


def sealed(source: Path, target: Path, place: int, length: int, at: int, value: bytes) -> str:
    """A VHDX with other bytes in a structure whose checksum is right again; the other copy is taken away."""
    data = bytearray(source.read_bytes())
    for copy in {65536: (65536, 131072), 196608: (196608, 262144)}[place]:
        part = bytearray(data[copy : copy + length])
        part[at : at + len(value)] = value
        part[4:8] = bytes(4)
        part[4:8] = struct.pack("<I", vhdx._crc32c(bytes(part)))
        data[copy : copy + length] = part
    target.write_bytes(data)
    return str(target)


def test_the_sum_of_vhdx_is_the_castagnoli_one():
    """The check value that RFC 3720 and the catalogue of parametrised CRC algorithms give."""
    assert vhdx._crc32c(b"123456789") == 0xE3069283 and vhdx._crc32c(bytes(32)) == 0x8A9136AA


def test_a_vhdx_that_was_not_closed_is_refused(images, tmp_path):
    bad = sealed(images / "dynamic.vhdx", tmp_path / "bad.vhdx", 65536, 4096, 48, b"\7" * 16)
    with pytest.raises(InvalidInput, match="not closed cleanly") as caught:
        image.resolve(bad)
    assert "Mount-VHD" in caught.value.hint


def metadata_of(path: Path) -> int:
    data = path.read_bytes()
    for number in range(2):
        guid, offset, dummy = struct.unpack_from("<16sQI", data, 196608 + 16 + 32 * number)
        if guid == vhdx._METADATA.bytes_le:
            return offset
    raise AssertionError("no metadata")


def item_of(path: Path, kind) -> int:
    data, base = path.read_bytes(), metadata_of(path)
    for number in range(5):
        guid, offset, dummy = struct.unpack_from("<16sII", data, base + 32 + 32 * number)
        if guid == kind.bytes_le:
            return base + offset
    raise AssertionError("no item")


def test_a_vhdx_that_cannot_be_is_refused(images, tmp_path):
    source, target = images / "dynamic.vhdx", tmp_path / "bad.vhdx"
    bat = next(
        offset
        for guid, offset, dummy in (struct.unpack_from("<16sQI", source.read_bytes(), 196608 + 16 + 32 * number) for number in range(2))
        if guid == vhdx._BAT.bytes_le
    )
    cases = [
        (patched(source, tmp_path / "0.vhdx", (0, b"vhdxfilx")), "is not a VHDX"),
        (patched(source, tmp_path / "1.vhdx", (65536 + 12, b"\7"), (131072 + 12, b"\7")), "checksum"),
        (patched(source, tmp_path / "2.vhdx", (196608 + 9, b"\7"), (262144 + 9, b"\7")), "region table"),
        (sealed(source, tmp_path / "3.vhdx", 196608, 65536, 32, struct.pack("<Q", 1 << 50)), "region"),
        (patched(source, tmp_path / "4.vhdx", (metadata_of(source), b"metadatx")), "metadata table"),
        (patched(source, tmp_path / "5.vhdx", (metadata_of(source) + 32 + 16, struct.pack("<I", 1 << 30))), "metadata table"),
        (patched(source, tmp_path / "6.vhdx", (item_of(source, vhdx._PARAMETERS) + 4, b"\2")), "metadata table"),
        (patched(source, tmp_path / "7.vhdx", (item_of(source, vhdx._SECTOR), struct.pack("<I", 4096))), "sectors of 4096"),
        (patched(source, tmp_path / "8.vhdx", (item_of(source, vhdx._SIZE), struct.pack("<Q", 0))), "impossible size"),
        (patched(source, tmp_path / "9.vhdx", (item_of(source, vhdx._SIZE), struct.pack("<Q", 1 << 46))), "block allocation table"),
        (patched(source, tmp_path / "a.vhdx", (item_of(source, vhdx._PARAMETERS), struct.pack("<I", 3 << 20))), "block size"),
        (patched(source, tmp_path / "b.vhdx", (bat, struct.pack("<Q", 1 << 40 | 6))), "block allocation table"),
        (patched(source, tmp_path / "c.vhdx", (bat, struct.pack("<Q", 1 << 20 | 7))), "block allocation table"),
    ]
    target.write_bytes(source.read_bytes()[:70000])
    for path, words in [*cases, (str(target), "ends before byte")]:
        with pytest.raises(InvalidInput, match=words) as caught:
            image.resolve(path)
        assert caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=150)
@given(
    name=st.sampled_from(["disk.qcow2", "dynamic.vhd", "fixed.vhd", "dynamic.vhdx", "dynamic.vdi"]),
    places=st.lists(
        st.tuples(st.sampled_from([0, 512, 65536, 131072, 196608, 2 * MIB, -512]), st.integers(0, 700), st.binary(min_size=1, max_size=8))
    ),
    keep=st.one_of(st.none(), st.integers(0, 300_000)),
)
def test_damaged_bytes_are_an_error_or_a_disk(images, tmp_path, name, places, keep):
    data = bytearray((images / name).read_bytes()[: 4 * MIB])
    for base, at, value in places:
        at = max(0, base + at + (len(data) if base < 0 else 0))
        data[at : at + len(value)] = value
    path = tmp_path / f"bad{os.path.splitext(name)[1]}"
    path.write_bytes(bytes(data[:keep]))
    try:
        assert image.resolve(str(path)).virtual_size > 0
    except MigrationError as error:
        assert error.hint


def test_what_is_in_use_is_refused(images):
    found = image.resolve(str(images / "disk.qcow2"))
    found.check_idle()
    with open(images / "disk.qcow2", "r+b"), pytest.raises(Busy):
        found.check_idle()


def test_a_mixed_or_unknown_source_says_what_there_is(images, tmp_path):
    vm = open_source([str(images / "disk.qcow2"), str(images / "dynamic.vhd")])
    assert [disk.chain.virtual_size for disk in vm.disks] == [SIZE, SIZE]
    (tmp_path / "disk.iso").write_bytes(bytes(512))
    with pytest.raises(InvalidInput, match="an unknown kind") as caught:
        open_source([str(tmp_path / "disk.iso")])
    assert ".vhdx" in caught.value.hint


def test_real_images_of_other_makers(tmp_path):
    """Where the folder of real data is present."""
    import bz2

    folder = Path(__file__).resolve().parents[5] / "shared" / "data" / "disks"
    if not folder.exists():
        pytest.skip("no real data here")
    for name, fmt in (("hyperv2012r2-dynamic.vhd", "vpc"), ("iotest-dynamic-1G.vhdx", "vhdx")):
        (tmp_path / name).write_bytes(bz2.decompress((folder / f"{name}.bz2").read_bytes()))
        found = image.resolve(str(tmp_path / name))
        assert found.links[0].header.format == fmt
        top, dummy = found.stage(str(tmp_path), name)
        qemu_img.create_overlay(str(tmp_path / "overlay.qcow2"), top, fmt, found.virtual_size)
        run("compare", "-f", "qcow2", "-F", fmt, tmp_path / "overlay.qcow2", tmp_path / name)
