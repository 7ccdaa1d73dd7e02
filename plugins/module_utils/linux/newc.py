# SPDX-License-Identifier: GPL-3.0-or-later
"""cpio archives as an initramfs has them, written: apart from `cpio`, whose decompressors no rollback needs.

Source: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

from typing import Iterable, Iterator, Optional


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
