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
from typing import Any, Iterator, Optional

from ..core import limits
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

_BROKEN = (zlib.error, lzma.LZMAError, OSError, EOFError, *([zstandard.ZstdError] if zstandard is not None else []))
LIMIT = 2 << 30  # bytes an image may unpack to
_MAX_ENTRIES = 200000
_MAX_INDEX = 32 << 20
_MAX_TEXTS = 64 << 20
_LONGEST_NAME = 4096  # PATH_MAX
_CHUNK = 1 << 20
_REBUILD = "Rebuild it in the guest before the migration."
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
    "etc/udev/rules.d/",
)


@dataclass
class Image:
    """What an initramfs holds: names without a leading slash, the texts of the small files that steer it, and its size in bytes."""

    size: int
    names: set[str] = field(default_factory=set)
    texts: dict[str, bytes] = field(default_factory=dict)
    tail: str = "plain"  # how the last archive is compressed
    _held: int = 0

    def keep(self, name: str, text: Optional[bytes]) -> None:
        """Raises InvalidInput for more than any image has, over all its archives."""
        self._held += len(name) + len(text or b"")
        if self._held > _MAX_TEXTS or len(self.names) >= _MAX_ENTRIES:
            raise InvalidInput("An initramfs has too many entries.", _REBUILD)
        self.names.add(name)
        if text is not None:
            self.texts[name] = text

    @property
    def modules(self) -> set[str]:
        """Names of the kernel modules, "_" for "-"."""
        return {module_name(name) for name in self.names if ".ko" in name}


def module_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def read(data: bytes) -> Image:
    """Read every archive of an image, unpacked as it is read. Raises InvalidInput for damaged ones and MissingTool for a missing decompressor."""
    image = Image(len(data))
    view = memoryview(data)
    position, budget = 0, LIMIT
    while True:
        while position < len(data) and data[position] == 0:
            position += 1
        if position >= len(data):
            return image
        if data[position : position + 6] in (b"070701", b"070702"):
            plain = _Plain(_slices(view[position:]), budget)
            _entries(plain, image)
            position += plain.position
            image.tail = "plain"
            continue
        image.tail, packed = _packed(view[position:])
        plain = _Plain(packed.chunks(), budget)
        while plain.skip_zeros():
            _entries(plain, image)
        budget -= plain.position
        position += packed.used


class _Plain:
    """Plain bytes as they come, read forwards; at most `budget` of them."""

    def __init__(self, chunks: Iterator[bytes], budget: int) -> None:
        self._chunks, self._held, self._at, self._left = chunks, b"", 0, budget
        self.position = 0

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end."""
        parts, missing = [], size
        while missing and self._fill():
            part = self._held[self._at : self._at + missing]
            parts.append(part)
            self._took(len(part))
            missing -= len(part)
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Pass over so many bytes; gives how many there were."""
        missing = size
        while missing and self._fill():
            part = min(missing, len(self._held) - self._at)
            self._took(part)
            missing -= part
        return size - missing

    def skip_zeros(self) -> bool:
        """Pass over zeros; whether something follows."""
        while self._fill():
            rest = self._held[self._at :].lstrip(b"\0")
            self._took(len(self._held) - self._at - len(rest))
            if rest:
                return True
        return False

    def _took(self, count: int) -> None:
        self._at += count
        self.position += count

    def _fill(self) -> bool:
        while self._at == len(self._held):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._left -= len(chunk)
            if self._left < 0:
                raise InvalidInput(f"An initramfs unpacks to more than {LIMIT >> 30} GiB.", _REBUILD)
            self._held, self._at = chunk, 0
        return True


def _slices(data: memoryview) -> Iterator[bytes]:
    return (bytes(data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK))


def _entries(plain: _Plain, image: Image) -> None:
    """Read one newc archive, up to its trailer."""
    begin = plain.position
    for dummy in range(_MAX_ENTRIES):
        header = plain.read(110)
        if len(header) < 110 or header[:5] != b"07070":
            raise InvalidInput("An initramfs is damaged: no cpio header where one must be.", _REBUILD)
        try:
            mode, size, length = int(header[14:22], 16), int(header[54:62], 16), int(header[94:102], 16)
        except ValueError as error:
            raise InvalidInput("An initramfs is damaged: a cpio header that is not hexadecimal.", _REBUILD) from error
        if length > _LONGEST_NAME:
            raise InvalidInput(f"An initramfs is damaged: a name of {length} bytes.", _REBUILD)
        name = plain.read(length)[:-1].decode("utf-8", "surrogateescape")
        plain.skip(-(plain.position - begin) % 4)
        if name == "TRAILER!!!":
            plain.skip(size + -size % 4)
            return
        name = name[2:] if name.startswith("./") else name.lstrip("/")
        wanted = (name.startswith(_KEPT) and size <= 262144) or (name.endswith("/modules.dep") and size <= _MAX_INDEX)
        kept = plain.read(size) if st.S_ISREG(mode) and wanted else None
        if (len(kept) if kept is not None else plain.skip(size)) < size:
            raise InvalidInput(f"An initramfs is damaged: it ends inside {name[:200]}.", _REBUILD)
        plain.skip(-(plain.position - begin) % 4)
        image.keep(name, kept)
    raise InvalidInput("An initramfs has too many entries.", _REBUILD)


