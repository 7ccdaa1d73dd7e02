# SPDX-License-Identifier: GPL-3.0-or-later
"""initramfs images: a row of cpio archives, each plain or compressed, as the kernel unpacks them.

Source: Documentation/driver-api/early-userspace/buffer-format.rst; lib/decompress_unlz4.c for the legacy LZ4 frame without an end.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import stat as st
import tempfile
import zlib
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Optional

from ..core.errors import InvalidInput, MissingTool, ToolFailed
from ..core.process import Limits, run


def _optional(name: str) -> Any:
    """A decompressor's module; its absence is reported when an image needs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


zstandard = _optional("zstandard")
lz4_block = _optional("lz4.block")

LIMIT = 2 << 30  # bytes an image may unpack to
_MAX_ENTRIES = 200000
_MAX_INDEX = 32 << 20
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_LZ4_BLOCK = 8 << 20
_LIMITS = Limits(timeout=120, memory=4 << 30)
# Small files that steer the image itself; their texts are kept while reading, and modules.dep's.
_KEPT = (
    "conf/",
    "etc/cmdline.d/",
    "etc/modules-load.d/",
    "etc/fstab",
    "etc/crypttab",
    "cryptroot/",
    "etc/mdadm",
    "etc/lvm/",
    "etc/systemd/network/",
)


@dataclass
class Image:
    """What an initramfs holds: names without a leading slash, the texts of the small files that steer it, and its size in bytes."""

    size: int
    names: set[str] = field(default_factory=set)
    texts: dict[str, bytes] = field(default_factory=dict)
    tail: str = "plain"  # how the last archive is compressed

    @property
    def modules(self) -> set[str]:
        """Names of the kernel modules, "_" for "-"."""
        return {module_name(name) for name in self.names if ".ko" in name}


def module_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def read(data: bytes) -> Image:
    """Read every archive of an image. Raises InvalidInput for damaged ones and MissingTool for a missing decompressor."""
    image = Image(len(data))
    view = memoryview(data)
    position, budget = 0, LIMIT
    while True:
        while position < len(data) and data[position] == 0:
            position += 1
        if position >= len(data):
            return image
        if data[position : position + 6] in (b"070701", b"070702"):
            position += _entries(view[position:], image)
            image.tail = "plain"
            continue
        kind, plain, used = _decompress(view[position:], budget)
        budget -= len(plain)
        inner = memoryview(plain)
        offset = 0
        while offset < len(plain):
            while offset < len(plain) and plain[offset] == 0:
                offset += 1
            if offset < len(plain):
                offset += _entries(inner[offset:], image)
        image.tail = kind
        position += used


def _entries(data: memoryview, image: Image) -> int:
    """Read one newc archive; returns the bytes it used."""
    position = 0
    for dummy in range(_MAX_ENTRIES):
        header = bytes(data[position : position + 110])
        if len(header) < 110 or header[:5] != b"07070":
            raise InvalidInput(
                "An initramfs is damaged: no cpio header where one must be.", "Rebuild it in the guest before the migration."
            )
        try:
            mode, size, length = int(header[14:22], 16), int(header[54:62], 16), int(header[94:102], 16)
        except ValueError as error:
            raise InvalidInput(
                "An initramfs is damaged: a cpio header that is not hexadecimal.", "Rebuild it in the guest before the migration."
            ) from error
        name = bytes(data[position + 110 : position + 110 + length - 1]).decode("utf-8", "surrogateescape")
        start = _align(position + 110 + length)
        position = _align(start + size)
        if name == "TRAILER!!!":
            return min(position, len(data))
        if start + size > len(data):
            raise InvalidInput(f"An initramfs is damaged: it ends inside {name}.", "Rebuild it in the guest before the migration.")
        name = name[2:] if name.startswith("./") else name.lstrip("/")
        image.names.add(name)
        if st.S_ISREG(mode) and ((name.startswith(_KEPT) and size <= 262144) or (name.endswith("/modules.dep") and size <= _MAX_INDEX)):
            image.texts[name] = bytes(data[start : start + size])
    raise InvalidInput("An initramfs has too many entries.", "Rebuild it in the guest before the migration.")


def _decompress(data: memoryview, budget: int) -> tuple[str, bytes, int]:
    """(kind, plain bytes, compressed bytes used) of the compressed archive at the start of `data`."""
    head = bytes(data[:6])
    if head[:2] == b"\x1f\x8b":
        return ("gzip", *_stream(zlib.decompressobj(31), data, budget))
    if head == b"\xfd7zXZ\0":
        return ("xz", *_stream(lzma.LZMADecompressor(lzma.FORMAT_XZ), data, budget))
    if head[:3] == b"]\0\0":
        return ("lzma", *_stream(lzma.LZMADecompressor(lzma.FORMAT_ALONE), data, budget))
    if head[:3] == b"BZh":
        return ("bzip2", *_stream(bz2.BZ2Decompressor(), data, budget))
    if head[:4] == b"\x28\xb5\x2f\xfd":
        if zstandard is None:
            return ("zstd", _program("zstd", data, budget), len(data))
        return ("zstd", *_stream(zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(), data, budget))
    if head[:4] == _LZ4_LEGACY:
        return ("lz4", *_lz4(data, budget)) if lz4_block is not None else ("lz4", _program("lz4", data, budget), len(data))
    raise InvalidInput(
        f"An initramfs has a part of an unknown format (it starts with {head.hex()}).",
        "Rebuild it in the guest with gzip, xz, zstd or lz4.",
    )


