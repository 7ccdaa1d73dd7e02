# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab, automount maps, kdump's target and systemd mount units: every entry finds its device on any hypervisor.

Lines are kept to the byte; only the device field of an entry that needs it is replaced.
Source: fstab(5), systemd-fstab-generator(8), systemd.mount(5), systemd.swap(5), zram-generator.conf(5), autofs(5), kdump.conf(5), xfs(5), ext4(5),
btrfs(5), bcachefs(8); cloud-init's azure data source for the temporary disk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Iterator, Optional, Sequence

from ..core.concern import BLOCKER, INFO, WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.plan import merge
from ..guest.protocol import Guest, glob, stable_path, stable_spec, text
from ..guest.view import PendingView
from . import device_units, swap_units
from .cmdline import TAGS, leftovers, unsaid, unstable
from .netconf.model import ini

FSTAB, CRYPTTAB = "/etc/fstab", "/etc/crypttab"
MODES = ("stabilize-all", "bypath-only", "noop")
_ENTRY = re.compile(r"^(?P<lead>[ \t]*)(?P<first>[^\s#]\S*)(?P<gap>[ \t]+)(?P<second>\S+)(?P<rest>.*)$", re.DOTALL)
_AUTOFS = re.compile(r"^([^#\n]*\s:)(/dev/\S+)", re.MULTILINE)
_KDUMP = (
    (re.compile(r"^([ \t]*(?:ext[234]|xfs|btrfs|minix)[ \t]+)(/dev/\S+)", re.MULTILINE), "UUID", "UUID="),
    (re.compile(r"""^([ \t]*dracut_args\b[^\n]*?--mount[ =]+["']?)(/dev/\S+)""", re.MULTILINE), "UUID", "/dev/disk/by-uuid/"),
    (re.compile(r"^([ \t]*raw[ \t]+)(/dev/\S+)", re.MULTILINE), "PARTUUID", "/dev/disk/by-partuuid/"),  # a path, where nothing is mounted
)
_ZRAM = re.compile(r"^([ \t]*writeback-device[ \t]*=[ \t]*)(/dev/\S+)", re.MULTILINE)
_WRITEBACK = ("/etc/systemd/zram-generator.conf", ((_ZRAM, "PARTUUID", "/dev/disk/by-partuuid/"),))
# What runs at boot beside units: of Debian and Red Hat, SUSE, Gentoo and Alpine.
_SCRIPTS = ("/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local")
_REASON = "devices by stable names"
_SHARED = re.compile(r"^(?:fuse\.)?(?:vmhgfs(?:-fuse)?|vboxsf|prl_fs)(?:$|#)")
_TEMPORARY = re.compile(r"^/dev/disk/(azure/(resource|local)|cloud/azure_resource)\b")  # a disk of the host, which no VM takes along
# Options that name devices: of XFS, ext4 and reiserfs for logs, of systemd; a member of a btrfs is told apart by its partition alone.
_OPTION = re.compile(
    r"(?<![^,])(?P<name>logdev|rtdev|journal_path|jdev|device|x-systemd\.(?:requires|after|before))=(?P<device>/dev/[^,\s]+)"
)
_WHAT = re.compile(r"^(?P<lead>\s*What\s*=\s*)(?P<first>\S+)(?P<rest>.*)$", re.DOTALL)
_UNIT_OPTIONS = re.compile(r"^(?P<lead>\s*Options\s*=\s*)(?P<value>\S+)(?P<rest>.*)$", re.DOTALL)
_MEMBERS = re.compile(r":(?=/dev/|(?:PART)?(?:UUID|LABEL)=)")
_ALL = (*TAGS, "LABEL", "PARTLABEL")


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
    changes += _units(guest, findings, mode)
    for path in (*_SCRIPTS, *glob(guest, "/etc/local.d", ".start")):
        _swept(path, text(guest, path) or "", findings)
    maps = [path for base in ("/etc", "/etc/autofs") for path in glob(guest, base, prefix="auto.")]
    for path, rules in [*((path, ((_AUTOFS, "UUID", "/dev/disk/by-uuid/"),)) for path in maps), ("/etc/kdump.conf", _KDUMP), _WRITEBACK]:
        before = text(guest, path)
        if before is not None:
            after = before
            for pattern, identifier, form in rules:
                after = _replace(pattern, after, identifier, form, guest, mode)
            changes += edit(path, before, after, _REASON)
            for left in (name for line in after.splitlines() if not line.lstrip().startswith("#") for name in leftovers(line)):
                if wanted(left, guest, mode):
                    unresolved(left, path, ("nofail",), findings)
    return list(merge(changes))


