# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that are made to take memory, time or space, by name: a function that writes one into a folder and gives its path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

MIB = 1 << 20
ENDS = bytes(1024)


def header(name: str = "disk.raw", size: int = 0, kind: bytes = b"0", fmt: int = tarfile.GNU_FORMAT) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(fmt)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(payload: bytes, kind: bytes = b"x") -> bytes:
    return header("pax", len(payload), kind) + padded(payload)


def tar(*parts: bytes):
    def make(folder: Path) -> Path:
        path = folder / "vm.tar"
        path.write_bytes(b"".join(parts) + ENDS)
        return path

    return make


def claims(kind: bytes, size: int):
    """A header that says it is gigabytes; the file has them, as a hole."""

    def make(folder: Path) -> Path:
        path = folder / "vm.tar"
        path.write_bytes(header("x", size, kind))
        os.truncate(path, 512 + size)
        return path

    return make


def packed(name: str, opened, size: int, parts: bytes = b""):
    """`size` zeros behind `parts`, compressed."""

    def make(folder: Path) -> Path:
        path = folder / name
        with opened(path, "wb") as file:
            file.write(parts)
            for dummy in range(size // MIB):
                file.write(bytes(MIB))
        return path

    return make


def sparse_10(text: bytes) -> bytes:
    records = b"".join(b"%d %s\n" % (len(line) + 4, line) for line in (b"GNU.sparse.major=1", b"GNU.sparse.minor=0"))
    return pax(records) + header("disk.raw", len(padded(text))) + padded(text)


def sparse_endless(folder: Path) -> Path:
    """The old GNU format: each block of the map says that another follows."""
    path = folder / "vm.tar"
    first = bytearray(header("disk.raw", 0, b"S"))
    first[386 : 386 + 97] = (b"%011o\0" % 0 + b"%011o\0" % 0) * 4 + b"\1"
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 256 + sum(first[156:]))
    block = (b"%011o\0" % 0 + b"%011o\0" % 1) * 21 + b"\1" + bytes(7)
    with open(path, "wb") as file:
        file.write(first)
        for dummy in range(200):
            file.write(block * 2048)
    return path


