# SPDX-License-Identifier: GPL-3.0-or-later
"""initramfs images that unpack to more than there is memory for: read in little of it, or refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
import zlib

import lz4.block
import pytest
import zstandard
from promptly import PEAK, alone

from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio

MIB = 1 << 20


def entry(name: bytes, size: int = 0, mode: int = 0o100644, length: int = 0) -> bytes:
    fields = (1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length or len(name) + 1, 0)
    made = b"070701" + b"".join(b"%08X" % value for value in fields) + name + b"\0"
    return made + bytes(-len(made) % 4)


END = entry(b"TRAILER!!!")
LARGE = entry(b"usr/lib/firmware/x", 400 * MIB)  # then so many zeros


def gzipped(head: bytes, zeros: int, tail: bytes = END) -> bytes:
    """So many MiB of zeros between, which are compressed once: after a full flush nothing refers to what was before. Source: RFC 1951, RFC 1952."""
    made = zlib.compressobj(1, zlib.DEFLATED, -15)
    begin = made.compress(head) + made.flush(zlib.Z_FULL_FLUSH)
    block = made.compress(bytes(MIB)) + made.flush(zlib.Z_FULL_FLUSH)
    end = made.compress(tail) + made.flush()
    crc, block_of_zeros = zlib.crc32(head), bytes(MIB)
    for dummy in range(zeros):
        crc = zlib.crc32(block_of_zeros, crc)
    size = len(head) + zeros * MIB + len(tail)
    trailer = struct.pack("<II", zlib.crc32(tail, crc), size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\x04\xff" + begin + block * zeros + end + trailer


def measured(block: bytes) -> bytes:
    """A block of legacy LZ4 with its length before it."""
    return struct.pack("<I", len(block)) + block


def zstd_blocks(count: int) -> bytes:
    """Blocks of 4 bytes, each 128 KiB of one letter. Source: RFC 8878."""
    block = struct.pack("<I", 1 << 1 | (128 << 10) << 3)[:3] + b"x"
    return b"\x28\xb5\x2f\xfd\0\x58" + block * count + struct.pack("<I", 1 | 1 << 1)[:3] + b"x"


def xz_with_dictionary() -> bytes:
    data = bytearray(lzma.compress(bytes(MIB), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
    data[16] = 40
    size = (data[12] + 1) * 4
    data[8 + size : 12 + size] = struct.pack("<I", zlib.crc32(bytes(data[12 : 8 + size])))
    return bytes(data)


REFUSED = {
    "gzip of more than the limit": lambda: gzipped(entry(b"x", 4000 * MIB), 310),
    "a row of gzip": lambda: gzipped(entry(b"x", 80 * MIB), 80) * 4,
    "zstd blocks": lambda: zstd_blocks(4_000),
    "xz with a dictionary of 4 GiB": xz_with_dictionary,
    "a zstd window of 2 GiB": lambda: b"\x28\xb5\x2f\xfd\0\xa8" + bytes(100),
    "a name of 4 GiB": lambda: entry(b"x", length=0xFFFFFFFF) + bytes(MIB),
    "names of megabytes": lambda: gzipped(b"".join(entry(b"n" * 4000 + b"%06d" % n) for n in range(20_000)), 0),
    "texts": lambda: gzipped(b"".join(entry(b"conf/%06d" % n, 256 << 10) + bytes(256 << 10) for n in range(300)), 0),
    "more indexes than there are kernels": lambda: b"".join(
        gzipped(entry(b"lib/modules/%d/modules.dep" % n, 30 * MIB), 30) for n in range(5)
    ),
    "entries": lambda: gzipped(b"".join(entry(b"%d" % n) for n in range(210_000)), 0),
    "entries in many archives": lambda: (
        gzipped(b"".join(entry(b"%d" % n) for n in range(150_000)), 0) + gzipped(b"".join(entry(b"b%d" % n) for n in range(150_000)), 0)
    ),
    "lz4 of zeros": lambda: b"\x02\x21\x4c\x18" + measured(lz4.block.compress(bytes(8 * MIB), store_size=False)) * 40,
    "a size beyond the end": lambda: entry(b"x", 0xFFFFFFF0) + b"x",
    "gzip that ends early": lambda: gzipped(entry(b"x", 4 * MIB), 4)[:-20],
    "bzip2 that ends early": lambda: bz2.compress(entry(b"x", 4 * MIB) + bytes(4 * MIB))[:-8],
}
READ = {
    "gzip": lambda: gzipped(LARGE, 400),
    "a large file between": lambda: entry(b"a") + END + bytes(400) + gzipped(LARGE, 400) + bytes(512) + gzip.compress(entry(b"z") + END),
    "zstd": lambda: zstandard.ZstdCompressor(1).compress(LARGE[:0] + entry(b"usr/lib/firmware/x", 200 * MIB) + bytes(200 * MIB) + END),
    "bzip2": lambda: bz2.compress(entry(b"usr/lib/firmware/x", 64 * MIB) + bytes(64 * MIB) + END),
    "xz": lambda: lzma.compress(entry(b"usr/lib/firmware/x", 64 * MIB) + bytes(64 * MIB) + END, preset=0, check=lzma.CHECK_CRC32),
    "lzma": lambda: lzma.compress(entry(b"usr/lib/firmware/x", 32 * MIB) + bytes(32 * MIB) + END, lzma.FORMAT_ALONE, preset=0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_little_memory(name, tmp_path, monkeypatch):
    monkeypatch.setattr(cpio, "LIMIT", 300 * MIB)
    (tmp_path / "initrd").write_bytes(REFUSED[name]())

    said, memory = alone(lambda: cpio.read((tmp_path / "initrd").read_bytes()))
    assert said.startswith("InvalidInput") and "Rebuild" in said, said
    assert memory < PEAK, memory >> 20


@pytest.mark.parametrize("name", READ)
def test_what_is_large_and_honest_is_read_in_little_memory(name, tmp_path):
    made, asked = alone_made(name, tmp_path)
    assert asked < PEAK, asked >> 20
    assert "usr/lib/firmware/x" in made


def alone_made(name, tmp_path):
    (tmp_path / "initrd").write_bytes(READ[name]())

    def work():
        raise KeyError(sorted(cpio.read((tmp_path / "initrd").read_bytes()).names))

    return alone(work)


def test_the_program_unpacks_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cpio, "zstandard", None)
    (tmp_path / "plain").write_bytes(entry(b"usr/lib/firmware/x", 100 * MIB) + bytes(100 * MIB) + END)
    subprocess.run(["zstd", "-q", "-1", str(tmp_path / "plain"), "-o", str(tmp_path / "initrd")], check=True)
    (tmp_path / "plain").unlink()
    READ["program"] = (tmp_path / "initrd").read_bytes
    said, memory = alone_made("program", tmp_path)
    del READ["program"]
    assert "usr/lib/firmware/x" in said and memory < PEAK
