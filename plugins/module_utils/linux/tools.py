# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware's guest tools: packages and tarball installations leave no file, link or database entry behind.

Debian's package database is text with a documented format, so packages leave by file edits and no guest program runs; RPM's is
not, there the guest's own rpm does it. Packages that others depend on stay.
Source: deb-control(5), dpkg's status file (Debian Policy 7), VMware's /etc/vmware-tools/locations.
"""

from __future__ import annotations

import re
from typing import Iterable, Optional

from ..guest.changes import Change, RemoveFile, RunCommand, edit, remove
from ..guest.model import WARNING, Findings
from ..guest.protocol import Guest, exists, glob, text

PACKAGES = ("open-vm-tools-desktop", "open-vm-tools-dev", "open-vm-tools-salt-minion", "open-vm-tools-sdmp", "open-vm-tools")
_STATUS = "/var/lib/dpkg/status"
_INFO = "/var/lib/dpkg/info"
_LOCATIONS = "/etc/vmware-tools/locations"
_LEFTOVERS = (
    "/etc/udev/rules.d/99-vmware-scsi-udev.rules",
    "/etc/vmware-tools",
    "/usr/lib/vmware-tools",
    "/etc/init.d/vmware-tools",
    "/etc/init/vmware-tools.conf",
    "/etc/modprobe.d/vmware-tools.conf",
    "/usr/bin/vmware-uninstall-tools.pl",
    "/usr/bin/vmware-config-tools.pl",
)
_UNITS = (
    "open-vm-tools.service",
    "vmtoolsd.service",
    "vgauth.service",
    "vgauthd.service",
    "vmware-tools.service",
    "run-vmblock\\x2dfuse.mount",
)
_REASON = "VMware's tools have no use on KVM"


def plan(guest: Guest, findings: Findings) -> list[Change]:
    """Changes that take VMware's tools out of the guest, and their links with them."""
    changes: list[Change] = []
    if exists(guest, _STATUS):
        changes += _dpkg(guest, findings)
    elif exists(guest, "/usr/bin/vmtoolsd") and (exists(guest, "/usr/bin/rpm") or exists(guest, "/bin/rpm")):
        rpm = "/usr/bin/rpm" if exists(guest, "/usr/bin/rpm") else "/bin/rpm"
        changes.append(RunCommand((rpm, "-e", "--nodeps", "--noscripts", "open-vm-tools"), (), _REASON))
    if exists(guest, _LOCATIONS):
        changes += _tarball(guest)
    if changes:
        changes += [change for path in _LEFTOVERS for change in _remove(guest, path)]
        changes += [change for path in _unit_links(guest) for change in _remove(guest, path)]
    return _outermost(changes)


def _dpkg(guest: Guest, findings: Findings) -> list[Change]:
    before = text(guest, _STATUS) or ""
    stanzas = re.split(r"(?<=\n)\n", before)
    fields = [_fields(stanza) for stanza in stanzas]
    installed = {entry.get("Package", "") for entry in fields if entry.get("Status", "").endswith(" installed")}
    leaving = [name for name in PACKAGES if name in installed]
    for name in list(leaving):
        holders = sorted(
            entry["Package"]
            for entry in fields
            if entry.get("Package") in installed
            and entry.get("Package") not in leaving
            and name in _names(entry.get("Depends", "")) | _names(entry.get("Pre-Depends", ""))
        )
        if holders:
            leaving.remove(name)
            findings.add(
                "tools.needed",
                WARNING,
                f"The package {name} stays: {', '.join(holders[:3])} depends on it.",
                "Remove it in the guest when it is no longer wanted; it does nothing outside VMware.",
            )
    if not leaving:
        return []
    after = "\n".join(stanza for stanza, entry in zip(stanzas, fields) if entry.get("Package") not in leaving)
    changes: list[Change] = list(edit(_STATUS, before, after, _REASON))
    for path in sorted(path for path in glob(guest, _INFO) if _owner(path) in leaving):
        if path.endswith(".list"):  # dpkg lets no two packages own a file; directories are shared and stay
            names = [line for line in (text(guest, path) or "").splitlines() if line not in ("/.", "")]
            # /lib is a directory to the package and a link to usr/lib in the guest: whatever has entries below it stays.
            parents = {name.rsplit("/", 1)[0] for name in names}
            files = [name for name in names if name not in parents or _OWN.match(name)]
            changes += [change for file in files for change in _remove(guest, file)]
        changes += _remove(guest, path)
    return changes


def _fields(stanza: str) -> dict[str, str]:
    """The one-line fields of a control stanza."""
    return {match[1]: match[2].strip() for match in re.finditer(r"^(\S+):[ \t]*(.*)$", stanza, re.MULTILINE)}


def _names(relation: str) -> set[str]:
    """Packages of which no alternative exists in a dependency field."""
    return {part.strip().split()[0].split(":")[0] for part in relation.split(",") if part.strip() and "|" not in part}


def _owner(path: str) -> str:
    return re.sub(r":[a-z0-9]+$", "", path.rsplit("/", 1)[1].rsplit(".", 1)[0])


def _tarball(guest: Guest) -> list[Change]:
    """The installer's own record: `file PATH [time]`, later taken back by `remove_file PATH`."""
    present: dict[str, None] = {}
    for line in (text(guest, _LOCATIONS) or "").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "file" and words[1].startswith("/"):
            present[words[1]] = None
        elif len(words) >= 2 and words[0] == "remove_file":
            present.pop(words[1], None)
    return [change for path in present for change in _remove(guest, path)]


def _unit_links(guest: Guest) -> Iterable[str]:
    base = "/etc/systemd/system"
    for directory in (base, *(path for path in glob(guest, base) if path.endswith((".wants", ".requires")))):
        for unit in _UNITS:
            yield f"{directory}/{unit}"
    yield from glob(guest, base, prefix="open-vm-tools.service.")


def _remove(guest: Guest, path: str) -> list[Change]:
    stat = guest.stat(path)
    if stat is not None and ((stat.kind == "dir" and not _OWN.match(path)) or (stat.kind == "link" and guest.listdir(path))):
        return []
    return list(remove(path, stat, _REASON))


# Directories that belong to the tools alone; every other directory of a package is shared with the system.
_OWN = re.compile(
    r"^/(etc/vmware-tools|usr/lib/vmware-tools|usr/lib/[^/]+/open-vm-tools|usr/lib/open-vm-tools|usr/share/open-vm-tools|usr/share/doc/open-vm-tools\S*|"
    r"etc/systemd/system/open-vm-tools\.service\.requires)$"
)


def _outermost(changes: list[Change]) -> list[Change]:
    """Without removals inside a directory that is removed as a whole, and without repetitions."""
    directories = {change.path for change in changes if isinstance(change, RemoveFile) and change.kind == "dir"}
    kept: dict[Optional[str], Change] = {}
    for change in changes:
        inside = isinstance(change, RemoveFile) and any(change.path.startswith(directory + "/") for directory in directories)
        if not inside:
            kept.setdefault(change.path, change)
    return list(kept.values())
