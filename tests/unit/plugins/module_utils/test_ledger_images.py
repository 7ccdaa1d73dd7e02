# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of disk images: what an image says beside its data, and what lies beside it, is used, refused or named by a concern."""

from __future__ import annotations

import os
import re
import struct
import uuid
from pathlib import Path

import pytest
from imagelab import MIB, Older, Snapshot, run
from test_vmdk_chain import descriptor, flat, sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concerns import CONCERNS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Blocked, InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import around, vhdx
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

ID = str(uuid.UUID(int=7))


def codes(path: Path) -> list[str]:
    vm = open_source([str(path)])
    assert all(
        concern.severity in (CONCERNS[concern.code].severity, CONCERNS[concern.code].otherwise.split(" ")[0]) for concern in vm.concerns
    )
    assert vm.said().concerns == vm.concerns
    return sorted(concern.code for concern in vm.concerns)


def qcow2(folder: Path, name: str = "web.qcow2", *more: str) -> Path:
    run("create", "-q", "-f", "qcow2", *more, folder / name, "4M")
    return folder / name


def patched(path: Path, at: int, data: bytes) -> Path:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)
    return path


def snapshotted(folder: Path) -> Path:
    run("snapshot", "-c", "before", qcow2(folder))
    return folder / "web.qcow2"


def with_bitmap(folder: Path) -> Path:
    run("bitmap", "--add", "-f", "qcow2", qcow2(folder), "backup")
    return folder / "web.qcow2"


def with_parent(folder: Path) -> Path:
    qcow2(folder, "base.qcow2")
    return qcow2(folder, "web.qcow2", "-b", "base.qcow2", "-F", "qcow2")


