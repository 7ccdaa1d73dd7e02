# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM's own configuration: filters that reject the disks under their new names, and the devices file.

A filter is judged by what it does, as LVM does it: of the patterns the first that matches a name decides, a device is accepted by one accepted name,
rejected by one rejected name otherwise, and accepted where no pattern matches.
Source: lvm.conf(5), lvmdevices(8) (without a devices file every device is considered), lib/filters/filter-regex.c and libdm's configuration grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

from ..guest.device_names import letters
from ..guest.protocol import Guest
from .cmdline import unstable

DEVICES = "/etc/lvm/devices/system.devices"
CONFIGS = ("/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf")
Names = Sequence[frozenset[str]]
# What the disks of most guests may be called, where it is not known on which of them the volume groups are.
_ANY: Names = tuple(frozenset({f"/dev/{kind}{letter}{part}"}) for kind in ("vd", "sd") for letter in "abcd" for part in ("", 1, 2, 3))
_TOKEN = re.compile(r'#[^\n]*|"(?:\\[\s\S]|[^"\\])*(?:"|\\?\Z)|[\[\]{}=,]|[^\s"#\[\]{}=,]+')
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_LONGEST = 300  # characters of a pattern
_MOST_PATTERNS = 1000  # of a filter
_MOST_REPEATED = 3  # parts of a pattern; each multiplies how long Python may try
_REPEATED = re.compile(r"[*+?{]")
_COSTLY = re.compile(r"\)[*+?{]|\(\(|\{\d{4}")  # repetitions of groups, which Python would try for ever, and LVM does not know all
_ACCEPT_ALL = '[ "a|.*|" ]'
# Identifiers of a disk that its new hardware does not have; those of md and crypt devices are their own.
_OF_HARDWARE = ("sys_wwid", "sys_serial", "wwid_naa", "wwid_eui", "wwid_t10", "mpath_uuid", "devname")


@dataclass(frozen=True)
class Setting:
    """A setting as it stands in the text: where its name begins, where its value is, and the strings in that."""

    name: str
    start: int
    value: int
    end: int
    strings: tuple[str, ...]


def new_names(guest: Guest) -> Names:
    """What the disks with physical volumes may be called on the target: as virtio disks, or as SATA disks. Arrays and encrypted devices keep their names."""
    volumes = [device for device in guest.devices() if device.fstype == "LVM2_member"]
    if not volumes:  # none, or within what is locked
        return _ANY if any(device.fstype == "crypto_LUKS" for device in guest.devices()) else ()
    return tuple(
        frozenset({f"/dev/{kind}{letters(device.disk)}{device.part or ''}", f"/dev/disk/by-id/lvm-pv-uuid-{device.uuid}"})
        | ({f"/dev/disk/by-partuuid/{device.partuuid}"} if device.partuuid else frozenset())
        for device in volumes
        for kind in ("vd", "sd")
        if device.disk is not None
    )


def conf(content: str, names: Names = _ANY) -> str:
    """A configuration without the filters that reject one of these devices; LVM then looks at every device, which is its default.

    A filter that has its lines to itself becomes a comment; one that shares them accepts all.
    """
    for found in reversed(list(settings(content))):
        if found.name.rsplit("/", 1)[-1] not in ("filter", "global_filter") or all(accepts(found.strings, device) for device in names):
            continue
        begin, end = content.rfind("\n", 0, found.start) + 1, content.find("\n", found.end)
        end = len(content) if end < 0 else end
        tail = content[found.end : end].strip()
        if content[begin : found.start].strip() or (tail and not tail.startswith("#")):
            content = content[: found.value] + _ACCEPT_ALL + content[found.end :]
        else:
            content = content[: found.start] + "# " + content[found.start : found.end].replace("\n", "\n# ") + content[found.end :]
    return content


def accepts(patterns: Sequence[str], device: frozenset[str]) -> bool:
    """Whether a filter lets LVM use a device with these names. A pattern that cannot be read rejects, as does a filter with too many of them."""
    if len(patterns) > _MOST_PATTERNS:
        return False
    rejected = False
    for name in device:
        for pattern in patterns:
            found = _matches(pattern, name)
            if found and pattern[:1] == "a":
                return True
            if found is not False:
                rejected = True
                break
    return not rejected


def _matches(pattern: str, name: str) -> Optional[bool]:
    """Whether a pattern matches; None for one that cannot be read, or that would take for ever."""
    if not 3 <= len(pattern) <= _LONGEST or pattern[0] not in "ar" or pattern[-1] != _CLOSING.get(pattern[1], pattern[1]):
        return None
    if _COSTLY.search(pattern[2:-1]) or len(_REPEATED.findall(pattern[2:-1])) > _MOST_REPEATED:
        return None
    try:
        return re.search(pattern[2:-1], name) is not None
    except (re.error, OverflowError, RecursionError):
        return None


def settings(content: str) -> Iterator[Setting]:
    """Every setting of a configuration, whatever section it is in."""
    tokens = [match for match in _TOKEN.finditer(content) if not match[0].startswith("#")]
    at = 0
    while at + 2 < len(tokens):
        if tokens[at + 1][0] != "=":
            at += 1
            continue
        name, first = tokens[at], at + 2
        last = first
        if tokens[first][0] == "[":
            while last + 1 < len(tokens) and tokens[last][0] != "]":
                last += 1
        strings = tuple(re.sub(r"\\(.)", r"\1", token[0][1:-1]) for token in tokens[first : last + 1] if token[0].startswith('"'))
        yield Setting(name[0], name.start(), tokens[first].start(), tokens[last].end(), strings)
        at = last + 1


def devices_file(content: str) -> str:
    """The devices file for an initramfs: entries bound to the hardware become entries by name, for which LVM searches the PVID."""

    def by_name(line: str) -> str:
        entry = _entry(line)
        if entry.get("IDTYPE") not in _OF_HARDWARE or entry.get("PVID", "none") == "none":
            return line
        name = entry.get("DEVNAME", "/dev/sda")
        return " ".join(
            [f"IDTYPE=devname IDNAME={name} DEVNAME={name} PVID={entry['PVID']}", *([f"PART={entry['PART']}"] if "PART" in entry else [])]
        )

    return "".join(by_name(line.rstrip("\n")) + line[len(line.rstrip("\n")) :] for line in content.splitlines(keepends=True))


def names_old_devices(content: str) -> bool:
    """Whether an entry of a devices file would keep LVM from the volume group."""
    entries = (_entry(line) for line in content.splitlines() if line.startswith("IDTYPE="))
    return any(entry.get("IDTYPE") in _OF_HARDWARE or unstable(entry.get("IDNAME", "")) for entry in entries)


def devices_files(configurations: Sequence[str]) -> tuple[str, ...]:
    """The devices files that are in use: the usual one, and those that a configuration names in its place."""
    named = [
        found.strings[0]
        for content in configurations
        for found in settings(content)
        if found.name.rsplit("/", 1)[-1] == "devicesfile" and found.strings
    ]
    return tuple(dict.fromkeys([DEVICES, *(f"/etc/lvm/devices/{name}" for name in named if name and "/" not in name)]))


def _entry(line: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in line.split())