def _program(name: str, data: memoryview, budget: int) -> bytes:
    """Everything that follows, unpacked by the program of that name: a guest that packs its images so has it, but rarely the module.

    Raises MissingTool when the program is missing too, or when there is more than this one archive.
    """
    module = {"zstd": "zstandard"}.get(name, name)
    out: list[bytes] = []
    total = 0

    def keep(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)
        if total > budget:
            raise InvalidInput(f"An initramfs unpacks to more than {LIMIT >> 30} GiB.", "Rebuild it in the guest before the migration.")
        out.append(chunk)

    try:
        with tempfile.NamedTemporaryFile(prefix="hyper2kvm-") as file:
            file.write(data)
            file.flush()
            run([name, "-dcq", file.name], _LIMITS, on_output=keep)
    except (MissingTool, ToolFailed) as error:
        raise MissingTool(
            f"An initramfs is compressed with {name}, and the Python module {module} is missing.", f"Install python3-{module}."
        ) from error
    return b"".join(out)


def _stream(decoder: Any, data: memoryview, budget: int) -> tuple[bytes, int]:
    out: list[bytes] = []
    total = position = 0
    try:
        while position < len(data) and not _ended(decoder):
            chunk = data[position : position + (4 << 20)]
            out.append(decoder.decompress(bytes(chunk)))
            position += len(chunk)
            total += len(out[-1])
            if total > budget:
                raise InvalidInput(f"An initramfs unpacks to more than {LIMIT >> 30} GiB.", "Rebuild it in the guest before the migration.")
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise InvalidInput(f"An initramfs is damaged: {error}.", "Rebuild it in the guest before the migration.") from error
    except Exception as error:
        if zstandard is not None and isinstance(error, zstandard.ZstdError):
            raise InvalidInput(f"An initramfs is damaged: {error}.", "Rebuild it in the guest before the migration.") from error
        raise
    if not _ended(decoder):
        raise InvalidInput("An initramfs is damaged: its compressed part has no end.", "Rebuild it in the guest before the migration.")
    return b"".join(out), position - len(decoder.unused_data)


def _ended(decoder: Any) -> bool:
    return bool(decoder.eof)


def _lz4(data: memoryview, budget: int) -> tuple[bytes, int]:
    out: list[bytes] = []
    position = 4
    while position + 4 <= len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        if size == int.from_bytes(_LZ4_LEGACY, "little"):
            position += 4
            continue
        if size == 0 or size > _LZ4_BLOCK * 2 or position + 4 + size > len(data):
            break
        try:
            out.append(lz4_block.decompress(bytes(data[position + 4 : position + 4 + size]), uncompressed_size=_LZ4_BLOCK))
        except lz4_block.LZ4BlockError as error:
            raise InvalidInput(f"An initramfs is damaged: {error}.", "Rebuild it in the guest before the migration.") from error
        budget -= len(out[-1])
        if budget < 0:
            raise InvalidInput(f"An initramfs unpacks to more than {LIMIT >> 30} GiB.", "Rebuild it in the guest before the migration.")
        position += 4 + size
    return b"".join(out), position


def padding(size: int) -> int:
    """Zero bytes to put before an appended archive: at least four, which end a legacy LZ4 frame, up to a multiple of four."""
    return 4 + -size % 4


def write(members: Iterable[tuple[str, Optional[bytes]]]) -> bytes:
    """A plain newc archive of (path, content); None makes a directory. The same members give the same bytes."""
    out = bytearray()
    for inode, (name, content) in enumerate([*_with_parents(members), ("TRAILER!!!", b"")], 1):
        trailer = name == "TRAILER!!!"
        mode = 0 if trailer else 0o40755 if content is None else 0o100644
        body, encoded = content or b"", name.encode("utf-8", "surrogateescape") + b"\0"
        fields = (0 if trailer else inode, mode, 0, 0, 2 if content is None else 1, 0, len(body), 0, 0, 0, 0, len(encoded), 0)
        out += b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        out += b"\0" * (-len(out) % 4) + body
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def _with_parents(members: Iterable[tuple[str, Optional[bytes]]]) -> Iterator[tuple[str, Optional[bytes]]]:
    seen: set[str] = set()
    for name, content in sorted(members, key=lambda member: member[0]):
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            if parent not in seen:
                seen.add(parent)
                yield parent, None
        yield name, content


def _align(value: int) -> int:
    return value + -value % 4
