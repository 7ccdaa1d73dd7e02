# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab, automount maps, kdump's target and systemd mount units: every entry finds its device on any hypervisor.

Lines are kept to the byte; only the device field of an entry that needs it is replaced.
Source: fstab(5), systemd.mount(5), systemd.swap(5), autofs(5), kdump.conf(5), xfs(5), ext4(5), btrfs(5); cloud-init's azure data source for the temporary disk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Iterator, Optional

from ..core.concern import BLOCKER, WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.protocol import Guest, glob, stable_path, stable_spec, text
from . import swap_units
from .cmdline import TAGS, unstable
from .netconf.model import ini

FSTAB, CRYPTTAB = "/etc/fstab", "/etc/crypttab"
MODES = ("stabilize-all", "bypath-only", "noop")
_ENTRY = re.compile(r"^(?P<lead>[ \t]*)(?P<first>[^\s#]\S*)(?P<gap>[ \t]+)(?P<second>\S+)(?P<rest>.*)$", re.DOTALL)
_AUTOFS = re.compile(r"^([^#\n]*\s:)(/dev/\S+)", re.MULTILINE)
_KDUMP = (
    (re.compile(r"^([ \t]*(?:ext[234]|xfs|btrfs|minix)[ \t]+)(/dev/\S+)", re.MULTILINE), "UUID", "UUID="),
    (re.compile(r"^([ \t]*raw[ \t]+)(/dev/\S+)", re.MULTILINE), "PARTUUID", "/dev/disk/by-partuuid/"),  # a path, where nothing is mounted
)
_REASON = "devices by stable names"
_TEMPORARY = re.compile(r"^/dev/disk/(azure/(resource|local)|cloud/azure_resource)\b")  # a disk of the host, which no VM takes along
# Options that name devices: of XFS and ext4 for logs, of systemd; a member of a btrfs is told apart by its partition alone.
_OPTION = re.compile(r"(?<![^,])(?P<name>logdev|rtdev|journal_path|device|x-systemd\.(?:requires|after|before))=(?P<device>/dev/[^,\s]+)")
_WHAT = re.compile(r"^(?P<lead>\s*What\s*=\s*)(?P<first>\S+)(?P<rest>.*)$", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """One line as written. In fstab the device is the first field, in crypttab the second; `device` is None on other lines."""

    text: str
    device: Optional[str] = None
    other: str = ""
    start: int = 0
    end: int = 0

    def with_device(self, spec: str) -> Line:
        return replace(self, text=self.text[: self.start] + spec + self.text[self.end :], device=spec, end=self.start + len(spec))

    @property
    def fields(self) -> list[str]:
        return self.text.split()


def parse(content: str, field: int) -> list[Line]:
    """Lines of a table whose device is in `field` (0 or 1); joining their texts gives `content` back."""
    lines = []
    for raw in content.splitlines(keepends=True):
        match = _ENTRY.match(raw)
        if match is None:
            lines.append(Line(raw))
        else:
            name = ("first", "second")[field]
            lines.append(Line(raw, match[name], match[("second", "first")[field]], match.start(name), match.end(name)))
    return lines


def plan(guest: Guest, findings: Findings, mode: str = "stabilize-all") -> list[Change]:
    """Changes that give every local device a stable name; what cannot be resolved is a concern, never a guess."""
    if mode not in MODES:
        raise InvalidInput(f"The fstab mode {mode!r} is not known.", f"Use one of {', '.join(MODES)}.")
    if mode == "noop":
        return []
    changes: list[Change] = []
    before = text(guest, FSTAB)
    if before is not None:
        after = "".join(stabilise(line, FSTAB, guest, findings, mode).text for line in parse(before, 0))
        changes += edit(FSTAB, before, after, _REASON)
    for path in units(guest):
        before = text(guest, path) or ""
        after = "".join(_unit_line(line, path, guest, findings, mode) for line in before.splitlines(keepends=True))
        named = ini(after).get(("swap", "what"), "")
        if after != before and path.endswith(".swap") and path != f"{swap_units.SYSTEM}/{swap_units.unit_name(named)}":
            changes += swap_units.renamed(guest, path, text=after, device=named, reason=_REASON)
        else:
            changes += edit(path, before, after, _REASON)
    tables = [(path, ((_AUTOFS, "UUID", "/dev/disk/by-uuid/"),)) for path in glob(guest, "/etc", prefix="auto.")]
    for path, rules in [*tables, ("/etc/kdump.conf", _KDUMP)]:
        before = text(guest, path)
        if before is not None:
            after = before
            for pattern, identifier, form in rules:
                after = _replace(pattern, after, identifier, form, guest, mode)
            changes += edit(path, before, after, _REASON)
    return changes


def units(guest: Guest) -> Iterator[str]:
    """Mount and swap units that the administrator wrote; automount units name no device."""
    for suffix in (".mount", ".swap"):
        yield from glob(guest, "/etc/systemd/system", suffix)


def stabilise(line: Line, path: str, guest: Guest, findings: Findings, mode: str) -> Line:
    """The line with its device by a stable name; what cannot be resolved is a concern and stays."""
    if path == FSTAB and line.device is not None:
        line = _options(line, path, guest, findings, mode)
    if line.device is None or not _wanted(line.device, mode):
        return line
    spec = _stable(line.device, guest)
    if spec is None and path == FSTAB and _TEMPORARY.match(line.device):
        return Line(f"# {line.text}")
    if spec is None:
        _unresolved(line.device, path, line.fields, findings)
        return line
    return line.with_device(spec)


def _options(line: Line, path: str, guest: Guest, findings: Findings, mode: str) -> Line:
    """The line with the devices among its options by stable paths."""
    fields = line.fields
    if len(fields) < 4:
        return line
    start = line.text.index(fields[3], line.text.index(fields[2], line.text.index(fields[1], line.end) + len(fields[1])) + len(fields[2]))

    def stable(match: re.Match[str]) -> str:
        if not _wanted(match["device"], mode):
            return match[0]
        device = guest.device(match["device"])
        tags = ("PARTUUID",) if match["name"] == "device" else TAGS
        spec = stable_spec(guest, device, tags) if device is not None else None
        if spec is None:
            _unresolved(match["device"], path, fields, findings)
            return match[0]
        return f"{match['name']}={stable_path(spec)}"

    return replace(line, text=line.text[:start] + _OPTION.sub(stable, fields[3]) + line.text[start + len(fields[3]) :])


def rewritten(content: str, field: int, guest: Guest) -> str:
    """A table inside an initramfs by stable names; what cannot be resolved stays."""
    return "".join(stabilise(line, "", guest, Findings(), "stabilize-all").text for line in parse(content, field))


def _replace(pattern: re.Pattern[str], content: str, identifier: str, form: str, guest: Guest, mode: str) -> str:
    """`content` with the second group of every match by an identifier, where it needs that and its device is known."""

    def stable(match: re.Match[str]) -> str:
        device = guest.device(match[2]) if _wanted(match[2], mode) else None
        spec = stable_spec(guest, device, (identifier,)) if device is not None else None
        return f"{match[1]}{form}{spec.partition('=')[2]}" if spec is not None else match[0]

    return pattern.sub(stable, content)


def _unit_line(line: str, path: str, guest: Guest, findings: Findings, mode: str) -> str:
    match = _WHAT.match(line)
    if match is None or not _wanted(match["first"], mode):
        return line
    device = guest.device(match["first"])
    spec = stable_spec(guest, device, TAGS) if device is not None else None
    if spec is None:
        _unresolved(match["first"], path, [], findings)
        return line
    return match["lead"] + stable_path(spec) + match["rest"]


def _wanted(spec: str, mode: str) -> bool:
    return spec.startswith("/dev/disk/by-path/") if mode == "bypath-only" else unstable(spec)


def _stable(spec: str, guest: Guest) -> Optional[str]:
    device = guest.device(spec)
    return stable_spec(guest, device) if device is not None else None


def _unresolved(spec: str, path: str, fields: list[str], findings: Findings) -> None:
    if re.match(r"^/dev/(sr|fd|cdrom)", spec) or "noauto" in ",".join(fields[3:4]):
        return
    harmless = "nofail" in ",".join(fields[3:4])
    findings.add(
        "mounts.unresolved",
        WARNING if harmless else BLOCKER,
        f"{path} names {spec}, which cannot be assigned to one of the VM's disks with certainty.",
        "Give all disks of the VM in their order, or write the entry by UUID in the guest, or accept mounts.unresolved to leave it as it is.",
    )