def _units(guest: Guest, findings: Findings, mode: str) -> list[Change]:
    """Changes to units. One that is renamed changes others, so that each is read as those before leave it."""
    changes: list[Change] = []
    for path in dict.fromkeys((*units(guest), *device_units.files(guest))):
        view = PendingView(guest, merge(changes))
        before = text(view, path)
        if before is None:
            continue
        after = "".join(_unit_line(line, path, guest, findings, mode) for line in before.splitlines(keepends=True))
        what = ini(after).get(("swap", "what"), "")
        if after != before and path.endswith(".swap") and path != f"{swap_units.SYSTEM}/{swap_units.unit_name(what)}":
            changes += swap_units.renamed(view, path, text=after, device=what, reason=_REASON)
        else:
            changes += edit(path, before, after, _REASON)
        _swept(path, after, findings)
    return changes


def units(guest: Guest) -> Iterator[str]:
    """Mount and swap units that the administrator wrote; automount units name no device."""
    for suffix in (".mount", ".swap"):
        yield from glob(guest, "/etc/systemd/system", suffix)


def stabilise(line: Line, path: str, guest: Guest, findings: Findings, mode: str) -> Line:
    """The line with its device by a stable name; what cannot be resolved is a concern and stays."""
    device = line.device
    if device is None:
        return line
    given = line.fields[3].split(",") if len(line.fields) > 3 else []
    if path == FSTAB and shared(line):
        findings.add(
            "mounts.shared-folder",
            INFO,
            f"{FSTAB} mounts a folder of the old host on {line.other}, which the target does not have; the entry is commented out.",
            "Mount what is needed by NFS, SMB or virtiofs.",
        )
        return Line(f"# {line.text}")
    if path == FSTAB and given:
        start, end = spans(line.text)[3]
        options = _options(line.fields[3], path, guest, findings, mode)
        line = replace(line, text=line.text[:start] + options + line.text[end:])
    if path == FSTAB and not placed(line):
        given = [*given, "nofail"]  # systemd passes it over, and mount -a goes on
        findings.add(
            "mounts.no-path",
            INFO,
            f"{FSTAB} mounts {device} on {line.other}, which is no path: systemd passes the entry over, mount -a takes it below its own directory.",
            "Write the mount point as a path from the root, where the file system is needed.",
        )
    members = _MEMBERS.split(device)
    if len(members) > 1 and (members[0].startswith("/dev/") or "=" in members[0]):  # of one file system, which have its UUID
        told = [named(one, path, guest, findings, mode=mode, tags=("PARTUUID",), as_path=True, options=given) for one in members]
        return line.with_device(":".join(told))
    if _TEMPORARY.match(device) and path == FSTAB and wanted(device, guest, mode) and _stable(device, guest, _ALL) is None:
        return Line(f"# {line.text}")
    # What is encrypted anew at each boot keeps no identifier of its content.
    anew = bool(line.text[: line.start].strip()) and any(option == "swap" or option.startswith("tmp") for option in given)
    spec = named(device, path, guest, findings, mode=mode, tags=("PARTUUID",) if anew else _ALL, options=given)
    return line if spec == device else line.with_device(spec)


def placed(line: Line) -> bool:
    """Whether an entry of fstab is waited for at boot: one of swap, or one whose mount point is a path, which may be a relative one.

    Source: systemd-fstab-generator, is_path ("not a valid path, ignoring"); findmnt(8), --verify, which takes any word for a target.
    """
    return "/" in line.other or (len(line.fields) > 2 and line.fields[2] == "swap")


def shared(line: Line) -> bool:
    """Whether an entry is a folder that the old hypervisor shares, whose mount fails elsewhere and may stop the boot."""
    kind = line.fields[2] if len(line.fields) > 2 else ""
    return bool(_SHARED.match(line.device or "" if kind == "fuse" else kind))


