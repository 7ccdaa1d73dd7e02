# SPDX-License-Identifier: GPL-3.0-or-later
"""Setup information files of drivers: which devices, services, files and registry values a package stands for.

Source: Microsoft, "Overview of INF Files" and the pages of its sections and directives (learn.microsoft.com/windows-hardware/drivers/install).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import date
from typing import Optional, Sequence

from ..core.errors import InvalidInput
from ..core.numbers import decimal
from . import regf

_MAX_SIZE = 4 << 20
_DECORATION = re.compile(r"^nt(amd64|x86|ia64|arm64|arm)?(?:\.(\d*)(?:\.(\d*)(?:\.[^.]*(?:\.[^.]*(?:\.(\d+))?)?)?)?)?$", re.IGNORECASE)
_FIELD = re.compile(r'\s*"(?:[^"]|"")*"\s*(?=,|$)|[^,]+|(?<=,)(?=,)')
_KEY_ONLY, _BINARY = 0x10, 0x1
_TYPES = {0x0: regf.SZ, 0x10000: regf.MULTI_SZ, 0x20000: regf.EXPAND_SZ, 0x10001: regf.DWORD, 0x1: regf.BINARY}
_ARCHITECTURES = {"x86_64": "amd64", "i686": "x86", "aarch64": "arm64"}
# Where ServiceBinary may lie, by directory number; 13 is the driver store, for which System32\drivers serves as well.
_DIRECTORIES = {"10": "", "11": "system32\\", "12": "system32\\drivers\\", "13": "system32\\drivers\\"}


@dataclass(frozen=True)
class Service:
    """A service as an INF installs it; `image` is relative to the Windows directory, `values` are (subkey, name, type, content)."""

    name: str
    kind: int
    start: int
    error: int
    group: str
    image: str
    values: tuple[tuple[str, str, int, bytes], ...] = ()


@dataclass(frozen=True)
class Driver:
    """What one INF means for one Windows. `ids` are hardware ids with their bus, in upper case; `version` four numbers.

    `section` is the install section, `service` the one that drives the device, `files` what the package must hold beside INF and catalogue.
    """

    inf: str
    class_name: str
    class_guid: str
    provider: str
    date: Optional[date]
    version: tuple[int, int, int, int]
    catalog: str
    ids: tuple[str, ...]
    section: str
    service: Optional[Service]
    files: tuple[str, ...]

    def version_blob(self) -> bytes:
        """DriverPackages\\...\\Version: 48 bytes with the class, the date as FILETIME and the version, low word first."""
        days = (self.date - date(1601, 1, 1)).days if self.date is not None else 0
        guid = bytes.fromhex(self.class_guid.strip("{}").replace("-", ""))
        mixed = guid[3::-1] + guid[5:3:-1] + guid[7:5:-1] + guid[8:]
        return bytes.fromhex("00ff090000000000") + mixed + struct.pack("<Q4H", days * 864000000000, *reversed(self.version)) + bytes(8)


class Inf:
    """A parsed INF. Section names and keys compare without case; `%tokens%` are replaced."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name.rsplit("/", 1)[-1]
        if len(data) > _MAX_SIZE:
            raise self._wrong(f"it has {len(data)} bytes")
        self._sections: dict[str, list[tuple[str, list[str]]]] = {}
        raw = _raw_sections(_text(data))
        self._strings = {key.lower(): _unquote(value) for key, value in (line.partition("=")[::2] for line in raw.get("strings", ()))}
        self._strings = {key.strip(): value for key, value in self._strings.items()}
        for section, lines in raw.items():
            self._sections[section] = [self._line(line) for line in lines]

    def _wrong(self, why: str) -> InvalidInput:
        return InvalidInput(
            f"The driver description {self.name} cannot be used: {why}.", "Take the drivers from an unchanged virtio-win ISO."
        )

    def driver(self, architecture: str, nt: tuple[int, int], build: int) -> Optional[Driver]:
        """What the INF offers to a Windows of this architecture, version and build; None where it offers nothing."""
        arch = _ARCHITECTURES.get(architecture, "")
        models = self._models(arch, nt, build)
        ids = [(fields[0], fields[1:]) for dummy, fields in models if len(fields) > 1]
        if not ids:
            return None
        section = ids[0][0]
        date_text, dummy, version = self._value("version", "DriverVer").partition(",")
        parts = [decimal(part.strip()) or 0 for part in version.strip().split(".")][:4]
        major, minor, third, fourth = (*parts, 0, 0, 0, 0)[:4]
        catalog = next(
            (value for key in (f"CatalogFile.NT{arch}", "CatalogFile.NT", "CatalogFile") if (value := self._value("version", key))), ""
        )
        return Driver(
            self.name.lower(),
            self._value("version", "Class"),
            self._value("version", "ClassGUID").lower(),
            self._value("version", "Provider"),
            _date(date_text),
            (major, minor, third, fourth),
            catalog,
            tuple(dict.fromkeys(one.upper() for dummy, many in ids for one in many if one)),
            self._decorated(section, arch),
            self._service(section, arch),
            self._files(arch),
        )

    @property
    def provider(self) -> str:
        return self._value("version", "Provider")

    @property
    def catalog(self) -> str:
        """The name of its catalogue for any architecture; empty where it has none."""
        entries = self._sections.get("version", ())
        return next((fields[0] for key, fields in entries if key.lower().startswith("catalogfile") and fields), "")

    @property
    def services(self) -> tuple[str, ...]:
        """The services that any of its sections adds."""
        lines = [line for section, lines in self._sections.items() if section.endswith(".services") for line in lines]
        return tuple(dict.fromkeys(fields[0] for key, fields in lines if key.lower() == "addservice" and fields and fields[0]))

    def _models(self, arch: str, nt: tuple[int, int], build: int) -> list[tuple[str, list[str]]]:
        found: list[tuple[str, list[str]]] = []
        for dummy, fields in self._sections.get("manufacturer", ()):
            best, name = None, ""
            for decoration in fields[1:] or [""]:
                rank = _rank(decoration, arch, nt, build)
                if rank is not None and (best is None or rank > best):
                    best, name = rank, f"{fields[0]}.{decoration}" if decoration else fields[0]
            found += self._sections.get(name.lower(), [])
        return found

    def _decorated(self, section: str, arch: str, suffix: str = "") -> str:
        names = [f"{section}.NT{arch}{suffix}", f"{section}.NT{suffix}", f"{section}{suffix}"]
        return next((name for name in names if name.lower() in self._sections), section)

    def _service(self, section: str, arch: str) -> Optional[Service]:
        """The service with the flag SPSVCINST_ASSOCSERVICE (2), which drives the device."""
        for key, fields in self._sections.get(self._decorated(section, arch, ".Services").lower(), ()):
            if key.lower() == "addservice" and len(fields) > 2 and _number(fields[1]) & 2:
                name = fields[2]
                image = self._value(name, "ServiceBinary")
                match = re.match(r"^%(\d+)%\\(?:.*\\)?([^\\]+)$", image)
                if match is None or match.group(1) not in _DIRECTORIES:
                    raise self._wrong(f"its service {fields[0]} has the program {image or 'none'}")
                return Service(
                    fields[0],
                    _number(self._value(name, "ServiceType") or "1"),
                    _number(self._value(name, "StartType") or "3"),
                    _number(self._value(name, "ErrorControl") or "1"),
                    self._value(name, "LoadOrderGroup"),
                    _DIRECTORIES[match.group(1)] + match.group(2),
                    tuple(value for part in self._value(name, "AddReg").split(",") for value in self._registry(part.strip())),
                )
        return None

    def _registry(self, section: str) -> list[tuple[str, str, int, bytes]]:
        """The HKR values of an AddReg section."""
        values = []
        for dummy, fields in self._sections.get(section.lower(), ()):
            root, subkey, name, flags, *content = [*fields, "", "", "", ""][: max(5, len(fields))]
            number = _number(flags or "0")
            kind = _TYPES.get(number & 0x30001)
            if root.upper() != "HKR" or number & _KEY_ONLY or kind is None:
                continue
            if kind == regf.DWORD:
                data = regf.encode(kind, _number(content[0] or "0") & 0xFFFFFFFF)
            elif kind == regf.BINARY:
                data = bytes(_number(f"0x{part}") & 0xFF for part in content if part)
            else:
                data = regf.encode(kind, tuple(filter(None, content)) if kind == regf.MULTI_SZ else content[0])
            values.append((subkey, name, kind, data))
        return values

    def _files(self, arch: str) -> tuple[str, ...]:
        sections = ("sourcedisksfiles", f"sourcedisksfiles.{arch}")
        return tuple(dict.fromkeys(key for section in sections for key, dummy in self._sections.get(section, ()) if key))

    def _value(self, section: str, key: str) -> str:
        """The value of an entry as one text; empty where there is none."""
        wanted = key.lower()
        return next((", ".join(fields) for name, fields in self._sections.get(section.lower(), ()) if name.lower() == wanted), "")

    def _line(self, line: str) -> tuple[str, list[str]]:
        key, equals, rest = _split_key(line)
        values = rest if equals else line
        fields = [self._replace(_unquote(part)) for part in _FIELD.findall(values.strip())]
        return (self._replace(_unquote(key)) if equals else ""), fields

    def _replace(self, text: str) -> str:
        return re.sub(
            r"%([^%\s]*)%", lambda match: "%" if not match.group(1) else self._strings.get(match.group(1).lower(), match.group(0)), text
        )


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "surrogateescape")


