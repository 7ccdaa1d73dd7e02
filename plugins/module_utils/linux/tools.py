# SPDX-License-Identifier: GPL-3.0-or-later
"""The old hypervisor's guest tools: packages and tarball installations leave no file, link or database entry behind.

Debian's package database is text with a documented format, so packages leave by file edits and no guest program runs; RPM's is
not, there the guest's own rpm does it. Packages that others depend on stay.
Source: deb-control(5), dpkg's status file (Debian Policy 7), VMware's /etc/vmware-tools/locations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Sequence

from ..core.concern import WARNING, Findings
from ..guest.change import Change
from ..guest.changes.entries import RemoveFile, remove
from ..guest.changes.run import RunCommand
from ..guest.changes.write import edit
from ..guest.plan import merge
from ..guest.protocol import Guest, exists, glob, text
from ..guest.view import PendingView

HYPERVISORS = ("vmware", "hyperv", "virtualbox", "xen", "parallels", "nutanix", "azure", "aws")
_STATUS = "/var/lib/dpkg/status"
_INFO = "/var/lib/dpkg/info"
_LOCATIONS = "/etc/vmware-tools/locations"
_REASON = "the old hypervisor's tools have no use on KVM"


@dataclass(frozen=True)
class Tools:
    """The tools of one hypervisor: packages (dependents first), a program that shows they are there, files and units they leave."""

    packages: tuple[str, ...]
    program: str
    rpm: tuple[str, ...]
    leftovers: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


TOOLS = {
    "vmware": Tools(
        ("open-vm-tools-desktop", "open-vm-tools-dev", "open-vm-tools-salt-minion", "open-vm-tools-sdmp", "open-vm-tools"),
        "/usr/bin/vmtoolsd",
        ("open-vm-tools-desktop", "open-vm-tools"),
        (
            "/etc/udev/rules.d/99-vmware-scsi-udev.rules", "/etc/vmware-tools", "/usr/lib/vmware-tools", "/etc/init.d/vmware-tools",
            "/etc/init/vmware-tools.conf", "/etc/modprobe.d/vmware-tools.conf", "/usr/bin/vmware-uninstall-tools.pl",
            "/usr/bin/vmware-config-tools.pl",
        ),
        ("open-vm-tools.service", "vmtoolsd.service", "vgauth.service", "vgauthd.service", "vmware-tools.service", "run-vmblock\\x2dfuse.mount"),
    ),
    "hyperv": Tools(
        ("hyperv-daemons", "linux-cloud-tools-virtual", "linux-cloud-tools-generic"), "/usr/sbin/hypervkvpd", ("hyperv-daemons", "hypervkvpd"),
        (), ("hypervkvpd.service", "hypervvssd.service", "hypervfcopyd.service", "hv-kvp-daemon.service", "hv-vss-daemon.service", "hv-fcopy-daemon.service"),
    ),
    "virtualbox": Tools(
        ("virtualbox-guest-x11", "virtualbox-guest-utils", "virtualbox-guest-dkms"), "/usr/sbin/VBoxService", ("virtualbox-guest-additions",),
        (), ("vboxservice.service", "vboxadd.service", "vboxadd-service.service", "virtualbox-guest-utils.service"),
    ),
    "xen": Tools(
        ("xe-guest-utilities", "xen-utils-guest"), "/usr/sbin/xe-daemon", ("xe-guest-utilities", "xe-guest-utilities-latest"),
        (), ("xe-daemon.service", "xe-linux-distribution.service"),
    ),
    "parallels": Tools((), "/usr/lib/parallels-tools/install", (), (), ("prltoolsd.service",)),
    "nutanix": Tools((), "/etc/systemd/system/ngt_guest_agent.service", (), (), ("ngt_guest_agent.service",)),
    "azure": Tools(
        ("walinuxagent",), "/usr/sbin/waagent", ("WALinuxAgent",),
        ("/etc/udev/rules.d/66-azure-storage.rules", "/etc/udev/rules.d/99-azure-product-uuid.rules"),
        ("walinuxagent.service", "waagent.service"),
    ),
    "aws": Tools(
        ("amazon-ssm-agent", "ec2-hibinit-agent", "ec2-instance-connect"), "/usr/bin/amazon-ssm-agent",
        ("amazon-ssm-agent", "ec2-net-utils", "ec2-hibinit-agent"),
        (), ("amazon-ssm-agent.service", "hibinit-agent.service"),
    ),
}  # fmt: skip


def present(guest: Guest) -> tuple[str, ...]:
    """The tools that are installed, by package or by hand."""
    found = ["open-vm-tools" if name == "vmware" else name for name, tools in TOOLS.items() if exists(guest, tools.program)]
    return (*found, *(["vmware-tools"] if exists(guest, _LOCATIONS) else []))


def plan(guest: Guest, findings: Findings, hypervisors: Sequence[str] = ("vmware",)) -> list[Change]:
    """Changes that take the tools of these hypervisors out of the guest, their links and repositories with them."""
    changes: tuple[Change, ...] = ()
    for name in hypervisors:
        # Each leaves the package database as it will be after the one before it.
        changes = merge([*changes, *_of(name, PendingView(guest, changes), findings)])
    return _outermost(changes)


def _of(name: str, guest: Guest, findings: Findings) -> list[Change]:
    """The changes for one hypervisor."""
    tools = TOOLS[name]
    changes = _dpkg(guest, tools, findings) if exists(guest, _STATUS) else _rpm(guest, tools)
    if name == "vmware" and exists(guest, _LOCATIONS):
        changes += _tarball(guest)
    if name == "virtualbox":
        changes += _additions(guest)
    if name == "parallels" and exists(guest, tools.program):
        changes.append(RunCommand((tools.program, "-r"), (), _REASON, must=False))
    if changes or (not tools.packages and exists(guest, tools.program)):
        changes += [change for path in (*tools.leftovers, *_unit_links(guest, tools)) for change in _remove(guest, path)]
    if name == "vmware":
        changes += _repositories(guest)
    return changes


def _rpm(guest: Guest, tools: Tools) -> list[Change]:
    """RPM's database is no text; its own tool takes the packages out. What others need stays, and so does all when the database is broken."""
    rpm = next((path for path in ("/usr/bin/rpm", "/bin/rpm") if exists(guest, path)), None)
    if rpm is None or not exists(guest, tools.program):
        return []
    return [RunCommand((rpm, "-e", "--noscripts", package), (), _REASON, must=False) for package in tools.rpm]


