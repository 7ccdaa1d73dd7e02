# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDK descriptors and chains: what is read, what is refused, and that nothing else is ever touched."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import chain, vmdk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

MIB = 2048  # sectors


def descriptor(extents='RW 2048 FLAT "disk-flat.vmdk" 0', cid="00000001", parent="ffffffff", extra=""):
    return f'# Disk DescriptorFile\nversion=1\nCID={cid}\nparentCID={parent}\ncreateType="monolithicFlat"\n{extra}\n{extents}\nddb.adapterType = "lsilogic"\n'


def sparse(sectors=MIB, text=None, flags=3, grain=128, tables=128, gtes=512):
    """A hosted sparse header with an embedded descriptor."""
    body = (text or descriptor(f'RW {sectors} SPARSE "x.vmdk"')).encode().ljust(20 * 512, b"\0")
    head = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 1, flags, sectors, grain, 1, 20, gtes, 0, tables, 128).ljust(512, b"\0")
    return (head + body).ljust((128 + 64) * 512, b"\0")


def flat(folder: Path, name="disk", sectors=MIB, **options) -> Path:
    (folder / f"{name}-flat.vmdk").write_bytes(bytes(sectors * 512))
    path = folder / f"{name}.vmdk"
    path.write_text(descriptor(f'RW {sectors} FLAT "{name}-flat.vmdk" 0', **options))
    return path


def test_a_flat_disk(tmp_path):
    found = chain.resolve(str(flat(tmp_path)))
    assert found.virtual_size == 1 << 20 and len(found.files()) == 2


def test_a_sparse_disk_holds_its_own_data_whatever_name_it_had(tmp_path):
    path = tmp_path / "renamed.vmdk"
    path.write_bytes(sparse(text=descriptor('RW 2048 SPARSE "../../etc/passwd"'.replace("../../etc/", ""))))
    found = chain.resolve(str(path))
    assert found.files() == (str(path),) and found.virtual_size == 1 << 20


