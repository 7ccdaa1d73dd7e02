# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a disk's content as a guest sees it, whatever format holds it.

The disk is cut into blocks of 64 KiB, of which the last may be shorter. The digest is the SHA-256 of the SHA-256 of every block, in order, and
of the disk's size in bytes as eight bytes, the highest first. Blocks of zeros have one known digest, so that holes cost next to nothing.
`python3 -m ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.tap FILE FORMAT` prints it.
"""

from __future__ import annotations

import hashlib
import threading

BLOCK = 64 << 10
KIND = "sha256-64k"
_ZERO = hashlib.sha256(bytes(BLOCK)).digest()
_MANY = 4096
_WINDOW = 4 << 30  # bytes; further behind nothing is waited for
_PARTS = 512


class Content:
    """The digest of a disk of `size` bytes, of which parts come in about their order, each byte once. What never comes is zeros.

    Memory does not grow with the disk: what is far behind is taken for whole. `late` says that something came after that, and that the digest is
    therefore wrong. `head` is what the first bytes were, as many as `keep`.
    """

    def __init__(self, size: int, keep: int = 0) -> None:
        self.size, self.bytes, self.late = size, 0, False
        self.head = bytearray(min(keep, size))
        self._outer = hashlib.sha256()
        self._next = 0  # the first block that is not in `_outer`
        self._whole: dict[int, bytes] = {}
        self._parts: dict[int, bytearray] = {}
        self._lock = threading.Lock()

    def part(self, offset: int, data: memoryview) -> None:
        """What the disk has at `offset` (bytes). Threads may call it."""
        first = -(-offset // BLOCK)
        last = max(first, (offset + len(data)) // BLOCK)
        begin, end = first * BLOCK - offset, last * BLOCK - offset
        whole = {first + number: hashlib.sha256(data[at : at + BLOCK]).digest() for number, at in enumerate(range(begin, end, BLOCK))}
        with self._lock:
            self.bytes += len(data)
            if offset < len(self.head):
                count = min(len(self.head) - offset, len(data))
                self.head[offset : offset + count] = data[:count]
            self.late |= offset // BLOCK < self._next
            self._whole.update(whole)
            for at, piece in ((offset, data[: max(begin, 0)]), (offset + end, data[max(end, 0) :])):
                self._piece(at, piece)
            self._forget(offset + len(data))

    def _piece(self, offset: int, data: memoryview) -> None:
        """Of at most one block and a border."""
        while data:
            number, at = divmod(offset, BLOCK)
            count = min(BLOCK - at, len(data))
            block = self._parts.setdefault(number, bytearray(min(BLOCK, self.size - number * BLOCK)))
            block[at : at + count] = data[:count]
            offset, data = offset + count, data[count:]

    def _forget(self, reached: int) -> None:
        """What is so far behind that nothing more is to come there goes into the digest."""
        until = (reached - _WINDOW) // BLOCK
        if len(self._parts) > _PARTS:
            until = max(until, sorted(self._parts)[len(self._parts) // 2])
        if until > self._next:
            self._take(until)

    def _take(self, until: int) -> None:
        for number in sorted(number for number in {*self._whole, *self._parts} if number < until):
            self._zeros(number)
            part = self._parts.pop(number, None)
            self._outer.update(self._whole.pop(number, b"") if part is None else hashlib.sha256(part).digest())
            self._next = number + 1
        self._zeros(until)

    def _zeros(self, until: int) -> None:
        count = until - self._next
        for dummy in range(count // _MANY):
            self._outer.update(_ZERO * _MANY)
        self._outer.update(_ZERO * (count % _MANY))
        self._next = until

    def digest(self) -> str:
        """The digest, after which nothing more may come."""
        with self._lock:
            self._take(self.size // BLOCK)
            if self.size % BLOCK:
                last = self._parts.pop(self._next, None) or bytes(self.size % BLOCK)
                self._outer.update(hashlib.sha256(last).digest())
            self._outer.update(self.size.to_bytes(8, "big"))
            return f"{KIND}:{self._outer.hexdigest()}"