def _additions(guest: Guest) -> list[Change]:
    match = re.search(r"^INSTALL_DIR=['\"]?(/[^'\"\n]+)", text(guest, "/var/lib/VBoxGuestAdditions/config") or "", re.MULTILINE)
    script = f"{match[1]}/uninstall.sh" if match else ""
    return [RunCommand((script,), (), _REASON, must=False)] if script and exists(guest, script) else []


def _repositories(guest: Guest) -> list[Change]:
    """Package sources of vmware.com, switched off: they are no use without VMware and fail every update once its tools are gone."""
    changes: list[Change] = []
    for path in (*glob(guest, "/etc/yum.repos.d", ".repo"), *glob(guest, "/etc/zypp/repos.d", ".repo")):
        before = text(guest, path) or ""
        sections = re.split(r"(?m)^(?=\[)", before)
        after = "".join(_disabled(section) if _VMWARE_URL.search(section) else section for section in sections)
        changes += edit(path, before, after, "a package source of VMware")
    for path in ("/etc/apt/sources.list", *glob(guest, "/etc/apt/sources.list.d", ".list")):
        before = text(guest, path) or ""
        if before:
            changes += edit(
                path,
                before,
                re.sub(r"(?m)^(deb(?:-src)?\s[^\n]*://(?:[\w.-]+\.)?vmware\.com(?=[/:\s]))", r"# \1", before),
                "a package source of VMware",
            )
    return changes


_VMWARE_URL = re.compile(r"^(?:baseurl|mirrorlist)\s*=\s*\w+://(?:[\w.-]+\.)?vmware\.com(?=[/:]|$)", re.MULTILINE)


def _disabled(section: str) -> str:
    changed = re.sub(r"(?m)^(enabled\s*=\s*)1", r"\g<1>0", section)
    return changed if re.search(r"(?m)^enabled\s*=", section) else re.sub(r"(?m)^(\[[^\n]*\])$", r"\1\nenabled=0", section, count=1)


def _dpkg(guest: Guest, tools: Tools, findings: Findings) -> list[Change]:
    before = text(guest, _STATUS) or ""
    stanzas = re.split(r"(?<=\n)\n", before)
    fields = [_fields(stanza) for stanza in stanzas]
    installed = {entry.get("Package", "") for entry in fields if entry.get("Status", "").endswith(" installed")}
    leaving = [name for name in tools.packages if name in installed]
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
                "Remove it in the guest when it is no longer wanted; it does nothing elsewhere.",
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


def _unit_links(guest: Guest, tools: Tools) -> Iterable[str]:
    base = "/etc/systemd/system"
    for directory in (base, *(path for path in glob(guest, base) if path.endswith((".wants", ".requires")))):
        for unit in tools.units:
            yield f"{directory}/{unit}"
    for unit in tools.units:
        yield from glob(guest, base, prefix=f"{unit}.")


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


def _outermost(changes: Sequence[Change]) -> list[Change]:
    """Without removals inside a directory that is removed as a whole, and without repetitions."""
    directories = {change.path for change in changes if isinstance(change, RemoveFile) and change.kind == "dir"}
    kept: dict[object, Change] = {}
    for change in changes:
        inside = isinstance(change, RemoveFile) and any(change.path.startswith(directory + "/") for directory in directories)
        if not inside:
            kept.setdefault(change.key, change)
    return list(kept.values())
