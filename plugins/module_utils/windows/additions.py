# SPDX-License-Identifier: GPL-3.0-or-later
"""What KVM has for Windows beside drivers, from the driver source's own folders: the QEMU guest agent, the balloon's service, the spice agent.

Packages are for the installer, at the first start; the service is registered while the machine is off, as its own installer does it.
Sources: virtio-win-pkg-scripts (guest-agent/qemu-ga-x86_64.msi and -i386.msi, Balloon/<release>/<architecture>/blnsvr.exe); virtio-win-guest-tools-installer,
Balloon/balloon_extras.wxi (the service; its dependency by kvm-guest-drivers-windows, issue 931); spice-space.org (spice-vdagent-x64-*.msi and -x86-*.msi);
kvm-guest-drivers-windows, issue 1109 (no agent for XP and 2003).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

from ..core import files
from ..core.concern import INFO, WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.change import Change
from ..guest.changes.copies import UploadFile
from ..guest.protocol import Guest
from . import identity, paths, pe, pnp, regf
from .driver_source import Tree
from .work import Work

QEMU_GA, BALLOON, SPICE_AGENT = ADDITIONS = ("qemu_ga", "balloon", "spice_agent")
_FILE_NAME = re.compile(r"^[A-Za-z0-9._+-]+$")
_MAX_PACKAGE = 512 << 20
_FOLDERS = ("guest-agent", "spice-vdagent", "spice-agent", "spice")  # beside the root of a source
_STARTS: Mapping[str, str] = {QEMU_GA: "qemu-ga", SPICE_AGENT: "spice-vdagent"}
# By which services it is known that they are installed; the spice agent had another name before 0.9.
_SERVICES: Mapping[str, tuple[str, ...]] = {QEMU_GA: ("QEMU-GA",), SPICE_AGENT: ("spice-agent", "vdservice")}
# By which words in its name a package is for an architecture; x86 is also the beginning of x86_64.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("x86_64", "x64", "amd64"),
    "aarch64": ("arm64", "aarch64"),
    "i686": ("i386", "x86", "i686"),
}
_CHANNEL = "vioser"
_SERVICE, _PROGRAM = "BalloonService", "blnsvr.exe"
_REASON = "what KVM has for Windows beside drivers"
_OTHER = "Use a virtio-win that has it, or give the package in migrate_guest_agent_packages."


@dataclass(frozen=True)
class Installer:
    """A package for Windows' installer: a file of this host, or of the driver source where `tree` is it."""

    path: str
    tree: Optional[Tree] = None

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def brought(self, guest: Guest, dest: str, reason: str) -> list[Change]:
        """The change that puts it into the guest; nothing where it is there."""
        if guest.stat(dest) is not None:
            return []
        if self.tree is not None:
            return [self.tree.change(self.path, dest, reason)]
        return [UploadFile.of(self.path, dest, files.read(self.path, _MAX_PACKAGE, "The package"), reason)]


def installers(work: Work) -> tuple[Installer, ...]:
    """The packages that the operator gave, then those of the driver source that are in place of none of them. What is left out is said."""
    given, left = _given(work.options.agent_packages, work.facts.architecture)
    if left:
        work.findings.add(
            "windows.agent-package",
            WARNING,
            f"These packages are not for Windows and are left out: {', '.join(map(os.path.basename, left))}.",
            "Give the agent as an .msi file.",
        )
    return (*given, *_from_source(work, given))


def _given(places: Sequence[str], architecture: str) -> tuple[tuple[Installer, ...], list[str]]:
    """The .msi files among files and directories that are not for another architecture, by their names; and what is none of them."""
    paths = [os.path.join(path, name) for path in places if os.path.isdir(path) for name in sorted(os.listdir(path))]
    paths += [path for path in places if not os.path.isdir(path)]
    fitting = [path for path in paths if _fits(os.path.basename(path).lower(), architecture)]
    wrong = next((path for path in fitting if not _FILE_NAME.match(os.path.basename(path))), None)
    if wrong is not None:
        raise InvalidInput(f"{wrong} has a name that cannot stand in a script.", "Use letters, digits, dots, dashes and underscores.")
    return tuple(map(Installer, fitting)), [path for path in paths if path not in fitting]