class _Packed:
    """The compressed archive at the start of `data`. `used`: how many bytes of it that was, once all chunks were taken."""

    def __init__(self, data: memoryview) -> None:
        self._data, self.used = data, 0

    def chunks(self) -> Iterator[bytes]:
        raise NotImplementedError


class _Stream(_Packed):
    """`step`: bytes given to a decoder at once that cannot be told how much to give back."""

    def __init__(self, data: memoryview, decoder: Any, step: int = 0) -> None:
        super().__init__(data)
        self._decoder, self._step = decoder, step

    def chunks(self) -> Iterator[bytes]:
        try:
            yield from self._decoded()
        except _BROKEN as error:
            raise InvalidInput(f"An initramfs is damaged: {error}.", _REBUILD) from error
        if not self._decoder.eof:
            raise InvalidInput("An initramfs is damaged: its compressed part has no end.", _REBUILD)

    def _decoded(self) -> Iterator[bytes]:
        decoder, given = self._decoder, b""
        more = () if self._step else (_CHUNK,)
        while not decoder.eof:
            if not given and getattr(decoder, "needs_input", True):
                given = bytes(self._data[self.used : self.used + (self._step or _CHUNK)])
                if not given:
                    return
                self.used += len(given)
            out = decoder.decompress(given, *more)
            given = getattr(decoder, "unconsumed_tail", b"")
            if out:
                yield out
        self.used -= len(decoder.unused_data)  # the tail may be the same bytes


class _Lz4(_Packed):
    def chunks(self) -> Iterator[bytes]:
        data, self.used = self._data, 4
        while self.used + 4 <= len(data):
            size = int.from_bytes(data[self.used : self.used + 4], "little")
            if size == int.from_bytes(_LZ4_LEGACY, "little"):
                self.used += 4
                continue
            if size == 0 or size > _LZ4_BLOCK * 2 or self.used + 4 + size > len(data):
                return
            block = bytes(data[self.used + 4 : self.used + 4 + size])
            self.used += 4 + size
            try:
                yield lz4_block.decompress(block, uncompressed_size=_LZ4_BLOCK)
            except lz4_block.LZ4BlockError as error:
                raise InvalidInput(f"An initramfs is damaged: {error}.", _REBUILD) from error


class _Program(_Packed):
    """Everything that follows, unpacked by the program of that name: a guest that packs its images so has it, but rarely the module.

    Raises MissingTool when the program is missing too, or when there is more than this one archive.
    """

    def __init__(self, data: memoryview, name: str) -> None:
        super().__init__(data)
        self._name, self.used = name, len(data)

    def chunks(self) -> Iterator[bytes]:
        module, total = {"zstd": "zstandard"}.get(self._name, self._name), 0
        with tempfile.NamedTemporaryFile(prefix="hyper2kvm-") as file, tempfile.TemporaryFile(prefix="hyper2kvm-") as out:

            def keep(chunk: bytes) -> None:
                nonlocal total
                total += len(chunk)
                if total > LIMIT:
                    raise InvalidInput(f"An initramfs unpacks to more than {LIMIT >> 30} GiB.", _REBUILD)
                out.write(chunk)

            file.write(self._data)
            file.flush()
            try:
                run([self._name, "-dcq", file.name], _LIMITS, on_output=keep)
            except (MissingTool, ToolFailed) as error:
                raise MissingTool(
                    f"An initramfs is compressed with {self._name}, and the Python module {module} is missing.",
                    f"Install python3-{module}.",
                ) from error
            out.seek(0)
            yield from iter(lambda: out.read(_CHUNK), b"")


def _packed(data: memoryview) -> tuple[str, _Packed]:
    """The kind of the compressed archive at the start of `data`, and the archive."""
    head = bytes(data[:6])
    if head[:2] == b"\x1f\x8b":
        return "gzip", _Stream(data, zlib.decompressobj(31))
    if head == b"\xfd7zXZ\0":
        return "xz", _Stream(data, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.DICTIONARY))
    if head[:3] == b"]\0\0":
        return "lzma", _Stream(data, lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=limits.DICTIONARY))
    if head[:3] == b"BZh":
        return "bzip2", _Stream(data, bz2.BZ2Decompressor())
    if head[:4] == b"\x28\xb5\x2f\xfd":
        if zstandard is None:
            return "zstd", _Program(data, "zstd")
        # A block of 4 bytes may be 128 KiB; and --long=27 is the largest window that zstd unpacks without being told to.
        return "zstd", _Stream(data, zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(), 1024)
    if head[:4] == _LZ4_LEGACY:
        return "lz4", _Lz4(data) if lz4_block is not None else _Program(data, "lz4")
    raise InvalidInput(
        f"An initramfs has a part of an unknown format (it starts with {head.hex()}).",
        "Rebuild it in the guest with gzip, xz, zstd or lz4.",
    )