@pytest.mark.parametrize(
    "name",
    [
        *(
            f'"{name}"'
            for name in ("/build/out/photon.vmdk", "../x.vmdk", "D:\\vm\\x.vmdk", "[ds1] x/x.vmdk", "nbd://host/x", "", 'a"b', " ", "a\tb")
        ),
        '"\u00c5\u0405\u2028.vmdk"',
        '"x.vmdk',
        "x.vmdk",
        "",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_the_name_in_an_embedded_descriptor_is_not_read(tmp_path, name, encoding):
    held = 'encoding="UTF-8"\n'
    text = descriptor("RW 2048 SPARSE NAME", extra=held).encode().replace(b"NAME", name.encode(encoding).replace(b"\0", b"\xff"))
    data = bytearray(sparse())
    data[512 : 512 + 20 * 512] = text.ljust(20 * 512, b"\0")
    (tmp_path / "renamed.vmdk").write_bytes(data)
    found = chain.resolve(str(tmp_path / "renamed.vmdk"))
    assert found.files() == (str(tmp_path / "renamed.vmdk"),) and found.virtual_size == 1 << 20
    work = tmp_path / "work"
    work.mkdir()
    found.stage(str(work), "disk0")
    assert {os.readlink(path) for path in work.iterdir() if path.is_symlink()} == {str(tmp_path / "renamed.vmdk")}


@pytest.mark.parametrize(
    "extents", ['NOACCESS 2048 SPARSE "x"', 'RW 2048 VMFSRDM "x"', 'RW 2048 NEW "x"', 'RW 0 SPARSE "x"', 'RW 1 SPARSE "x"\n' * 2]
)
def test_the_rest_of_an_embedded_extent_is_read(tmp_path, extents):
    (tmp_path / "x.vmdk").write_bytes(sparse(text=descriptor(extents)))
    with pytest.raises(InvalidInput):
        chain.resolve(str(tmp_path / "x.vmdk"))


CONTRADICTIONS = {
    "CID=00000002": "gives cid twice, as '00000001' and as '00000002'",
    "parentCID=0000000a": "gives parentcid twice",
    'PARENTCID="0000000a"': "gives parentcid twice",
    'createType="vmfs"': "gives createtype twice",
    "version=3": "gives version twice",
    'ddb.uuid = "1"\nddb.uuid = "2"': "gives ddb.uuid twice",
    'parentFileNameHint="a.vmdk"\nparentFileNameHint="b.vmdk"': "gives parentfilenamehint twice",
    'changeTrackPath="a-ctk.vmdk"\nchangeTrackPath=""': "gives changetrackpath twice",
}


@pytest.mark.parametrize("lines", CONTRADICTIONS)
@pytest.mark.parametrize("embedded", [False, True])
def test_a_descriptor_that_contradicts_itself_is_refused(tmp_path, lines, embedded):
    path = flat(tmp_path, extra=lines)
    if embedded:
        path.write_bytes(sparse(text=descriptor('RW 2048 SPARSE "x"', extra=lines)))
    with pytest.raises(InvalidInput, match=CONTRADICTIONS[lines]) as caught:
        chain.resolve(str(path))
    assert caught.value.hint


def test_a_descriptor_may_say_the_same_twice(tmp_path):
    assert chain.resolve(str(flat(tmp_path, extra='CID=00000001\nparentCID="ffffffff"\ncreateType=monolithicFlat'))).virtual_size == 1 << 20


@pytest.mark.parametrize(
    ("extents", "right"),
    [
        ('RW 1024 FLAT "disk-flat.vmdk" 0\nRW 1024 FLAT "disk-flat.vmdk" 1024', True),
        ('RW 1024 FLAT "disk-flat.vmdk" 1024\nRW 1024 FLAT "disk-flat.vmdk" 0', True),
        ('RW 2048 FLAT "disk-flat.vmdk" 0\nRW 2048 FLAT "disk-flat.vmdk" 0', False),
        ('RW 1024 FLAT "disk-flat.vmdk" 0\nRW 1024 VMFS "disk-flat.vmdk" 1023', False),
        ('RW 2048 SPARSE "disk-s001.vmdk"\nRW 2048 SPARSE "disk-s001.vmdk"', False),
        ('RW 2048 SESPARSE "disk-s001.vmdk"\nRW 1 SPARSE "disk-s001.vmdk" 4096', False),
    ],
)
def test_no_data_are_twice_in_a_disk(tmp_path, extents, right):
    path = flat(tmp_path)
    path.write_text(descriptor(extents))
    if right:
        assert chain.resolve(str(path)).virtual_size == 1 << 20
        return
    with pytest.raises(InvalidInput, match=r"has the same data of disk-\w+\.vmdk twice"):
        chain.resolve(str(path))


def test_a_chain_is_followed_and_its_identifiers_verified(tmp_path):
    flat(tmp_path, "base", cid="0000000a")
    flat(tmp_path, "one", cid="0000000b", parent="0000000a", extra='parentFileNameHint="base.vmdk"')
    top = flat(tmp_path, "two", cid="0000000c", parent="0000000b", extra='parentFileNameHint="one.vmdk"')
    found = chain.resolve(str(top))
    assert [os.path.basename(link.path) for link in found.links] == ["two.vmdk", "one.vmdk", "base.vmdk"]


def test_staging_links_to_what_was_checked_and_copies_nothing(tmp_path):
    flat(tmp_path, "base", cid="0000000a")
    top = flat(tmp_path, "one", cid="0000000b", parent="0000000a", extra='parentFileNameHint="base.vmdk"')
    work = tmp_path / "work"
    work.mkdir()
    staged, fmt = chain.resolve(str(top)).stage(str(work), "disk0")
    texts = {path.name: path.read_text() for path in work.iterdir() if not path.is_symlink()}
    assert (os.path.basename(staged), fmt) == ("disk0-link1.vmdk", "vmdk") and set(texts) == {"disk0-link0.vmdk", "disk0-link1.vmdk"}
    assert 'parentFileNameHint="disk0-link0.vmdk"' in texts["disk0-link1.vmdk"] and "parentCID=0000000a" in texts["disk0-link1.vmdk"]
    assert {os.readlink(path) for path in work.iterdir() if path.is_symlink()} == {
        str(tmp_path / "base-flat.vmdk"),
        str(tmp_path / "one-flat.vmdk"),
    }


HOSTILE_NAMES = ["/etc/passwd", "../other.vmdk", "a/b", "a\\b", "nbd://host/x", "json:{}", "C:x", ".", "..", "a\tb"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_an_extent_that_reaches_elsewhere_is_refused(tmp_path, name):
    (tmp_path / "disk.vmdk").write_text(descriptor(f'RW 2048 FLAT "{name}" 0'))
    with pytest.raises(UnsafeInput, match="plain file name") as caught:
        chain.resolve(str(tmp_path / "disk.vmdk"))
    assert caught.value.hint


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_parent_that_reaches_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(UnsafeInput, match="plain file name"):
        chain.resolve(str(flat(tmp_path, parent="0000000a", extra=f'parentFileNameHint="{name}"')))


def test_links_devices_and_pipes_are_never_followed(tmp_path):
    target = tmp_path / "secret"
    target.write_bytes(bytes(1 << 20))
    path = flat(tmp_path)
    for make in (lambda at: at.symlink_to(target), os.mkfifo, os.mkdir):
        extent = tmp_path / "disk-flat.vmdk"
        extent.rmdir() if extent.is_dir() else extent.unlink()
        make(extent)
        with pytest.raises(UnsafeInput, match="not a regular file"):
            chain.resolve(str(path))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "disk-flat.vmdk").write_bytes(bytes(512)), "its descriptor needs 1048576"),
        (lambda folder: (folder / "disk-flat.vmdk").unlink(), "does not exist"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor("")), "names no extents"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor('RW 2048 VMFSRDM "disk-flat.vmdk"')), "raw device"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor('RW 2048 ZERO\nRW 2048 FLAT "disk-flat.vmdk" 0')), "ZERO extent"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor('RW 2048 MAGIC "disk-flat.vmdk"')), "unknown kind"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor('NOACCESS 2048 FLAT "disk-flat.vmdk" 0')), "cannot be read"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor('RW 2048 SPARSE "disk-flat.vmdk"')), "is not the SPARSE extent"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor(cid="xyz")), "no valid cid"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor(parent="00000001")), "names no parent"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor() + "garbage here\n"), "not part of a VMDK descriptor"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(b"\0" * 4096), "neither a VMDK descriptor"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(b""), "neither a VMDK descriptor"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(sparse()[:40]), "too short"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(sparse(sectors=0)), "impossible capacity"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(sparse(grain=0)), "impossible grain"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(sparse(gtes=0)), "impossible table size"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(sparse(tables=1 << 40)), "impossible table offset"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(sparse(tables=0xFFFFFFFFFFFFFFFF)), "without its footer"),
        (lambda folder: (folder / "disk.vmdk").write_bytes(b"COWD" + bytes(508)), "one part of a VMDK"),
        (lambda folder: (folder / "disk.vmdk").write_text(descriptor() + "#" * (1 << 20)), "neither a VMDK descriptor"),
    ],
)
def test_damage_is_named(tmp_path, damage, words):
    path = flat(tmp_path)
    damage(tmp_path)
    with pytest.raises(InvalidInput, match=words) as caught:
        chain.resolve(str(path))
    assert (caught.value.hint and str(tmp_path) in caught.value.msg) or "VMDK" in caught.value.msg


