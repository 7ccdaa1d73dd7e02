# SPDX-License-Identifier: GPL-3.0-or-later
"""mdadm.conf: arrays are looked for on every device, and known by their own UUIDs.

Source: mdadm.conf(5): a line that begins with white space goes on with the one before, keywords have any case and may be cut to three letters, and
`DEVICE partitions` is the default.
"""

from __future__ import annotations

import re
from typing import Iterator

from ..guest.protocol import Guest, glob

FILES = ("/etc/mdadm/mdadm.conf", "/etc/mdadm.conf")
# What may be the beginning of a pattern; partitions and volumes by their own identifiers stay what they are.
_OLD = re.compile(r"/dev/(?:sd|hd|xvd|vd|nvme|mapper/mpath|disk/by-(?:path|id)/(?!dm-name-|dm-uuid-|lvm-pv-uuid-|md-uuid-|md-name-))")
_DEVICE = re.compile(r"^(?P<keyword>[ \t]*\S+[ \t]+)(?P<words>[^\n#]*)(?P<rest>.*)$", re.DOTALL)
_MEMBERS = re.compile(r"(?:(?<=\s)|^)devices=[^\s#]*", re.IGNORECASE)


def files(guest: Guest) -> Iterator[str]:
    """The configuration and its drop-ins."""
    for path in FILES:
        yield path
        yield from glob(guest, f"{path}.d", ".conf")


def rewritten(content: str) -> str:
    """The configuration without names of disks where it does not need them."""
    return "".join(_statement(lines) for lines in _statements(content))


def _statements(content: str) -> Iterator[list[str]]:
    """The lines of each statement."""
    lines: list[str] = []
    for line in content.splitlines(keepends=True):
        if lines and (line[0] not in " \t" or lines[0][0] in "#\r\n"):
            yield lines
            lines = []
        lines.append(line)
    if lines:
        yield lines


def _statement(lines: list[str]) -> str:
    words = [word for line in lines for word in re.split(r"(?:^|\s)#", line, maxsplit=1)[0].split()]
    keyword = words[0].lower() if words else ""
    if len(keyword) >= 3 and "device".startswith(keyword) and any(_OLD.match(word) for word in words[1:]):
        return _everywhere(lines)
    if len(keyword) >= 3 and "array".startswith(keyword) and any(word.lower().startswith("uuid=") for word in words):
        return "".join(map(_without_members, lines))
    return "".join(lines)


def _everywhere(lines: list[str]) -> str:
    """A statement about devices that names none; what is said behind it stays."""
    match = _DEVICE.match(lines[0])
    if match is None:
        return "".join(lines)
    blank = match["words"][len(match["words"].rstrip()) :]
    comments = [line for line in lines[1:] if line.lstrip().startswith("#")]
    return f"{match['keyword']}partitions{blank}{match['rest']}" + "".join(comments)


def _without_members(line: str) -> str:
    """A line of an array without the disks that it was on; nothing of one that says no more."""
    match = _MEMBERS.search(line)
    if match is None or _OLD.search(match[0]) is None:
        return line
    before, after = line[: match.start()], line[match.end() :]
    return before.rstrip(" \t") + after if (before + after).strip() else ""
