# SPDX-License-Identifier: GPL-3.0-or-later
"""Registry hives read from their bytes: what planning and proof look at, and the second opinion on what hivex wrote.

Every offset is checked against the hive, so that a damaged or hostile one is an error and never a crash or an endless walk.
Source: the specification of the format by M. Suhanov (github.com/msuhanov/regf), chapters "Base block" and "Hive bins".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Iterator, Optional

from ..core import limits
from ..core.errors import InvalidInput

SZ, EXPAND_SZ, BINARY, DWORD, MULTI_SZ, QWORD = 1, 2, 3, 4, 7, 11
BASE_BLOCK = 4096
MAX_VALUE = 16344  # bytes; more is stored in blocks, which hivex does not write
MAX_DEPTH = 512  # levels of keys that Windows allows
_MAX_ITEMS = 1 << 20
_SMALLEST_KEY = 80  # bytes with the size before it
_LONGEST_KEY = 512  # bytes; Windows allows 255 characters
_NO_CELL = 0xFFFFFFFF
_ASCII_KEY, _ASCII_VALUE, _INLINE = 0x20, 0x01, 0x80000000


@dataclass(frozen=True)
class Value:
    """A registry value; `name` is empty for the key's default value, `kind` one of the REG_ types, `data` as stored."""

    name: str
    kind: int
    data: bytes

    @property
    def text(self) -> str:
        """REG_SZ and REG_EXPAND_SZ up to the first NUL."""
        return self.data[: len(self.data) & ~1].decode("utf-16-le", "surrogatepass").split("\0", 1)[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """REG_MULTI_SZ up to its empty string."""
        parts = self.data[: len(self.data) & ~1].decode("utf-16-le", "surrogatepass").split("\0")
        return tuple(parts[: parts.index("")] if "" in parts else parts)

    @property
    def number(self) -> Optional[int]:
        """REG_DWORD and REG_QWORD; None for anything else."""
        return int.from_bytes(self.data, "little") if self.kind in (DWORD, QWORD) and len(self.data) in (4, 8) else None


class Key:
    """A key of a hive. Names compare as Windows does, without case."""

    def __init__(self, hive: Hive, offset: int) -> None:
        self._hive = hive
        self._offset = offset
        data = hive.cell(offset)
        if len(data) < 76 or data[:2] != b"nk":
            raise hive.damaged(f"there is no key at offset {offset:#x}")
        hive.looked += 1
        if hive.looked > limits.HIVE_KEYS:
            raise hive.damaged("its keys are listed again and again")
        flags = struct.unpack_from("<H", data, 2)[0]
        self._subkeys, self._lists = struct.unpack_from("<I4xI", data, 20)
        self._count, self._values = struct.unpack_from("<II", data, 36)
        length = struct.unpack_from("<H", data, 72)[0]
        if length > _LONGEST_KEY:
            raise hive.damaged(f"the key at offset {offset:#x} has a name of {length} bytes")
        raw = data[76 : 76 + length]
        self.name = raw.decode("latin-1") if flags & _ASCII_KEY else raw[: len(raw) & ~1].decode("utf-16-le", "surrogatepass")

    def children(self) -> Iterator[Key]:
        """The keys directly below, in the order of the hive."""
        if self._subkeys and self._lists != _NO_CELL:
            if self._subkeys > self._hive.size // _SMALLEST_KEY:
                raise self._hive.damaged(f"the key {self.name} says that it has {self._subkeys} keys")
            count = 0
            for offset in self._hive.entries(self._lists):
                count += 1
                if count > self._subkeys:
                    break
                yield Key(self._hive, offset)
            if count != self._subkeys:
                raise self._hive.damaged(f"the key {self.name} should have {self._subkeys} keys and has {count}")

    def values(self) -> Iterator[Value]:
        if not self._count or self._values == _NO_CELL:
            return
        if self._count > _MAX_ITEMS:
            raise self._hive.damaged(f"the key {self.name} says that it has {self._count} values")
        offsets = self._hive.cell(self._values)
        if len(offsets) < 4 * self._count:
            raise self._hive.damaged(f"the list of values of {self.name} is too short")
        total = 0
        for index in range(self._count):
            value = self._hive.value(struct.unpack_from("<I", offsets, 4 * index)[0])
            total += len(value.name) + len(value.data)
            if total > self._hive.size:
                raise self._hive.damaged(f"the values of {self.name} are listed again and again")
            yield value

    def key(self, name: str) -> Optional[Key]:
        wanted = name.lower()
        return next((key for key in self.children() if key.name.lower() == wanted), None)

    def value(self, name: str) -> Optional[Value]:
        wanted = name.lower()
        return next((value for value in self.values() if value.name.lower() == wanted), None)


class Hive:
    """A hive; raises InvalidInput for bytes that are none. Whether it is clean is logs.py's business."""

    def __init__(self, data: bytes, name: str = "hive") -> None:
        self._data = data
        self._file = name
        if len(data) < BASE_BLOCK + 32 or data[:4] != b"regf":
            raise self.damaged("it does not begin as a hive does")
        self.looked, self.size = 0, len(data)
        self._found: dict[str, Optional[Key]] = {}
        self._end = min(len(data), BASE_BLOCK + struct.unpack_from("<I", data, 40)[0])
        self.minor = struct.unpack_from("<I", data, 24)[0]
        self.root = Key(self, struct.unpack_from("<I", data, 36)[0])

    def damaged(self, why: str) -> InvalidInput:
        return InvalidInput(
            f"The registry hive {self._file} is damaged: {why}.",
            "Start the source once and shut it down cleanly, or restore the hive; nothing was written.",
            path=self._file,
        )

    def find(self, path: str) -> Optional[Key]:
        """The key at a path with backslashes; None where there is none."""
        key, walked = self.root, ""
        for part in filter(None, path.lower().split("\\")):
            walked += f"\\{part}"
            if walked not in self._found:  # the bytes never change, and lists of keys are long
                self._found[walked] = key.key(part)
            found = self._found[walked]
            if found is None:
                return None
            key = found
        return key

    def cell(self, offset: int) -> bytes:
        """The content of an allocated cell."""
        at = BASE_BLOCK + offset
        if offset % 8 or at + 4 > self._end:
            raise self.damaged(f"a reference points outside, to {offset:#x}")
        size = -int(struct.unpack_from("<i", self._data, at)[0])
        if size < 8 or at + size > self._end:
            raise self.damaged(f"the cell at {offset:#x} is free or too long")
        return self._data[at + 4 : at + size]

    def entries(self, offset: int, nested: bool = True) -> Iterator[int]:
        """Offsets of the keys in a list of subkeys: lf, lh and li name them, ri names further lists."""
        data = self.cell(offset)
        kind, count = data[:2], struct.unpack_from("<H", data, 2)[0]
        step = {b"lf": 8, b"lh": 8, b"li": 4, b"ri": 4}.get(kind, 0)
        if not step or len(data) < 4 + step * count or (kind == b"ri" and not nested):
            raise self.damaged(f"there is no list of keys at offset {offset:#x}")
        for index in range(count):
            entry = struct.unpack_from("<I", data, 4 + step * index)[0]
            if kind == b"ri":
                yield from self.entries(entry, False)
            else:
                yield entry

    def value(self, offset: int) -> Value:
        data = self.cell(offset)
        if len(data) < 20 or data[:2] != b"vk":
            raise self.damaged(f"there is no value at offset {offset:#x}")
        length, size, at, kind, flags = struct.unpack_from("<HIIIH", data, 2)
        raw = data[20 : 20 + length]
        name = raw.decode("latin-1") if flags & _ASCII_VALUE else raw[: len(raw) & ~1].decode("utf-16-le", "surrogatepass")
        if size & _INLINE:
            return Value(name, kind, data[8 : 8 + min(size & ~_INLINE, 4)])
        return Value(name, kind, self._content(at, size) if size else b"")

    def _content(self, offset: int, size: int) -> bytes:
        if size > self.size:
            raise self.damaged(f"a value at {offset:#x} is larger than all of it")
        data = self.cell(offset)
        if size > MAX_VALUE and data[:2] == b"db" and self.minor > 3:
            count, at = struct.unpack_from("<HI", data, 2)
            if count > -(-size // MAX_VALUE):
                raise self.damaged(f"a value at {offset:#x} has more blocks than it needs")
            segments = self.cell(at)
            if len(segments) < 4 * count:
                raise self.damaged(f"the blocks of a value at {offset:#x} are missing")
            data = b"".join(self.cell(struct.unpack_from("<I", segments, 4 * index)[0])[:MAX_VALUE] for index in range(count))
        if len(data) < size:
            raise self.damaged(f"the content at {offset:#x} is shorter than it says")
        return data[:size]

    def walk(self) -> Iterator[tuple[str, tuple[Value, ...]]]:
        """Every key by its path with its values; raises InvalidInput where the tree cannot be walked to its end."""
        stack: list[tuple[str, Key, int]] = [("", self.root, 0)]
        seen: set[int] = set()
        held = long = keys = 0
        while stack:
            path, key, depth = stack.pop()
            if depth > MAX_DEPTH or key._offset in seen:
                raise self.damaged(f"the keys below {path} go round in a circle or too deep")
            seen.add(key._offset)
            values = tuple(key.values())
            held += sum(len(value.data) for value in values)
            if held > self.size:
                raise self.damaged("its values are listed again and again")
            yield path, values
            for child in key.children():
                stack.append((f"{path}\\{child.name}" if path else child.name, child, depth + 1))
                long, keys = long + len(stack[-1][0]), keys + 1
                if keys > self.size // _SMALLEST_KEY:
                    raise self.damaged("its keys are listed again and again")
                if long > limits.HIVE_PATHS:
                    raise self.damaged("its keys have names that are longer than all of it")


def encode(kind: int, value: object) -> bytes:
    """The stored form of a text, a sequence of texts, or a number; bytes are taken as they are."""
    if isinstance(value, bytes):
        return value
    if kind in (SZ, EXPAND_SZ):
        return f"{value}\0".encode("utf-16-le", "surrogatepass")
    if kind == MULTI_SZ and isinstance(value, (list, tuple)):
        return "".join(f"{item}\0" for item in (*value, "")).encode("utf-16-le", "surrogatepass")
    if kind in (DWORD, QWORD) and isinstance(value, int):
        return value.to_bytes(4 if kind == DWORD else 8, "little")
    raise InvalidInput(f"A registry value of type {kind} cannot hold {value!r}.")