def named(
    spec: str,
    path: str,
    guest: Guest,
    findings: Findings,
    *,
    mode: str,
    tags: Sequence[str] = _ALL,
    as_path: bool = False,
    options: Sequence[str] = (),
) -> str:
    """The stable name of a device that needs one; what cannot be resolved is a concern, by the options of its entry, and stays."""
    if not wanted(spec, guest, mode):
        return spec
    found = _stable(spec, guest, tags)
    if found is None:
        unresolved(spec, path, options, findings)
        return spec
    return stable_path(found) if as_path else found


def spans(text: str) -> list[tuple[int, int]]:
    """Where the fields of a line are."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def _options(value: str, path: str, guest: Guest, findings: Findings, mode: str) -> str:
    """Options with the devices among them by stable paths, and the units of devices called after those."""
    given = value.split(",")

    def stable(match: re.Match[str]) -> str:
        tags = ("PARTUUID",) if match["name"] == "device" else TAGS
        found = named(match["device"], path, guest, findings, mode=mode, tags=tags, as_path=True, options=given)
        return f"{match['name']}={found}"

    return device_units.rewritten(
        _OPTION.sub(stable, value),
        lambda device: named(device, path, guest, findings, mode=mode, tags=TAGS, as_path=True, options=given),
    )


def rewritten(content: str, guest: Guest) -> str:
    """fstab inside an initramfs by stable names; what cannot be resolved stays."""
    return "".join(stabilise(line, FSTAB, guest, Findings(), "stabilize-all").text for line in parse(content, 0))


def _replace(pattern: re.Pattern[str], content: str, identifier: str, form: str, guest: Guest, mode: str) -> str:
    """`content` with the second group of every match by an identifier, where it needs that and its device is known."""

    def stable(match: re.Match[str]) -> str:
        spec = _stable(match[2], guest, (identifier,)) if wanted(match[2], guest, mode) else None
        return f"{match[1]}{form}{spec.partition('=')[2]}" if spec is not None else match[0]

    return pattern.sub(stable, content)


def _unit_line(line: str, path: str, guest: Guest, findings: Findings, mode: str) -> str:
    if line.lstrip().startswith(("#", ";")):
        return line
    match = _WHAT.match(line)
    if match is not None:
        return match["lead"] + named(match["first"], path, guest, findings, mode=mode, tags=TAGS, as_path=True) + match["rest"]
    match = _UNIT_OPTIONS.match(line)
    if match is not None:
        return match["lead"] + _options(match["value"], path, guest, findings, mode) + match["rest"]
    return device_units.rewritten(
        line, lambda device: named(device, path, guest, findings, mode=mode, tags=TAGS, as_path=True, options=("nofail",))
    )


def wanted(spec: str, guest: Guest, mode: str) -> bool:
    """Whether a name needs another one. A map of device-mapper that is a part of a disk is one of multipath, whatever it is called."""
    if mode == "bypath-only":
        return spec.startswith("/dev/disk/by-path/")
    if unstable(spec):
        return True
    device = guest.device(spec) if spec.startswith("/dev/mapper/") else None
    return device is not None and device.kind in ("part", "disk")


def _swept(path: str, content: str, findings: Findings) -> None:
    """What is left in commands, whose meaning nobody knows but their author."""
    for left in unsaid(content, ("#", ";"), findings):
        findings.add(
            "mounts.unstable-name",
            WARNING,
            f"{path} names {left} in a command or in a setting that is not known.",
            "Write it by UUID or label in the guest. The name may be another device after the migration.",
        )


def _stable(spec: str, guest: Guest, tags: Sequence[str]) -> Optional[str]:
    device = guest.device(spec)
    return stable_spec(guest, device, tags) if device is not None else None


def unresolved(spec: str, path: str, options: Sequence[str], findings: Findings) -> None:
    """The concern for a device that is not known, unless the options of its entry say that nothing asks for it at boot."""
    if re.match(r"^/dev/(sr|fd|cdrom)", spec) or "noauto" in options:
        return
    findings.add(
        "mounts.unresolved",
        WARNING if {"nofail", "_netdev"} & set(options) else BLOCKER,
        f"{path} names {spec}, which cannot be assigned to one of the VM's disks with certainty.",
        "Give all disks of the VM in their order, or write the entry by UUID in the guest, or accept mounts.unresolved to leave it as it is.",
    )