def test_a_cycle_is_refused(tmp_path):
    flat(tmp_path, "a", cid="00000001", parent="00000002", extra='parentFileNameHint="b.vmdk"')
    path = flat(tmp_path, "b", cid="00000002", parent="00000001", extra='parentFileNameHint="a.vmdk"')
    with pytest.raises(InvalidInput, match="comes back"):
        chain.resolve(str(path))


def test_a_changed_parent_is_refused(tmp_path):
    flat(tmp_path, "base", cid="0000000d")
    with pytest.raises(InvalidInput, match=r"has changed since the snapshot .* expected 0000000a"):
        chain.resolve(str(flat(tmp_path, "one", cid="0000000b", parent="0000000a", extra='parentFileNameHint="base.vmdk"')))


def test_a_shrunken_snapshot_is_refused(tmp_path):
    flat(tmp_path, "base", sectors=2 * MIB, cid="0000000a")
    with pytest.raises(InvalidInput, match="smaller than its parent"):
        chain.resolve(str(flat(tmp_path, "one", cid="0000000b", parent="0000000a", extra='parentFileNameHint="base.vmdk"')))


def test_a_part_named_as_the_source_is_refused_even_if_the_guest_wrote_a_descriptor_into_it(tmp_path):
    flat(tmp_path)
    (tmp_path / "disk-flat.vmdk").write_text(descriptor('RW 2048 FLAT "secret" 0'))
    with pytest.raises(InvalidInput, match="part of a disk"):
        open_source([str(tmp_path / "disk-flat.vmdk")])


def test_a_source_that_somebody_writes_is_busy(tmp_path):
    found = chain.resolve(str(flat(tmp_path)))
    found.check_idle()
    with open(tmp_path / "disk-flat.vmdk", "r+b"), pytest.raises(Busy, match="open for writing"):
        found.check_idle()
    found.check_idle()
    (tmp_path / "disk.vmdk.lck").mkdir()
    (tmp_path / "disk.vmdk.lck" / "M1.lck").touch()
    with pytest.raises(Busy, match="VMware's lock"):
        found.check_idle()


plain = st.text("abcXYZ019-_. ", min_size=1, max_size=20).filter(lambda name: name.strip() not in ("", ".", ".."))
extents = st.lists(
    st.builds(
        vmdk.Extent,
        st.just("RW"),
        st.integers(1, 1 << 40),
        st.sampled_from(["FLAT", "SPARSE", "VMFSSPARSE", "SESPARSE"]),
        plain,
        st.integers(0, 1 << 30),
    ).map(lambda extent: extent if extent.kind == "FLAT" else vmdk.Extent("RW", extent.sectors, extent.kind, extent.name)),
    min_size=1,
    max_size=5,
).map(tuple)


@given(extents, st.integers(0, 0xFFFFFFFE), st.one_of(st.none(), plain))
def test_a_canonical_descriptor_says_what_it_was_made_from(extents, cid, parent):
    text = vmdk.canonical("x", cid, 7 if parent else vmdk.NO_PARENT, parent, extents)
    read = vmdk.parse_descriptor(text, "x")
    assert (read.extents, read.cid, read.parent_hint) == (extents, cid, parent)


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused_and_nothing_else(data):
    for head in (b"", b"# Disk DescriptorFile\n", b"KDMV", b"COWD"):
        try:
            vmdk.read_descriptor(io.BytesIO(head + data), "x")
        except InvalidInput as error:
            assert error.hint
