# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDK descriptors and sparse headers, read strictly by our own parser before qemu sees anything.

Source: VMware "Virtual Disk Format 5.0" technical note; vmfsSparse and seSparse headers as read by qemu's block/vmdk.c.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Optional

from ..core import limits
from ..core.errors import InvalidInput, UnsafeInput
from . import encoded

SECTOR = 512
NO_PARENT = 0xFFFFFFFF
MAX_DESCRIPTOR = 1 << 20  # bytes; the largest that qemu reads
FLAT_KINDS = ("FLAT", "VMFS")
SPARSE_KINDS = ("SPARSE", "VMFSSPARSE", "SESPARSE")
PART = re.compile(r"-(flat|delta|sesparse|ctk|s\d{3}|f\d{3})\.vmdk$", re.IGNORECASE)  # names of what descriptors list
RAW_DEVICE_KINDS = ("VMFSRDM", "VMFSRAW")

_MAGIC_HOSTED = b"KDMV"
_MAGIC_COWD = b"COWD"
_MAGIC_SESPARSE = struct.pack("<Q", 0x00000000CAFEBABE)
_GD_AT_END = 0xFFFFFFFFFFFFFFFF
_COMPRESSED, _DEFLATE, _ENDS = 1 << 16, 1, b"\n \r\n"
_EXTENT = re.compile(r'^(RW|RDONLY|NOACCESS)\s+([0-9]{1,15})\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+([0-9]{1,15}))?)?(?:\s+\S+)*\s*$')
# In an embedded descriptor the extent is the file itself, and its name the path that it was made under, in whatever characters.
_EMBEDDED = re.compile(rb"^([ \t]*(?:RW|RDONLY|NOACCESS)[ \t]+[0-9]{1,15}[ \t]+[A-Z]+)(?:[ \t][^\r\n]*)?(?=[\r\n]|\Z)", re.MULTILINE)
_PAIR = re.compile(r'^([A-Za-z][A-Za-z0-9_.:-]*)\s*=\s*(?:"(.*)"|(.*?))\s*$')
_ENCRYPTED, _FILTERS = re.compile(r"crypt|(^|\.)(key|keys|keyid|keysafe|datafilekey)$"), re.compile(r"iofilter|sidecar")
_LINES = re.compile(r"\r\n|\r|\n")  # str.splitlines takes bytes of names in UTF-8 for ends of lines
_NOTHING = ("", "0", "false", "no", "none")
_PLAIN_NAME = re.compile(r'^[^/\\\0:"\r\n]+$')


@dataclass(frozen=True)
class Extent:
    """One piece of a disk; `sectors` and `offset` in units of 512 bytes. `name` is a plain file name beside the descriptor."""

    access: str
    sectors: int
    kind: str
    name: str
    offset: int = 0


@dataclass(frozen=True)
class Descriptor:
    """What the text of a descriptor says."""

    cid: int
    parent_cid: int
    create_type: str
    parent_hint: Optional[str]
    extents: tuple[Extent, ...]
    ddb: dict[str, str]

    @property
    def sectors(self) -> int:
        return sum(extent.sectors for extent in self.extents)

    @property
    def wwn(self) -> Optional[str]:
        """The disk's NAA identifier in lower case hexadecimal, as udev shows it in by-id names; None when not recorded."""
        digits = re.sub(r"[^0-9a-fA-F]", "", self.ddb.get("ddb.uuid", "")).lower()
        return digits if len(digits) == 32 else None


def plain_name(name: str, what: str, by: str = "The VMDK") -> str:
    """`name` if it names a file beside the descriptor and nothing else. `what` is named `by` what, for the message.

    Raises UnsafeInput for paths, parent directories, protocols ("nbd:", "json:") and control characters.
    """
    if not _PLAIN_NAME.match(name) or name in (".", "..") or any(ord(char) < 32 for char in name):
        raise UnsafeInput(
            f"{by} names {what} {name[:200]!r}, which is not a plain file name.",
            "Only files beside it are read. Put the file there under its plain name and correct that in a copy of the VM, "
            "or export the VM again.",
            name=name,
        )
    return name