def sparse_huge(folder: Path) -> Path:
    """A few bytes that are 8 exabytes of zeros."""
    lines = (b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.realsize=%d" % (1 << 60))
    records = b"".join(b"%d %s\n" % (len(line) + 4, line) for line in lines)
    text = b"1\n%d\n0\n" % (1 << 60)
    return tar(pax(records), header("disk.raw", 512), padded(text))(folder)


def negative(folder: Path) -> Path:
    """CVE-2025-8194: a size below zero leads back to the header."""
    made = bytearray(header("notes.txt", 512))
    made[124:136] = b"\xff" * 8 + (-1024).to_bytes(8, "big", signed=True)[-4:]
    made[148:156] = b"%06o\0 " % (sum(made[:148]) + 256 + sum(made[156:]))
    return tar(bytes(made), bytes(512))(folder)


def many(folder: Path) -> Path:
    with tarfile.open(folder / "vm.tar.gz", "w:gz", compresslevel=1) as made:
        info = tarfile.TarInfo("notes.txt")
        for dummy in range(12_000):
            made.addfile(info)
    return folder / "vm.tar.gz"


def zip_many(folder: Path) -> Path:
    """A million entries in its directory."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a.raw"
    directory = entry * 1_000_000
    size = len(directory)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1_000_000, 1_000_000, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, size, 1)
    (folder / "vm.zip").write_bytes(directory + end + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0))
    return folder / "vm.zip"


def zip_lies(folder: Path) -> Path:
    """zip64 with a directory of 2**60 bytes before the beginning of the file."""
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1 << 60, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
    (folder / "vm.zip").write_bytes(end + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0))
    return folder / "vm.zip"


def zip_bomb(folder: Path) -> Path:
    """Members that share what they are packed in (D. Fifield, "A better zip bomb"): each is 64 MiB of zeros."""
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(squeezed.compress(bytes(MIB)) for dummy in range(64)) + squeezed.flush()
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(data), 64 * MIB, 8, 0) + b"0000.raw"
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(data), 64 * MIB, 8, 0, 0, 0, 0, 0, 0) + b"%04d.raw" % number
        for number in range(1000)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1000, 1000, len(entries), len(local) + len(data), 0)
    (folder / "vm.zip").write_bytes(local + data + entries + end)
    return folder / "vm.zip"


def zip_with(method: int):
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "vm.zip", "w", method) as made, made.open("disk.raw", "w", force_zip64=True) as file:
            for dummy in range(16):
                file.write(bytes(MIB))
        return folder / "vm.zip"

    return make


def dictionary(folder: Path) -> Path:
    """An .lzma whose header asks for a dictionary of 4 GiB."""
    data = bytearray(lzma.compress(bytes(MIB), lzma.FORMAT_ALONE))
    data[1:5] = b"\xff" * 4
    (folder / "disk.raw.xz").write_bytes(bytes(data))
    return folder / "disk.raw.xz"


def xz_dictionary(folder: Path) -> Path:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    data = bytearray(lzma.compress(bytes(MIB), filters=filters))
    at = 12 + 2  # of the block header's filter: id, size of its properties, the dictionary's size
    assert data[at : at + 2] == b"\x21\x01"
    data[at + 2] = 40  # 4 GiB
    size = (data[12] + 1) * 4
    data[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(bytes(data[12 : 12 + size - 4])))
    (folder / "disk.raw.xz").write_bytes(bytes(data))
    return folder / "disk.raw.xz"


def gz_name(folder: Path) -> Path:
    """A file name in the header that does not end."""
    with open(folder / "disk.raw.gz", "wb") as file:
        file.write(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03")
        for dummy in range(64):
            file.write(b"n" * MIB)
    return folder / "disk.raw.gz"


def nested(folder: Path) -> Path:
    data, name = gzip.compress(bytes(64 * MIB)), "disk.raw.gz"
    for dummy in range(6):
        data, name = gzip.compress(data), f"{name}.gz"
    (folder / name).write_bytes(data)
    return folder / name


def twice(folder: Path) -> Path:
    with tarfile.open(folder / "vm.tar", "w") as made:
        for content in (b"one", b"another"):
            info = tarfile.TarInfo("disk.raw")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return folder / "vm.tar"


def damaged_between(folder: Path) -> Path:
    """A second disk whose header is damaged: not the end of the archive."""
    return tar(header("disk0.raw", 512), bytes(512), b"damaged".ljust(512, b"x"), header("disk1.raw", 512), bytes(512))(folder)


HOSTILE = {
    "a PAX header of 4 GiB": claims(b"x", 4 << 30),
    "a global PAX header of 4 GiB": claims(b"g", 4 << 30),
    "a Solaris header of 4 GiB": claims(b"X", 4 << 30),
    "a long name of 4 GiB": claims(b"L", 4 << 30),
    "a long link of 4 GiB": claims(b"K", 4 << 30),
    "a PAX header of digits (CVE-2024-6232)": tar(pax(b"1" * 30_000), header()),
    "PAX headers of digits, one after the other": tar(*(pax(b"1" * 30_000) for dummy in range(300)), header()),
    "a PAX header whose keys overlap": tar(pax(b"5 ab\n" * 6_000 + b"="), header()),
    "PAX headers that never end": tar(pax(b"6 a=b\n") * 8000),
    "long names that never end": tar((header("x", 100, b"L") + padded(b"n" * 100)) * 8000),
    "a PAX header in gzip": packed("vm.tar.gz", gzip.open, 32 * MIB, header("x", 1 << 30, b"x")),
    "a long name in bzip2": packed("vm.tar.bz2", bz2.open, 32 * MIB, header("x", 1 << 30, b"L")),
    "a PAX header in xz": packed("vm.tar.xz", lzma.open, 32 * MIB, header("x", 1 << 30, b"x")),
    "a sparse map of a billion entries": tar(sparse_10(b"1000000000\n" + b"0\n1\n" * (2 * MIB))),
    "a sparse map that is one number": tar(sparse_10(b"1\n" + b"7" * (8 * MIB))),
    "a sparse map of the old kind that never ends": sparse_endless,
    "a sparse file of 2**60 bytes": sparse_huge,
    "a member of a negative size (CVE-2025-8194)": negative,
    "12000 members": many,
    "a ZIP directory of a million entries": zip_many,
    "a ZIP directory of 2**60 bytes": zip_lies,
    "a ZIP whose members overlap": zip_bomb,
    "ZIP with LZMA": zip_with(zipfile.ZIP_LZMA),
    "ZIP with bzip2": zip_with(zipfile.ZIP_BZIP2),
    "an LZMA dictionary of 4 GiB": dictionary,
    "an xz dictionary of 4 GiB": xz_dictionary,
    "a name in gzip that never ends": gz_name,
    "gzip in gzip in gzip": nested,
    "a name twice": twice,
    "a damaged header between members": damaged_between,
}