def _from_source(work: Work, given: Sequence[Installer]) -> list[Installer]:
    found: list[Installer] = []
    for name in (QEMU_GA, SPICE_AGENT):
        start = _STARTS[name]
        if name not in work.options.additions or work.tree is None or any(one.name.lower().startswith(start) for one in given):
            continue
        if any(work.system.number(f"{pnp.services(work.windows)}\\{service}", "Start") is not None for service in _SERVICES[name]):
            continue
        path = _package(work.tree, start, work.facts.architecture)
        if work.windows.nt < (6, 0):
            _left(work.findings, start, "it is not made for this release", "Install a version that is, after the first start.")
        elif path is None:
            _left(work.findings, start, f"{work.options.virtio_win} has no package of it for {work.facts.architecture}", _OTHER)
        elif _CHANNEL not in work.packages and work.system.number(f"{pnp.services(work.windows)}\\VirtioSerial", "Start") is None:
            _left(
                work.findings,
                start,
                f"{_CHANNEL}, the driver of its channel to the host, is not taken",
                "Add it to migrate_windows_drivers.",
            )
        else:
            found.append(Installer(path, work.tree))
    return found


def _left(findings: Findings, what: str, why: str, remedy: str) -> None:
    findings.add("windows.addition-left", INFO, f"Not installed: {what}; {why}.", remedy)


def _package(tree: Tree, start: str, architecture: str) -> Optional[str]:
    """The newest package whose name begins so and that is not for another architecture."""
    top = {name.lower(): name for name, is_directory in tree.listdir("") if is_directory}
    folders = ("", *(top[name] for name in _FOLDERS if name in top))
    files_ = [(folder, name) for folder in folders for name, is_directory in tree.listdir(folder) if not is_directory]
    found = [
        f"{folder}/{name}".lstrip("/")
        for folder, name in files_
        if name.lower().startswith(start) and _FILE_NAME.match(name) and _fits(name.lower(), architecture)
    ]
    return max(found, key=lambda path: [(int(number or 0), text) for text, number in re.findall(r"(\D*)(\d*)", path)], default=None)


def _fits(name: str, architecture: str) -> bool:
    """Whether a name, in small letters, is that of a package for the installer, and not of one for another architecture."""
    named = next((one for one, words in _WORDS.items() if any(word in name for word in words)), architecture)
    return name.endswith(".msi") and named == architecture


def balloon(work: Work) -> list[Change]:
    """The service that tells the host how much of the guest's memory is in use, where its driver is taken and it is not there."""
    key = f"{pnp.services(work.windows)}\\{_SERVICE}"
    package = work.packages.get("balloon")
    if BALLOON not in work.options.additions or package is None or work.tree is None or work.system.number(key, "Start") is not None:
        return []
    directory = package.inf.rpartition("/")[0]
    name = next((name for name, is_directory in work.tree.listdir(directory) if name.lower() == _PROGRAM), None)
    if name is None or pe.machine(work.tree.read(f"{directory}/{name}")) != work.facts.architecture:
        _left(work.findings, _PROGRAM, f"{directory} has none for {work.facts.architecture}", "Use a virtio-win that has it.")
        return []
    programs = identity.directory(work.software, "ProgramFilesDir", f"{work.windows.drive}:\\Program Files")
    place = f"{programs}\\Balloon\\{_PROGRAM}"
    dest = paths.image(work.windows.system_root, f"\\??\\{place}", _SERVICE, work.windows.drive)
    if dest is None:
        _left(work.findings, _PROGRAM, f"{programs} is on another disk than Windows", "Install it after the first start (blnsvr.exe -i).")
        return []
    pnp.add_service(work.system, key, pnp.AUTO_START, 1, command=f'"{place}"', reason=_REASON)
    work.system.set(key, "DisplayName", regf.SZ, _SERVICE, _REASON)
    work.system.set(key, "DependOnService", regf.MULTI_SZ, ("Winmgmt",), _REASON)
    dest = paths.place(work.guest, dest)
    return [] if work.guest.stat(dest) is not None else [work.tree.change(f"{directory}/{name}", dest, _REASON)]