def _raw_sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: Optional[list[str]] = None
    pending = ""
    for raw in text.splitlines():
        line = (pending + _uncomment(raw).strip()).strip()
        pending = ""
        if line.endswith("\\") and not line.startswith("["):
            pending = line[:-1]
            continue
        if line.startswith("[") and "]" in line:
            current = sections.setdefault(line[1 : line.index("]")].strip().lower(), [])
        elif line and current is not None:
            current.append(line)
    return sections


def _uncomment(line: str) -> str:
    quoted = False
    for index, char in enumerate(line):
        if char == '"':
            quoted = not quoted
        elif char == ";" and not quoted:
            return line[:index]
    return line


def _split_key(line: str) -> tuple[str, bool, str]:
    """At the first equals sign outside quotes."""
    quoted = False
    for index, char in enumerate(line):
        if char == '"':
            quoted = not quoted
        elif char == "=" and not quoted:
            return line[:index].strip(), True, line[index + 1 :]
    return "", False, line


def _unquote(text: str) -> str:
    text = text.strip()
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _rank(decoration: str, arch: str, nt: tuple[int, int], build: int) -> Optional[tuple[int, int, int, int]]:
    """How well a decoration fits, None where it does not: the highest version that is not above the guest's, exact architecture first."""
    if not decoration:
        return (0, 0, 0, 0) if arch == "x86" else None
    match = _DECORATION.match(decoration)
    if match is None or (match.group(1) or arch).lower() != arch:
        return None
    major, minor, at_least = (decimal(part) or 0 for part in match.groups()[1:])
    if (major, minor) > nt or (at_least > build and (major, minor) >= (10, 0)):
        return None
    return major, minor, at_least, 1 if match.group(1) else 0


def _number(text: str) -> int:
    text = text.strip()
    if re.fullmatch("0[xX][0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    return min(decimal(text) or 0, 0xFFFFFFFF)


def _date(text: str) -> Optional[date]:
    parts: Sequence[str] = text.strip().split("/")
    try:
        month, day, year = (decimal(part.strip()) or 0 for part in parts)
        return date(year, month, day)
    except (ValueError, OverflowError):
        return None