def parse_descriptor(text: str, path: str) -> Descriptor:
    """Parse the text of a descriptor strictly; `path` is only for messages.

    Raises InvalidInput for anything malformed, unknown or contradictory and UnsafeInput for names that reach elsewhere.
    """
    pairs: dict[str, str] = {}
    extents: list[Extent] = []
    for number, raw in enumerate(_LINES.split(text.split("\0", 1)[0]), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        extent, pair = _EXTENT.match(line), _PAIR.match(line)
        if extent:
            extents.append(_extent(extent, path))
        elif pair:
            key, value = pair[1] if pair[1].startswith("ddb.") else pair[1].lower(), pair[2] if pair[2] is not None else pair[3]
            _require_plain(key, value, path)
            if pairs.setdefault(key, value) != value:
                raise _contradictory(path, f"gives {key[:80]} twice, as {pairs[key][:80]!r} and as {value[:80]!r}")
        else:
            raise InvalidInput(
                f"{path} line {number} is not part of a VMDK descriptor: {line[:80]!r}.",
                "The file is damaged or not a descriptor; name the small .vmdk text file of the VM.",
                path=path,
                line=number,
            )
    if not extents:
        raise InvalidInput(f"{path} names no extents.", "The descriptor is damaged; copy it again.", path=path)
    parent_cid = _cid(pairs, "parentcid", path)
    hint = pairs.get("parentfilenamehint")
    if parent_cid != NO_PARENT and hint is None:
        raise InvalidInput(
            f"{path} is a snapshot (parentCID {parent_cid:08x}) but names no parent file.",
            "Restore the line parentFileNameHint in the descriptor, or consolidate the snapshots at the source.",
            path=path,
        )
    if hint and parent_cid == NO_PARENT:
        raise _contradictory(path, f"names the parent {hint[:80]!r}, and says that it has none (parentCID)")
    return Descriptor(
        cid=_cid(pairs, "cid", path),
        parent_cid=parent_cid,
        create_type=pairs.get("createtype", ""),
        parent_hint=plain_name(hint, "the parent") if hint is not None and parent_cid != NO_PARENT else None,
        extents=tuple(extents),
        ddb={key: value for key, value in pairs.items() if key.startswith("ddb.")},
    )


def _require_plain(key: str, value: str, path: str) -> None:
    """Raise InvalidInput where a line says that the data are encrypted: by its keys, or by a filter of ESXi through which they went."""
    named, said = key.lower(), value.strip().lower()
    filtered = _FILTERS.search(named) is not None and "crypt" in said
    if filtered or "vmware:key" in said or (_ENCRYPTED.search(named) and said not in _NOTHING):
        raise InvalidInput(
            f"{path} is encrypted ({key}).",
            "Decrypt the VM in VMware (a storage policy without encryption, or Remove Encryption), then copy it.",
            path=path,
        )


def _extent(match: re.Match[str], path: str) -> Extent:
    access, sectors, kind, name, offset = match[1], int(match[2]), match[3], match[4], int(match[5] or 0)
    if kind in RAW_DEVICE_KINDS:
        raise InvalidInput(
            f"{path} maps a raw device ({kind}).", "Convert the RDM to a virtual disk at the source (clone it), then migrate.", path=path
        )
    if kind == "ZERO":
        raise InvalidInput(
            f"{path} has a ZERO extent, which qemu would skip and so shift everything after it.",
            "Clone the disk at the source (vmkfstools -i, vmware-vdiskmanager -r) to a plain sparse or flat VMDK.",
            path=path,
        )
    if kind not in FLAT_KINDS + SPARSE_KINDS:
        raise InvalidInput(
            f"{path} has an extent of unknown kind {kind}.", "Clone the disk at the source to a plain sparse or flat VMDK.", path=path
        )
    if access == "NOACCESS" or name is None or sectors == 0:
        raise InvalidInput(
            f"{path} has an extent that cannot be read ({match[0][:80]!r}).", "The descriptor is damaged; copy it again.", path=path
        )
    return Extent(access, sectors, kind, plain_name(name, "the extent"), offset)


def _require_distinct(descriptor: Descriptor, path: str) -> Descriptor:
    """The same. Raises InvalidInput where two extents are of the same data: a flat file may have several, one behind the other."""
    ends: dict[str, int] = {}
    for extent in sorted(descriptor.extents, key=lambda one: one.offset):
        if extent.offset < ends.get(extent.name, 0):
            raise _contradictory(path, f"has the same data of {extent.name} twice")
        ends[extent.name] = extent.offset + extent.sectors if extent.kind in FLAT_KINDS else NO_PARENT << 32
    return descriptor


def _contradictory(path: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{path} {what}.",
        "Leave the line that is meant in a copy of the VM, or copy it again: VMware does not write such a descriptor.",
        path=path,
    )


def _cid(pairs: dict[str, str], key: str, path: str) -> int:
    value = pairs.get(key, "")
    if not re.fullmatch(r"[0-9a-fA-F]{1,8}", value):
        raise InvalidInput(f"{path} has no valid {key} ({value[:20]!r}).", "The descriptor is damaged; copy it again.", path=path)
    return int(value, 16)


@dataclass(frozen=True)
class SparseHeader:
    """Header of a sparse extent: `kind` as an extent kind, capacity in sectors, where an embedded descriptor lies (bytes).

    `streamed`: where its tables lie is said at its end, because whoever wrote it did not know before. `unclean`: it was open for writing.
    """

    kind: str
    sectors: int
    descriptor_at: int = 0
    descriptor_size: int = 0
    compressed: bool = False
    streamed: bool = False
    unclean: bool = False


def read_header(file: BinaryIO, path: str, base: int = 0, length: Optional[int] = None) -> Optional[SparseHeader]:
    """The sparse header at offset `base` of `file`, None when there is none; `length` bounds the disk inside a larger file.

    Raises InvalidInput for headers that are truncated, of an unknown version, or whose tables lie outside the file.
    """
    file.seek(base)
    head = file.read(SECTOR)
    if length is None:
        length = file.seek(0, 2) - base
    if head[:4] == _MAGIC_COWD:
        return SparseHeader("VMFSSPARSE", _unpack("<4xIIII", head, path)[2])
    if head[:8] == _MAGIC_SESPARSE:
        return SparseHeader("SESPARSE", _unpack("<QQQ", head, path)[2])
    if head[:4] != _MAGIC_HOSTED:
        return None
    version, flags, capacity, grain, at, size, entries, dummy, tables = _unpack("<4xIIQQQQIQQ", head, path)
    streamed = tables == _GD_AT_END
    if streamed:
        tables = _footer_tables(file, path, base, length)
    unclean, ends, method = struct.unpack_from("<B4sH", head, 72)
    bad = (
        (version not in (1, 2, 3) and "version")
        or (flags & 1 and ends not in (bytes(4), _ENDS) and "test of line ends, as after a copy that took it for a text")
        or (flags & _COMPRESSED and method not in (0, _DEFLATE) and f"compression (method {method})")
        or (not 0 < capacity <= limits.VMDK_SECTORS and "capacity")
        or (entries not in range(1, 513) and "table size")
        or (not 1 <= grain <= 1 << 16 and "grain size")
        or (not 0 < tables * SECTOR < length and "table offset")
        or ((at + size) * SECTOR > length and "descriptor")
    )
    if bad:
        raise InvalidInput(
            f"The sparse header of {path} has an impossible {bad}.", "The file is truncated or damaged; copy it again.", path=path
        )
    return SparseHeader("SPARSE", capacity, at * SECTOR, size * SECTOR, bool(flags & _COMPRESSED), streamed, bool(unclean))


def _footer_tables(file: BinaryIO, path: str, base: int, length: int) -> int:
    """streamOptimized: the grain directory's place is in a footer, 1024 bytes before the end."""
    file.seek(base + max(0, length - 2 * SECTOR))
    foot = file.read(SECTOR)
    if foot[:4] != _MAGIC_HOSTED:
        raise InvalidInput(f"{path} is a stream-optimized VMDK without its footer.", "The file is truncated; copy it again.", path=path)
    return int(_unpack("<4xIIQQQQIQQ", foot, path)[8])


def _unpack(fmt: str, data: bytes, path: str) -> tuple[int, ...]:
    if len(data) < struct.calcsize(fmt):
        raise InvalidInput(f"{path} is too short for a VMDK.", "The file is truncated; copy it again.", path=path)
    return struct.unpack_from(fmt, data)


def read_descriptor(file: BinaryIO, path: str, base: int = 0, length: Optional[int] = None) -> tuple[Descriptor, Optional[SparseHeader]]:
    """The descriptor of a VMDK: a text file, or embedded in a hosted sparse file (then with its header)."""
    header = read_header(file, path, base, length)
    if header is not None and not header.descriptor_size:
        raise InvalidInput(
            f"{path} is one part of a VMDK ({header.kind}), not its descriptor.",
            "Name the small .vmdk text file that lists this part.",
            path=path,
        )
    if header is not None:
        file.seek(base + header.descriptor_at)
        text = _EMBEDDED.sub(rb'\1 "embedded"', file.read(min(header.descriptor_size, MAX_DESCRIPTOR)).split(b"\0", 1)[0])
        return parse_descriptor(_decode(text, path), path), header
    file.seek(base)
    text = file.read(MAX_DESCRIPTOR + 1)
    if len(text) > MAX_DESCRIPTOR or not text.lstrip().lower().startswith(b"# disk descriptorfile"):
        raise InvalidInput(
            f"{path} is neither a VMDK descriptor nor a sparse VMDK.",
            "Name the small .vmdk text file, not its -flat, -delta or -sesparse part.",
            path=path,
        )
    return _require_distinct(parse_descriptor(_decode(text, path), path), path), None


def _decode(data: bytes, path: str) -> str:
    return encoded.text(data.split(b"\0", 1)[0], path, "latin-1")


def canonical(create_type: str, cid: int, parent_cid: int, parent: Optional[str], extents: tuple[Extent, ...]) -> str:
    """The text of a descriptor that says exactly this and nothing else; the only kind of descriptor qemu gets from us."""
    lines = ["# Disk DescriptorFile", "version=1", f"CID={cid:08x}", f"parentCID={parent_cid:08x}", f'createType="{create_type}"']
    if parent is not None:
        lines.append(f'parentFileNameHint="{parent}"')
    lines.append("# Extent description")
    for extent in extents:
        kind = "FLAT" if extent.kind in FLAT_KINDS else extent.kind
        offset = f" {extent.offset}" if kind == "FLAT" else ""
        lines.append(f'RW {extent.sectors} {kind} "{extent.name}"{offset}')
    return "\n".join([*lines, "# The Disk Data Base", "#DDB", ""])