def encrypted(folder: Path) -> Path:
    (folder / "key").write_text("x")
    run("create", "-q", "--object", f"secret,id=s,file={folder / 'key'}", "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        folder / "web.qcow2", "4M")  # fmt: skip
    return folder / "web.qcow2"


def vmdk(folder: Path, **options: str) -> Path:
    return flat(folder, "web", **options)


def chained(folder: Path) -> Path:
    flat(folder, "web")
    return flat(folder, "web-000001", parent="00000001", cid="00000002", extra='parentFileNameHint="web.vmdk"')


def tracked(folder: Path) -> Path:
    """Changed block tracking: a bitmap of what was written, which no guest reads."""
    (folder / "web-ctk.vmdk").write_bytes(bytes(512))
    return vmdk(folder, extra='changeTrackPath="web-ctk.vmdk"')


def hosted(folder: Path, at: int = 0, data: bytes = b"", flags: int = 3) -> Path:
    (folder / "web.vmdk").write_bytes(sparse(flags=flags))
    return patched(folder / "web.vmdk", at, data) if data else folder / "web.vmdk"


def checkpoint(folder: Path) -> Path:
    run("create", "-q", "-f", "vhdx", folder / "base.vhdx", "38799872")
    with open(folder / "base.vhdx", "rb") as file:
        own = vhdx.read(file, "x").id
    (folder / "web.avhdx").write_bytes(Snapshot(folder / "base.vhdx", own, 1).bytes())
    return folder / "web.avhdx"


def changed(path: Path, kind: bytes, length: int, places: tuple[int, ...]) -> Path:
    """A VHDX of which one of its tables of regions or headers was changed by the test, with its sums made right."""
    data = bytearray(path.read_bytes())
    for at in places:
        part = data[at : at + length]
        part[4:8] = bytes(4)
        assert part[:4] == kind
        data[at + 4 : at + 8] = struct.pack("<I", vhdx._crc32c(bytes(part)))
    path.write_bytes(data)
    return path


def with_region(folder: Path, required: int) -> Path:
    run("create", "-q", "-f", "vhdx", folder / "web.vhdx", "4M")
    for at in (192 << 10, 256 << 10):
        patched(folder / "web.vhdx", at + 8, struct.pack("<I", 3))
        patched(folder / "web.vhdx", at + 16 + 64, uuid.UUID(ID).bytes_le + struct.pack("<QII", 9 * MIB, MIB, required))
    return changed(folder / "web.vhdx", b"regi", 64 << 10, (192 << 10, 256 << 10))


def with_item(folder: Path, required: int) -> Path:
    path = checkpoint(folder)
    patched(path, 3 * MIB + 10, struct.pack("<H", 7))
    return patched(path, 3 * MIB + 32 + 6 * 32, uuid.UUID(ID).bytes_le + struct.pack("<IIII", 0, 0, required << 2, 0))


def of_version(folder: Path) -> Path:
    run("create", "-q", "-f", "vhdx", folder / "web.vhdx", "4M")
    for at in (64 << 10, 128 << 10):
        patched(folder / "web.vhdx", at + 66, struct.pack("<H", 2))
    return changed(folder / "web.vhdx", b"head", 4 << 10, (64 << 10, 128 << 10))


def merging(folder: Path) -> Path:
    """While a merge writes a parent, its child knows both of its ids."""
    path = checkpoint(folder)
    with open(folder / "base.vhdx", "rb") as file:
        own = vhdx.read(file, "x").id
    made = Snapshot(folder / "base.vhdx", ID, 1)
    made.locator["parent_linkage2"] = f"{{{own}}}"
    path.write_bytes(made.bytes())
    return path


def differencing(folder: Path) -> Path:
    run("create", "-q", "-f", "vpc", "-o", "force_size=on,subformat=fixed", folder / "base.vhd", "38800896")
    own = str(uuid.UUID(bytes=(folder / "base.vhd").read_bytes()[-512:][68:84]))
    (folder / "web.avhd").write_bytes(Older(folder / "base.vhd", own, 1, True).bytes())
    return folder / "web.avhd"


def saved(folder: Path) -> Path:
    """A VHD with the byte of a saved state in its footer."""
    run("create", "-q", "-f", "vpc", "-o", "force_size=on,subformat=fixed", folder / "web.vhd", "4M")
    foot = bytearray((folder / "web.vhd").read_bytes()[-512:])
    foot[84], foot[64:68] = 1, bytes(4)
    foot[64:68] = struct.pack(">I", ~sum(foot) & 0xFFFFFFFF)
    return patched(folder / "web.vhd", (folder / "web.vhd").stat().st_size - 512, bytes(foot))


# What an image can say, by format, and what comes of it: codes of concerns, or words of a refusal. What a format cannot express is not there:
# raw files say nothing at all; VDI has no snapshots in an image, only parents; VHD, VHDX and VDI know no encryption (Windows' and VirtualBox's are in
# the guest and in the .vbox), and only qcow2 a second file of data.
KINDS = [
    ("qcow2, a snapshot inside", "qemu docs/interop/qcow2.txt, nb_snapshots", snapshotted, ["source.snapshots"]),
    ("qcow2, not closed", "qcow2.txt, incompatible feature 0", lambda folder: patched(qcow2(folder), 72, struct.pack(">Q", 1)), ["source.unclean"]),
    ("qcow2, bitmaps", "qcow2.txt, Bitmaps extension: no data of a guest", with_bitmap, []),
    ("qcow2, a parent", "qcow2.txt, backing_file_offset", with_parent, ["source.snapshots"]),
    ("qcow2, encrypted", "qcow2.txt, crypt_method", encrypted, "is encrypted"),
    ("qcow2, data elsewhere", "qcow2.txt, incompatible feature 2", lambda folder: qcow2(folder, "web.qcow2", "-o", f"data_file={folder}/d"), "in another file"),
    ("vmdk, a snapshot", "Virtual Disk Format 5.0, parentFileNameHint", chained, ["source.snapshots"]),
    ("vmdk, tracked", "Virtual Disk Format 5.0, Change Tracking File", tracked, []),
    ("vmdk, a parent without parentCID", "Virtual Disk Format 5.0, parentCID", lambda folder: vmdk(folder, extra='parentFileNameHint="x.vmdk"'), "has none"),
    ("vmdk, not closed", "Virtual Disk Format 5.0, uncleanShutdown", lambda folder: hosted(folder, 72, b"\1"), ["source.unclean"]),
    ("vmdk, as a text", "Virtual Disk Format 5.0, doubleEndLineChar", lambda folder: hosted(folder, 73, b"\n \n\0"), "line ends"),
    ("vmdk, whole", "Virtual Disk Format 5.0, doubleEndLineChar", lambda folder: hosted(folder, 73, b"\n \r\n"), []),
    ("vmdk, packed otherwise", "Virtual Disk Format 5.0, 4", lambda folder: hosted(folder, 77, b"\2\0", 3 | 1 << 16), r"compression \(method 2\)"),
    ("vmdk, encrypted", "VMware: encryption keys in the descriptor", lambda folder: vmdk(folder, extra='encryptionKeys="x"'), "is encrypted"),
    ("vmdk, a raw device", "VMware: VMFSRDM", lambda folder: patched(vmdk(folder), 0, descriptor('RW 2048 VMFSRDM "web-rdm.vmdk"').encode()), "raw device"),
    ("vhdx, a checkpoint", "[MS-VHDX] 2.6.2.6", checkpoint, ["source.snapshots"]),
    ("vhdx, a merge has begun", "[MS-VHDX] 2.6.2.6.3, parent_linkage2", merging, ["source.snapshots"]),
    ("vhdx, a region that must be known", "[MS-VHDX] 2.2.3.2", lambda folder: with_region(folder, 1), "region that is not known"),
    ("vhdx, a region that need not", "[MS-VHDX] 2.2.3.2", lambda folder: with_region(folder, 0), []),
    ("vhdx, metadata that must be known", "[MS-VHDX] 2.6.1.2", lambda folder: with_item(folder, 1), "metadata that is not known"),
    ("vhdx, metadata that need not", "[MS-VHDX] 2.6.1.2", lambda folder: with_item(folder, 0), ["source.snapshots"]),
    ("vhdx, another version", "[MS-VHDX] 2.2.2, Version", of_version, "version 2"),
    ("vhd, a differencing disk", "Virtual Hard Disk Image Format 1.0, Parent Unique ID", differencing, ["source.snapshots"]),
    ("vhd, saved state", "Virtual Hard Disk Image Format 1.0, Saved State", saved, "in saved state"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "where", "made", "want"), KINDS, ids=[kind[0] for kind in KINDS])
def test_whatever_an_image_says_is_used_refused_or_told(tmp_path, what, where, made, want):
    path = made(tmp_path)
    if isinstance(want, str):
        with pytest.raises((InvalidInput, UnsafeInput), match=want):
            open_source([str(path)])
    else:
        assert codes(path) == want


@pytest.mark.parametrize(
    ("made", "below", "last"),
    [
        (chained, "web.vmdk", "web-000001.vmdk"),
        (differencing, "base.vhd", "web.avhd"),
        (checkpoint, "base.vhdx", "web.avhdx"),
        (with_parent, "base.qcow2", "web.qcow2"),
    ],
)
def test_a_disk_that_another_image_goes_on_from_is_refused_unless_that_is_accepted(tmp_path, made, below, last):
    """The state before a snapshot is never what a VM would start from."""
    stem = os.path.splitext(below)[0]
    suffix = os.path.splitext(last)[1]
    name = last if last.startswith(stem) else f"{stem}_0a1b2c3d-0000-4000-8000-000000000001{suffix}"
    os.rename(made(tmp_path), tmp_path / name)
    vm = open_source([str(tmp_path / below)])
    with pytest.raises(Blocked, match=f"{re.escape(name)}.*source.newer-image"):
        vm.check_idle(())
    vm.check_idle(("source.newer-image",))
    assert codes(tmp_path / name) == ["source.snapshots"]


def test_what_only_looks_like_a_later_image_is_none(tmp_path):
    """Of another state of the disk, of another disk, damaged, or a link."""
    flat(tmp_path, "web")
    flat(tmp_path, "web-000001", parent="0000000f", cid="00000002", extra='parentFileNameHint="web.vmdk"')
    flat(tmp_path, "web-000002", parent="00000001", cid="00000002", extra='parentFileNameHint="other.vmdk"')
    (tmp_path / "web-000003.vmdk").write_text("x")
    (tmp_path / "web-000004.vmdk").symlink_to("/dev/zero")
    assert codes(tmp_path / "web.vmdk") == []


def test_parts_of_other_images_do_not_hide_a_later_one(tmp_path):
    """A split disk of two terabytes has a thousand files, most of them before NAME-000001.vmdk's descriptor or after it."""
    chained(tmp_path)
    for number in range(1, 400):
        for stem in ("web", "web-000001"):
            (tmp_path / f"{stem}-s{number:03}.vmdk").touch()
    assert "source.newer-image" in codes(tmp_path / "web.vmdk")


def test_more_images_than_are_looked_into_are_said(tmp_path):
    chained(tmp_path)
    for number in range(around.MANY + 1):
        (tmp_path / f"web.{number}.vmdk").touch()
    assert "source.images-unread" in codes(tmp_path / "web.vmdk")


def test_the_newest_of_two_snapshots_is_found_from_the_older(tmp_path):
    chained(tmp_path)
    flat(tmp_path, "web-000002", parent="00000002", cid="00000003", extra='parentFileNameHint="web-000001.vmdk"')
    assert codes(tmp_path / "web-000001.vmdk") == ["source.newer-image", "source.snapshots"] and codes(tmp_path / "web-000002.vmdk") == [
        "source.snapshots"
    ]


@pytest.mark.parametrize(
    ("name", "size", "code"),
    [
        ("web.vmx", 1, "source.description"),
        ("web.vbox", 1, "source.description"),
        ("../Virtual Machines/0A.vmcx", 1, "source.description"),
        ("../Virtual Machines/0A.vmrs", 50_000, ""),
        ("../Virtual Machines/0A.vmrs", 17 * MIB, "source.saved-state"),
        ("web-1.vmss", 1, "source.saved-state"),
        ("0A.vsv", 1, "source.saved-state"),
        ("web.log", 1, ""),
    ],
)
def test_what_lies_beside_disks_that_were_named_alone_is_told(tmp_path, name, size, code):
    folder = tmp_path / "Virtual Hard Disks"
    folder.mkdir()
    (tmp_path / "Virtual Machines").mkdir()
    with open(folder / name, "wb") as file:
        file.truncate(size)
    assert codes(vmdk(folder)) == ([code] if code else [])


def test_beside_a_disk_that_was_streamed_a_description_is_told_too(tmp_path):
    run("create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", tmp_path / "web.vmdk", "4M")
    (tmp_path / "web.ovf").write_text("")
    assert codes(tmp_path / "web.vmdk") == ["source.description"]


def test_disks_of_a_description_are_told_nothing_of_what_lies_beside(tmp_path):
    flat(tmp_path, "web")
    (tmp_path / "web.vmx").write_text('scsi0:0.present = "TRUE"\nscsi0:0.fileName = "web.vmdk"\n')
    (tmp_path / "old.vmx").write_text("")
    assert codes(tmp_path / "web.vmx") == []
